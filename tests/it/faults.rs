//! `run` against `serve` under every fault: nothing torn, nothing lost, no call too many.

use std::fs;

use serde_json::{Value, json};

use crate::world::{Server, World, wait_for};

const PROFILE: &str = "shop/prod/limits";
const TARGET: &str = "/etc/app/limits.json";
/// With an interval that no test waits for, every call is either the least that is needed or the price of a fault.
const SLOW: &str = "profiles:\n  limits: {poll_interval: 60s}\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {command: [sh, -c, echo told >> told]}\n";
const FAST: &str = "profiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {command: [sh, -c, echo told >> told]}\n";

/// A world with the first version deployed, its server, and these settings.
fn world(lines: &str) -> (World, Server) {
    World::served(&[("shop/prod/limits.json", &version(1))], lines)
}

/// What the first version costs with this fault on one call: the calls, counted once the service has been told.
fn calls_of_a_start(fault: &Value) -> Value {
    let (world, server) = world(SLOW);
    server.faults(json!([fault]));
    let daemon = world.run();
    wait_for(&format!("the service is told under {fault}"), || {
        whole(&world, &[1]);
        world.read("told")
    });
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    assert_eq!(world.read("told").unwrap(), "told\n", "{fault}");
    assert_eq!(daemon.stop(), Some(0));
    server.calls(PROFILE)
}

fn version(number: u32) -> String {
    format!(
        r#"{{"version": {number}, "padding": "{}"}}"#,
        "x".repeat(50_000)
    )
}

/// The target is not there, or exactly one of these versions.
fn whole(world: &World, versions: &[u32]) {
    if let Ok(found) = fs::read_to_string(world.target(TARGET)) {
        let known = versions.iter().any(|number| version(*number) == found);
        assert!(known, "torn: {} bytes", found.len());
    }
}

/// Holds what each fault on one call of this operation costs.
fn costs(operation: &str, cases: &[(&str, &Value)]) {
    std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .iter()
            .map(|(kind, expected)| {
                let fault = json!({
                    "kind": kind, "operation": operation, "count": 1, "delay_ms": 300, "bytes": 10
                });
                scope.spawn(move || (kind, expected, calls_of_a_start(&fault)))
            })
            .collect();
        for case in running {
            let (kind, expected, calls) = case.join().unwrap();
            assert_eq!(&&calls, expected, "{kind} on {operation}");
        }
    });
}

fn calls(start: u64, get: u64, received: u64, early: u64, rejected: u64) -> Value {
    json!({"start": start, "get": get, "received": received, "early": early, "rejected": rejected})
}

#[test]
fn a_fault_while_a_session_starts_costs_one_call() {
    // Nothing was carried out, or the session that nobody heard of is left alone: start again.
    let once_more = calls(2, 1, 1, 0, 0);
    costs(
        "start",
        &[
            ("throttle", &once_more),
            ("internal_error", &once_more),
            ("drop_before", &once_more),
            ("drop_after", &once_more),
            ("truncate", &once_more),
            // Late is not lost.
            ("delay", &calls(1, 1, 1, 0, 0)),
        ],
    );
}

#[test]
fn a_fault_while_a_configuration_is_fetched_costs_as_little_as_can_be() {
    // The token was not spent: it is sent once more.
    let once_more = calls(1, 2, 1, 0, 0);
    // The token was spent by an answer that never came: it is sent once more, refused, and the session renewed. What was
    // on its way is sent again by the new session.
    let renewed = calls(2, 3, 2, 0, 1);
    costs(
        "get",
        &[
            ("throttle", &once_more),
            ("internal_error", &once_more),
            ("drop_before", &once_more),
            ("drop_after", &renewed),
            ("truncate", &renewed),
            ("delay", &calls(1, 1, 1, 0, 0)),
        ],
    );
}

#[test]
fn a_change_arrives_once_and_whole_under_every_fault_in_a_row() {
    let (world, server) = world(FAST);
    let daemon = world.run();
    wait_for("the first version is told", || world.read("told"));
    let kinds = ["drop_after", "internal_error", "truncate", "drop_before"];
    let mut told = "told\n".to_owned();
    for (number, kind) in (2..).zip(kinds) {
        server.faults(json!([{"kind": kind, "operation": "get", "count": 1, "bytes": 1000}]));
        world.deploy("shop/prod/limits.json", version(number));
        told.push_str("told\n");
        wait_for(&format!("version {number} is told under {kind}"), || {
            whole(&world, &[number - 1, number]);
            (world.read("told")? == told).then_some(())
        });
        assert_eq!(
            fs::read_to_string(world.target(TARGET)).unwrap(),
            version(number)
        );
        wait_for("the fault has happened", || {
            let (_, left) = server.control("GET", "/_local/faults", &Value::Null);
            left["faults"].as_array()?.is_empty().then_some(())
        });
    }
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(world.read("told").unwrap(), told);
    assert_eq!(server.count(PROFILE, "early"), 0);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_restart_receives_nothing_again_and_keeps_the_session() {
    let (world, server) = world(FAST);
    for _ in 0..3 {
        let daemon = world.run();
        let before = server.count(PROFILE, "get");
        wait_for("two more polls", || {
            (server.count(PROFILE, "get") >= before + 2).then_some(())
        });
        // SIGTERM while a poll is under way, as it may be.
        server.faults(json!([{"kind": "delay", "operation": "get", "delay_ms": 400, "count": 1}]));
        let polled = server.count(PROFILE, "get");
        wait_for("a poll is under way", || {
            (server.count(PROFILE, "get") > polled).then_some(())
        });
        assert_eq!(daemon.stop(), Some(0));
    }
    let calls = server.calls(PROFILE);
    assert_eq!(calls["start"], 1, "{calls}");
    assert_eq!(calls["received"], 1, "{calls}");
    assert_eq!(calls["rejected"], 0, "{calls}");
    assert_eq!(calls["early"], 0, "{calls}");
    assert_eq!(world.read("told").unwrap(), "told\n");
}

#[test]
fn a_kill_in_the_middle_of_a_poll_costs_at_most_a_session() {
    let (world, server) = world(FAST);
    let daemon = world.run();
    wait_for("the first version is told", || world.read("told"));
    server.faults(json!([{"kind": "delay", "operation": "get", "delay_ms": 300, "count": 1}]));
    let polled = server.count(PROFILE, "get");
    wait_for("a poll is under way", || {
        (server.count(PROFILE, "get") > polled).then_some(())
    });
    world.deploy("shop/prod/limits.json", version(2));
    daemon.kill();
    let daemon = world.run();
    world.wait_for_target(TARGET, &version(2));
    world.wait_for_status("/state", &json!("healthy"));
    assert!(server.count(PROFILE, "start") <= 2);
    assert_eq!(world.read("told").unwrap(), "told\ntold\n");
    assert_eq!(daemon.stop(), Some(0));
}
