//! How `exec` ends, and how it has its child end.

use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::json;

use super::*;
use crate::world::{stderr, stdout};

#[test]
fn it_ends_with_the_status_of_the_child_and_leaves_standard_output_to_it() {
    let (world, _server) = world(PLAIN);
    let output = shell(&world, "cat root/etc/app.json; exit 5")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert_eq!(stdout(&output), r#"{"v":1}"#);
    let output = shell(&world, "kill -USR1 $$").output().unwrap();
    assert_eq!(output.status.code(), Some(128 + 10), "{}", stderr(&output));
    let output = shell(&world, "exit 0").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_program_that_is_not_there_is_127_and_one_that_cannot_run_126() {
    let (world, _server) = world(PLAIN);
    for (program, status) in [("no-such-program", 127), ("./app.sh", 126)] {
        let output = world.output(&["exec", "--", program]);
        assert_eq!(output.status.code(), Some(status));
        assert!(stderr(&output).contains(program), "{}", stderr(&output));
    }
}

#[test]
fn without_a_command_it_is_used_wrongly_and_says_where_one_can_stand() {
    let (world, _server) = world(PLAIN);
    let output = world.output(&["exec"]);
    assert_eq!(output.status.code(), Some(64));
    assert_eq!(
        stderr(&output),
        "error: no command: write it after `--`, or as `child: {command: […]}` of a service in the settings\n"
    );
}

#[test]
fn the_command_of_the_settings_runs_unless_another_is_given() {
    let (world, _server) = world(&declared("command: [sh, -c, exit 4]", ""));
    assert_eq!(world.output(&["exec"]).status.code(), Some(4));
    let other = world.output(&["exec", "--", "sh", "-c", "exit 6"]);
    assert_eq!(other.status.code(), Some(6));
}

#[test]
fn signals_reach_the_child_and_term_ends_both_with_its_status() {
    let (world, _server) = world(PLAIN);
    let mut exec = app(&world);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    exec.signal(Signal::SIGUSR1);
    wait_for_events(&world, &[r#"start {"v":1}"#, "usr1"]);
    // Not a reload of ours: programs in containers expect it.
    exec.signal(Signal::SIGHUP);
    let all = [r#"start {"v":1}"#, "usr1", r#"hup {"v":1}"#];
    wait_for_events(&world, &all);
    exec.signal(Signal::SIGTERM);
    assert_eq!(exec.wait(), Some(7), "{}", world.log());
    assert_eq!(events(&world).last().map(String::as_str), Some("term"));
}

#[test]
fn the_child_is_told_to_end_by_its_own_signal() {
    let (world, _server) = world(&declared("kill_signal: QUIT", ", on_failure: keep"));
    let line = "trap 'exit 9' QUIT; trap 'exit 1' TERM; echo $$ >pid.new; mv pid.new pid; while :; do sleep 0.05; done";
    let exec = world.run_by(shell(&world, line));
    pid_in(&world, "pid");
    assert_eq!(exec.stop(), Some(9), "{}", world.log());
}

#[test]
fn a_child_that_ignores_term_is_killed_in_time_with_all_of_its_group() {
    let (world, _server) = world(&declared("kill_timeout: 300ms", ", on_failure: keep"));
    let line = "trap '' TERM; sh -c 'echo $$ >other.new; mv other.new other; while :; do sleep 0.05; done' & \
                echo $$ >pid.new; mv pid.new pid; while :; do sleep 0.05; done";
    let exec = world.run_by(shell(&world, line));
    let (child, other) = (pid_in(&world, "pid"), pid_in(&world, "other"));
    let since = Instant::now();
    assert_eq!(exec.stop(), Some(128 + 9), "{}", world.log());
    assert!(since.elapsed().as_millis() >= 300, "it was given its time");
    assert!(is_dead(child));
    wait_for("its group is dead", || is_dead(other).then_some(()));
}

#[test]
fn a_child_that_ends_is_started_again_as_declared_with_growing_pauses() {
    let (world, _server) = world(&declared("restart: on-failure", ", on_failure: keep"));
    // Twice a failure, then an end that is none.
    let line = "echo run >>events; test $(wc -l <events) -ge 3";
    let output = shell(&world, line).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(events(&world), ["run"; 3]);
    let log = stderr(&output);
    let mut pauses = log.lines().filter_map(|line| {
        let (_, pause) = line.split_once("child is started again pause=")?;
        let number: f64 = pause
            .trim_end_matches(|c: char| c.is_alphabetic())
            .parse()
            .unwrap();
        Some(if pause.ends_with("ms") {
            number
        } else {
            number * 1000.0
        })
    });
    let (first, second) = (pauses.next().unwrap(), pauses.next().unwrap());
    assert!((500.0..=1000.0).contains(&first), "{first}");
    assert!((1000.0..=2000.0).contains(&second), "{second}");
    assert_eq!(pauses.next(), None);
}

#[test]
fn a_child_that_is_always_started_again_rests_until_it_is_told_to_end() {
    let (world, _server) = world(&declared("restart: always", ", on_failure: keep"));
    let exec = world.run_by(shell(&world, "echo run >>events; exit 0"));
    wait_for("it has run twice", || {
        (events(&world).len() >= 2).then_some(())
    });
    wait_for_log(&world, "child is started again");
    assert_eq!(exec.stop(), Some(0), "{}", world.log());
}

#[test]
fn status_and_reload_work_beside_it() {
    let (world, server) = world(PLAIN);
    let exec = app(&world);
    wait_for_events(&world, &[r#"start {"v":1}"#]);
    world.wait_for_status("/services/exec/state", &json!("acknowledged"));
    // What is taken away is the child's rules, not the child.
    world.settings(&server, &declared("kill_timeout: 5s", ", on_failure: keep"));
    assert_eq!(world.output(&["reload"]).status.code(), Some(0));
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    assert_eq!(exec.stop(), Some(7), "{}", world.log());
}
