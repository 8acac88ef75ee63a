use super::*;
use crate::settings::{AwsSettings, OnDrift, ProfileName, SourceSettings, TargetPath, Validate};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn profile(name: &str, validate: Validate) -> Profile {
    Profile {
        name: name.into(),
        application: "a".to_owned(),
        environment: "e".to_owned(),
        configuration_profile: name.to_owned(),
        poll_interval: Duration::from_secs(60),
        required: false,
        sensitive: false,
        validate,
        assume_role: None,
    }
}

fn of(format: Format) -> Validate {
    Validate {
        format: Some(format),
        ..Validate::default()
    }
}

pub(super) fn target(from: &[&str], render: Render) -> Target {
    Target {
        path: TargetPath::new("/t").expect("a path"),
        from: from.iter().map(|name| ProfileName::from(*name)).collect(),
        render,
        owner: None,
        group: None,
        mode: None,
        in_place: false,
        symlink: Default::default(),
        unsafe_path: false,
        parents: None,
        validate_command: None,
        notify: Vec::new(),
        on_drift: OnDrift::Restore,
        sensitive: false,
    }
}

fn settings(directory: &Path, profiles: Vec<Profile>, targets: Vec<Target>) -> Settings {
    let profiles = profiles.into_iter();
    let targets = targets.into_iter();
    Settings {
        file: directory.join("appconfigd.yaml"),
        directory: directory.to_owned(),
        source: SourceSettings::Aws(AwsSettings::default()),
        root: None,
        ready_timeout: Duration::from_secs(300),
        stop_timeout: Duration::from_secs(30),
        metrics: None,
        profiles: profiles
            .map(|one| (one.name.clone(), Arc::new(one)))
            .collect(),
        targets: targets
            .map(|one| (one.path.clone(), Arc::new(one)))
            .collect(),
        services: BTreeMap::new(),
        watches: Default::default(),
    }
}

pub(super) fn empty() -> Content {
    match Content::load(&settings(Path::new("/"), Vec::new(), Vec::new())) {
        Ok(content) => content,
        Err(errors) => panic!("{errors:?}"),
    }
}

fn configuration(bytes: impl Into<Bytes>) -> Configuration {
    Configuration::new(bytes.into(), None, None)
}

fn typed(bytes: &str, content_type: &str) -> Configuration {
    Configuration::new(bytes.to_owned().into(), Some(content_type.to_owned()), None)
}

fn verdict(validate: Validate, configuration: &Configuration, accepted: Option<u64>) -> String {
    match empty().validate(&profile("p", validate), configuration, accepted) {
        Ok(()) => "ok".to_owned(),
        Err(refused) => refused.reason,
    }
}

#[test]
fn sizes_are_judged_against_the_bounds_themselves() {
    let bounds = Validate {
        max_size: Some(8),
        max_shrink: Some(0.5),
        ..Validate::default()
    };
    let exact = Validate {
        max_shrink: Some(0.29),
        ..Validate::default()
    };
    assert_eq!(
        verdict(exact, &configuration(vec![b'x'; 71]), Some(100)),
        "ok"
    );
    let of_size = |size| configuration(vec![b'x'; size]);
    for (size, accepted, expected) in [
        (8, None, "ok"),
        (9, None, "9 bytes are more than `max_size`, 8 bytes"),
        (4, Some(8), "ok"),
        (8, Some(2), "ok"),
        (0, Some(0), "ok"),
        (
            3,
            Some(8),
            "3 bytes are too few: the accepted configuration has 8, and `max_shrink` is 50%",
        ),
    ] {
        assert_eq!(verdict(bounds.clone(), &of_size(size), accepted), expected);
    }
}

#[test]
fn the_declared_format_beats_the_content_type_which_alone_is_not_checked() {
    let broken = typed("{\n  broken", "application/json");
    assert_eq!(verdict(Validate::default(), &broken, None), "ok");
    assert_eq!(
        verdict(of(Format::Json), &broken, None),
        "not JSON: line 2 column 3: key must be a string"
    );
    assert_eq!(verdict(of(Format::Text), &broken, None), "ok");
    assert!(verdict(of(Format::Text), &configuration(&b"\xff"[..]), None).contains("not UTF-8"));
}

fn merged_as(
    format: Format,
    inputs: &[(&Profile, Option<Configuration>)],
) -> Result<String, String> {
    rendered(&empty(), Render::Merge { format }, inputs)
}

fn rendered(
    content: &Content,
    render: Render,
    inputs: &[(&Profile, Option<Configuration>)],
) -> Result<String, String> {
    let names: Vec<_> = inputs
        .iter()
        .map(|(profile, _)| profile.name.as_str())
        .collect();
    let target = target(&names, render);
    let inputs: Vec<_> = inputs
        .iter()
        .map(|(profile, configuration)| Input {
            profile,
            configuration: configuration.as_ref(),
        })
        .collect();
    match content.render(&target, &inputs) {
        Ok(bytes) => Ok(String::from_utf8(bytes.to_vec()).expect("UTF-8")),
        Err(refused) => Err(refused.reason),
    }
}

#[test]
fn a_merge_crosses_formats_leaves_out_what_is_absent_and_later_wins() {
    let (a, b, c) = (
        profile("a", of(Format::Yaml)),
        profile("b", Validate::default()),
        profile("c", of(Format::Toml)),
    );
    let inputs = [
        (&a, Some(configuration("port: 80\nhosts: [x]\nold: 1\n"))),
        (&b, None),
        (&c, Some(configuration("port = 81\n[tls]\non = true\n"))),
        (
            &b,
            Some(typed("{\"old\": null}", "application/json; charset=utf-8")),
        ),
    ];
    assert_eq!(
        merged_as(Format::Json, &inputs),
        Ok("{\n  \"port\": 81,\n  \"hosts\": [\n    \"x\"\n  ],\n  \"tls\": {\n    \"on\": true\n  }\n}\n".to_owned())
    );
    assert_eq!(
        merged_as(Format::Yaml, &inputs),
        Ok("port: 81\nhosts:\n  - x\ntls:\n  \"on\": true\n".to_owned())
    );
    assert_eq!(
        merged_as(Format::Toml, &inputs),
        Ok("port = 81\nhosts = [\"x\"]\n\n[tls]\non = true\n".to_owned())
    );
}

#[test]
fn a_merge_that_cannot_be_says_which_profile_and_why() {
    let a = profile("a", Validate::default());
    for (configuration, message) in [
        (
            Some(typed("x", "text/plain")),
            "profile `a`: text cannot be merged; set `validate.format`",
        ),
        (
            Some(configuration("{}")),
            "profile `a`: `merge` needs a format, and a missing content type names none: set `validate.format` of profile `a`",
        ),
        (
            Some(typed("hidden", "application/json")),
            "profile `a`: not JSON: line 1 column 1: expected value",
        ),
        (None, "none of its profiles has a configuration"),
    ] {
        assert_eq!(
            merged_as(Format::Json, &[(&a, configuration)]),
            Err(message.to_owned())
        );
    }
}

#[test]
fn a_template_sees_what_does_not_parse_as_a_string() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("t.j2");
    std::fs::write(&file, "{{ config }}|{{ profiles['p'] }}").expect("a file");
    let p = profile("p", Validate::default());
    let render = Render::Template { file, merge: false };
    let settings = settings(
        directory.path(),
        vec![p.clone()],
        vec![target(&["p"], render.clone())],
    );
    let content = Content::load(&settings)
        .map_err(|errors| format!("{errors:?}"))
        .expect("content");
    for (configuration, text) in [
        (Some(typed("[1]", "application/json")), "[1]|[1]"),
        (Some(typed("[1", "application/json")), "[1|[1"),
        (Some(configuration("[1]")), "[1]|[1]"),
        (Some(typed("a: 1", "text/plain")), "a: 1|a: 1"),
        (None, "null|null"),
    ] {
        assert_eq!(
            rendered(&content, render.clone(), &[(&p, configuration)]),
            Ok(text.to_owned())
        );
    }
    let binary = rendered(&content, render, &[(&p, Some(configuration(&b"\xff"[..])))]);
    assert!(binary.is_err_and(|reason| reason.contains("not UTF-8")));
}

#[test]
fn all_that_does_not_load_is_told_in_one_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let schema = directory.path().join("s.json");
    std::fs::write(&schema, "{\n \"type\": }").expect("a file");
    let validate = Validate {
        schema: Some(schema.clone()),
        ..of(Format::Json)
    };
    let render = Render::Template {
        file: directory.path().join("gone.j2"),
        merge: false,
    };
    let settings = settings(
        directory.path(),
        vec![profile("p", validate.clone()), profile("q", validate)],
        vec![target(&["p"], render)],
    );
    let errors = Content::load(&settings).err().expect("errors");
    let told: Vec<_> = errors
        .iter()
        .map(|error| (error.what.as_str(), error.at))
        .collect();
    assert_eq!(told.last(), Some(&("template of target `/t`", None)),);
    assert_eq!(told.len(), 2, "each file once: {told:?}");
    #[cfg(feature = "schema")]
    assert_eq!(
        told.first(),
        Some(&("schema of profile `p`", Some((2, 10))))
    );
}

#[test]
fn the_fingerprint_follows_every_file_that_was_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("a file");
    };
    write("t.j2", "{% include 'part' %}");
    write("part", "a");
    write("other", "a");
    let file = directory.path().join("t.j2");
    let render = Render::Template { file, merge: false };
    let settings = settings(directory.path(), Vec::new(), vec![target(&["p"], render)]);
    let settings_targets = || settings.targets.values().map(AsRef::as_ref);
    let fingerprint = || {
        Content::load(&settings)
            .map(|content| content.fingerprint(std::iter::empty(), settings_targets()))
            .ok()
    };
    let first = fingerprint();
    write("other", "b");
    assert_eq!(fingerprint(), first);
    write("part", "b");
    let second = fingerprint();
    assert!(second.is_some() && second != first);
    write("t.j2", "{% include 'part' %} ");
    assert!(![first, second].contains(&fingerprint()));
}

#[cfg(feature = "schema")]
const SCHEMA: &str = r#"{
    "type": "object", "required": ["needed"],
    "properties": {
        "a": {"type": "integer"}, "b": {"enum": ["x"]}, "c": {"const": 1}, "d": {"pattern": "^x$"},
        "e": {"maxLength": 2}, "f": {"format": "ipv4"}, "g": {"anyOf": [{"type": "null"}, {"type": "array"}]},
        "h": {"not": {"type": "string"}}, "i": false, "j": {"oneOf": [{"type": "string"}, {"minLength": 1}]},
        "k": {"items": {"type": "number"}, "uniqueItems": true, "contains": {"type": "number"}}
    }
}"#;

#[cfg(feature = "schema")]
fn content_with_schema(directory: &Path) -> (Content, Vec<Profile>) {
    let schema = directory.join("s.json");
    std::fs::write(&schema, SCHEMA).expect("a file");
    let profiles: Vec<_> = [
        ("json", Format::Json),
        ("yaml", Format::Yaml),
        ("toml", Format::Toml),
    ]
    .map(|(name, format)| {
        let validate = Validate {
            schema: Some(schema.clone()),
            ..of(format)
        };
        profile(name, validate)
    })
    .into();
    let settings = settings(directory, profiles.clone(), Vec::new());
    let content = Content::load(&settings).map_err(|errors| format!("{errors:?}"));
    (content.expect("content"), profiles)
}

proptest! {
    #[test]
    fn verbatim_is_the_identity(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let p = profile("p", Validate::default());
        let configuration = configuration(bytes.clone());
        let input = Input { profile: &p, configuration: Some(&configuration) };
        let rendered = empty().render(&target(&["p"], Render::Verbatim), &[input]);
        prop_assert_eq!(rendered.as_deref(), Ok(bytes.as_slice()));
    }
}

#[cfg(feature = "schema")]
#[test]
fn no_refusal_of_a_schema_or_format_quotes_a_value() {
    let directory = tempfile::tempdir().expect("a directory");
    let (content, profiles) = content_with_schema(directory.path());
    let secret = "S3CR3T-[a-z0-9]{6}";
    let keys = prop::collection::vec("[a-k]", 1..6);
    // a cut, a doubled part, or a wrong character makes most of these ill-formed
    let damage = (
        any::<prop::sample::Index>(),
        prop::sample::select(vec![
            "", "}", "\"", ":", "\n", "\t", "*x", "!", "&", "'", "{", "@", "=", "\\",
        ]),
        any::<bool>(),
    );
    let mut runner = proptest::test_runner::TestRunner::default();
    let outcome = runner.run(
        &(secret, keys, damage),
        |(secret, keys, (at, extra, cut))| {
            let keys: std::collections::BTreeSet<_> = keys.into_iter().collect();
            let object: serde_json::Map<_, _> = keys
                .into_iter()
                .map(|key| match key.as_str() {
                    "k" => (key, serde_json::json!([secret, secret])),
                    _ => (key, Value::String(secret.clone())),
                })
                .collect();
            let value = Value::Object(object);
            for profile in &profiles {
                let format = profile.validate.format.expect("a format");
                let whole = String::from_utf8(write::write(format, &value).expect("written"))
                    .expect("UTF-8");
                let place = at.index(whole.len());
                let rest = if cut { "" } else { &whole[place..] };
                let broken = format!("{}{extra}{rest}", &whole[..place]);
                for text in [whole.clone(), broken, whole.replace('"', "")] {
                    if let Err(refused) =
                        content.validate(profile, &configuration(text.clone()), None)
                    {
                        prop_assert!(
                            !refused.reason.contains("S3CR3T"),
                            "{text}\n{}",
                            refused.reason
                        );
                        prop_assert!(
                            !refused.reason.contains(&secret[7..]),
                            "{text}\n{}",
                            refused.reason
                        );
                    }
                }
            }
            Ok(())
        },
    );
    outcome.expect("no secret in any refusal");
}

#[cfg(feature = "schema")]
#[test]
fn a_violation_names_the_schema_the_path_and_the_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let (content, profiles) = content_with_schema(directory.path());
    let refused = content
        .validate(&profiles[1], &configuration("a: hidden\nb: hidden\n"), None)
        .expect_err("violations");
    let schema = directory.path().join("s.json");
    assert_eq!(
        refused.reason,
        format!(
            "violates schema `{}`:\n  the whole lacks `needed`\n  `/a` is string, not integer\n  \
             `/b` is none of the values that the schema lists",
            schema.display()
        )
    );
}
