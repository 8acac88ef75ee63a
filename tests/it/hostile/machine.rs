//! A machine that has less than one expects: descriptors, file sizes, /proc; other users in the same directory; a program
//! that is stopped and goes on.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::skip::skip;
use crate::world::{Daemon, Server, World, metadata, wait_for};

const FILE: &str = "/etc/app/limits.txt";
const LINES: &str = "profiles:\n  limits:\ntargets:\n  /etc/app/limits.txt: {from: limits, notify: app}\nservices:\n  app: {command: {shell: cat root/etc/app/limits.txt > told}}\n";
const NOBODY: u32 = 65_534;

fn world(lines: &str) -> (World, Server) {
    World::served(&[("shop/prod/limits.txt", "one")], lines)
}

fn works(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let status = command.args(arguments).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Sets a limit of a running program, the soft one.
fn limit(daemon: &Daemon, what: &str, number: &str) -> bool {
    let pid = daemon.pid().to_string();
    works("prlimit", &["--pid", &pid, &format!("--{what}={number}:")])
}

fn reason(world: &World, profile: &str) -> Option<String> {
    let status = world.status()?;
    let reason = status["profiles"][profile]["reason"].as_str()?;
    Some(reason.to_owned())
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Runs `run` by another program: `program ARGUMENTS… appconfigd run`.
fn run_by(world: &World, program: &str, arguments: &[&str]) -> Daemon {
    let inner = world.command(&["run", "--log-level", "debug"]);
    let mut command = Command::new(program);
    command
        .args(arguments)
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(world.path(""))
        .env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap());
    }
    world.run_by(command)
}

#[test]
fn without_a_descriptor_left_the_old_file_stays_and_it_goes_on_when_there_are_some() {
    let (world, _server) = world(LINES);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    // Those of a call and of a question to the control socket come and go.
    for spare in [0, 1, 3] {
        let before = text(&world.target(FILE));
        let most = open_files(&daemon).min(25) + spare;
        if !limit(&daemon, "nofile", &most.to_string()) {
            return skip("prlimit is not installed, or may not set limits");
        }
        let new = format!("with {spare}");
        world.deploy("shop/prod/limits.txt", &new);
        let lines = world.log().lines().count();
        wait_for("it says what is missing, or does without", || {
            let file = text(&world.target(FILE));
            assert!(file == before || file == new, "{file:?}");
            let log = world.log();
            let mut new_lines = log.lines().skip(lines);
            let said = new_lines.any(|line| line.contains("Too many open files"));
            (said || file == new).then_some(())
        });
        assert!(limit(&daemon, "nofile", "1024"));
        world.wait_for_target(FILE, &new);
        world.wait_for_status("/state", &json!("healthy"));
        wait_for("the service is told", || {
            (world.read("told")? == new).then_some(())
        });
    }
    drop(open);
    assert!(world.log().contains("Too many open files"));
    assert_eq!(daemon.stop(), Some(0));
}

fn open_files(daemon: &Daemon) -> usize {
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    open.count()
}

#[test]
fn a_limit_of_file_sizes_is_an_error_of_the_file_and_not_the_end_of_the_program() {
    let lines = LINES.replace("{from: limits,", "{from: limits, template: large.j2,");
    // The file that is made is too large, the ledger is not; then what came is too large for the ledger's log.
    for (lines, new, made) in [
        (lines.as_str(), "900000".to_owned(), 900_000),
        (LINES, "y".repeat(900_000), 900_000),
    ] {
        let (world, server) = world(LINES);
        world.write("large.j2", "{{ 'x' * (config | int) }}");
        world.deploy("shop/prod/limits.txt", "5");
        world.settings(&server, lines);
        let daemon = world.run();
        world.wait_for_status("/state", &json!("healthy"));
        let before = text(&world.target(FILE));
        if !limit(&daemon, "fsize", "800000") {
            return skip("prlimit is not installed, or may not set limits");
        }
        world.deploy("shop/prod/limits.txt", &new);
        let said = wait_for("the reason is said", || {
            assert_eq!(text(&world.target(FILE)), before);
            let said = world.log();
            let at = said
                .find("File too large")
                .or(said.find("disk I/O error"))?;
            Some(said[at.saturating_sub(400)..].to_owned())
        });
        assert!(
            said.contains("LimitFSIZE") || said.contains("ledger"),
            "{said}"
        );
        assert!(limit(&daemon, "fsize", "unlimited"));
        wait_for("it goes on", || {
            (text(&world.target(FILE)).len() == made).then_some(())
        });
        world.wait_for_status("/state", &json!("healthy"));
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[test]
fn without_proc_files_are_kept_right_and_services_told() {
    if !works("unshare", &["--mount", "true"]) {
        return skip("mount namespaces cannot be made here");
    }
    let lines = format!("{LINES}  seen: {{signal: {{name: HUP, pid_file: /run/seen.pid}}}}\n")
        .replace("notify: app}", "notify: [app, seen]}");
    let (world, _server) = world(&lines);
    fs::create_dir_all(world.target("/run")).unwrap();
    // A process that would bear the signal, if one could know.
    let mut sleeper = Command::new("sh")
        .args(["-c", "trap : HUP; while :; do sleep 0.1; done"])
        .spawn()
        .unwrap();
    fs::write(world.target("/run/seen.pid"), sleeper.id().to_string()).unwrap();
    let hide = "mount -t tmpfs none /proc && exec \"$@\"";
    let daemon = run_by(&world, "unshare", &["--mount", "sh", "-c", hide, "sh"]);
    world.wait_for_target(FILE, "one");
    wait_for("the service is told", || {
        (world.read("told")? == "one").then_some(())
    });
    let said = wait_for("the signal is not sent, with the reason", || {
        let status = world.status()?;
        let said = status["services"]["seen"]["last_result"].as_str()?;
        Some(said.to_owned())
    });
    assert!(said.contains("/proc"), "{said}");
    // Drift and a directory's new files are seen as elsewhere.
    fs::write(world.target(FILE), "edited").unwrap();
    world.wait_for_target(FILE, "one");
    world.deploy("shop/prod/limits.txt", "two");
    world.wait_for_target(FILE, "two");
    wait_for("the service is told", || {
        (world.read("told")? == "two").then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}

/// Gives a tree to another user.
fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(path).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => give(&entry.path(), user),
            false => chown(entry.path(), Some(user), Some(user)).unwrap(),
        }
    }
}

#[test]
fn a_process_that_is_hidden_is_not_taken_for_one_that_does_not_run() {
    if !nix::unistd::geteuid().is_root() || !works("unshare", &["--mount", "true"]) {
        return skip("needs root and mount namespaces");
    }
    let lines = "profiles:\n  limits:\ntargets:\n  /etc/app/limits.txt: {from: limits, notify: [app, hidden]}\nservices:\n  app: {command: {shell: cat root/etc/app/limits.txt > told}}\n  hidden: {signal: {name: HUP, pid_file: /run/hidden.pid}}\n";
    let (world, _server) = world(lines);
    fs::create_dir_all(world.target("/run")).unwrap();
    let own = std::process::id().to_string();
    fs::write(world.target("/run/hidden.pid"), own).unwrap();
    give(&world.path(""), NOBODY);
    chown(world.target("/run/hidden.pid"), Some(0), Some(0)).unwrap();
    let hide = "mount -t proc -o hidepid=2 none /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
    let daemon = run_by(&world, "unshare", &["--mount", "sh", "-c", hide, "sh"]);
    world.wait_for_target(FILE, "one");
    wait_for("the service is told", || {
        (world.read("told")? == "one").then_some(())
    });
    let said = wait_for("the signal is not sent, with the reason", || {
        let status = world.status()?;
        let said = status["services"]["hidden"]["last_result"].as_str()?;
        Some(said.to_owned())
    });
    assert!(
        said.contains("/proc") && !said.contains("does not run"),
        "{said}"
    );
    assert_eq!(daemon.stop(), Some(0));
}

/// What somebody does who may write beside the target: `victim` is the file that shall be written through ours.
const MISCHIEF: &str = r#"cd "$1"; i=0
while test ! -e stop-racing; do
  i=$((i + 1))
  case $((i % 9)) in
    0) rm -f limits.txt; ln -s "$2" limits.txt ;;
    1) rm -rf limits.txt; mkdir limits.txt ;;
    2) rm -rf limits.txt; mkfifo limits.txt ;;
    3) rm -rf .appconfigd; ln -s "$3" .appconfigd ;;
    4) rm -rf .appconfigd; mkdir -m 0777 .appconfigd ;;
    5) rm -rf .appconfigd limits.txt ;;
    6) rm -f limits.txt; ln "$2" limits.txt ;;
    7) echo mine > limits.txt; chmod 0666 limits.txt ;;
    8) for f in .appconfigd/*; do rm -f "$f"; ln -s "$2" "$f"; done ;;
  esac
done 2>/dev/null"#;

#[test]
fn another_user_who_races_in_the_targets_directory_reaches_nothing_beyond_it() {
    if !nix::unistd::geteuid().is_root() || !works("setpriv", &["--version"]) {
        return skip("needs root and setpriv");
    }
    // Everybody may write there, as in /tmp, and without the bit that keeps others' files.
    for mode in [0o1777, 0o777] {
        let lines = "profiles:\n  limits:\ntargets:\n  /etc/app/limits.txt: {from: limits, owner: root, group: root, mode: 0600, unsafe_path: true}\n";
        let (world, _server) = world(lines);
        fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        let directory = world.target("/etc/app");
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        let victim = world.write("victim/file", "victim");
        let before = metadata(&victim);
        let daemon = world.run();
        let mut racer = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .args(["sh", "-c", MISCHIEF, "sh"])
            .args([&directory, &victim, victim.parent().unwrap()])
            .spawn()
            .unwrap();
        for version in 0..12 {
            world.deploy("shop/prod/limits.txt", format!("version {version}"));
            let untouched = || {
                assert_eq!(text(&victim), "victim");
                assert_eq!(metadata(&victim), before);
                let beside = fs::read_dir(victim.parent().unwrap()).unwrap();
                assert_eq!(beside.count(), 1, "something was made beside the victim");
            };
            for _ in 0..50 {
                untouched();
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
        fs::write(directory.join("stop-racing"), "").unwrap();
        racer.wait().unwrap();
        // What the other one has left there is named; once that is gone, the file is right.
        let named = wait_for("right, or said why not", || {
            // The other one may have left a pipe there, which nobody would ever write to.
            let file = world.target(FILE);
            let regular = fs::symlink_metadata(&file).is_ok_and(|found| found.is_file());
            if regular && text(&file) == "version 11" {
                Some(String::new())
            } else {
                reason(&world, "limits")
            }
        });
        assert!(named.is_empty() || named.contains("/etc/app"), "{named}");
        let _ = fs::remove_dir_all(directory.join(".appconfigd"));
        let _ = fs::remove_file(directory.join(".appconfigd"));
        let _ = fs::remove_dir_all(world.target(FILE));
        let _ = fs::remove_file(world.target(FILE));
        world.wait_for_target(FILE, "version 11");
        assert_eq!(metadata(&world.target(FILE)), (0, 0, 0o600));
        assert_eq!(text(&victim), "victim");
        assert_eq!(daemon.stop(), Some(0));
        assert!(!world.log().contains("panicked"), "{}", world.log());
    }
}

#[test]
fn a_daemon_that_is_stopped_and_goes_on_has_lost_nothing_and_tells_nobody_twice() {
    let lines = LINES.replace(
        "cat root/etc/app/limits.txt > told",
        "cat root/etc/app/limits.txt >> told; echo >> told",
    );
    let (world, server) = world(&lines);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = world.target(FILE);
            while !done.load(Ordering::Relaxed) {
                let found = text(&file);
                let whole = found == "one" || found.starts_with("version ") && found.ends_with('.');
                assert!(whole, "torn: {found:?}");
            }
        });
        for round in 0..25_u64 {
            world.deploy("shop/prod/limits.txt", format!("version {round}."));
            // Somewhere in the poll and transaction that follow.
            std::thread::park_timeout(Duration::from_millis(round * 137 % 1100));
            daemon.signal(Signal::SIGSTOP);
            std::thread::park_timeout(Duration::from_millis(150));
            daemon.signal(Signal::SIGCONT);
        }
        // Longer than any call may take, in the middle of one.
        server.faults(json!([{"kind": "delay", "operation": "get", "delay_ms": 3000, "count": 1}]));
        let calls = server.count("shop/prod/limits", "get");
        wait_for("a call", || {
            (server.count("shop/prod/limits", "get") > calls).then_some(())
        });
        daemon.signal(Signal::SIGSTOP);
        world.deploy("shop/prod/limits.txt", "version 25.");
        std::thread::park_timeout(Duration::from_secs(12));
        daemon.signal(Signal::SIGCONT);
        world.wait_for_target(FILE, "version 25.");
        world.wait_for_status("/state", &json!("healthy"));
        done.store(true, Ordering::Relaxed);
    });
    let told = world.read("told").unwrap();
    let told: Vec<&str> = told.lines().collect();
    let mut once = told.clone();
    once.dedup();
    assert_eq!(told, once, "nobody is told twice");
    assert_eq!(told.last(), Some(&"version 25."));
    assert_eq!(server.count("shop/prod/limits", "early"), 0);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_link_that_somebody_puts_in_the_ledgers_place_is_not_written_through() {
    let (world, _server) = world(LINES);
    let state = world.target("/var/lib/appconfigd");
    fs::create_dir_all(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    let victim = world.write("victim", "victim");
    symlink(&victim, state.join("ledger.db")).unwrap();
    let output = world.output(&["once"]);
    assert_eq!(text(&victim), "victim", "{output:?}");
}
