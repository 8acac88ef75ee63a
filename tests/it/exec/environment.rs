//! Variables from a configuration.

use serde_json::json;

use super::*;
use crate::world::{metadata, stderr, stdout};

const SETTINGS: &str = "profiles:\n  app: {}\n  extra: {required: false}\nservices:\n  app: {child: {env: {from: [app, extra], prefix: SHOP_}}}\n";

const SHOW: &str = "env | grep '^SHOP_' | sort | tr '\\n' ' ' >>events; echo >>events; trap 'exit 7' TERM; \
                    case $SHOP_DIE in 1) exit 3;; esac; while :; do sleep 0.05 & wait $!; done";

fn lines(world: &World) -> Vec<String> {
    events(world)
        .iter()
        .map(|it| it.trim().to_owned())
        .collect()
}

fn wait_for_lines(world: &World, expected: &[&str]) {
    wait_for(
        &format!(
            "{expected:?}; it is {:?}; log:\n{}",
            lines(world),
            world.log()
        ),
        || (lines(world) == expected).then_some(()),
    );
}

#[test]
fn the_child_has_them_a_change_starts_it_again_and_a_bad_one_goes_back() {
    let (world, _server) = world(SETTINGS);
    world.deploy(
        "shop/prod/app.json",
        r#"{"db": {"host": "a b", "port": 1}}"#,
    );
    let exec = world.run_by(shell(&world, SHOW));
    wait_for_lines(&world, &["SHOP_DB_HOST=a b SHOP_DB_PORT=1"]);
    let file = world.target("/run/appconfigd/child-environment.json");
    assert_eq!(metadata(&file).2, 0o600);
    world.deploy("shop/prod/extra.json", r#"{"db": {"port": 2}}"#);
    let second = [
        "SHOP_DB_HOST=a b SHOP_DB_PORT=1",
        "SHOP_DB_HOST=a b SHOP_DB_PORT=2",
    ];
    wait_for_lines(&world, &second);
    world.deploy("shop/prod/extra.json", r#"{"die": 1}"#);
    let all = [
        second[0],
        second[1],
        "SHOP_DB_HOST=a b SHOP_DB_PORT=1 SHOP_DIE=1",
        second[1],
    ];
    wait_for_lines(&world, &all);
    world.wait_for_status("/profiles/extra/state", &json!("quarantined"));
    world.deploy("shop/prod/extra.json", r#"["none"]"#);
    world.wait_for_status("/profiles/extra/state", &json!("refused"));
    assert_eq!(lines(&world).len(), 4);
    assert_eq!(exec.stop(), Some(7), "{}", world.log());
}

#[test]
fn a_child_that_takes_signals_is_started_again_for_its_variables_only() {
    let lines = "profiles:\n  app: {}\n  variables: {}\ntargets:\n  /etc/app.json: {from: app, notify: app}\n\
         services:\n  app: {on_failure: keep, child: {on_change: {signal: HUP}, env: {from: variables, prefix: X_}}}\n";
    let (world, _server) = world(lines);
    world.deploy("shop/prod/variables.json", r#"{"a": 1}"#);
    let exec = app(&world);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    world.deploy("shop/prod/app.json", r#"{"v":2}"#);
    wait_for_events(&world, &[r#"start {"v":1}"#, r#"hup {"v":2}"#]);
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    world.deploy("shop/prod/variables.json", r#"{"a": 2}"#);
    let all = [
        r#"start {"v":1}"#,
        r#"hup {"v":2}"#,
        "term",
        r#"start {"v":2}"#,
    ];
    wait_for_events(&world, &all);
    assert_eq!(exec.stop(), Some(7), "{}", world.log());
}

#[test]
fn it_inherits_ours_but_what_is_between_us_and_the_service_manager() {
    let (world, _server) = world(PLAIN);
    let output = shell(&world, "env")
        .env("OWN", "kept")
        .env("WATCHDOG_PID", "1")
        .env("LISTEN_FDS", "1")
        .output()
        .unwrap();
    let shown = stdout(&output);
    assert!(shown.contains("OWN=kept\n"), "{shown}");
    assert!(
        !shown.contains("WATCHDOG_PID") && !shown.contains("LISTEN_FDS"),
        "{shown}"
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}
