//! What settings mean, once they are right; and that no text makes the reader stumble.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const FULLER: &str = include_str!("../../tests/fixtures/settings/good/02-fuller.yaml");

fn understood(text: &str, circumstances: &Circumstances) -> Result<Read, Problems> {
    let texts = Texts::new(("appconfigd.yaml".into(), text.to_owned()), Vec::new());
    interpret(
        texts,
        Path::new("/etc/appconfigd/appconfigd.yaml"),
        circumstances,
    )
}

fn settings(text: &str) -> Settings {
    match understood(text, &Circumstances::default()) {
        Ok(read) => read.settings,
        Err(problems) => panic!("{problems}"),
    }
}

fn messages(text: &str) -> Vec<String> {
    let problems = understood(text, &Circumstances::default()).err();
    let list = problems.map(|problems| problems.list).unwrap_or_default();
    list.into_iter().map(|problem| problem.message).collect()
}

#[test]
fn what_is_left_out_is_filled_in() {
    let settings = settings(FULLER);
    let profile = &settings.profiles[&ProfileName::from("team")];
    assert_eq!(profile.application, "shop");
    assert_eq!(profile.environment, "prod");
    assert_eq!(profile.configuration_profile, "team");
    assert_eq!(profile.poll_interval, Duration::from_secs(60));
    assert!(profile.required && !profile.sensitive);
    assert_eq!(
        settings.profiles[&ProfileName::from("base")].application,
        "platform"
    );
    assert!(!settings.profiles[&ProfileName::from("overrides")].required);
    assert_eq!(settings.ready_timeout, Duration::from_secs(300));
    assert_eq!(settings.stop_timeout, Duration::from_secs(30));
    assert_eq!(settings.directory, Path::new("/etc/appconfigd"));
    let nginx = &settings.services[&ServiceName::from("nginx")];
    assert_eq!(nginx.timeout, Duration::from_secs(30));
    assert_eq!(nginx.on_failure, OnFailure::Rollback);
    let unit = "nginx.service".to_owned();
    assert_eq!(
        nginx.notify,
        Notify::Reload {
            unit,
            verb: ReloadVerb::Reload
        }
    );
}

#[test]
fn values_are_read_as_they_are_meant() {
    let settings = settings(FULLER);
    let validate = &settings.profiles[&ProfileName::from("nginx-limits")].validate;
    assert_eq!(
        validate.schema.as_deref(),
        Some(Path::new("/etc/appconfigd/limits.schema.json"))
    );
    assert_eq!(
        (validate.max_size, validate.max_shrink),
        (Some(1 << 20), Some(0.5))
    );
    let path = TargetPath::new("/etc/nginx/conf.d/limits.conf").unwrap();
    let target = &settings.targets[&path];
    assert_eq!(target.mode, Some(0o640));
    assert_eq!(target.group, Some(Principal::Name("www-data".to_owned())));
    let file = PathBuf::from("/etc/appconfigd/limits.conf.j2");
    assert_eq!(target.render, Render::Template { file, merge: false });
    let path = TargetPath::new("/etc/shop/config.json").unwrap();
    let names: Vec<&str> = settings.targets[&path]
        .from
        .iter()
        .map(ProfileName::as_str)
        .collect();
    assert_eq!(names, ["base", "team", "overrides"]);
    assert_eq!(
        settings.targets[&path].render,
        Render::Merge {
            format: Format::Json
        }
    );
}

#[test]
fn a_service_in_place_is_named_after_its_target() {
    let settings = settings(
        "profiles: {p: {application: a, environment: e}}\n\
         targets:\n  /run/x: {from: p, notify: [{command: [one]}, {command: [two]}]}\n",
    );
    let names: Vec<&str> = settings.services.keys().map(ServiceName::as_str).collect();
    assert_eq!(names, ["/run/x", "/run/x (2)"]);
}

#[test]
fn a_target_of_a_sensitive_profile_is_sensitive() {
    let settings = settings(
        "defaults: {application: a, environment: e}\nprofiles: {p: {sensitive: true}, q: }\n\
         targets:\n  /run/x.json: {from: [q, p], merge: true}\n  /run/y: {from: q}\n",
    );
    let sensitive: Vec<bool> = settings
        .targets
        .values()
        .map(|target| target.sensitive)
        .collect();
    assert_eq!(sensitive, [true, false]);
}

#[test]
fn the_root_from_outside_beats_the_root_of_the_settings() {
    let text = "root: image\n";
    let inside = settings(text);
    assert_eq!(
        inside.root.as_deref(),
        Some(Path::new("/etc/appconfigd/image"))
    );
    let outside = Circumstances {
        root: Some("/other".into()),
        ..Circumstances::default()
    };
    let outside = understood(text, &outside).unwrap().settings;
    assert_eq!(outside.root.as_deref(), Some(Path::new("/other")));
}

#[test]
fn what_is_left_out_of_a_pace_and_of_conditions_is_filled_in() {
    let service = |keys: &str| {
        let settings = settings(&format!(
            "profiles: {{p: {{application: a, environment: e}}}}\n\
             targets: {{/run/x: {{from: p, notify: app}}}}\nservices: {{app: {{command: [reload]{keys}}}}}\n"
        ));
        settings.services[&ServiceName::from("app")]
            .as_ref()
            .clone()
    };
    let seconds = Duration::from_secs;
    let plain = service("");
    assert!(plain.pace.is_none() && plain.give_up_after.is_none());
    assert_eq!(plain.conditions, Conditions::default());
    let settle = service(", settle: 5s").pace.settle.unwrap();
    assert_eq!((settle.quiet, settle.at_most), (seconds(5), seconds(20)));
    let windows = service(
        ", window: [{days: [fri-mon, wed], from: '9:30', to: '24:00'}, {from: '22:00', to: '06:00', zone: europe/berlin}]",
    )
    .pace
    .windows;
    let days: Vec<i8> = (0..7).filter(|day| windows[0].days.has(*day)).collect();
    assert_eq!(days, [0, 2, 4, 5, 6]);
    assert_eq!(
        (windows[0].from.minutes(), windows[0].to.minutes()),
        (570, 1440)
    );
    assert_eq!(windows[0].zone, jiff::tz::TimeZone::UTC);
    assert_eq!(windows[1].days, Days::ALL);
    assert_eq!(windows[1].length(), seconds(8 * 3600));
    assert_eq!(windows[1].zone.iana_name(), Some("Europe/Berlin"));
    let parts = |keys: &str| service(keys).conditions.when_changed.unwrap();
    assert_eq!(
        parts(", when_changed: [/run/x, p]").profiles[&"p".into()],
        Parts::Whole
    );
    let pointers = parts(", when_changed: {p: [/a, '']}");
    assert!(pointers.targets.is_empty());
    let wanted = Parts::Pointers(vec!["/a".to_owned(), String::new()]);
    assert_eq!(pointers.profiles[&"p".into()], wanted);
}

#[test]
fn when_a_service_is_notified_is_no_part_of_what_it_is() {
    let definition = |keys: &str| {
        let settings = settings(&format!(
            "profiles: {{p: {{application: a, environment: e}}}}\n\
             targets: {{/run/x: {{from: p, notify: app}}}}\nservices: {{app: {{command: [reload]{keys}}}}}\n"
        ));
        serde_json::to_string(&settings.services[&ServiceName::from("app")]).unwrap()
    };
    let paced = ", splay: 5m, when_changed: p, on_start: always, give_up_after: 1h";
    assert_eq!(definition(""), definition(paced));
    assert_ne!(definition(""), definition(", timeout: 5s"));
}

#[test]
fn the_least_interval_depends_on_who_is_asked() {
    let profile = "profiles: {p: {application: a, environment: e, poll_interval: 1s}}\n";
    let endpoint = |url: &str| format!("aws: {{endpoint_url: \"{url}\"}}\n{profile}");
    assert_eq!(messages(profile), ["`1s` is too short an interval"]);
    assert_eq!(
        messages(&endpoint("https://example.com")),
        ["`1s` is too short an interval"]
    );
    settings(&endpoint("http://127.0.0.1:2772"));
    settings(&format!("local: {{directory: .}}\n{profile}"));
    let url = Some("http://localhost:2772".to_owned());
    let loopback = Circumstances {
        endpoint_url: url,
        ..Circumstances::default()
    };
    assert!(understood(profile, &loopback).is_ok());
    // What the settings say wins over the environment.
    assert!(understood(&endpoint("https://example.com"), &loopback).is_err());
}

#[test]
fn local_is_asked_every_two_seconds_and_aws_every_minute() {
    let profile = "profiles: {p: {application: a, environment: e}}\n";
    let interval = |text: &str| settings(text).profiles[&ProfileName::from("p")].poll_interval;
    assert_eq!(interval(profile), Duration::from_secs(60));
    assert_eq!(
        interval(&format!("local: {{directory: .}}\n{profile}")),
        Duration::from_secs(2)
    );
}

#[test]
fn a_mistake_in_one_file_does_not_hide_those_of_another() {
    let main = (
        "main.yaml".into(),
        "profiles: {p: {aplication: a, environment: e}}\n".to_owned(),
    );
    let more = (
        "more.yaml".into(),
        "targets: {x: {from: nobody}}\n".to_owned(),
    );
    let texts = Texts::new(main, vec![more]);
    let problems = interpret(texts, Path::new("/e/main.yaml"), &Circumstances::default());
    let problems = problems.unwrap_err();
    let files: Vec<String> = problems
        .list
        .iter()
        .map(|problem| problem.file.display().to_string())
        .collect();
    assert_eq!(files, ["main.yaml", "main.yaml", "more.yaml", "more.yaml"]);
}

/// The fuller example with one piece cut out and another text put in its place.
fn damaged() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "\\PC{0,8}",
        "[-{}\\[\\]:,&*!|>'\"%@#?~<\\t\\n ]{0,5}",
        Just("null".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("99999999999999999999h%KiB".to_owned()),
    ];
    (0..FULLER.chars().count(), 0usize..12, piece).prop_map(|(at, length, piece)| {
        let before: String = FULLER.chars().take(at).collect();
        let after: String = FULLER.chars().skip(at + length).collect();
        format!("{before}{piece}{after}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*") {
        if let Err(problems) = understood(&text, &Circumstances::default()) {
            prop_assert!(problems.errors() > 0);
            let _ = problems.to_string();
        }
    }

    #[test]
    fn damaged_settings_are_read_or_turned_down_at_a_place(text in damaged()) {
        if let Err(problems) = understood(&text, &Circumstances::default()) {
            prop_assert!(problems.errors() > 0);
            prop_assert!(problems.list.iter().all(|problem| problem.line > 0 && problem.column > 0));
            let _ = problems.to_string();
        }
    }
}
