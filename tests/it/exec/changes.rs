//! Versions on their way to a child: told, refused, gone back.

use serde_json::json;

use super::*;

#[test]
fn a_new_version_starts_the_child_again_and_is_acknowledged_when_that_has_stayed_up() {
    let (world, _server) = world(PLAIN);
    let exec = app(&world);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    let first = pid_in(&world, "pid");
    world.deploy("shop/prod/app.json", r#"{"v":2}"#);
    wait_for_events(&world, &[r#"start {"v":1}"#, "term", r#"start {"v":2}"#]);
    assert!(is_dead(first));
    world.wait_for_status("/services/exec/last_result", &json!("accepted"));
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(exec.stop(), Some(7), "{}", world.log());
}

#[test]
fn a_child_that_ends_by_its_new_version_gets_the_one_before_back_and_runs_on_with_it() {
    let (world, _server) = world(PLAIN);
    let exec = app(&world);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    world.deploy("shop/prod/app.json", r#"{"die":2}"#);
    let all = [
        r#"start {"v":1}"#,
        "term",
        r#"start {"die":2}"#,
        r#"no to {"die":2}"#,
        r#"start {"v":1}"#,
    ];
    wait_for_events(&world, &all);
    let status = world.wait_for_status("/profiles/app/state", &json!("quarantined"));
    let reason = status["profiles"]["app"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("the child exited with status 3"),
        "{reason}"
    );
    world.wait_for_status("/services/exec/state", &json!("acknowledged"));
    // It is well with what it has: the next version is tried.
    world.deploy("shop/prod/app.json", r#"{"v":3}"#);
    wait_for("the third version is read", || {
        (events(&world).last()? == r#"start {"v":3}"#).then_some(())
    });
    assert_eq!(exec.stop(), Some(7), "{}", world.log());
}

#[test]
fn what_is_refused_before_the_swap_never_reaches_the_child() {
    let (world, _server) = world(PLAIN);
    let exec = app(&world);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    world.deploy("shop/prod/app.json", "not json");
    world.wait_for_status("/profiles/app/state", &json!("refused"));
    assert_eq!(events(&world), [r#"start {"v":1}"#]);
    assert_eq!(exec.stop(), Some(7), "{}", world.log());
}

#[test]
fn a_child_that_reads_its_files_on_a_signal_gets_it_and_goes_on() {
    let (world, _server) = world(&declared("on_change: {signal: HUP}", ", on_failure: keep"));
    let exec = app(&world);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    let first = pid_in(&world, "pid");
    world.deploy("shop/prod/app.json", r#"{"v":2}"#);
    wait_for_events(&world, &[r#"start {"v":1}"#, r#"hup {"v":2}"#]);
    assert!(!is_dead(first));
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    assert_eq!(exec.stop(), Some(7), "{}", world.log());
}

#[test]
fn a_child_that_ends_by_the_signal_gets_its_files_back_and_is_started_with_them() {
    let child = "on_change: {signal: HUP}, restart: always";
    let (world, _server) = world(&declared(child, ", check: [\"true\"]"));
    let exec = app(&world);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    world.deploy("shop/prod/app.json", r#"{"die":2}"#);
    // `restart: always` does not start it with the version that it ended by.
    let all = [
        r#"start {"v":1}"#,
        r#"hup {"die":2}"#,
        r#"no to {"die":2}"#,
        r#"start {"v":1}"#,
    ];
    wait_for_events(&world, &all);
    world.wait_for_status("/profiles/app/state", &json!("quarantined"));
    assert_eq!(exec.stop(), Some(7), "{}", world.log());
}

#[test]
fn a_probe_that_says_no_sends_the_files_back_and_the_child_is_told_again() {
    let probe = ", probe: {command: [sh, -c, '! grep bad root/etc/app.json'], within: 2s}";
    let (world, _server) = world(&declared("", probe));
    let exec = app(&world);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    world.deploy("shop/prod/app.json", r#"{"bad":2}"#);
    let all = [
        r#"start {"v":1}"#,
        "term",
        r#"start {"bad":2}"#,
        "term",
        r#"start {"v":1}"#,
    ];
    wait_for_events(&world, &all);
    world.wait_for_status("/profiles/app/state", &json!("quarantined"));
    assert_eq!(exec.stop(), Some(7), "{}", world.log());
}

#[test]
fn a_child_that_may_keep_bad_versions_ends_by_them_as_its_rule_says() {
    let (world, _server) = world(&declared("", ", on_failure: keep"));
    let mut exec = app(&world);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    world.deploy("shop/prod/app.json", r#"{"die":2}"#);
    assert_eq!(exec.wait(), Some(3), "{}", world.log());
    assert_eq!(world.read("root/etc/app.json").unwrap(), r#"{"die":2}"#);
}

#[test]
fn a_new_version_ends_the_rest_of_a_child_that_fails_with_the_old_one() {
    let (world, _server) = world(&declared("restart: on-failure", ""));
    world.deploy("shop/prod/app.json", r#"{"die":1}"#);
    let exec = app(&world);
    // By its third failure it rests for seconds.
    wait_for("it has failed three times", || {
        (events(&world).len() >= 6).then_some(())
    });
    world.deploy("shop/prod/app.json", r#"{"v":2}"#);
    wait_for("the version that helps is read", || {
        (events(&world).last()? == r#"start {"v":2}"#).then_some(())
    });
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    assert_eq!(exec.stop(), Some(7), "{}", world.log());
}

#[test]
fn a_watch_tells_the_child_of_files_that_are_not_ours() {
    let key = "root/etc/key.pem";
    for (on_change, answer) in [
        ("{signal: HUP}", &[r#"hup {"v":1}"#][..]),
        ("restart", &["term", r#"start {"v":1}"#]),
    ] {
        let lines = declared(&format!("on_change: {on_change}"), "");
        let watch = "watches: {keys: {paths: /etc/key.pem, notify: app}}\n";
        let (world, _server) = world(&format!("{lines}{watch}"));
        world.write(key, "one");
        let exec = app(&world);
        let mut expected = vec![r#"start {"v":1}"#];
        wait_for_events(&world, &expected);
        wait_for_log(&world, "looked at");
        for text in ["two", "three"] {
            world.write(key, text);
            expected.extend(answer);
            wait_for_events(&world, &expected);
        }
        world.wait_for_status("/services/app/state", &json!("acknowledged"));
        assert_eq!(exec.stop(), Some(7), "{}", world.log());
    }
}

#[test]
fn a_child_that_wants_to_hear_of_every_start_of_ours_is_started_once_and_told_nothing_more() {
    let child = "command: [sh, app.sh], on_change: {signal: HUP}";
    let (world, _server) = world(&declared(child, ", on_start: always"));
    let exec = exec(&world, &["exec", "--log-level", "debug"]);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    world.deploy("shop/prod/app.json", r#"{"v":2}"#);
    wait_for_events(&world, &[r#"start {"v":1}"#, r#"hup {"v":2}"#]);
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    assert_eq!(exec.stop(), Some(7), "{}", world.log());
}
