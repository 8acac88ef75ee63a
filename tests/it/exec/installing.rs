//! Before the child is started.

use serde_json::json;

use super::*;
use crate::world::stderr;

#[test]
fn without_any_configuration_it_gives_up_in_time_and_starts_nothing() {
    let (world, server) = world(&format!("ready_timeout: 1s\n{PLAIN}"));
    server.stop();
    let output = shell(&world, "echo started >>events").output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert!(stderr(&output).contains("not ready within ready_timeout"));
    assert_eq!(events(&world), Vec::<String>::new());
}

#[test]
fn with_a_ledger_and_no_network_the_files_stand_before_the_child_starts() {
    let (world, server) = world(PLAIN);
    let exec = app(&world);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(exec.stop(), Some(7));
    server.stop();
    std::fs::remove_file(world.target("/etc/app.json")).unwrap();
    std::fs::remove_file(world.path("events")).unwrap();
    let exec = app(&world);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    assert_eq!(exec.stop(), Some(7), "{}", world.log());
}

#[test]
fn told_to_end_while_it_installs_it_starts_nothing_and_does_not_claim_success() {
    let (world, server) = world(PLAIN);
    server.faults(json!([{"kind": "delay", "operation": "any", "delay_ms": 60_000}]));
    let exec = world.run_by(shell(&world, "echo started >>events"));
    wait_for_log(&world, "started");
    let since = std::time::Instant::now();
    assert_eq!(exec.stop(), Some(128 + 15), "{}", world.log());
    assert!(since.elapsed().as_secs() < 30, "the poll is not waited for");
    assert_eq!(events(&world), Vec::<String>::new());
}

#[test]
fn killed_on_its_way_through_a_change_it_takes_that_up_before_the_child_is_started() {
    let (world, _server) = world(PLAIN);
    let exec = app(&world);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    world.deploy("shop/prod/app.json", r#"{"v":2}"#);
    wait_for_events(&world, &[r#"start {"v":1}"#, "term", r#"start {"v":2}"#]);
    // Its transaction is open until the child has stayed up.
    exec.kill();
    let exec = app(&world);
    wait_for("it reads the newest", || {
        let events = events(&world);
        let starts = events.iter().filter(|it| *it == r#"start {"v":2}"#);
        let starts = starts.count();
        assert!(starts <= 2, "{events:?}\n{}", world.log());
        (starts == 2).then_some(())
    });
    world.wait_for_status("/services/exec/state", &json!("acknowledged"));
    assert_eq!(exec.stop(), Some(7), "{}", world.log());
}
