//! One queue that hangs in each step in turn: the others go on, and no slower.
//!
//! The test holds the order: the others finish several changes while the one is still stuck. With `ISOLATION_ROUNDS=N` it
//! also prints how long they took (`scripts/measure-isolation`).

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use appconfigd::protocol::Digest;
use jiff::Timestamp;
use serde_json::json;

use crate::mount::{Frozen, Mount};
use crate::skip::skip;
use crate::world::{Daemon, Server, World, wait_for};

const OTHERS: usize = 3;
const ROUNDS: usize = 3;
const SIDE_BY_SIDE: usize = 4;
const FILE: &str = "/etc/stuck/file.txt";
/// Hangs as long as there is a file that says so: as long as the test.
const HANG: &str = "if test -e hang; then echo in >> stuck; while test -e hang; do sleep 1; done; echo over >> over; fi";
/// Two loops over more than anybody's fuel.
const BURN: &str = "{% if config.burn %}{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}{% endif %}{{ config }}";

/// Where the one queue is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stuck {
    Nowhere,
    Poll,
    Render,
    StageOnAHungDisk,
    StageOnAFullDisk,
    ValidateCommand,
    Check,
    Notification,
    Probe,
}

use Stuck::{
    Check, Notification, Nowhere, Poll, Probe, Render, StageOnAFullDisk, StageOnAHungDisk,
    ValidateCommand,
};

impl Stuck {
    const ALL: [Stuck; 9] = [
        Nowhere,
        Poll,
        Render,
        StageOnAHungDisk,
        StageOnAFullDisk,
        ValidateCommand,
        Check,
        Notification,
        Probe,
    ];

    fn settings(self) -> String {
        let when = |step, text: String| if self == step { text } else { String::new() };
        let template = when(Render, ", template: burn.j2".to_owned());
        let validate = format!(", validate_command: {{shell: \"test -e {{staged}}; {HANG}\"}}");
        let validate = when(ValidateCommand, validate);
        let hang = format!("{{shell: \"{HANG}\"}}");
        let check = when(Check, format!(", check: {hang}"));
        let probe = when(Probe, format!(", probe: {{command: {hang}, within: 10m}}"));
        let command = match self {
            Notification => hang,
            _ => "[\"true\"]".to_owned(),
        };
        let mut lines = format!(
            "profiles:\n  stuck:\n  {}:\ntargets:\n  {FILE}: {{from: stuck, notify: stuck{template}{validate}}}\n",
            names().join(":\n  ")
        );
        for name in names() {
            lines += &format!("  /etc/{name}.txt: {{from: {name}, notify: {name}}}\n");
        }
        lines +=
            &format!("services:\n  stuck: {{command: {command}, timeout: 10m{check}{probe}}}\n");
        for name in names() {
            lines += &format!(
                "  {name}: {{command: {{shell: cat root/etc/{name}.txt >> told-{name}}}}}\n"
            );
        }
        lines
    }
}

fn names() -> Vec<String> {
    (0..OTHERS).map(|number| format!("other{number}")).collect()
}

/// The disk of the stuck target, where it has one.
enum Disk {
    Any,
    Full(Mount),
    Hung(Frozen),
}

struct Run {
    stuck: Stuck,
    /// Dropped before the daemon is waited for: who hangs on a disk cannot be killed.
    disk: Disk,
    daemon: Daemon,
    world: World,
    server: Server,
    second: String,
}

impl Run {
    /// `None` where the disk cannot be had.
    fn begin(stuck: Stuck) -> Option<Run> {
        let world = World::new();
        let folder = world.target("/etc/stuck");
        let disk = match stuck {
            StageOnAFullDisk => Disk::Full(Mount::tmpfs(&folder, "256k")?),
            StageOnAHungDisk => Disk::Hung(Frozen::mount(&world.path("image"), &folder)?),
            _ => Disk::Any,
        };
        world.write("burn.j2", BURN);
        world.deploy("shop/prod/stuck.json", "{\"v\": 1, \"burn\": false}");
        for name in names() {
            world.deploy(&format!("shop/prod/{name}.txt"), "0\n");
        }
        let server = Server::start(&world);
        world.settings(&server, &stuck.settings());
        let daemon = world.run();
        world.wait_for_status("/state", &json!("healthy"));
        Some(Run {
            stuck,
            disk,
            daemon,
            world,
            server,
            second: format!(
                "{{\"v\": 2, \"burn\": true, \"fill\": \"{}\"}}",
                "x".repeat(300_000)
            ),
        })
    }

    /// The one queue gets a version with which it gets stuck; returns when it is.
    fn get_stuck(&self) {
        let (world, server) = (&self.world, &self.server);
        world.write("hang", "");
        match &self.disk {
            Disk::Any => {}
            Disk::Full(mount) => {
                mount.fill();
            }
            Disk::Hung(frozen) => frozen.freeze(),
        }
        if self.stuck == Poll {
            server.faults(
                json!([{"kind": "delay", "profile": "shop/prod/stuck", "delay_ms": 600_000}]),
            );
        }
        if self.stuck == Nowhere {
            return;
        }
        world.deploy("shop/prod/stuck.json", &self.second);
        let log = |words: &str| world.log().contains(words).then_some(());
        wait_for(&format!("stuck: {:?}", self.stuck), || match self.stuck {
            Nowhere => Some(()),
            // The delay begins with the call, and a call is due each second.
            Poll => (server.control("GET", "/_local/faults", &json!(null)).0 == 200).then_some(()),
            Render | StageOnAHungDisk => {
                let digest = Digest::of(self.second.as_bytes());
                log(&format!(
                    "received profiles=stuck digest={}",
                    digest.short()
                ))
            }
            StageOnAFullDisk => log("No space left"),
            ValidateCommand | Check | Notification | Probe => {
                world.path("stuck").exists().then_some(())
            }
        });
    }

    /// Every other queue installs a version and tells its service, so often; the milliseconds that it took, of all so far.
    fn others_go_on(&self, changes: std::ops::Range<usize>) -> Vec<f64> {
        let told = |name: &str| self.world.read(&format!("told-{name}")).unwrap_or_default();
        let end = changes.end;
        for change in changes {
            let version = format!("{change}\n");
            for name in names() {
                self.world
                    .deploy(&format!("shop/prod/{name}.txt"), &version);
            }
            wait_for("the others are told", || {
                let told = names().iter().all(|name| told(name).ends_with(&version));
                told.then_some(())
            });
        }
        wait_for("the last is logged", || {
            let times = took(&self.world.log());
            (times.len() == end * OTHERS).then_some(times)
        })
    }

    /// The order: all of that happened before the one came any further.
    fn is_still_stuck(&self) {
        assert!(!self.world.path("over").exists(), "{:?}", self.stuck);
        if self.stuck != Nowhere {
            // A look at a hung disk may hang; what is installed is said by the log as well.
            let installed = format!(
                "versions=\"stuck {}\"",
                Digest::of(self.second.as_bytes()).short()
            );
            assert!(!self.world.log().contains(&installed), "{:?}", self.stuck);
        }
    }

    fn end(self) {
        drop(self.disk);
        self.daemon.kill();
    }
}

/// From `received` to `service notified`, for each change of the others.
fn took(log: &str) -> Vec<f64> {
    let mut took = Vec::new();
    for name in names() {
        let mut received = None;
        for line in log.lines() {
            let time = || {
                line.split(' ')
                    .next()
                    .and_then(|text| text.parse::<Timestamp>().ok())
            };
            if line.contains(&format!("received profiles={name} ")) {
                received = time();
            } else if line.contains(&format!("service notified service={name} "))
                && let (Some(from), Some(to)) = (received.take(), time())
            {
                let span = Duration::try_from(to.duration_since(from)).unwrap();
                took.push(span.as_secs_f64() * 1_000.0);
            }
        }
    }
    took
}

#[test]
fn whatever_step_one_queue_is_stuck_in_the_others_go_on() {
    let asked = std::env::var("ISOLATION_ROUNDS").ok();
    let asked: Option<usize> = asked.and_then(|text| text.parse().ok());
    let rounds = asked.unwrap_or(ROUNDS);
    // Who measures wants nothing beside it.
    let side_by_side = if asked.is_some() { 1 } else { SIDE_BY_SIDE };
    let runs: Mutex<VecDeque<Stuck>> = Mutex::new(Stuck::ALL.into());
    let measured = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..side_by_side {
            scope.spawn(|| {
                while let Some(stuck) = { runs.lock().unwrap().pop_front() } {
                    let Some(run) = Run::begin(stuck) else {
                        skip(&format!("{stuck:?}: file systems cannot be mounted here"));
                        continue;
                    };
                    // The first version is the first change. What is measured has its measure in the same run.
                    let before = if asked.is_some() { rounds + 1 } else { 1 };
                    let mut free = run.others_go_on(1..before);
                    run.get_stuck();
                    let during = run
                        .others_go_on(before..before + rounds)
                        .split_off(free.len());
                    run.is_still_stuck();
                    run.end();
                    let free = free.split_off(OTHERS.min(free.len()));
                    measured.lock().unwrap().push((stuck, free, during));
                }
            });
        }
    });
    if asked.is_some() {
        table(&measured.into_inner().unwrap());
    }
}

fn table(measured: &[(Stuck, Vec<f64>, Vec<f64>)]) {
    eprintln!("from `received` to `service notified` of {OTHERS} other queues, in milliseconds");
    eprintln!(
        "| one queue is stuck in | changes | p50, p95 before | p50, p95 meanwhile |\n|---|---|---|---|"
    );
    for (stuck, free, during) in measured {
        let at = |times: &[f64]| {
            let mut times = times.to_vec();
            times.sort_by(f64::total_cmp);
            let at = |share: usize| times[(times.len() - 1) * share / 100];
            format!("{:.0}, {:.0}", at(50), at(95))
        };
        let count = during.len();
        eprintln!("| {stuck:?} | {count} | {} | {} |", at(free), at(during));
    }
}
