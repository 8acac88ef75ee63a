//! What services are told, and which process a signal reaches, through the built program.

use std::fs;
use std::process::Command;

use crate::skip::skip;
use crate::world::{World, wait_for};

/// Writes what a command is told on one line, and says no to what is bad once everybody has been told.
const TELL: &str = r#"printf '%s' "$1 $APPCONFIGD_SERVICE [$APPCONFIGD_PROFILES] [$APPCONFIGD_TARGETS] [$APPCONFIGD_VERSION] [$APPCONFIGD_PREVIOUS_VERSION]" | tr '\n' , >>told
echo >>told
if [ "$1" = probe ] && grep -q bad root/etc/app/one; then exit 1; fi
"#;

const LINES: &str = r#"profiles:
  one:
  two:
  other:
targets:
  /etc/app/one: {from: one, notify: app}
  /etc/app/both: {from: [one, two], template: both.j2, notify: app}
  /etc/app/other: {from: other, notify: [other, app]}
services:
  app:
    check: [sh, tell, check]
    command: [sh, tell, notify]
    probe: {command: [sh, tell, probe], within: 400ms, interval: 100ms}
  other: {command: ["true"]}
"#;

#[test]
fn commands_are_told_the_profiles_targets_and_versions_that_concern_their_service() {
    let world = World::new();
    world.write("tell", TELL);
    world.write("both.j2", "{{ profiles.one }}{{ profiles.two }}");
    for name in ["one", "two", "other"] {
        world.deploy(&format!("shop/prod/{name}.txt"), format!("{name} 1"));
    }
    let server = crate::world::Server::start(&world);
    world.settings(&server, LINES);
    let _daemon = world.run();
    // What was told about a pair of targets, each line once; a first look of the probe is about nothing.
    let told = || {
        let text = world.read("told").unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.retain(|line| !line.contains(" [] [] "));
        lines.dedup();
        lines
    };
    let all = "app [one,other,two] [/etc/app/both,/etc/app/one,/etc/app/other]";
    let first = wait_for("all is told", || {
        told()
            .iter()
            .any(|line| line.starts_with("probe "))
            .then(told)
    });
    let versions = first[0]
        .strip_prefix(&format!("check {all} "))
        .unwrap_or_else(|| panic!("{first:?}"));
    assert!(versions.ends_with("] [,,]"), "{first:?}");
    assert_eq!(
        first,
        ["check", "notify", "probe"].map(|step| format!("{step} {all} {versions}"))
    );
    let one = |line: &str, nth: usize| {
        let inside = line.split(['[', ']']).nth(nth).unwrap();
        inside.split(',').next().unwrap().to_owned()
    };
    let before = one(&first[0], 5);
    assert!(!before.is_empty());

    // Only what has changed, and what it was before.
    world.deploy("shop/prod/one.txt", "one 2");
    let second = wait_for("the new version is told", || {
        let told = told().split_off(first.len());
        told.iter()
            .any(|line| line.starts_with("probe "))
            .then_some(told)
    });
    let some = "app [one,two] [/etc/app/both,/etc/app/one]";
    assert!(
        second[0].starts_with(&format!("check {some} ")),
        "{second:?}"
    );
    assert_eq!(one(&second[0], 7), before);
    let installed = one(&second[0], 5);
    assert_ne!(installed, before);

    // The way back is told the other way round.
    world.deploy("shop/prod/one.txt", "bad");
    let third = wait_for("the way back is told", || {
        let told = told().split_off(first.len() + second.len());
        let notified = told.iter().filter(|line| line.starts_with("notify "));
        (notified.count() == 2 && told.last()?.starts_with("probe ")).then_some(told)
    });
    let bad = one(&third[0], 5);
    for (line, now, was) in [
        (&third[1], &bad, &installed),
        (third.last().unwrap(), &installed, &bad),
    ] {
        assert_eq!((&one(line, 5), &one(line, 7)), (now, was), "{third:?}");
    }
}

/// In a PID namespace of its own: the daemon and a program; then another program under the number of the first.
const REUSE: &str = r#"
"$@" &
sh -c 'trap "echo hup >>got" HUP; while :; do sleep 0.02; done' &
first=$!
mkdir -p root/run
umask 022
echo $first >root/run/app.pid
while [ ! -e reuse ]; do sleep 0.02; done
kill -9 $first
wait $first 2>/dev/null
second=
while [ "$second" != $first ]; do
    [ -z "$second" ] || kill -9 $second
    echo $((first - 1)) >/proc/sys/kernel/ns_last_pid
    sh -c 'trap "echo stranger >>got" HUP; while :; do sleep 0.02; done' &
    second=$!
done
touch -d '10 seconds ago' root/run/app.pid
echo >reused
wait
"#;

#[test]
fn a_process_that_was_given_the_number_of_another_is_not_signalled() {
    let works = Command::new("unshare")
        .args([
            "--pid",
            "--fork",
            "--mount-proc",
            "test",
            "-w",
            "/proc/sys/kernel/ns_last_pid",
        ])
        .status();
    if !works.is_ok_and(|status| status.success()) {
        return skip("PID namespaces cannot be made here");
    }
    let (world, _server) = World::served(
        &[("shop/prod/one.txt", "one")],
        "profiles: {one: {}}\ntargets:\n  /etc/app/one: {from: one, notify: app}\nservices:\n  app: {signal: {name: HUP, pid_file: /run/app.pid}, on_failure: keep}\n",
    );
    let inner = world.command(&["run", "--log-level", "debug"]);
    let mut command = Command::new("unshare");
    command
        .args([
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "sh",
            "-c",
            REUSE,
            "sh",
        ])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(world.path(""));
    command.env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let _daemon = world.run_by(command);
    world.wait_for_target("/etc/app/one", "one");
    world.wait_for_status("/services/app/state", &"acknowledged".into());
    world.write("reuse", "");
    wait_for("another program has the number", || world.read("reused"));
    world.deploy("shop/prod/one.txt", "two");
    world.wait_for_target("/etc/app/one", "two");
    let status = world.wait_for_status("/services/app/state", &"pending".into());
    let said = status.pointer("/services/app/last_result").unwrap();
    assert!(
        said.as_str()
            .unwrap()
            .contains("started after it was written"),
        "{status}"
    );
    let got = fs::read_to_string(world.path("got")).unwrap_or_default();
    assert!(!got.contains("stranger"), "{got}");
}
