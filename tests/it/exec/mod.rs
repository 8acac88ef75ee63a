//! `exec`: a program as a child, with the built binary.

mod changes;
mod ends;
mod environment;
mod installing;
mod namespace;
mod terminal;

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{Daemon, Server, World, wait_for};

/// One profile, one file, no child declared.
const PLAIN: &str =
    "profiles:\n  app: {validate: {format: json}}\ntargets:\n  /etc/app.json: {from: app}\n";

/// Writes down what it reads at its start and on HUP; ends by TERM with 7, and by what its file orders.
const APP: &str = r#"
read_it() {
    text=$(cat root/etc/app.json 2>&1)
    echo "$1 $text" >>events
    case "$text" in *die*) echo "no to $text" >>events; exit 3;; esac
}
trap 'read_it hup' HUP
trap 'echo usr1 >>events' USR1
trap 'echo term >>events; exit 7' TERM
echo $$ >pid.new; mv pid.new pid
read_it start
while :; do sleep 0.05 & wait $!; done
"#;

const RUN_APP: [&str; 5] = ["exec", "--log-level", "debug", "--", "sh"];

/// A world with the application and `{"v":1}` deployed.
fn world(lines: &str) -> (World, Server) {
    let (world, server) = World::served(&[("shop/prod/app.json", r#"{"v":1}"#)], lines);
    world.write("app.sh", APP);
    (world, server)
}

/// The settings of [`PLAIN`], and a service that is a child with these keys.
fn declared(child: &str, service: &str) -> String {
    let plain = PLAIN.replace("{from: app}", "{from: app, notify: app}");
    format!("{plain}services:\n  app: {{child: {{{child}}}{service}}}\n")
}

fn exec(world: &World, words: &[&str]) -> Daemon {
    world.run_by(world.command(words))
}

/// `exec` of the application.
fn app(world: &World) -> Daemon {
    exec(world, &[&RUN_APP[..], &["app.sh"]].concat())
}

/// The words that a shell runs as a whole, as `exec` runs them.
fn shell(world: &World, line: &str) -> Command {
    world.command(&["exec", "--log-level", "debug", "--", "sh", "-c", line])
}

fn events(world: &World) -> Vec<String> {
    let text = world.read("events").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until the application has written exactly these lines.
fn wait_for_events(world: &World, expected: &[&str]) {
    wait_for(
        &format!(
            "{expected:?}; it is {:?}; log:\n{}",
            events(world),
            world.log()
        ),
        || (events(world) == expected).then_some(()),
    );
}

fn wait_for_log(world: &World, text: &str) {
    wait_for(&format!("{text:?} in the log:\n{}", world.log()), || {
        world.log().contains(text).then_some(())
    });
}

/// The number that a child writes whole into this file.
fn pid_in(world: &World, file: &str) -> Pid {
    let pid = wait_for(&format!("a number in `{file}`"), || {
        world.read(file)?.trim().parse().ok()
    });
    Pid::from_raw(pid)
}

/// Gone, or dead and not yet collected by whoever became its parent.
fn is_dead(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

fn tell(pid: Pid, signal: Signal) {
    kill(pid, signal).unwrap();
}
