//! `wait` and `events`: what an operator, or a script of theirs, asks a host.

use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};

use serde_json::{Value, json};

use crate::world::{World, stderr, stdout, wait_for};

const LINES: &str = "profiles:\n  limits: {validate: {format: json}}\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {check: [\"true\"], command: [\"true\"]}\n";
const SERVED: [(&str, &str); 1] = [("shop/prod/limits.json", "{}")];

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// Ends with the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn wait_ends_when_all_is_in_place_or_when_only_an_operator_can_help() {
    let (world, server) = World::served(&SERVED, LINES);
    let nobody = world.output(&["wait", "--timeout", "0s"]);
    assert_eq!(code(&nobody), Some(3), "{}", stderr(&nobody));
    let daemon = world.run();
    let waited = world.output(&["wait"]);
    assert_eq!(
        code(&waited),
        Some(0),
        "{}\n{}",
        stderr(&waited),
        world.log()
    );
    assert_eq!(stdout(&waited) + &stderr(&waited), "");
    assert_eq!(world.status().unwrap()["state"], "healthy");
    assert_eq!(
        code(&world.output(&["wait", "limits", "--timeout", "0s"])),
        Some(0)
    );
    let unknown = world.output(&["wait", "limit"]);
    assert_eq!(code(&unknown), Some(66), "{}", stderr(&unknown));

    world.deploy(SERVED[0].0, "{");
    world.wait_for_status("/profiles/limits/state", &json!("refused"));
    let refused = world.output(&["wait", "limits"]);
    assert_eq!(code(&refused), Some(1));
    let said = stderr(&refused);
    assert!(
        said.starts_with("error: profile `limits` is refused: not JSON"),
        "{said}"
    );

    world.deploy(SERVED[0].0, "{\"n\": 1}");
    world.wait_for_status("/state", &json!("healthy"));
    server.stop();
    world.wait_for_status("/profiles/limits/state", &json!("unreachable"));
    let lost = world.output(&["wait", "--timeout", "100ms"]);
    assert_eq!(code(&lost), Some(75));
    let said = stderr(&lost);
    assert!(
        said.starts_with("error: not in time: profile `limits` is unreachable: "),
        "{said}"
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn events_are_the_latest_outcomes_whatever_the_log_level_is_and_go_on_when_followed() {
    let (world, _server) = World::served(&SERVED, LINES);
    assert_eq!(code(&world.output(&["events"])), Some(3));
    let daemon = world.run_by(world.command(&["run", "--log-level", "error"]));
    assert_eq!(code(&world.output(&["wait"])), Some(0));
    wait_for("ready", || {
        stdout(&world.output(&["events"]))
            .contains(" ready\n")
            .then_some(())
    });
    let output = world.output(&["events", "--json"]);
    assert_eq!(code(&output), Some(0));
    let events: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&str> = events
        .iter()
        .map(|one| one["event"].as_str().unwrap())
        .collect();
    for name in ["received", "installed", "service_notified", "ready"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let installed = events
        .iter()
        .find(|one| one["event"] == "installed")
        .unwrap();
    assert_eq!(installed["targets"], "/etc/app/limits.json");
    assert_eq!(installed["level"], "info");
    assert_eq!(world.log(), "", "the log has errors only");

    let mut follow = world.command(&["events", "--follow"]);
    let follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut follow = Killed(follow.unwrap());
    let mut lines = BufReader::new(follow.0.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains(" received profiles=limits "), "{first}");
    world.deploy(SERVED[0].0, "{");
    // The daemon's end ends it, so this does not wait for ever.
    world.wait_for_status("/profiles/limits/state", &json!("refused"));
    assert_eq!(daemon.stop(), Some(0));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let refused = rest
        .iter()
        .find(|line| line.contains(" ERROR version refused profiles=limits "));
    assert!(refused.is_some(), "{rest:?}");
    let ended = wait_for("the follower ends", || follow.0.try_wait().unwrap());
    assert_eq!(ended.code(), Some(3));
}
