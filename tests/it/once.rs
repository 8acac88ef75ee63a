//! `once`: exit codes, and what it polls.

use std::process::Output;

use serde_json::json;

use crate::stand::unwrapped;
use crate::world::{Server, World, wait_for};

const LINES: &str = "profiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {command: [sh, -c, echo told >> told]}\n";

fn world() -> (World, Server) {
    World::served(&[("shop/prod/limits.json", "{}")], LINES)
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

#[test]
fn once_installs_notifies_and_ends_with_0() {
    let (world, _server) = world();
    let output = world.output(&["once"]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    world.wait_for_target("/etc/app/limits.json", "{}");
    assert_eq!(world.read("told").unwrap(), "told\n");
}

#[test]
fn what_is_not_due_yet_is_not_polled_and_counts() {
    let (world, server) = world();
    let slow = LINES.replace("  limits:\n", "  limits: {poll_interval: 60s}\n");
    world.settings(&server, &slow);
    assert_eq!(code(&world.output(&["once"])), 0);
    let since = std::time::Instant::now();
    let again = world.output(&["once"]);
    assert_eq!(code(&again), 0, "{}", text(&again));
    // It does not wait for its time limit either.
    assert!(since.elapsed() < std::time::Duration::from_secs(30));
    assert!(
        text(&again).contains("NEXT POLL\n") && text(&again).contains("  in "),
        "{}",
        text(&again)
    );
    assert_eq!(server.count("shop/prod/limits", "get"), 1);
    assert_eq!(world.read("told").unwrap(), "told\n");
}

#[test]
fn a_refused_version_is_1() {
    let (world, server) = world();
    let strict = LINES.replace("  limits:\n", "  limits: {validate: {format: json}}\n");
    world.settings(&server, &strict);
    world.deploy("shop/prod/limits.json", "{");
    let output = world.output(&["once"]);
    assert_eq!(code(&output), 1, "{}", text(&output));
    assert!(text(&output).contains("refused"), "{}", text(&output));
    assert!(!world.target("/etc/app/limits.json").exists());
}

#[test]
fn an_answer_that_says_no_is_1() {
    let (world, _server) = world();
    world.withdraw("shop/prod/limits.json");
    let output = world.output(&["once", "--timeout", "5s"]);
    assert_eq!(code(&output), 1, "{}", text(&output));
}

#[test]
fn a_server_that_is_down_is_75_and_the_last_known_good_is_restored() {
    let (world, server) = world();
    assert_eq!(code(&world.output(&["once"])), 0);
    server.stop();
    std::fs::remove_file(world.target("/etc/app/limits.json")).unwrap();
    wait_for("the poll is due again", || {
        let output = world.output(&["once", "--timeout", "1s"]);
        world.wait_for_target("/etc/app/limits.json", "{}");
        (code(&output) == 75).then_some(())
    });
}

#[test]
fn throttled_to_the_end_is_75_and_a_throttled_call_is_asked_again() {
    let (world, server) = world();
    server.faults(json!([{"kind": "throttle", "operation": "start"}]));
    let output = world.output(&["once", "--timeout", "1s"]);
    assert_eq!(code(&output), 75, "{}", text(&output));
    let history = text(&world.output(&["history"]));
    assert_eq!(history, "profile limits\n  nothing has been received yet\n");
    server.faults(json!([{"kind": "internal_error", "operation": "start", "count": 2}]));
    let output = world.output(&["once"]);
    assert_eq!(code(&output), 0, "{}", text(&output));
}

#[test]
fn an_answer_that_comes_after_the_time_limit_is_75() {
    let (world, server) = world();
    server.faults(json!([{"kind": "delay", "delay_ms": 2000, "count": 1}]));
    let output = world.output(&["once", "--timeout", "300ms"]);
    assert_eq!(code(&output), 75, "{}", text(&output));
}

#[test]
fn a_profile_that_may_be_absent_does_not_decide() {
    let (world, server) = world();
    let lines = LINES.replace(
        "  limits:\n",
        "  limits:\n  extra: {application: elsewhere, required: false}\n",
    );
    let lines = lines.replace(
        "services:",
        "  /etc/app/extra.json: {from: extra, notify: idle}\nservices:\n  idle: {command: [\"true\"]}",
    );
    world.settings(&server, &lines);
    let output = world.output(&["once"]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    let _daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
}

#[test]
fn nobody_to_signal_yet_is_0_and_stays_pending() {
    let (world, server) = world();
    let signal = "{signal: {name: HUP, pid_file: /run/app.pid}}";
    let lines = LINES.replace("{command: [sh, -c, echo told >> told]}", signal);
    world.settings(&server, &lines);
    for _ in 0..2 {
        let output = world.output(&["once"]);
        assert_eq!(code(&output), 0, "{}", text(&output));
        let lines = unwrapped(&text(&output));
        assert!(
            lines.iter().any(|line| line.starts_with("app pending ")),
            "{lines:?}"
        );
    }
    // A PID file that cannot be believed is another matter.
    std::fs::create_dir_all(world.target("/run/app.pid")).unwrap();
    let output = world.output(&["once"]);
    assert_eq!(code(&output), 1, "{}", text(&output));
    // Nobody has been told: whoever it is, the daemon tells him.
    std::fs::remove_dir(world.target("/run/app.pid")).unwrap();
    let daemon = world.run();
    world.wait_for_status("/daemon/pid", &json!(daemon.pid().as_raw()));
    // After the pause that `once` has begun.
    wait_for("it is told again", || {
        let status = world.output(&["status"]);
        text(&status).contains("there is no PID file").then_some(())
    });
    let refreshed = world.output(&["refresh"]);
    assert_eq!(code(&refreshed), 0, "{}", text(&refreshed));
}

#[test]
fn a_version_that_waits_for_a_profile_out_of_reach_is_75() {
    let (world, server) = world();
    let lines = LINES.replace("  limits:\n", "  limits:\n  base:\n");
    let lines = lines.replace("from: limits", "from: [limits, base], merge: true");
    world.settings(&server, &lines);
    world.deploy("shop/prod/base.json", "{}");
    server.faults(json!([{"kind": "throttle", "profile": "shop/prod/base"}]));
    let output = world.output(&["once", "--timeout", "1s"]);
    assert_eq!(code(&output), 75, "{}", text(&output));
}

#[test]
fn a_state_directory_without_room_is_1_and_says_so() {
    let (world, _server) = world();
    world.deploy("shop/prod/limits.json", vec![b'1'; 1_000_000]);
    let limited = "trap '' XFSZ; ulimit -f 400; exec \"$0\" once --timeout 5s";
    let mut command = world.command(&[]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", limited]).arg(command.get_program());
    shell.env_clear().current_dir(world.path("."));
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let output = shell.output().unwrap();
    assert_eq!(code(&output), 1, "{}", text(&output));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("cannot commit in the ledger"), "{told}");
    assert_eq!(code(&command.arg("once").output().unwrap()), 0);
}

#[test]
fn beside_a_daemon_it_is_1_and_names_its_process_and_refresh() {
    let (world, _server) = world();
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    for command in ["once", "run"] {
        let output = world.output(&[command]);
        assert_eq!(code(&output), 1, "{}", text(&output));
        assert!(text(&output).contains(&daemon.pid().to_string()));
        assert!(text(&output).contains("`appconfigd refresh`"));
    }
    let refreshed = world.output(&["refresh"]);
    assert_eq!(code(&refreshed), 0, "{}", text(&refreshed));
    assert_eq!(code(&world.output(&["refresh", "nobody"])), 66);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(code(&world.output(&["refresh"])), 3);
}
