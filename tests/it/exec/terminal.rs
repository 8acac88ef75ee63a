//! `exec` on a terminal.

use std::io::Write;
use std::process::{Child, Stdio};

use super::*;
use crate::skip::skip;
use crate::world::PROGRAM;

/// `exec` of a shell line on a terminal of its own, whose keys are what is written to the standard input of this.
fn on_terminal(world: &World, line: &str) -> Option<Child> {
    under(world, line, "EXEC")
}

/// The same, where a shell on the terminal runs these words: `exec` stands for EXEC.
fn under(world: &World, line: &str, words: &str) -> Option<Child> {
    world.write("line.sh", line);
    let exec = format!("{PROGRAM} exec --log-level debug -- sh line.sh 2>>run.log");
    world.write("words.sh", &words.replace("EXEC", &exec));
    let exec = "sh words.sh";
    let mut command = Command::new("script");
    command
        .args([
            "--quiet",
            "--return",
            "--flush",
            "--command",
            exec,
            "/dev/null",
        ])
        .current_dir(world.path("."))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for (name, value) in world.command(&[]).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    match command.spawn() {
        Ok(child) => Some(child),
        Err(_) => {
            skip("script (util-linux) is not installed");
            None
        }
    }
}

fn press(script: &mut Child, keys: &[u8]) {
    let keyboard = script.stdin.as_mut().unwrap();
    keyboard.write_all(keys).unwrap();
    keyboard.flush().unwrap();
}

fn wait(script: &mut Child, world: &World) -> Option<i32> {
    let status = wait_for(&format!("it ends; log:\n{}", world.log()), || {
        script.try_wait().unwrap()
    });
    status.code()
}

#[test]
fn a_child_reads_from_its_terminal() {
    let (world, _server) = world(PLAIN);
    let line = "echo $$ >pid.new; mv pid.new pid; read line; echo \"got $line\" >>events; exit 5";
    let Some(mut script) = on_terminal(&world, line) else {
        return;
    };
    pid_in(&world, "pid");
    press(&mut script, b"hello\n");
    assert_eq!(wait(&mut script, &world), Some(5), "{}", world.log());
    assert_eq!(events(&world), ["got hello"]);
}

#[test]
fn a_child_that_is_started_again_has_the_terminal_again() {
    let (world, _server) = world(PLAIN);
    let line = "echo $$ >pid.new; mv pid.new pid; read line; echo \"got $line\" >>events; exit 5";
    let Some(mut script) = on_terminal(&world, line) else {
        return;
    };
    let first = pid_in(&world, "pid");
    world.deploy("shop/prod/app.json", r#"{"v":2}"#);
    // It has to stay up first: one that ends at once by its new file has said no to it.
    wait_for("the new version is taken", || {
        (world.log().matches("service notified").count() == 2).then_some(())
    });
    assert_ne!(pid_in(&world, "pid"), first);
    press(&mut script, b"hello\n");
    assert_eq!(wait(&mut script, &world), Some(5), "{}", world.log());
    assert_eq!(events(&world), ["got hello"]);
}

#[test]
fn a_key_that_ends_the_child_ends_exec_whatever_its_rule() {
    let (world, _server) = world(&declared("restart: always", ", on_failure: keep"));
    let line = "echo $$ >pid.new; mv pid.new pid; while :; do sleep 0.05; done";
    let Some(mut script) = on_terminal(&world, line) else {
        return;
    };
    pid_in(&world, "pid");
    press(&mut script, b"\x03");
    assert_eq!(wait(&mut script, &world), Some(128 + 2), "{}", world.log());
}

#[test]
fn a_key_that_stops_the_child_stops_exec_and_both_go_on_in_the_foreground() {
    let (world, _server) = world(PLAIN);
    let line = "echo $$ >pid.new; mv pid.new pid; read line; echo \"got $line\" >>events; exit 5";
    let words = "set -m\nEXEC\necho stopped >>events\nfg\nexit $?";
    let Some(mut script) = under(&world, line, words) else {
        return;
    };
    pid_in(&world, "pid");
    press(&mut script, b"\x1a");
    wait_for_events(&world, &["stopped"]);
    press(&mut script, b"hello\n");
    assert_eq!(wait(&mut script, &world), Some(5), "{}", world.log());
    assert_eq!(events(&world), ["stopped", "got hello"]);
}
