//! `exec` as process 1, and as a subreaper.

use serde_json::json;

use super::*;
use crate::skip::skip;
use crate::world::PROGRAM;

/// Whether this machine lets us make a PID namespace.
fn namespaces() -> bool {
    let made = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "true"])
        .status();
    let made = made.is_ok_and(|status| status.success());
    if !made {
        skip("cannot make a PID namespace: needs root and unshare");
    }
    made
}

/// `exec` of a shell line as process 1 of a PID namespace.
fn as_process_1(world: &World, line: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", PROGRAM])
        .args(["exec", "--log-level", "debug", "--", "sh", "-c", line])
        .current_dir(world.path("."))
        .env_clear();
    for (name, value) in world.command(&[]).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
}

/// Makes an orphan that ends at once, `$1` times.
const ORPHANS: &str =
    "make() { n=0; while [ $n -lt $1 ]; do (sh -c 'exit 9' & exec true); n=$((n+1)); done; }; ";
/// Zombies in this PID namespace.
const COUNT: &str = "count() { cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '; }; ";

#[test]
fn as_process_1_it_reaps_every_orphan() {
    if !namespaces() {
        return;
    }
    let (world, _server) = world(PLAIN);
    let line = format!(
        "{ORPHANS}{COUNT}make 200; n=0; while [ $(count) -gt 0 ] && [ $n -lt 500 ]; do sleep 0.02; n=$((n+1)); done; \
         echo \"$(count) zombies, parent $PPID\" >>events; exit 6"
    );
    let output = as_process_1(&world, &line).output().unwrap();
    assert_eq!(events(&world), ["0 zombies, parent 1"]);
    assert_eq!(output.status.code(), Some(6));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let reaped = log.matches("an orphan has ended").count();
    assert!(reaped >= 200, "{reaped} of 200 were its orphans:\n{log}");
}

#[test]
fn beside_a_storm_of_orphans_the_statuses_of_its_own_commands_are_its_own() {
    if !namespaces() {
        return;
    }
    // Whoever lost the status of one of these would not know what it said: nothing would be quarantined.
    let service = ", check: [sh, -c, 'grep -q bad root/etc/app.json && exit 4; exit 0'], \
                   probe: {command: [sh, -c, 'exit 0'], successes: 5, interval: 10ms}";
    let (world, _server) = world(&declared(
        "on_change: {signal: HUP}, min_uptime: 50ms",
        service,
    ));
    let line = format!(
        "{ORPHANS}trap 'echo hup >>events' HUP; trap 'exit 7' TERM; echo $$ >pid.new; mv pid.new pid; while :; do make 5; done"
    );
    let exec = world.run_by(as_process_1(&world, &line));
    pid_in(&world, "pid");
    for version in 2..6 {
        world.deploy("shop/prod/app.json", format!(r#"{{"bad":{version}}}"#));
        let status = world.wait_for_status("/profiles/app/state", &json!("quarantined"));
        let reason = status["profiles"]["app"]["reason"].as_str().unwrap();
        assert!(reason.contains("exited with status 4"), "{reason}");
        world.deploy("shop/prod/app.json", format!(r#"{{"v":{version}}}"#));
        world.wait_for_status("/profiles/app/state", &json!("current"));
    }
    let log = world.log();
    assert!(log.contains("an orphan has ended"), "{log}");
    for sign in [
        "No child processes",
        "lost sight",
        "ended unexpectedly",
        "ECHILD",
    ] {
        assert!(!log.contains(sign), "{sign}: {log}");
    }
    drop(exec);
}

#[test]
fn as_process_1_it_passes_signals_on_and_ends_with_its_child() {
    if !namespaces() {
        return;
    }
    let (world, _server) = world(PLAIN);
    let mut exec = world.run_by(as_process_1(
        &world,
        "trap 'echo term >>events; exit 7' TERM; echo $$ >pid.new; mv pid.new pid; while :; do sleep 0.05 & wait $!; done",
    ));
    pid_in(&world, "pid");
    // From outside: process 1 of the namespace is the only child of `unshare`.
    let children = format!("/proc/{0}/task/{0}/children", exec.pid());
    let first = std::fs::read_to_string(children).unwrap();
    tell(
        Pid::from_raw(first.trim().parse().unwrap()),
        Signal::SIGTERM,
    );
    assert_eq!(exec.wait(), Some(7), "{}", world.log());
    assert_eq!(events(&world), ["term"]);
}

#[test]
fn outside_of_a_container_it_adopts_what_its_child_leaves_behind() {
    let (world, _server) = world(PLAIN);
    let line = "(sh -c 'echo $$ >other.new; mv other.new other; while ! test -e go; do sleep 0.02; done' & exec true); \
                while :; do sleep 0.05; done";
    let exec = world.run_by(shell(&world, line));
    let other = pid_in(&world, "other");
    let parent = || {
        let status = std::fs::read_to_string(format!("/proc/{other}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        line.trim().parse::<i32>().ok()
    };
    wait_for("it is adopted", || {
        (parent()? == exec.pid().as_raw()).then_some(())
    });
    world.write("go", "");
    let gone = format!("/proc/{other}");
    wait_for("it is reaped", || {
        (!std::path::Path::new(&gone).exists()).then_some(())
    });
    drop(exec);
}
