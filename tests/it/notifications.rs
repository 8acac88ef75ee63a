//! What services are told, and which process a signal reaches, through the built program.

use std::fs;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::double::{Double, reply};
use crate::fetch::certificates;
use crate::skip::skip;
use crate::world::{World, stderr, stdout, wait_for};

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
    // It is pending, too, from the swap until the notification is over.
    wait_for("why the stranger is not told", || {
        let status = world.status()?;
        let said = status.pointer("/services/app/last_result")?.as_str()?;
        said.contains("started after it was written").then_some(())
    });
    world.wait_for_status("/services/app/state", &"pending".into());
    let got = fs::read_to_string(world.path("got")).unwrap_or_default();
    assert!(!got.contains("stranger"), "{got}");
}

#[test]
fn a_program_that_has_no_handler_yet_lives_and_is_told_when_it_has_one() {
    let (world, _server) = World::served(
        &[("shop/prod/one.txt", "one")],
        "profiles: {one: {}}\ntargets:\n  /etc/app/one: {from: one, notify: app}\nservices:\n  app: {signal: {name: HUP, pid_file: /run/app.pid}}\n",
    );
    fs::create_dir_all(world.target("/run")).unwrap();
    // HUP would end it until it says otherwise.
    let line = "echo $$ >root/run/app.pid; until [ -e go ]; do sleep 0.02; done; trap 'echo hup >>got' HUP; while :; do sleep 0.02; done";
    let mut program = Command::new("sh")
        .args(["-c", line])
        .current_dir(world.path(""))
        .spawn()
        .unwrap();
    wait_for("its number", || world.read("root/run/app.pid"));
    let daemon = world.run();
    world.wait_for_target("/etc/app/one", "one");
    let status = world.wait_for_status("/services/app/state", &"pending".into());
    wait_for("it is to be told again", || {
        world.status()?["services"]["app"]["next_attempt"]
            .is_string()
            .then_some(())
    });
    assert!(
        program.try_wait().unwrap().is_none(),
        "it is ended: {status}"
    );
    assert_eq!(world.read("got"), None);
    world.write("go", "");
    world.wait_for_status("/services/app/state", &"acknowledged".into());
    // A signal that was sent is soon handled.
    let got = wait_for("it has handled it", || {
        world.read("got").filter(|got| !got.is_empty())
    });
    assert_eq!(got, "hup\n");
    assert!(program.try_wait().unwrap().is_none());
    assert_eq!(daemon.stop(), Some(0));
    program.kill().unwrap();
    program.wait().unwrap();
}

#[test]
fn a_request_over_tls_trusts_its_own_authority_and_no_other() {
    let (authority, tls) = certificates();
    let (stranger, _) = certificates();
    let server = Double::start_tls(tls, |_, _| reply("204 No Content", &[], b""));
    let lines = format!(
        "profiles: {{one: {{}}}}\ntargets:\n  /etc/app/one: {{from: one, notify: app}}\nservices:\n  app: {{http: {{url: \"https://localhost:{}/-/reload\", ca: authority.pem}}}}\n",
        server.port
    );
    let (world, _served) = World::served(&[("shop/prod/one.txt", "one")], "");
    let settings = fs::read_to_string(world.path("appconfigd.yaml")).unwrap();
    world.write("appconfigd.yaml", &format!("{settings}{lines}"));
    world.write("authority.pem", &stranger);
    fs::create_dir_all(world.target("/etc/app")).unwrap();
    let daemon = world.run();
    // Nobody has said no: the version stays, and the service is told again.
    let said = wait_for("the certificate is not trusted", || {
        let status = world.status()?;
        let said = status["services"]["app"]["last_result"]
            .as_str()?
            .to_owned();
        (status["services"]["app"]["state"] == "pending").then_some(said)
    });
    assert!(said.contains("certificate"), "{said}");
    world.wait_for_target("/etc/app/one", "one");
    assert_eq!(server.requests().len(), 0);
    // The bundle is read anew for each request.
    world.write("authority.pem", &authority);
    assert_eq!(
        world.output(&["retry"]).status.code(),
        Some(0),
        "{}",
        world.log()
    );
    world.wait_for_status("/services/app/state", &"acknowledged".into());
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].line, "POST /-/reload");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn what_commands_write_is_in_the_log_by_line_and_its_end_in_history_with_a_daemon_and_without() {
    let lines = "profiles: {one: {}}\ntargets:\n  /etc/app/one: {from: one, notify: app, validate_command: [grep, -c, '', '{staged}']}\nservices:\n  app:\n    check: [sh, -c, 'echo checked; if grep -q bad root/etc/app/one; then echo why >&2; exit 3; fi']\n    command: [sh, -c, 'seq 5000; printf \"a\\033[31mb\\n\"']\n    probe: {command: [echo, well], within: 2s}\n";
    let (world, _server) = World::served(&[("shop/prod/one.txt", "one\n")], lines);
    let daemon = world.run();
    let pid = daemon.pid().as_raw();
    world.wait_for_target("/etc/app/one", "one\n");
    world.wait_for_status("/services/app/state", &"acknowledged".into());
    world.deploy("shop/prod/one.txt", "bad\n");
    world.wait_for_status("/profiles/one/state", &"quarantined".into());
    let history = |arguments: &[&str]| -> Value {
        let output = world.output(&[&["history", "--json"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let shown = history(&["app"]);
    let runs = shown["services"]["app"].as_array().unwrap().clone();
    let newest = |what: &str| runs.iter().find(|run| run["what"] == what).unwrap();
    assert_eq!(newest("check")["outcome"], "exited with status 3");
    assert_eq!(newest("check")["output"], "checked\nwhy\n");
    assert_eq!(newest("probe")["output"], "well\n");
    let output = newest("notify")["output"].as_str().unwrap();
    assert!(
        output.len() <= 4096 && output.ends_with("\n4999\n5000\na\\u{1b}[31mb\n"),
        "{output}"
    );
    assert_eq!(
        shown["profiles"],
        serde_json::json!({}),
        "the service was asked for"
    );
    let validations = history(&["/etc/app/one"]);
    assert_eq!(
        validations["validations"]["/etc/app/one"][0]["output"],
        "1\n"
    );
    let text = stdout(&world.output(&["history", "app"]));
    for line in [
        "service app\n",
        "exited with status 3\n    checked\n    why\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let log = world.log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" output "))
        .collect();
    let about = |words: &[&str]| {
        let found = lines
            .iter()
            .find(|line| words.iter().all(|word| line.contains(word)));
        assert!(found.is_some(), "{words:?}: {lines:#?}");
    };
    about(&["service=app", "what=check", "pid=", "line=why"]);
    about(&["service=app", "what=notify", "pid=", "line=7"]);
    about(&["service=app", "what=probe", "line=well"]);
    about(&["target_path=/etc/app/one", "what=validate", "line=1"]);
    assert!(
        !log.contains(&format!("what=check pid={pid} ")),
        "the command's, not ours"
    );
    assert!(log.contains("further output is not logged"), "{log}");
    assert!(lines.len() < 1_000, "{} lines", lines.len());
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(history(&["app"]), shown);
    assert_eq!(world.output(&["history", "nobody"]).status.code(), Some(66));
}

/// Every write to the disk takes longer than the daemon waits for one more answer. Answers that only wait for the ledger
/// are no stragglers.
#[test]
fn what_changes_in_one_tick_is_told_once_however_slow_the_disk_is() {
    const PROFILES: usize = 40;
    let straced = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .output();
    if !straced.is_ok_and(|output| output.status.success()) {
        return skip("strace is not installed, or may not trace here");
    }
    let names: Vec<_> = (0..PROFILES).map(|number| format!("p{number}")).collect();
    let lines: String = names.iter().map(|name| format!("  {name}:\n")).collect();
    let from = names.join(", ");
    let lines = format!(
        "profiles:\n{lines}targets:\n  /etc/app/all: {{from: [{from}], template: all.j2, notify: app}}\nservices:\n  app: {{command: {{shell: \"cat root/etc/app/all >> told; echo >> told\"}}}}\n"
    );
    let world = World::new();
    world.write(
        "all.j2",
        "{% for _, text in profiles|items %}{{ text }}{% endfor %}",
    );
    let deploy = |text: &str| {
        for name in &names {
            world.deploy(&format!("shop/prod/{name}.txt"), text);
        }
        text.repeat(PROFILES)
    };
    let first = deploy("1");
    let server = crate::world::Server::start(&world);
    world.settings(&server, &lines);
    let daemon = world.run();
    let told = || world.read("told").unwrap_or_default();
    wait_for("the first is told", || told().ends_with('\n').then_some(()));

    // No poll sees half of what is deployed.
    daemon.signal(Signal::SIGSTOP);
    let second = deploy("2");
    let mut strace = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-p",
            &daemon.pid().to_string(),
        ])
        .args(["-e", "trace=fsync,fdatasync"])
        .args(["-e", "inject=fsync,fdatasync:delay_enter=500000"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let tasks = format!("/proc/{}/task", daemon.pid());
    wait_for("every thread is traced", || {
        let mut tasks = fs::read_dir(&tasks).unwrap();
        tasks
            .all(|task| {
                let status = fs::read_to_string(task.unwrap().path().join("status"));
                !status.unwrap_or_default().contains("TracerPid:\t0\n")
            })
            .then_some(())
    });
    daemon.signal(Signal::SIGCONT);
    wait_for("the second is told", || {
        told().contains(&second).then_some(())
    });
    let id = i32::try_from(strace.id()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
    strace.wait().unwrap();
    world.wait_for_status("/state", &serde_json::json!("healthy"));
    assert_eq!(told(), format!("{first}\n{second}\n"), "{}", world.log());
    assert_eq!(daemon.stop(), Some(0));
}
