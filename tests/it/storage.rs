//! The state directory in trouble: full, failing, damaged, removed, somebody else's, from the future.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::mount::Mount;
use crate::skip::skip;
use crate::world::{Daemon, Server, World, wait_for};

const FILE: &str = "/etc/app/limits.txt";
const PROFILE: &str = "shop/prod/limits";
const INSTALLED: &str = "/targets/~1etc~1app~1limits.txt/digest";

/// One target, whose staged check runs `check`, and two services that count what they are told.
fn world(check: &str) -> (World, Server) {
    let world = World::new();
    world.deploy("shop/prod/limits.txt", "one");
    let server = Server::start(&world);
    let lines = format!(
        "profiles:\n  limits:\ntargets:\n  {FILE}: {{from: limits, notify: [app, web], validate_command: {{shell: \"{check}\"}}}}\nservices:\n  app: {{command: {{shell: echo told >> app}}}}\n  web: {{command: {{shell: echo told >> web}}}}\n"
    );
    world.settings(&server, &lines);
    (world, server)
}

fn state(world: &World) -> PathBuf {
    world.target("/var/lib/appconfigd")
}

fn running(world: &World) -> Daemon {
    let daemon = world.run();
    world.wait_for_target(FILE, "one");
    world.wait_for_status("/state", &json!("healthy"));
    daemon
}

/// Waits until this daemon answers, and all is well.
fn healthy(world: &World, daemon: &Daemon) {
    let pid = json!(daemon.pid().as_raw());
    world.wait_for_status("/daemon/pid", &pid);
    world.wait_for_status("/state", &json!("healthy"));
}

fn told(world: &World) -> (usize, usize) {
    let count = |name| world.read(name).unwrap_or_default().lines().count();
    (count("app"), count("web"))
}

fn file(world: &World) -> String {
    fs::read_to_string(world.target(FILE)).unwrap()
}

/// Waits until the profile's reason has these words.
fn wait_for_reason(world: &World, words: &str) -> Value {
    wait_for(&format!("the status says {words:?}"), || {
        let status = world.status()?;
        let reason = status["profiles"]["limits"]["reason"].as_str()?;
        reason.contains(words).then_some(status)
    })
}

fn nothing_is_swapped(world: &World) {
    assert_eq!(file(world), "one", "{}", world.log());
    assert_eq!(told(world), (1, 1));
}

fn installs(world: &World, version: &str) {
    world.wait_for_target(FILE, version);
    let status = world.wait_for_status("/state", &json!("healthy"));
    assert_ne!(status.pointer(INSTALLED), Some(&Value::Null));
    let leftovers = world.target("/etc/app/.appconfigd");
    assert!(!leftovers.exists(), "{leftovers:?} stays");
}

#[test]
fn what_a_poll_brings_waits_for_room_in_the_ledger_and_goes_on_by_itself() {
    let (world, server) = world("test -e {staged}");
    let Some(disk) = Mount::tmpfs(&state(&world), "2m") else {
        return skip("file systems cannot be mounted here");
    };
    let daemon = running(&world);
    let filler = disk.fill();
    let two = "two".repeat(70_000);
    world.deploy("shop/prod/limits.txt", &two);
    let status = wait_for_reason(&world, "free space on its file system");
    assert_eq!(status["state"], "degraded");
    assert!(world.log().contains("cannot take what a poll brought"));
    nothing_is_swapped(&world);
    let calls = server.count(PROFILE, "get");
    fs::remove_file(filler).unwrap();
    installs(&world, &two);
    assert_eq!(told(&world), (2, 2));
    assert_eq!(server.count(PROFILE, "start"), 1, "after {calls} calls");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn without_room_for_the_obligation_nothing_is_swapped_and_it_goes_on_by_itself() {
    // The check of the second version takes the room between what is received and the obligation.
    let (world, _server) =
        world("! grep -q two {staged} || test -e room || cat /dev/zero > state/filler; true");
    let Some(_disk) = Mount::tmpfs(&world.path("state"), "2m") else {
        return skip("file systems cannot be mounted here");
    };
    let mut command = world.command(&["run", "--log-level", "debug", "--state-directory"]);
    command.arg(world.path("state"));
    let daemon = world.run_by(command);
    world.wait_for_target(FILE, "one");
    world.wait_for_status("/state", &json!("healthy"));
    // More than the log has room for.
    world.deploy("shop/prod/limits.txt", "two");
    wait_for_reason(&world, "free space on its file system");
    assert!(world.log().contains("nothing is swapped for now"));
    nothing_is_swapped(&world);
    world.write("room", "");
    fs::remove_file(world.path("state/filler")).unwrap();
    installs(&world, "two");
    assert_eq!(told(&world), (2, 2));
    assert_eq!(daemon.stop(), Some(0));
}

/// System calls of a running daemon with its ledger that fail as long as this lives.
struct Failing(Child);

impl Failing {
    fn begin(world: &World, daemon: &Daemon, error: &str) -> Failing {
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-q", "-o", "/dev/null", "-e"])
            .arg(format!("inject=pwrite64,fsync,fdatasync:error={error}"));
        for name in ["ledger.db", "ledger.db-wal"] {
            strace.arg("-P").arg(state(world).join(name));
        }
        strace.arg("-p").arg(daemon.pid().to_string());
        let child = strace.stderr(Stdio::null()).spawn().unwrap();
        let status = PathBuf::from(format!("/proc/{}/status", daemon.pid()));
        wait_for("strace has attached", || {
            let status = fs::read_to_string(&status).unwrap();
            (!status.contains("TracerPid:\t0\n")).then_some(())
        });
        Failing(child)
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        // It lets go of the daemon.
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGINT);
        let _ = self.0.wait();
    }
}

fn may_trace() -> bool {
    let straced = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    straced.is_ok_and(|status| status.success())
}

#[test]
fn while_the_disk_of_the_ledger_fails_nothing_is_swapped_and_nothing_is_taken_for_damage() {
    if !may_trace() {
        return skip("strace is not installed, or may not trace here");
    }
    for error in ["EIO", "EROFS"] {
        let (world, server) = world("test -e {staged}");
        let daemon = running(&world);
        let failing = Failing::begin(&world, &daemon, error);
        world.deploy("shop/prod/limits.txt", "two");
        wait_for_reason(&world, "its disk or file system fails, or is read-only");
        nothing_is_swapped(&world);
        drop(failing);
        installs(&world, "two");
        assert_eq!(told(&world), (2, 2));
        assert_eq!(server.count(PROFILE, "start"), 1);
        assert_eq!(moved_aside(&world), Vec::<PathBuf>::new());
        assert_eq!(daemon.stop(), Some(0));
        assert_eq!(integrity(&world), "ok");
    }
}

#[test]
fn a_start_on_a_read_only_state_directory_says_so_and_touches_nothing() {
    let (world, _server) = world("test -e {staged}");
    let Some(disk) = Mount::tmpfs(&state(&world), "2m") else {
        return skip("file systems cannot be mounted here");
    };
    assert_eq!(running(&world).stop(), Some(0));
    world.deploy("shop/prod/limits.txt", "two");
    assert!(disk.read_only(true));
    let output = world.output(&["run"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(said.contains("--state-directory"), "{said}");
    nothing_is_swapped(&world);
    assert!(disk.read_only(false));
    let _daemon = world.run();
    installs(&world, "two");
}

fn moved_aside(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(state(world)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.to_string_lossy().contains(".damaged-"))
        .collect()
}

fn integrity(world: &World) -> String {
    let ledger = rusqlite::Connection::open(state(world).join("ledger.db")).unwrap();
    ledger
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn a_damaged_ledger_is_moved_aside_whole_and_what_is_lost_is_said() {
    let (world, server) = world("test -e {staged}");
    let daemon = running(&world);
    assert!(world.output(&["hold", "limits"]).status.success());
    daemon.kill();
    let ledger = state(&world).join("ledger.db");
    // After a kill the log is there, and goes with it.
    let mut log = fs::read(state(&world).join("ledger.db-wal")).unwrap();
    assert!(!log.is_empty());
    log.iter_mut()
        .skip(32)
        .step_by(3)
        .for_each(|byte| *byte ^= 0x5a);
    fs::write(state(&world).join("ledger.db-wal"), &log).unwrap();
    let mut bytes = fs::read(&ledger).unwrap();
    bytes.iter_mut().skip(100).for_each(|byte| *byte ^= 0x5a);
    fs::write(&ledger, bytes).unwrap();
    for started in 0..2 {
        let daemon = world.run();
        healthy(&world, &daemon);
        wait_for("a poll", || {
            (server.count(PROFILE, "get") >= 3).then_some(())
        });
        assert_eq!(server.count(PROFILE, "start"), 2, "a new session, once");
        assert_eq!(told(&world), (2, 2), "each is notified once");
        assert_eq!(daemon.stop(), Some(0), "start {started}");
    }
    let moved = moved_aside(&world);
    assert_eq!(moved.len(), 3, "{moved:?}");
    let log = world.log();
    let lost = "history, holds and quarantine are gone, every service is notified once";
    assert_eq!(log.matches(lost).count(), 1, "{log}");
    assert_eq!(integrity(&world), "ok");
    assert_eq!(file(&world), "one");
}

#[test]
fn a_removed_state_directory_is_written_anew_and_nothing_is_forgotten() {
    let (world, server) = world("test -e {staged}");
    let daemon = running(&world);
    fs::remove_dir_all(state(&world)).unwrap();
    world.deploy("shop/prod/limits.txt", "two");
    installs(&world, "two");
    let log = world.log();
    assert!(
        log.contains("the ledger was removed while running"),
        "{log}"
    );
    let second = world.output(&["run"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&daemon.pid().to_string()), "{said}");
    daemon.kill();
    assert_eq!(integrity(&world), "ok");
    let daemon = world.run();
    healthy(&world, &daemon);
    assert_eq!(told(&world), (2, 2), "nobody is told twice");
    assert_eq!(server.count(PROFILE, "start"), 1, "the session goes on");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn with_another_ledger_in_its_place_nothing_is_swapped_until_the_right_one_is_back() {
    let (world, _server) = world("test -e {staged}");
    let daemon = running(&world);
    let (ledger, aside) = (state(&world).join("ledger.db"), world.path("aside"));
    fs::rename(&ledger, &aside).unwrap();
    fs::write(&ledger, "another").unwrap();
    world.deploy("shop/prod/limits.txt", "two");
    wait_for_reason(
        &world,
        "has been replaced by another file: restart appconfigd",
    );
    nothing_is_swapped(&world);
    fs::rename(&aside, &ledger).unwrap();
    installs(&world, "two");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(integrity(&world), "ok");
}

#[test]
fn a_second_daemon_is_refused_with_the_firsts_number_and_disturbs_nothing() {
    let (world, server) = world("test -e {staged}");
    let daemon = running(&world);
    let pid = format!("(process {})", daemon.pid());
    let runtime = world.path("other");
    for command in ["run", "once"] {
        let mut second = world.command(&[command, "--runtime-directory"]);
        let output = second.arg(&runtime).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains(&pid), "{command}: {said}");
        assert!(said.contains("appconfigd refresh"), "{command}: {said}");
    }
    world.deploy("shop/prod/limits.txt", "two");
    installs(&world, "two");
    assert_eq!(server.count(PROFILE, "start"), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_ledger_of_a_newer_program_is_refused_with_the_version_that_wrote_it() {
    let (world, _server) = world("test -e {staged}");
    assert_eq!(running(&world).stop(), Some(0));
    let ledger = state(&world).join("ledger.db");
    let raw = rusqlite::Connection::open(&ledger).unwrap();
    let written_by: String = raw
        .query_row(
            "SELECT value FROM meta WHERE key = 'written_by'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(written_by, env!("CARGO_PKG_VERSION"));
    raw.execute_batch(
        "PRAGMA user_version = 99; UPDATE meta SET value = '99' WHERE key = 'schema'; UPDATE meta SET value = '9.8.7' WHERE key = 'written_by'",
    )
    .unwrap();
    drop(raw);
    let before = fs::read(&ledger).unwrap();
    world.deploy("shop/prod/limits.txt", "two");
    for command in ["run", "once"] {
        let output = world.output(&[command]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(
            said.contains("written by appconfigd 9.8.7"),
            "{command}: {said}"
        );
    }
    nothing_is_swapped(&world);
    assert_eq!(fs::read(&ledger).unwrap(), before, "it is left alone");
    assert_eq!(moved_aside(&world), Vec::<PathBuf>::new());
}

#[test]
fn a_socket_whose_path_is_too_long_is_said_before_anything_is_begun() {
    let (world, server) = world("test -e {staged}");
    let deep = world.path(&"x".repeat(110));
    let output = world
        .command(&["run", "--runtime-directory"])
        .arg(&deep)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("give a shorter `--runtime-directory`"),
        "{said}"
    );
    assert_eq!(server.count(PROFILE, "start"), 0);
    assert!(!state(&world).exists() && !Path::new(&deep).exists());
}

#[test]
fn a_runtime_directory_that_cannot_be_used_is_said_before_anything_is_begun() {
    let (world, server) = world("test -e {staged}");
    let file = world.write("file", "");
    let output = world
        .command(&["run", "--runtime-directory"])
        .arg(file.join("run"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("cannot listen on the control socket")
            && said.contains("give another --runtime-directory"),
        "{said}"
    );
    assert_eq!(server.count(PROFILE, "start"), 0);
    assert!(!state(&world).exists());
}
