//! `run` against `serve`: the main job.

use std::process::Command;

use serde_json::json;

use crate::world::{Daemon, Server, World, metadata, wait_for};

#[test]
fn a_change_reaches_the_file_and_the_service_is_told_once() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", r#"{"limit": 1}"#);
    let server = Server::start(&world);
    world.settings(
        &server,
        "profiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {command: [sh, -c, echo told >> told]}\n",
    );
    let daemon = world.run();
    world.wait_for_target("/etc/app/limits.json", r#"{"limit": 1}"#);
    wait_for("the service is told", || {
        (world.read("told")? == "told\n").then_some(())
    });
    world.deploy("shop/prod/limits.json", r#"{"limit": 2}"#);
    world.wait_for_target("/etc/app/limits.json", r#"{"limit": 2}"#);
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    assert_eq!(world.read("told").unwrap(), "told\ntold\n");
    assert_eq!(daemon.stop(), Some(0));
}

const LIMITS: &str = "/etc/app/limits.json";
const LINES: &str = "profiles:\n  limits: {validate: {format: json}}\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {command: [sh, -c, echo told >> told]}\n";

fn world(lines: &str) -> (World, Server) {
    World::served(&[("shop/prod/limits.json", r#"{"limit": 1}"#)], lines)
}

#[test]
fn an_expired_token_makes_a_new_session_which_says_nothing_new() {
    let (world, server) = world(LINES);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    server.advance(25 * 3600);
    wait_for("a new session", || {
        (server.count("shop/prod/limits", "start") == 2).then_some(())
    });
    world.deploy("shop/prod/limits.json", r#"{"limit": 2}"#);
    world.wait_for_target(LIMITS, r#"{"limit": 2}"#);
    world.wait_for_status("/state", &json!("healthy"));
    let calls = server.calls("shop/prod/limits");
    assert_eq!(calls["start"], 2, "{calls}");
    // Its first answer brings what is installed already: nobody is told.
    assert_eq!(world.read("told").unwrap(), "told\ntold\n");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_server_that_forgot_every_token_gets_a_new_session() {
    let (world, server) = world(LINES);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    let address = server.address().to_owned();
    server.stop();
    world.wait_for_status("/profiles/limits/state", &json!("unreachable"));
    world.deploy("shop/prod/limits.json", r#"{"limit": 2}"#);
    let server = Server::listen(&world, &address);
    world.wait_for_target(LIMITS, r#"{"limit": 2}"#);
    world.wait_for_status("/state", &json!("healthy"));
    let calls = server.calls("shop/prod/limits");
    assert_eq!(
        (calls["start"].as_u64(), calls["received"].as_u64()),
        (Some(1), Some(1)),
        "{calls}"
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_resource_that_is_gone_leaves_file_and_session_and_comes_back() {
    let (world, server) = world(LINES);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    world.withdraw("shop/prod/limits.json");
    let status = world.wait_for_status("/profiles/limits/state", &json!("unreachable"));
    let reason = status["profiles"]["limits"]["reason"].as_str().unwrap();
    assert!(reason.contains("limits"), "{reason}");
    assert_eq!(status["state"], "degraded");
    world.wait_for_target(LIMITS, r#"{"limit": 1}"#);
    world.deploy("shop/prod/limits.json", r#"{"limit": 2}"#);
    world.wait_for_target(LIMITS, r#"{"limit": 2}"#);
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(server.count("shop/prod/limits", "start"), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn with_the_server_down_targets_come_from_the_ledger_and_converge_when_it_returns() {
    let (world, server) = world(LINES);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(daemon.stop(), Some(0));
    let address = server.address().to_owned();
    server.stop();
    std::fs::remove_file(world.target(LIMITS)).unwrap();
    let daemon = world.run();
    world.wait_for_target(LIMITS, r#"{"limit": 1}"#);
    let status = world.wait_for_status("/profiles/limits/state", &json!("unreachable"));
    assert_eq!(status["state"], "degraded");
    assert_eq!(status["targets"][LIMITS]["state"], "in_sync");
    assert!(
        status["profiles"]["limits"]["installed"].is_object(),
        "{status}"
    );
    world.deploy("shop/prod/limits.json", r#"{"limit": 2}"#);
    let _server = Server::listen(&world, &address);
    world.wait_for_target(LIMITS, r#"{"limit": 2}"#);
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_refused_version_leaves_the_file_and_the_other_profiles_go_on() {
    let lines = "profiles:\n  limits: {validate: {format: json}}\n  other:\n  third:\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\n  /etc/app/other.json: {from: other, notify: app}\n  /etc/app/both.json: {from: [limits, third], merge: true, notify: app}\nservices:\n  app: {command: [sh, -c, echo told >> told]}\n";
    let (world, server) = world(lines);
    world.deploy("shop/prod/other.json", r#"{"other": 1}"#);
    world.deploy("shop/prod/third.json", r#"{"third": 1}"#);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    let both = std::fs::read_to_string(world.target("/etc/app/both.json")).unwrap();
    world.deploy("shop/prod/limits.json", r#"{"limit": "#);
    world.deploy("shop/prod/other.json", r#"{"other": 2}"#);
    world.wait_for_target("/etc/app/other.json", r#"{"other": 2}"#);
    let status = world.wait_for_status("/profiles/limits/state", &json!("refused"));
    assert!(
        status["profiles"]["limits"]["reason"].is_string(),
        "{status}"
    );
    world.wait_for_status("/profiles/other/state", &json!("current"));
    world.wait_for_status("/profiles/third/state", &json!("current"));
    world.wait_for_target(LIMITS, r#"{"limit": 1}"#);
    world.wait_for_target("/etc/app/both.json", &both);
    world.deploy("shop/prod/limits.json", r#"{"limit": 3}"#);
    world.wait_for_target(LIMITS, r#"{"limit": 3}"#);
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(server.count("shop/prod/limits", "start"), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn what_a_check_rejects_goes_back_with_bytes_owner_and_mode_and_is_quarantined() {
    let check = "grep -q bad root/etc/app/limits.json && exit 1; exit 0";
    let lines = format!(
        "profiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {{from: limits, notify: app, mode: 640, owner: 12, group: 34}}\nservices:\n  app: {{check: {{shell: \"echo checked >> checked; {check}\"}}, command: [sh, -c, echo told >> told]}}\n"
    );
    if !nix::unistd::geteuid().is_root() {
        return crate::skip::skip("only root may give files away");
    }
    let (world, _server) = world(&lines);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    world.deploy("shop/prod/limits.json", r#"{"limit": "bad"}"#);
    let status = world.wait_for_status("/profiles/limits/state", &json!("quarantined"));
    assert_eq!(status["state"], "degraded");
    world.wait_for_target(LIMITS, r#"{"limit": 1}"#);
    assert_eq!(metadata(&world.target(LIMITS)), (12, 34, 0o640));
    assert_eq!(world.read("told").unwrap(), "told\n");
    let checked = world.read("checked").unwrap().lines().count();
    // The same bytes deployed again: somebody wants them tried again.
    world.deploy("shop/prod/limits.json.meta.yaml", "version_label: again\n");
    wait_for("they are checked again", || {
        (world.read("checked")?.lines().count() > checked).then_some(())
    });
    world.wait_for_status("/profiles/limits/received/label", &json!("again"));
    world.wait_for_status("/profiles/limits/state", &json!("quarantined"));
    world.wait_for_target(LIMITS, r#"{"limit": 1}"#);
    world.deploy("shop/prod/limits.json", r#"{"limit": 2}"#);
    world.wait_for_target(LIMITS, r#"{"limit": 2}"#);
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(world.read("told").unwrap(), "told\ntold\n");
    // What went away and comes back was not deployed twice in a row: it is not tried on a live service again.
    let checked = world.read("checked").unwrap();
    world.deploy("shop/prod/limits.json", r#"{"limit": "bad"}"#);
    world.wait_for_status("/profiles/limits/state", &json!("quarantined"));
    assert_eq!(world.read("checked").unwrap(), checked);
    world.wait_for_target(LIMITS, r#"{"limit": 2}"#);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_notification_that_hangs_is_pending_and_ended_later() {
    let lines = LINES.replace(
        "[sh, -c, echo told >> told]",
        "{shell: \"echo $$ >> told; test -e quick || exec sleep 600\"}, timeout: 1s",
    );
    let (world, _server) = world(&lines);
    let daemon = world.run();
    let status = wait_for("the notification has timed out", || {
        let status = world.status()?;
        let service = &status["services"]["app"];
        (service["state"] == "pending" && service["last_result"].is_string()).then_some(status)
    });
    world.wait_for_target(LIMITS, r#"{"limit": 1}"#);
    world.wait_for_status("/profiles/limits/state", &json!("current"));
    assert!(
        status["services"]["app"]["last_result"].is_string(),
        "{status}"
    );
    let first = world.read("told").unwrap();
    let first = first.lines().next().unwrap();
    wait_for("the command that hung has been ended", || {
        (!std::path::Path::new("/proc").join(first).exists()).then_some(())
    });
    world.write("quick", "");
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(daemon.stop(), Some(0));
}

/// A service manager's end of NOTIFY_SOCKET. It always reads, as a manager does: what finds no room is dropped.
pub struct Manager(std::sync::mpsc::Receiver<Vec<String>>);

impl Manager {
    pub fn new(world: &World) -> Manager {
        let socket = std::os::unix::net::UnixDatagram::bind(world.path("notify")).unwrap();
        let (sender, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok(length) = socket.recv(&mut message) {
                let text = String::from_utf8_lossy(&message[..length]);
                let lines = text.lines().map(str::to_owned).collect();
                if sender.send(lines).is_err() {
                    return;
                }
            }
        });
        Manager(heard)
    }

    /// The lines of the next message, if there is one.
    fn next(&self) -> Option<Vec<String>> {
        self.0.try_recv().ok()
    }

    /// Waits for a line, gives back the lines that came before it.
    pub fn wait_for(&self, start: &str) -> Vec<String> {
        let mut before = Vec::new();
        wait_for(&format!("the manager hears {start}"), || {
            while let Some(lines) = self.next() {
                if lines.iter().any(|line| line.starts_with(start)) {
                    return Some(());
                }
                before.extend(lines);
            }
            None
        });
        before
    }

    fn run(&self, world: &World) -> Daemon {
        self.run_by(world, world.command(&["run", "--log-level", "debug"]))
    }

    pub fn run_by(&self, world: &World, mut command: Command) -> Daemon {
        command.env("NOTIFY_SOCKET", world.path("notify"));
        command.env("WATCHDOG_USEC", "400000");
        world.run_by(command)
    }
}

#[test]
fn the_service_manager_hears_ready_status_reloading_watchdog_and_stopping() {
    let (world, _server) = world(LINES);
    let manager = Manager::new(&world);
    let daemon = manager.run(&world);
    manager.wait_for("READY=1");
    world.wait_for_target(LIMITS, r#"{"limit": 1}"#);
    manager.wait_for("STATUS=healthy: 1 profile, 1 target, 1 service");
    manager.wait_for("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1");
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    manager.wait_for("RELOADING=1");
    manager.wait_for("READY=1");
    world.deploy("shop/prod/limits.json", "{");
    manager.wait_for("STATUS=degraded: 1 profile, 1 target, 1 service; limits: ");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    manager.wait_for("STOPPING=1");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn ready_is_not_said_before_the_files_stand_and_a_manager_gets_75_in_the_end() {
    let lines = format!("ready_timeout: 2s\n{LINES}");
    let (world, server) = world(&lines);
    server.stop();
    let manager = Manager::new(&world);
    let mut daemon = manager.run(&world);
    // Before READY a reload is none.
    world.wait_for_status("/profiles/limits/state", &json!("unreachable"));
    assert_eq!(world.output(&["reload"]).status.code(), Some(0));
    assert_eq!(daemon.wait(), Some(75));
    let heard: Vec<String> = std::iter::from_fn(|| manager.next()).flatten().collect();
    assert!(!heard.iter().any(|line| line == "READY=1"), "{heard:?}");
    assert!(heard.iter().any(|line| line == "STOPPING=1"), "{heard:?}");
    // Nobody waits here: it goes on.
    let daemon = world.run();
    wait_for("the timeout has passed", || {
        (world
            .log()
            .matches("not ready within ready_timeout")
            .count()
            == 2)
            .then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_directory_that_is_missing_is_said_and_its_target_is_made_once_it_is_there() {
    let (world, server) = world(LINES);
    std::fs::remove_dir(world.target("/etc/app")).unwrap();
    let daemon = world.run();
    let status = world.wait_for_status("/targets/~1etc~1app~1limits.json/state", &json!("waiting"));
    assert_eq!(status["state"], "failed");
    wait_for("the log says so", || {
        world.log().contains("target left as it is").then_some(())
    });
    server.stop();
    std::fs::create_dir(world.target("/etc/app")).unwrap();
    world.wait_for_target(LIMITS, r#"{"limit": 1}"#);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_command_that_floods_its_output_is_waited_for_and_does_not_fill_the_log() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{}");
    let server = Server::start(&world);
    world.settings(
        &server,
        "profiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {command: {shell: \"yes flood | head -n 2000000\"}}\n",
    );
    let daemon = world.run();
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    assert_eq!(daemon.stop(), Some(0));
    let lines = world.log().matches("line=flood").count();
    assert_eq!(lines, 200);
}

#[test]
fn what_stop_timeout_cuts_short_is_left_to_the_next_start() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{}");
    let server = Server::start(&world);
    let lines = "stop_timeout: 500ms\nprofiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {command: {shell: \"echo told >> told; test -e quick || exec sleep 600\"}}\n";
    world.settings(&server, lines);
    let daemon = world.run();
    wait_for("the command runs", || world.read("told"));
    assert_eq!(daemon.stop(), Some(0));
    let log = world.log();
    assert!(log.contains("left to recovery"), "{log}");
    assert!(!log.contains("ended unexpectedly"), "{log}");
    assert!(!log.contains("going back"), "{log}");
    world.wait_for_target("/etc/app/limits.json", "{}");
    world.write("quick", "");
    let _daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(world.read("told").unwrap(), "told\ntold\n");
}

#[test]
fn stops_in_a_slow_check_are_no_interruptions_and_stops_in_a_notification_are() {
    // The check hangs, or the command does, as long as a file says so.
    let slow = |name: &str| {
        format!(
            "{{shell: \"echo {name} >> asked; while test -e asked && ! test -e quick; do sleep 1; done\"}}"
        )
    };
    for (check, command, condemned) in [
        (slow("check"), "[\"true\"]".to_owned(), false),
        ("[\"true\"]".to_owned(), slow("command"), true),
    ] {
        let world = World::new();
        world.deploy("shop/prod/limits.json", "{}");
        let server = Server::start(&world);
        let lines = format!(
            "stop_timeout: 300ms\nprofiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {{from: limits, notify: app}}\nservices:\n  app: {{check: {check}, command: {command}}}\n"
        );
        world.settings(&server, &lines);
        for started in 1..=4 {
            let daemon = world.run();
            wait_for("it is asked", || {
                let asked = world.read("asked")?;
                (asked.lines().count() == started).then_some(())
            });
            assert_eq!(daemon.stop(), Some(0));
            if condemned && started == 3 {
                break;
            }
        }
        world.write("quick", "");
        let daemon = world.run();
        world.wait_for_status("/daemon/pid", &json!(daemon.pid().as_raw()));
        let expected = if condemned { "quarantined" } else { "current" };
        world.wait_for_status("/profiles/limits/state", &json!(expected));
        assert_eq!(world.log().contains("interrupted three times"), condemned);
        assert_eq!(daemon.stop(), Some(0));
    }
}
