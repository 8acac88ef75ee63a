//! Commands that do whatever a command can do to who started it: each is ended or let go in time, and no other service
//! notices.

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::world::{PATIENCE, Server, World, wait_for};

/// What the service is said to be in the end.
struct Case {
    name: &'static str,
    line: &'static str,
    state: &'static str,
    /// In the last result.
    words: &'static str,
}

const fn case(
    name: &'static str,
    line: &'static str,
    state: &'static str,
    words: &'static str,
) -> Case {
    Case {
        name,
        line,
        state,
        words,
    }
}

/// Each has a second.
const CASES: &[Case] = &[
    case("sound", "echo told >> told", "acknowledged", ""),
    case(
        "hangs",
        "echo $$ > hangs.pid; exec sleep 600",
        "pending",
        "1s",
    ),
    case("stops_itself", "kill -STOP $$", "pending", "1s"),
    case(
        "ignores_term",
        "trap '' TERM HUP INT; echo $$ > ignores.pid; while :; do sleep 1; done",
        "pending",
        "1s",
    ),
    case(
        "forks",
        "for i in $(seq 200); do sleep 600 & echo $! >> forks.pid; done; wait",
        "pending",
        "1s",
    ),
    case(
        "escapes",
        "setsid -f sh -c 'trap \"\" TERM; echo $$ > escapes.pid; exec sleep 600'; sleep 600",
        "pending",
        "1s",
    ),
    case(
        "leaves_an_orphan",
        "sleep 600 & echo $! > orphan.pid; exit 0",
        "acknowledged",
        "",
    ),
    case(
        "leaves_a_quiet_orphan",
        "sleep 600 >&- 2>&- & echo $! > quiet.pid; exit 0",
        "acknowledged",
        "",
    ),
    case(
        "closes_everything",
        "exec <&- >&- 2>&-; test ! -e /proc/self/fd/1",
        "acknowledged",
        "",
    ),
    case("reads", "cat > read; test ! -s read", "acknowledged", ""),
    case("floods", "yes", "pending", "1s"),
    case(
        "floods_one_line",
        "exec tr '\\\\0' x < /dev/zero",
        "pending",
        "1s",
    ),
    case("floods_both", "yes >&2 & exec yes", "pending", "1s"),
    case(
        "says_odd_things",
        "printf 'a\\\\033[2J\\\\007\\\\200\\\\377\\\\342\\\\200\\\\256b\\\\n'; exit 3",
        "failed",
        "3",
    ),
    case(
        "kills_itself",
        "kill -KILL $$",
        "pending",
        "killed by signal",
    ),
    case(
        "kills_its_group",
        "kill -TERM 0; sleep 600",
        "pending",
        "killed by signal",
    ),
    case(
        "dumps_core",
        "ulimit -c unlimited; kill -SEGV $$",
        "pending",
        "killed by signal",
    ),
    case("is_nowhere", "exec /no/such/program", "pending", "127"),
    case(
        "removes_its_file",
        "rm root/etc/removes_its_file",
        "acknowledged",
        "",
    ),
];

fn pids(world: &World, file: &str) -> Vec<Pid> {
    let text = world.read(file).unwrap_or_default();
    let numbers = text.lines().filter_map(|line| line.parse().ok());
    numbers.map(Pid::from_raw).collect()
}

/// Gone, or dead and not yet collected by whoever became its parent.
fn is_dead(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    kill(pid, None).is_err() || stat.contains(") Z ")
}

fn peak(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

#[test]
fn whatever_a_command_does_it_ends_in_time_and_no_other_service_notices() {
    let mut lines = "profiles:\n".to_owned();
    for case in CASES {
        writeln!(lines, "  {}:", case.name).unwrap();
    }
    lines += "targets:\n";
    for Case { name, .. } in CASES {
        writeln!(lines, "  /etc/{name}: {{from: {name}, notify: {name}}}").unwrap();
    }
    lines += "services:\n";
    for Case { name, line, .. } in CASES {
        let line = line.replace('"', "\\\"");
        writeln!(
            lines,
            "  {name}: {{command: {{shell: \"{line}\"}}, on_failure: keep, timeout: 1s}}"
        )
        .unwrap();
    }
    let files: Vec<_> = CASES
        .iter()
        .map(|case| format!("shop/prod/{}.txt", case.name))
        .collect();
    let store: Vec<_> = files.iter().map(|file| (file.as_str(), "one")).collect();
    let (world, _server): (World, Server) = World::served(&store, &lines);
    let daemon = world.run();
    let since = Instant::now();
    let mut left: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    while !left.is_empty() {
        let Some(status) = world.status() else {
            continue;
        };
        for case in CASES {
            let service = &status["services"][case.name];
            let said = service["last_result"].as_str().unwrap_or_default();
            assert!(said.chars().all(|one| !one.is_control()), "{said:?}");
            assert!(!said.contains('\u{202e}') && said.len() < 1000, "{said:?}");
            let come = service["state"] == case.state && said.contains(case.words);
            if come {
                left.retain(|one| *one != case.name);
            } else {
                let late = since.elapsed() > PATIENCE;
                assert!(!late, "{}: {service:#}\n{}", case.name, world.log());
            }
        }
    }
    assert_eq!(world.read("told").unwrap(), "told\n", "{}", world.log());
    for file in ["hangs.pid", "ignores.pid", "forks.pid"] {
        let pids = pids(&world, file);
        assert!(!pids.is_empty(), "{file}");
        // The first run's: later ones may be under way.
        wait_for(&format!("{file} is ended"), || {
            is_dead(pids[0]).then_some(())
        });
    }
    // A program that has made itself a session of its own has left, and what a command that ended well has left behind may
    // be a daemon that it was meant to start.
    for file in ["escapes.pid", "orphan.pid", "quiet.pid"] {
        let pids = pids(&world, file);
        assert!(!is_dead(pids[0]), "{file}");
        for pid in pids {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
    assert!(
        peak(daemon.pid()) < 128 * 1024,
        "{} KiB",
        peak(daemon.pid())
    );
    let zombies = children(daemon.pid()).into_iter().filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains(") Z ")
    });
    assert!(zombies.count() < 3, "children are collected");
    let stopping = Instant::now();
    assert_eq!(daemon.stop(), Some(0));
    assert!(stopping.elapsed() < Duration::from_secs(40));
    let log = world.log();
    let plain = |one: char| !one.is_control() || one == '\n';
    assert!(log.chars().all(plain));
    assert!(log.len() < 4 << 20, "{} bytes", log.len());
    for file in ["escapes.pid", "forks.pid", "orphan.pid", "quiet.pid"] {
        for pid in pids(&world, file) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

fn children(of: Pid) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    let numbers = text.split_whitespace().filter_map(|one| one.parse().ok());
    numbers.map(Pid::from_raw).collect()
}

/// As `validate_command`: what it does to the staged file.
#[test]
fn a_validate_command_that_writes_to_the_staged_file_changes_nothing_that_is_installed() {
    for (edit, what) in [
        ("echo more >> \"$1\"", "appends"),
        ("rm \"$1\"", "removes"),
        ("rm \"$1\"; ln -s /etc/passwd \"$1\"", "replaces"),
        ("chmod 0777 \"$1\"", "opens"),
    ] {
        let lines = format!(
            "profiles:\n  limits:\ntargets:\n  /etc/app/limits.txt: {{from: limits, mode: 0640, validate_command: [sh, -c, 'test ! -e armed || {{ {edit}; echo done >> edited; }}', sh, \"{{staged}}\"]}}\n"
        );
        let (world, server) = World::served(&[("shop/prod/limits.txt", "one")], &lines);
        let daemon = world.run();
        world.wait_for_target("/etc/app/limits.txt", "one");
        world.write("armed", "");
        world.deploy("shop/prod/limits.txt", "two");
        wait_for("the command has run", || world.read("edited"));
        let file = world.target("/etc/app/limits.txt");
        let since = Instant::now();
        // Whatever comes of it: what is there is one of the two versions, with its mode.
        while since.elapsed() < Duration::from_secs(2) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(["one", "two"].contains(&text.as_str()), "{what}: {text:?}");
            assert_eq!(crate::world::metadata(&file).2, 0o640, "{what}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        fs::remove_file(world.path("armed")).unwrap();
        world.deploy("shop/prod/limits.txt", "three");
        world.wait_for_target("/etc/app/limits.txt", "three");
        let status = world.wait_for_status("/state", &Value::from("healthy"));
        assert_eq!(status["profiles"]["limits"]["state"], "current", "{what}");
        assert_eq!(daemon.stop(), Some(0));
        drop(server);
    }
}
