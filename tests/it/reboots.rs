//! The agent dies at each step around a notification, and the host boots again: the runtime directory is gone, state and
//! files are kept. Services are told at least once, of the newest, and in the end of nothing that went back.

use std::fs;

use serde_json::json;

use crate::world::{Daemon, Server, World, wait_for};

const FILE: &str = "/run/app/limits.txt";
/// Where the agent dies: in the check, before and after the service has read its file, in the probe.
const STEPS: [&str; 4] = ["check", "before", "after", "probe"];

/// A world whose service notes what it was told of; where a file `die-STEP` lies, that step kills the agent. Versions with
/// `worse` in them fail in the probe.
fn fragile() -> (World, Server) {
    let die =
        |step: &str| format!("test ! -e die-{step} || {{ rm die-{step}; kill -9 $PPID; exit 1; }}");
    let file = format!("root{FILE}");
    let lines = format!(
        "profiles:\n  limits:\ntargets:\n  {FILE}: {{from: limits, notify: app}}\nservices:\n  app:\n    check: {{shell: '{}'}}\n    command: {{shell: '{}; cat {file} >> told; {}'}}\n    probe: {{command: [sh, -c, '{}; ! grep -q worse {file}'], within: 2s, interval: 100ms}}\n",
        die("check"),
        die("before"),
        die("after"),
        die("probe"),
    );
    let (world, server) = World::served(&[("shop/prod/limits.txt", "one\n")], &lines);
    fs::create_dir_all(world.target("/run/appconfigd")).unwrap();
    (world, server)
}

/// A daemon that listens: until then the status is what the ledger says.
fn run(world: &World) -> Daemon {
    let daemon = world.run();
    let pid = json!(daemon.pid().as_raw());
    world.wait_for_status("/daemon/pid", &pid);
    daemon
}

fn told(world: &World) -> Vec<String> {
    let told = world.read("told").unwrap_or_default();
    told.lines().map(str::to_owned).collect()
}

/// One version stands, the next one kills the agent at this step; then the host boots.
fn dies_at(world: &World, step: &str, version: &str) {
    let mut daemon = run(world);
    world.wait_for_target(FILE, "one\n");
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    world.write(&format!("die-{step}"), "");
    world.deploy("shop/prod/limits.txt", version);
    assert_eq!(daemon.wait(), None, "{step}: it is killed");
    fs::remove_dir_all(world.target("/run/appconfigd")).unwrap();
}

#[test]
fn after_a_death_at_any_step_around_a_notification_and_a_boot_the_newest_is_told() {
    for (number, step) in STEPS.iter().enumerate() {
        let (world, _server) = fragile();
        dies_at(&world, step, "two\n");
        // A tmpfs loses the file as well.
        if number % 2 == 0 {
            fs::remove_file(world.target(FILE)).unwrap();
        }
        world.deploy("shop/prod/limits.txt", "three\n");
        let daemon = run(&world);
        world.wait_for_target(FILE, "three\n");
        wait_for("the newest is told", || {
            (told(&world).last()? == "three").then_some(())
        });
        world.wait_for_status("/services/app/state", &json!("acknowledged"));
        world.wait_for_status("/state", &json!("healthy"));
        assert_eq!(daemon.stop(), Some(0), "{step}");
        assert_eq!(
            told(&world).iter().filter(|line| *line == "three").count(),
            1,
            "{step}"
        );
    }
}

#[test]
fn after_a_death_at_any_step_and_a_boot_a_version_that_went_back_is_not_what_a_service_was_told_of_last()
 {
    for step in STEPS {
        let (world, _server) = fragile();
        dies_at(&world, step, "worse\n");
        let daemon = run(&world);
        world.wait_for_status("/profiles/limits/state", &json!("quarantined"));
        world.wait_for_target(FILE, "one\n");
        world.wait_for_status("/services/app/state", &json!("acknowledged"));
        assert_eq!(
            told(&world).last().map(String::as_str),
            Some("one"),
            "{step}"
        );
        assert_eq!(daemon.stop(), Some(0), "{step}");
        let before = told(&world);
        let daemon = run(&world);
        world.wait_for_status("/services/app/state", &json!("acknowledged"));
        assert_eq!(daemon.stop(), Some(0), "{step}");
        assert_eq!(
            told(&world),
            before,
            "{step}: what is known is not told again"
        );
    }
}
