//! Pace and conditions of services, and notifications that are tried again: the program, a server, real commands.

use std::fs;

use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};
use serde_json::json;

use crate::stand::unwrapped;
use crate::world::{Daemon, Server, World, wait_for};

const FILE: &str = "/etc/app/limits.json";
const SERVED: [(&str, &str); 1] = [("shop/prod/limits.json", r#"{"n": 1, "x": 1}"#)];

/// A world in which `app` says that it was told, with what lies there, and has these keys.
fn told(keys: &str) -> (World, Server) {
    let lines = format!(
        "profiles:\n  limits:\ntargets:\n  {FILE}: {{from: limits, notify: app}}\nservices:\n  app: {{command: {{shell: \"cat root{FILE} >> told\"}}, on_failure: keep, {keys}}}\n"
    );
    World::served(&SERVED, &lines)
}

fn version(number: u32) -> String {
    format!(r#"{{"n": {number}, "x": {number}}}"#)
}

/// Waits until the daemon has the version and has not put it in place; what it says.
fn waits(world: &World, number: u32) -> String {
    let text = version(number);
    let digest = appconfigd::protocol::Digest::of(text.as_bytes()).to_string();
    world.wait_for_status("/profiles/limits/received/digest", &json!(digest));
    wait_for("it waits", || {
        let status = world.status()?;
        let reason = status["profiles"]["limits"]["reason"].as_str()?;
        reason
            .starts_with("waits until ")
            .then(|| reason.to_owned())
    })
}

/// A daemon that listens: until then the status is what the ledger says.
fn run(world: &World) -> Daemon {
    let daemon = world.run();
    let pid = json!(daemon.pid().as_raw());
    world.wait_for_status("/daemon/pid", &pid);
    daemon
}

fn order(world: &World, arguments: &[&str]) -> String {
    let output = world.output(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn a_newer_version_waits_in_the_daemon_and_over_a_restart_and_the_newest_comes() {
    let (world, _server) = told("min_interval: 1h");
    let daemon = run(&world);
    let first = SERVED[0].1;
    world.wait_for_target(FILE, first);
    wait_for("the first is told", || world.read("told"));
    for number in [2, 3] {
        world.deploy("shop/prod/limits.json", version(number));
        let reason = waits(&world, number);
        let what = "`min_interval` of service `app`; `appconfigd retry` does not wait";
        assert!(
            reason.starts_with("waits until 20") && reason.ends_with(what),
            "{reason}"
        );
    }
    daemon.kill();
    let daemon = run(&world);
    assert!(waits(&world, 3).contains("`min_interval`"));
    let refresh = world.output(&["refresh"]);
    assert_eq!(refresh.status.code(), Some(1), "{refresh:?}");
    let plan = world.output(&["plan"]);
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(plan.contains("+{\"n\": 3, \"x\": 3}"), "{plan}");
    assert!(plan.contains("service app would be notified"), "{plan}");
    assert!(plan.contains("waits until 20"), "{plan}");
    assert_eq!(world.read("told").as_deref(), Some(first));
    order(&world, &["retry"]);
    assert_eq!(world.read("told"), Some(format!("{first}{}", version(3))));
    order(&world, &["rollback", "limits"]);
    assert_eq!(fs::read_to_string(world.target(FILE)).unwrap(), version(2));
    order(&world, &["release", "limits"]);
    assert_eq!(fs::read_to_string(world.target(FILE)).unwrap(), version(3));
    world.deploy("shop/prod/limits.json", version(4));
    waits(&world, 4);
    assert_eq!(daemon.stop(), Some(0));
    // By hand nothing waits.
    order(&world, &["once"]);
    assert_eq!(fs::read_to_string(world.target(FILE)).unwrap(), version(4));
}

#[test]
fn a_first_file_is_not_kept_waiting_by_a_window_and_the_next_is() {
    // Open tomorrow for an hour, in a zone that is a day ahead of others.
    let zone = TimeZone::get("Pacific/Auckland").unwrap();
    let opens = Zoned::new(Timestamp::now() + SignedDuration::from_hours(24), zone);
    let opens = opens
        .with()
        .minute(0)
        .second(0)
        .subsec_nanosecond(0)
        .build()
        .unwrap();
    let closes = &opens + SignedDuration::from_hours(1);
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let day = days[usize::try_from(opens.weekday().to_monday_zero_offset()).unwrap()];
    let window = format!(
        "window: {{days: {day}, from: \"{:02}:00\", to: \"{:02}:00\", zone: Pacific/Auckland}}",
        opens.hour(),
        closes.hour()
    );
    let (world, _server) = told(&window);
    let _daemon = run(&world);
    world.wait_for_target(FILE, SERVED[0].1);
    world.deploy("shop/prod/limits.json", version(2));
    let reason = waits(&world, 2);
    let until = format!(
        "waits until {}: `window` of service `app`",
        opens.timestamp()
    );
    assert!(reason.starts_with(&until), "{reason}; {until}");
    let status = world.output(&["status"]);
    let screen = String::from_utf8(status.stdout).unwrap();
    assert!(unwrapped(&screen).join("\n").contains(&until), "{screen}");
    // Somebody else's change is put back at any time.
    fs::write(world.target(FILE), "theirs").unwrap();
    world.wait_for_target(FILE, SERVED[0].1);
}

#[test]
fn a_change_elsewhere_in_the_file_tells_nobody() {
    let (world, _server) = told(&format!("when_changed: {{{FILE}: /n}}"));
    let _daemon = run(&world);
    world.wait_for_target(FILE, SERVED[0].1);
    wait_for("the first is told", || world.read("told"));
    world.deploy("shop/prod/limits.json", r#"{"n": 1, "x": 2}"#);
    world.wait_for_target(FILE, r#"{"n": 1, "x": 2}"#);
    world.wait_for_status("/profiles/limits/state", &json!("current"));
    world.deploy("shop/prod/limits.json", r#"{"n": 2, "x": 2}"#);
    world.wait_for_target(FILE, r#"{"n": 2, "x": 2}"#);
    let all = format!("{}{}", SERVED[0].1, r#"{"n": 2, "x": 2}"#);
    wait_for("the part is told", || {
        (world.read("told")? == all).then_some(())
    });
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
}

#[test]
fn who_wants_to_hear_of_every_start_is_told_once_a_start_and_not_by_a_reload_or_once() {
    let (world, _server) = told("on_start: always");
    let lines = |world: &World| {
        world
            .read("told")
            .unwrap_or_default()
            .matches("\"n\"")
            .count()
    };
    let first = run(&world);
    wait_for("the first start", || (lines(&world) == 1).then_some(()));
    assert_eq!(first.stop(), Some(0));
    let second = run(&world);
    wait_for("the second start", || (lines(&world) == 2).then_some(()));
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    let settings = fs::read_to_string(world.path("appconfigd.yaml")).unwrap();
    world.write(
        "appconfigd.yaml",
        &settings.replace("on_failure: keep", "timeout: 9s"),
    );
    order(&world, &["reload"]);
    world.deploy("shop/prod/limits.json", version(2));
    wait_for("the next version", || (lines(&world) == 3).then_some(()));
    assert_eq!(second.stop(), Some(0));
    order(&world, &["once"]);
    assert_eq!(lines(&world), 3);
}

#[test]
fn a_notification_is_given_up_after_its_time_and_begun_anew_by_hand() {
    let (world, _server) = told("give_up_after: 2s");
    let settings = fs::read_to_string(world.path("appconfigd.yaml")).unwrap();
    let failing = settings.replace("cat root", "test -e up && cat root");
    world.write("appconfigd.yaml", &failing);
    let daemon = run(&world);
    let status = wait_for("it is given up", || {
        let status = world.status()?;
        let result = status["services"]["app"]["last_result"].as_str()?;
        result
            .starts_with("given up after 2s: ")
            .then(|| status.clone())
    });
    assert_eq!(status["services"]["app"]["state"], "failed");
    assert_eq!(daemon.stop(), Some(0));
    let _daemon = run(&world);
    world.wait_for_status("/services/app/state", &json!("failed"));
    world.write("up", "");
    order(&world, &["retry"]);
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    assert_eq!(world.read("told").as_deref(), Some(SERVED[0].1));
}

#[test]
fn versions_that_come_while_a_notification_runs_are_exactly_one_more_with_the_newest() {
    let (world, _server) = told("timeout: 50s");
    let settings = fs::read_to_string(world.path("appconfigd.yaml")).unwrap();
    let slow = "touch begun; while [ -e slow ]; do sleep 0.05; done; cat root";
    world.write("appconfigd.yaml", &settings.replace("cat root", slow));
    let daemon = run(&world);
    wait_for("the first is told", || world.read("told"));
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    world.write("slow", "");
    fs::remove_file(world.path("begun")).unwrap();
    world.deploy("shop/prod/limits.json", version(2));
    wait_for("it runs", || world.read("begun"));
    for number in [3, 4] {
        world.deploy("shop/prod/limits.json", version(number));
        let text = version(number);
        let digest = appconfigd::protocol::Digest::of(text.as_bytes()).to_string();
        world.wait_for_status("/profiles/limits/received/digest", &json!(digest));
    }
    fs::remove_file(world.path("slow")).unwrap();
    world.wait_for_target(FILE, &version(4));
    wait_for("the newest is told", || {
        world.read("told")?.ends_with(&version(4)).then_some(())
    });
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    // What was told while it ran reads the file when it is let go, and that is the version of its transaction.
    let all = [1, 2, 4].map(version).concat();
    assert_eq!(
        world.read("told").as_deref(),
        Some(&*all),
        "{}",
        world.log()
    );
    assert_eq!(daemon.stop(), Some(0));
}
