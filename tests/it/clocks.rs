//! A wall clock that is set while the daemon runs, and between two runs: nothing fires early, and nothing never.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::skip::skip;
use crate::world::{Daemon, Server, World, wait_for};

const SET: &str = include_str!("../fixtures/clock/set.c");
const FILE: &str = "/etc/app/limits.txt";
const PROFILE: &str = "shop/prod/limits";
const DAY: i64 = 24 * 60 * 60;

/// A world in which programs see the wall clock that `set` gives them; `None` where there is no C compiler.
struct Clocked {
    world: World,
    server: Server,
}

impl Clocked {
    fn new() -> Option<Clocked> {
        let world = World::new();
        let source = world.write("set.c", SET);
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(world.path("set.so"))
            .arg(source)
            .status();
        if !compiled.is_ok_and(|status| status.success()) {
            return None;
        }
        world.write("set-by", "0");
        world.write("slept-for", "0");
        world.deploy("shop/prod/limits.txt", "one");
        let server = Server::start(&world);
        let lines = format!(
            "profiles:\n  limits:\n  other:\ntargets:\n  {FILE}: {{from: limits, notify: app}}\n  /etc/app/other.txt: {{from: other}}\nservices:\n  app: {{command: {{shell: \"test -e up && echo told >> told\"}}, on_failure: keep}}\n"
        );
        world.deploy("shop/prod/other.txt", "one");
        world.settings(&server, &lines);
        world.write("up", "");
        Some(Clocked { world, server })
    }

    /// Sets the clock; it is another one at once.
    fn set(&self, by: i64) {
        self.put("set-by", by);
    }

    /// The machine has been asleep: timers have not counted that.
    fn sleep(&self, seconds: i64) {
        self.put("slept-for", seconds);
    }

    fn put(&self, file: &str, seconds: i64) {
        self.world.write("new", &seconds.to_string());
        fs::rename(self.world.path("new"), self.world.path(file)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command
            .env("LD_PRELOAD", self.world.path("set.so"))
            .env("CLOCK_SET_BY", self.world.path("set-by"))
            .env("CLOCK_SLEPT_FOR", self.world.path("slept-for"));
        command
    }

    fn run(&self) -> Daemon {
        let daemon = self
            .world
            .run_by(self.command(&["run", "--log-level", "debug"]));
        let pid = json!(daemon.pid().as_raw());
        self.world.wait_for_status("/daemon/pid", &pid);
        daemon
    }

    fn order(&self, arguments: &[&str]) {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// The daemon lives and polls: so many answers come from now on.
    fn polls(&self, times: u64) {
        let before = self.server.count(PROFILE, "get");
        wait_for("polls go on", || {
            (self.server.count(PROFILE, "get") >= before + times).then_some(())
        });
    }

    fn year(&self) -> String {
        let status = self.world.status().unwrap();
        let polled = status["profiles"]["limits"]["last_poll"].as_str().unwrap();
        polled[..4].to_owned()
    }
}

#[test]
fn a_clock_that_is_set_while_the_daemon_runs_fires_nothing_early_and_nothing_never() {
    for by in [400 * DAY, -400 * DAY] {
        let Some(clocked) = Clocked::new() else {
            return skip("there is no C compiler");
        };
        let (world, server) = (&clocked.world, &clocked.server);
        let daemon = clocked.run();
        world.wait_for_status("/state", &json!("healthy"));
        clocked.order(&["hold", "limits", "--for", "1h"]);
        clocked.order(&["hold", "/etc/app/other.txt", "--for", "8s"]);
        let year = clocked.year();
        world.deploy("shop/prod/limits.txt", "two");
        world.deploy("shop/prod/other.txt", "two");
        clocked.set(by);
        clocked.polls(3);
        assert_ne!(clocked.year(), year, "the daemon sees the clock");
        // Nothing early: neither the hold of an hour nor the token of 24 hours has ended, and no poll was too early.
        assert_eq!(
            world.status().unwrap()["profiles"]["limits"]["state"],
            "held"
        );
        assert_eq!(fs::read_to_string(world.target(FILE)).unwrap(), "one");
        assert_eq!(server.count(PROFILE, "start"), 1);
        assert_eq!(server.count(PROFILE, "early"), 0);
        // Nothing never: the short hold ends, a service that said no is asked again, new versions arrive.
        world.wait_for_target("/etc/app/other.txt", "two");
        fs::remove_file(world.path("up")).unwrap();
        // Its exit says that the service failed.
        clocked.command(&["release", "limits"]).output().unwrap();
        world.wait_for_target(FILE, "two");
        world.wait_for_status("/services/app/state", &json!("failed"));
        clocked.set(0);
        world.write("up", "");
        world.wait_for_status("/services/app/state", &json!("acknowledged"));
        world.deploy("shop/prod/limits.txt", "three");
        world.wait_for_target(FILE, "three");
        assert_eq!(server.count(PROFILE, "start"), 1);
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[test]
fn times_of_a_clock_that_went_wrong_keep_nobody_waiting_after_a_restart() {
    let Some(clocked) = Clocked::new() else {
        return skip("there is no C compiler");
    };
    let (world, server) = (&clocked.world, &clocked.server);
    // Everything that is recorded now lies in the future of the next run.
    clocked.set(400 * DAY);
    let daemon = clocked.run();
    world.wait_for_status("/state", &json!("healthy"));
    clocked.order(&["hold", "/etc/app/other.txt", "--for", "5s"]);
    fs::remove_file(world.path("up")).unwrap();
    world.deploy("shop/prod/limits.txt", "two");
    world.wait_for_status("/services/app/state", &json!("failed"));
    daemon.kill();
    clocked.set(0);
    world.deploy("shop/prod/limits.txt", "three");
    world.deploy("shop/prod/other.txt", "three");
    let daemon = clocked.run();
    world.wait_for_target(FILE, "three");
    world.wait_for_target("/etc/app/other.txt", "three");
    world.write("up", "");
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    assert_eq!(server.count(PROFILE, "early"), 0);
    assert_eq!(daemon.stop(), Some(0));
}

/// Seconds since 1970, now.
fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A board without a battery begins in 1970; 32 bits without a sign end in 2106.
#[test]
fn a_host_whose_clock_says_1970_or_2106_is_kept_right_and_so_it_is_when_that_is_mended() {
    for (second, year) in [
        (5, "1970"),
        ((1 << 32) - 5, "2106"),
        ((1 << 32) + DAY, "2106"),
    ] {
        let Some(clocked) = Clocked::new() else {
            return skip("there is no C compiler");
        };
        let (world, server) = (&clocked.world, &clocked.server);
        clocked.set(second - now());
        let daemon = clocked.run();
        world.wait_for_target(FILE, "one");
        world.wait_for_status("/state", &json!("healthy"));
        assert_eq!(clocked.year(), year);
        world.deploy("shop/prod/limits.txt", "two");
        world.wait_for_target(FILE, "two");
        clocked.order(&["hold", "/etc/app/other.txt", "--for", "5s"]);
        world.deploy("shop/prod/other.txt", "two");
        // Over the end of the numbers, too, while it runs.
        clocked.polls(8);
        world.wait_for_target("/etc/app/other.txt", "two");
        daemon.kill();
        // What was recorded is believed by the next run, and by the one after the clock was mended.
        for (by, version) in [(second - now(), "three"), (0, "four")] {
            clocked.set(by);
            world.deploy("shop/prod/limits.txt", version);
            let daemon = clocked.run();
            world.wait_for_target(FILE, version);
            world.wait_for_status("/state", &json!("healthy"));
            let history = world.output(&["history"]);
            assert!(history.status.success(), "{history:?}");
            daemon.kill();
        }
        assert_eq!(server.count(PROFILE, "early"), 0);
    }
}

#[test]
fn what_came_due_while_the_machine_slept_is_done_soon_after_it_woke() {
    let Some(clocked) = Clocked::new() else {
        return skip("there is no C compiler");
    };
    let (world, server) = (&clocked.world, &clocked.server);
    let text = world.read("appconfigd.yaml").unwrap();
    world.write(
        "appconfigd.yaml",
        &text.replace("poll_interval: 1s", "poll_interval: 1h"),
    );
    let daemon = clocked.run();
    world.wait_for_target(FILE, "one");
    world.wait_for_status("/state", &json!("healthy"));
    world.deploy("shop/prod/limits.txt", "two");
    let calls = server.count(PROFILE, "get");
    // The server has been there all the time.
    server.advance(2 * 3600);
    clocked.sleep(2 * 3600);
    world.wait_for_target(FILE, "two");
    assert_eq!(server.count(PROFILE, "get"), calls + 1);
    assert_eq!(server.count(PROFILE, "start"), 1);
    // Longer than a token is good for.
    world.deploy("shop/prod/limits.txt", "three");
    server.advance(48 * 3600);
    clocked.sleep(50 * 3600);
    world.wait_for_target(FILE, "three");
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(server.count(PROFILE, "early"), 0);
    // Also where something else has woken the queue before.
    wait_for("the sleep is noticed", || {
        world.log().contains("the machine has slept").then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
}
