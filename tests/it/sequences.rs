//! Any sequence of versions, verdicts, kills, drift, orders and reloads against the built program, and a model beside it
//! that only knows what was offered.
//!
//! `PROPTEST_CASES` says how many sequences are run; `SEQUENCES_SEED` repeats those of a run that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use appconfigd::protocol::Digest;
use nix::sys::signal::Signal;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::world::{Daemon, PATIENCE, Server, World, wait_for};

const TARGETS: [(&str, &str); 3] = [
    ("/etc/one/a.json", "p"),
    ("/etc/two/b.json", "p"),
    ("/etc/two/c.json", "q"),
];
const PROFILES: [&str; 2] = ["p", "q"];
/// Whom a service depends on.
const SERVICES: [(&str, &[usize]); 2] = [("web", &[0, 1, 2]), ("app", &[1, 2])];

/// What becomes of a version.
const GOOD: &str = "good";
const BROKEN: &str = "broken";
const STAGED: &str = "staged";
/// Has no check of its own: that of the other target of its profile speaks for it, unless that one is held.
const SPOKEN_FOR: usize = 0;
const SPEAKS: usize = 1;
const MARKS: [&str; 6] = [GOOD, BROKEN, STAGED, "check", "notify", "probe"];

/// `says WORD FILE…`: no, where one of the files is marked so.
const SAYS: &str =
    "word=$1; shift; ! cat \"$@\" 2>/dev/null | grep -q \"\\\"mark\\\": \\\"$word\\\"\"\n";
/// `tell NAME FILE…`: writes down what the service has read.
const TELL: &str = "name=$1; shift; sum=$(cat \"$@\" 2>/dev/null | sha256sum)\nif sh says notify \"$@\"; then echo \"$sum\" >> told-$name; else exit 1; fi\n";

const SIDE_BY_SIDE: usize = 6;
/// A version that is not heard of by then may never be: the next event comes all the same.
const HEARD: Duration = Duration::from_secs(3);
/// More than three within a minute are a fight, and then we rest.
const DRIFTS: usize = 2;

#[derive(Clone, Debug)]
enum Event {
    /// Profile and mark.
    Deploy(usize, usize),
    /// The version before the newest once more.
    Again(usize),
    /// Until the newest is received, or a while.
    Heard(usize),
    /// Milliseconds in which things happen.
    Pause(u64),
    Kill,
    /// A version, and so many milliseconds after it was received, in the middle of its transaction, a kill.
    KillInside(usize, usize, u64),
    Stop,
    Reload,
    Bytes(usize),
    Mode(usize),
    Remove(usize),
    Order(&'static str, usize),
    /// With a time.
    HoldPath(usize),
    ReleasePath(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let order = prop_oneof![
        Just("hold"),
        Just("release"),
        Just("rollback"),
        Just("retry")
    ];
    prop_oneof![
        6 => (0..2usize, prop_oneof![3 => Just(0usize), 3 => 1..MARKS.len()]).prop_map(|(p, m)| Event::Deploy(p, m)),
        1 => (0..2usize).prop_map(Event::Again),
        4 => (0..2usize).prop_map(Event::Heard),
        5 => (0..900u64).prop_map(Event::Pause),
        2 => Just(Event::Kill),
        4 => (0..2usize, 0..MARKS.len(), 0..500u64).prop_map(|(p, m, t)| Event::KillInside(p, m, t)),
        1 => Just(Event::Stop),
        1 => Just(Event::Reload),
        1 => (0..3usize).prop_map(Event::Bytes),
        1 => (0..3usize).prop_map(Event::Mode),
        1 => (0..3usize).prop_map(Event::Remove),
        2 => (order, 0..2usize).prop_map(|(order, p)| Event::Order(order, p)),
        1 => (0..3usize).prop_map(Event::HoldPath),
        1 => (0..3usize).prop_map(Event::ReleasePath),
    ]
}

struct Case {
    world: World,
    server: Server,
    daemon: Option<Daemon>,
    /// Per profile what was offered, oldest first: text and mark.
    offered: BTreeMap<&'static str, Vec<(String, &'static str)>>,
    count: usize,
    kills: usize,
    drifts: [usize; 3],
    /// What is held is not put back.
    held: [bool; 3],
    /// A held path is left out of every plan, and its check with it: what that check says no to may be installed beside it.
    unchecked: Arc<AtomicBool>,
    narrow: bool,
}

impl Case {
    fn new() -> Case {
        let world = World::new();
        world.write("says", SAYS);
        world.write("tell", TELL);
        let server = Server::start(&world);
        let mut case = Case {
            world,
            server,
            daemon: None,
            offered: BTreeMap::new(),
            count: 0,
            kills: 0,
            drifts: [0; 3],
            held: [false; 3],
            unchecked: Arc::default(),
            narrow: false,
        };
        for profile in PROFILES {
            case.deploy(profile, GOOD);
        }
        case.declare();
        case.daemon = Some(case.world.run());
        case.world.wait_for_status("/state", &json!("healthy"));
        case
    }

    fn declare(&self) {
        let files = |targets: &[usize]| {
            let paths = targets.iter().map(|target| TARGETS[*target].0);
            let paths: Vec<String> = paths.map(|path| format!("root{path}")).collect();
            paths.join(", ")
        };
        let mode = if self.narrow { "0640" } else { "0644" };
        let [(a, _), (b, _), (c, _)] = TARGETS;
        let (web, app) = (files(SERVICES[0].1), files(SERVICES[1].1));
        let lines = format!(
            "profiles:
  p: {{validate: {{format: json}}}}
  q: {{validate: {{format: json}}}}
targets:
  {a}: {{from: p, notify: web}}
  {b}: {{from: p, notify: [web, app], mode: {mode}, validate_command: [sh, says, staged, \"{{staged}}\"]}}
  {c}: {{from: q, notify: [web, app], validate_command: [sh, says, staged, \"{{staged}}\"]}}
services:
  web: {{check: [sh, says, check, {web}], command: [sh, tell, web, {web}], probe: {{command: [sh, says, probe, {web}], within: 1s}}}}
  app: {{command: [sh, tell, app, {app}]}}
"
        );
        self.world.settings(&self.server, &lines);
    }

    fn deploy(&mut self, profile: &'static str, mark: &'static str) {
        self.count += 1;
        let number = self.count;
        let text = match mark {
            BROKEN => format!("{{\"v\": {number}, \"mark\": \"{BROKEN}\""),
            _ => {
                let fill = "x".repeat(number * 997 % 20_000);
                format!(
                    "{{\"v\": {number}, \"mark\": \"{mark}\", \"fill\": \"{fill}\", \"end\": {number}}}\n"
                )
            }
        };
        self.offer(profile, text, mark);
    }

    fn offer(&mut self, profile: &'static str, text: String, mark: &'static str) {
        // Known before it can be seen.
        let offered = self.offered.entry(profile).or_default();
        offered.push((text.clone(), mark));
        self.world
            .deploy(&format!("shop/prod/{profile}.json"), text);
    }

    fn newest(&self, profile: &str) -> &(String, &'static str) {
        self.offered[profile].last().unwrap()
    }

    fn hears(&self, profile: &str) -> bool {
        let newest = Digest::of(self.newest(profile).0.as_bytes()).to_string();
        let status = self.world.status();
        status.is_some_and(|it| it["profiles"][profile]["received"]["digest"] == newest)
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Deploy(profile, mark) => self.deploy(PROFILES[*profile], MARKS[*mark]),
            Event::Again(profile) => {
                let profile = PROFILES[*profile];
                let all = &self.offered[profile];
                let (text, mark) = all[all.len().saturating_sub(2)].clone();
                self.offer(profile, text, mark);
            }
            Event::Heard(profile) => {
                let since = Instant::now();
                while !self.hears(PROFILES[*profile]) && since.elapsed() < HEARD {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
            }
            Event::Pause(milliseconds) => {
                std::thread::park_timeout(Duration::from_millis(*milliseconds));
            }
            Event::Kill => self.kill(),
            Event::KillInside(profile, mark, milliseconds) => {
                let profile = PROFILES[*profile];
                self.deploy(profile, MARKS[*mark]);
                let digest = Digest::of(self.newest(profile).0.as_bytes());
                let received = format!("received profiles={profile} digest={}", digest.short());
                let since = Instant::now();
                while !self.world.log().contains(&received) && since.elapsed() < HEARD {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                std::thread::park_timeout(Duration::from_millis(*milliseconds));
                self.kill();
            }
            Event::Stop => {
                self.daemon.take().unwrap().stop();
                self.daemon = Some(self.world.run());
            }
            Event::Reload => {
                self.narrow = !self.narrow;
                self.declare();
                let daemon = self.daemon.as_ref().unwrap();
                let pid = json!(daemon.pid().as_raw());
                // A signal before it is caught would end the daemon.
                self.world.wait_for_status("/daemon/pid", &pid);
                daemon.signal(Signal::SIGHUP);
            }
            Event::Bytes(target) => self.drift(*target, |path| {
                let theirs = path.with_extension("theirs");
                fs::write(&theirs, "drift").unwrap();
                fs::rename(theirs, path).unwrap();
            }),
            Event::Mode(target) => self.drift(*target, |path| {
                let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
            }),
            Event::Remove(target) => self.drift(*target, |path| {
                let _ = fs::remove_file(path);
            }),
            Event::Order(order, profile) => self.order(&[order, PROFILES[*profile]]),
            Event::HoldPath(target) => {
                self.held[*target] = true;
                if *target == SPEAKS {
                    self.unchecked.store(true, Ordering::Relaxed);
                }
                self.order(&["hold", TARGETS[*target].0, "--for", "1h"]);
            }
            Event::ReleasePath(target) => self.order(&["release", TARGETS[*target].0]),
        }
    }

    fn kill(&mut self) {
        self.kills += 1;
        self.daemon.take().unwrap().kill();
        self.daemon = Some(self.world.run());
    }

    fn drift(&mut self, target: usize, change: impl FnOnce(&Path)) {
        self.drifts[target] += 1;
        if self.drifts[target] <= DRIFTS {
            change(&self.world.target(TARGETS[target].0));
        }
    }

    fn order(&self, arguments: &[&str]) {
        let output = self.world.output(arguments);
        let code = output.status.code();
        assert!(
            matches!(code, Some(0..=3 | 66 | 75)),
            "{arguments:?}: {output:?}"
        );
    }

    /// Waits until the program has heard of everything and come to rest.
    fn rest(&self) -> Value {
        let since = Instant::now();
        loop {
            let heard = PROFILES.iter().all(|profile| self.hears(profile));
            let status = self.world.status().unwrap_or_default();
            let settled = |name: &&str| {
                let profile = &status["profiles"][*name]["state"];
                ["current", "refused", "quarantined", "held"]
                    .contains(&profile.as_str().unwrap_or_default())
            };
            let told = |name: &str| status["services"][name]["state"] == "acknowledged";
            let mut targets = TARGETS.iter().zip(self.held);
            let there = targets
                .all(|((path, _), held)| held || status["targets"][*path]["state"] != "missing");
            if heard
                && !status["daemon"].is_null()
                && PROFILES.iter().all(settled)
                && there
                && told("web")
                && told("app")
            {
                return status;
            }
            assert!(since.elapsed() < 2 * PATIENCE, "it never rests: {status:#}");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// What holds at rest, whatever the newest versions are worth.
    fn is_true(&self, status: &Value) {
        for (target, (path, profile)) in TARGETS.iter().enumerate() {
            let text = fs::read_to_string(self.world.target(path)).unwrap_or_default();
            if status["targets"][*path]["state"] != "in_sync" {
                continue;
            }
            let offered = self.offered[*profile].iter();
            let installed = offered.clone().find(|(other, _)| *other == text);
            let (_, mark) = installed.unwrap_or_else(|| panic!("{path} has {text:?}"));
            let expected = Digest::of(text.as_bytes()).to_string();
            assert_eq!(status["targets"][*path]["digest"], expected);
            let unchecked = target == SPOKEN_FOR && self.unchecked.load(Ordering::Relaxed);
            if self.kills == 0 && !(unchecked && *mark == STAGED) {
                assert_eq!(*mark, GOOD, "{path} was to go back");
            }
        }
        for profile in PROFILES {
            let state = &status["profiles"][profile];
            let (_, mark) = self.newest(profile);
            match state["state"].as_str().unwrap() {
                "current" => {
                    assert_eq!(*mark, GOOD, "{profile} says {state}");
                    assert_eq!(state["installed"]["digest"], state["received"]["digest"]);
                }
                "refused" => assert!([BROKEN, STAGED].contains(mark), "{mark}: {state}"),
                _ => {}
            }
        }
    }

    /// After all of it, good versions must arrive, and nothing else be left.
    fn ends_well(&mut self) {
        for (path, _) in TARGETS {
            self.order(&["release", path]);
        }
        for profile in PROFILES {
            self.order(&["release", profile]);
            self.deploy(profile, GOOD);
        }
        wait_for("the newest are received", || {
            PROFILES.iter().all(|it| self.hears(it)).then_some(())
        });
        let status = self.world.wait_for_status("/state", &json!("healthy"));
        self.is_true(&status);
        for (path, profile) in TARGETS {
            let text = fs::read_to_string(self.world.target(path)).unwrap();
            assert_eq!(text, self.newest(profile).0, "{path}");
        }
        for (service, targets) in SERVICES {
            let files = targets.iter().map(|target| {
                let path = self.world.target(TARGETS[*target].0);
                fs::read(path).unwrap()
            });
            let all: Vec<u8> = files.flatten().collect();
            let told = self.world.read(&format!("told-{service}")).unwrap();
            let told = told.lines().last().unwrap().split(' ').next().unwrap();
            let installed = Digest::of(&all).to_string();
            assert_eq!(
                format!("sha256:{told}"),
                installed,
                "{service} was told last"
            );
        }
        assert_eq!(self.daemon.take().unwrap().stop(), Some(0));
        for directory in ["/etc/one", "/etc/two"] {
            let entries = fs::read_dir(self.world.target(directory)).unwrap();
            let names: BTreeSet<_> = entries.map(|it| it.unwrap().file_name()).collect();
            let expected = TARGETS
                .iter()
                .filter(|(path, _)| path.starts_with(directory));
            assert_eq!(names.len(), expected.count(), "{directory}: {names:?}");
        }
        let ledger = self.world.target("/var/lib/appconfigd/ledger.db");
        let ledger = rusqlite::Connection::open(ledger).unwrap();
        let sound: String = ledger
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sound, "ok");
        let intents: i64 = ledger
            .query_row("SELECT count(*) FROM intents", [], |row| row.get(0))
            .unwrap();
        assert_eq!(intents, 0, "an intent without effect");
        let log = self.world.log();
        for words in ["panicked", "ended unexpectedly", "does not fit"] {
            assert!(!log.contains(words), "{words}");
        }
    }
}

/// Reads all targets all the time: only whole versions, and none that was to be turned down before the swap.
fn read_on(root: &Path, unchecked: &AtomicBool, done: &AtomicBool) -> usize {
    let mut reads = 0;
    while !done.load(Ordering::Relaxed) {
        for (target, (path, _)) in TARGETS.iter().enumerate() {
            let Ok(text) = fs::read_to_string(root.join(path.trim_start_matches('/'))) else {
                continue;
            };
            reads += 1;
            if text == "drift" {
                continue;
            }
            let version: Value = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{path} is torn: {error}: {text:?}"));
            assert_eq!(version["v"], version["end"], "{path}");
            if target != SPOKEN_FOR || !unchecked.load(Ordering::Relaxed) {
                assert_ne!(version["mark"], STAGED, "{path}");
            }
        }
    }
    reads
}

fn play(events: &[Event]) {
    let mut case = Case::new();
    let done = AtomicBool::new(false);
    let place = case.world.path("root");
    let unchecked = Arc::clone(&case.unchecked);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_on(&place, &unchecked, &done));
        let played = catch_unwind(AssertUnwindSafe(|| {
            for event in events {
                case.happen(event);
            }
            let status = case.rest();
            case.is_true(&status);
            case.ends_well();
        }));
        done.store(true, Ordering::Relaxed);
        let reads = reader
            .join()
            .unwrap_or_else(|_| panic!("a reader saw what must not be"));
        if played.is_err() {
            panic!("log:\n{}", case.world.log());
        }
        assert!(reads > 100, "only {reads} reads");
    });
}

#[test]
fn any_sequence_ends_with_the_newest_good_versions_and_services_that_know_them() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let cases = number("PROPTEST_CASES").unwrap_or(SIDE_BY_SIDE as u64);
    let seed = number("SEQUENCES_SEED").unwrap_or_else(|| fastrand::u64(..));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let sequences = proptest::collection::vec(event(), 4..16);
    let drawn = (0..cases).map(|_| sequences.new_tree(&mut runner).unwrap().current());
    let drawn: Mutex<Vec<Vec<Event>>> = Mutex::new(drawn.collect());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(events) = { drawn.lock().unwrap().pop() } {
                    if catch_unwind(AssertUnwindSafe(|| play(&events))).is_err() {
                        failed.lock().unwrap().push(events);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "with SEQUENCES_SEED={seed} PROPTEST_CASES={cases}: {failed:#?}"
    );
}
