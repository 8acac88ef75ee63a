//! Any history: new versions, verdicts, failures of the host, deaths at any moment; and a model beside it that only knows
//! what was received.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::Step;
use super::super::action::Answer;
use super::world::{INSIDE, World, directory, id, path, service, target};
use crate::protocol::Digest;
use crate::service::Verdict;
use crate::settings::{OnFailure, Settle};

const PROFILES: [&str; 3] = ["p", "q", "r"];
const TARGETS: [(&str, &str); 5] = [
    ("/a", "p"),
    ("/b", "p"),
    ("/c", "q"),
    ("/d", "r"),
    // A directory target.
    ("/e/", "r"),
];
/// What a version may carry; a service that reads it says no.
const MARKS: [&str; 6] = [
    "",
    "web:check:no",
    "web:notify:no",
    "app:probe:no",
    "web:probe:no",
    "staged:no",
];
const STEPS: [Step; 5] = [
    Step::Check,
    Step::Notify,
    Step::Probe,
    Step::NotifyBack,
    Step::ProbeBack,
];

#[derive(Clone, Debug)]
enum Event {
    /// A version: profile, mark.
    Version(usize, usize),
    /// The same version as the one before the newest.
    Again(usize),
    /// So many actions happen.
    Actions(usize),
    /// The next action is done by half, then the process dies.
    Death(usize),
    /// Everything that needs no time happens.
    Quiet,
    Wait(u64),
    /// The service's next answer to a step: undecided, no, not running, it ended, or nobody is there.
    Answer(bool, usize, u8),
    Unwritable(usize),
    Writable,
    Full,
    SwapBreaks(usize),
    BackBreaks,
    Panic(usize),
    Drift(usize),
    Gone(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..3usize, prop_oneof![3 => Just(0usize), 2 => 1..6usize]).prop_map(|(p, m)| Event::Version(p, m)),
        1 => (0..3usize).prop_map(Event::Again),
        6 => (1..8usize).prop_map(Event::Actions),
        3 => (0..6usize).prop_map(Event::Death),
        2 => Just(Event::Quiet),
        2 => (1..400u64).prop_map(Event::Wait),
        3 => (any::<bool>(), 0..5usize, 0..5u8).prop_map(|(s, t, a)| Event::Answer(s, t, a)),
        1 => (0..5usize).prop_map(Event::Unwritable),
        1 => Just(Event::Writable),
        1 => Just(Event::Full),
        1 => (0..4usize).prop_map(Event::SwapBreaks),
        1 => Just(Event::BackBreaks),
        1 => (0..9usize).prop_map(Event::Panic),
        1 => (0..5usize).prop_map(Event::Drift),
        1 => (0..5usize).prop_map(Event::Gone),
    ]
}

/// What was received, per profile, oldest first.
#[derive(Default)]
struct Model {
    received: BTreeMap<&'static str, Vec<String>>,
    count: usize,
    /// Some answer let pass what the files forbid: services may say no to what stands.
    lenient: bool,
}

impl Model {
    fn newest_is_good(&self) -> bool {
        let mut newest = self.received.values().filter_map(|all| all.last());
        newest.all(|text| !text.contains(":no"))
    }

    fn digests(&self, profile: &str) -> Vec<Digest> {
        let all = self.received.get(profile).into_iter().flatten();
        all.map(|text| Digest::of(text.as_bytes())).collect()
    }
}

fn world() -> World {
    let targets = TARGETS.iter().map(|(path, from)| {
        let notify: &[&str] = match *path {
            "/c" => &["app"],
            _ => &["web", "app"],
        };
        let mut target = match path.ends_with('/') {
            true => directory(path, from, notify),
            false => target(path, &[from], notify),
        };
        target.validate_command = Some(crate::settings::Command::Shell("true".to_owned()));
        target
    });
    let (mut web, mut app) = (
        service("web", OnFailure::Rollback),
        service("app", OnFailure::Keep),
    );
    web.pace.min_interval = Some(Duration::from_secs(60));
    app.pace.splay = Some(Duration::from_secs(20));
    app.pace.settle = Some(Settle {
        quiet: Duration::from_secs(5),
        at_most: Duration::from_secs(12),
    });
    World::new(&PROFILES, targets.collect(), vec![web, app])
}

fn happen(world: &mut World, model: &mut Model, event: &Event) {
    match *event {
        Event::Version(which, mark) => {
            model.count += 1;
            let text = format!("version {} {}", model.count, MARKS[mark]);
            world.receive(PROFILES[which], &text);
            model
                .received
                .entry(PROFILES[which])
                .or_default()
                .push(text);
        }
        Event::Again(which) => {
            let all = model.received.entry(PROFILES[which]).or_default();
            if let Some(text) = all.iter().rev().nth(1).cloned() {
                all.push(text.clone());
                world.receive(PROFILES[which], &text);
            }
        }
        Event::Actions(count) => {
            for _ in 0..count {
                world.step();
            }
        }
        Event::Death(share) => world.die_during_next(share),
        Event::Quiet => {
            world.run();
            let idle = world.machine.is_idle() && world.machine.trouble().is_none();
            if idle && world.drifted.is_empty() {
                world.hold_promises();
            }
        }
        Event::Wait(seconds) => {
            world.run();
            world.advance(Duration::from_secs(seconds));
            world.event(super::super::Event::Tick);
        }
        Event::Answer(web, step, kind) => {
            let notification = matches!(STEPS[step], Step::Notify | Step::NotifyBack);
            // Only who is notified can be found not to run.
            let kind = if kind == 2 && !notification { 0 } else { kind };
            let unsure = kind == 0 || kind == 4;
            model.lenient |= !unsure && kind >= 2 || (unsure && STEPS[step] == Step::Probe);
            let name = if web { "web" } else { "app" };
            let verdict = match kind {
                0 => super::world::perhaps(),
                1 => super::world::no(),
                2 => Verdict::NotRunning("inactive".to_owned()),
                4 if notification => Verdict::Nobody("no PID file".to_owned()),
                4 => super::world::perhaps(),
                _ => Verdict::Accepted,
            };
            let answer = Answer {
                verdict,
                ended: kind == 3,
            };
            world.says_exactly(name, STEPS[step], answer);
        }
        Event::Unwritable(which) => {
            world.unwritable.insert(path(TARGETS[which].0));
        }
        Event::Writable => world.unwritable.clear(),
        Event::Full => world.full += 1,
        Event::SwapBreaks(count) => world.swap_breaks.push_back(count),
        Event::BackBreaks => world.back_breaks += 1,
        Event::Panic(which) => {
            let steps = [
                "plan", "stage", "baseline", "swap", "check", "notify", "probe", "put back",
                "commit",
            ];
            world.panics.push(steps[which]);
        }
        Event::Drift(which) => {
            let mut file = world.file(TARGETS[which].0);
            if file.is_dir() {
                file.push(INSIDE[1]);
            }
            if file.is_file() {
                world.swapped.clear();
                world.drifted.insert(path(TARGETS[which].0));
                // As an editor does it: another file takes the place.
                let other = file.with_extension("other");
                std::fs::File::create(&other).unwrap();
                rustix::fs::rename(&other, &file).unwrap();
            }
        }
        Event::Gone(which) => {
            world.swapped.clear();
            world.drifted.insert(path(TARGETS[which].0));
            let _ = std::fs::remove_file(world.file(path(TARGETS[which].0).location()));
        }
    }
}

/// A world that has looked at itself, and nothing received yet.
fn begun() -> (World, Model) {
    let mut world = world();
    world.without_orders = true;
    world.event(super::super::Event::Tick);
    (world, Model::default())
}

/// A service that keeps its files and says no is told again for ever: all else ends long before.
fn come_to_rest(world: &mut World, model: &Model) {
    for _ in 0..40 {
        if !world.wait() {
            return;
        }
    }
    let mut pending = world.machine.pending();
    pending.remove(&"app".into());
    assert!(
        model.lenient || pending.is_empty(),
        "only `app` keeps files"
    );
    assert!(world.machine.is_idle());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_ends_in_whole_files_and_services_that_know_them(
        events in proptest::collection::vec(event(), 1..60)
    ) {
        let (mut world, mut model) = begun();
        for event in &events {
            happen(&mut world, &mut model, event);
        }
        // From here on nothing is in the way any more; a restart looks at everything.
        world.forget_script();
        come_to_rest(&mut world, &model);
        world.restart();
        come_to_rest(&mut world, &model);
        world.hold_promises();
        for (target, profile) in TARGETS {
            if world.stays_drifted(&path(target)) {
                continue;
            }
            let disk = world.version(&path(target));
            if let Some(digest) = disk {
                prop_assert!(model.digests(profile).contains(&digest), "{} is no version", target);
            }
            let text = world.reads(target);
            prop_assert!(model.lenient || !text.contains("web:") && !text.contains("staged:") || !text.contains(":no") || target == "/c",
                "{} holds what was refused: {}", target, text);
            if model.newest_is_good() && world.ledger.quarantine.is_empty() {
                let newest = model.digests(profile).last().copied();
                prop_assert_eq!(disk, newest, "{} is not the newest", target);
            }
        }
        for profile in PROFILES {
            let accepted = world.ledger.accepted.get(&id(profile)).map(|version| version.digest);
            for (target, _) in TARGETS.iter().filter(|(_, from)| *from == profile) {
                if world.stays_drifted(&path(target)) {
                    continue;
                }
                let disk = world.version(&path(target));
                prop_assert_eq!(disk, accepted, "{} is made from what is accepted", target);
            }
        }
    }
}
/// Once in ten thousand histories: the first files of `web` stand because nobody is there to be told, and the next
/// transaction finds its probe failing with them.
#[test]
fn a_probe_that_fails_with_files_that_nobody_has_answered_for_is_not_excused_by_them() {
    let (good, bad) = (Event::Version(2, 0), Event::Version(0, 4));
    let nobody = Event::Answer(true, 1, 4);
    let undecided = Event::Answer(false, 0, 0);
    let delayed = Event::Unwritable(3);
    let (mut world, mut model) = begun();
    for event in [good, bad, delayed, undecided, nobody, Event::Quiet] {
        happen(&mut world, &mut model, &event);
    }
    assert!(world.reads("/a").contains("web:probe:no"), "it stands");
    world.forget_script();
    come_to_rest(&mut world, &model);
    assert_eq!(world.reads("/a"), "");
    assert!(!world.ledger.quarantine.is_empty());
}

/// A way back that the ledger could not take, cut short by a death: what lies there then is what the next process finds.
#[test]
fn a_way_back_that_nobody_recorded_is_drift_to_the_next_process_and_the_refused_version_stays_away()
{
    let bad = Event::Version(2, 2);
    let nobody = Event::Answer(true, 1, 4);
    let (mut world, mut model) = begun();
    let mut events = vec![
        nobody,
        bad,
        Event::BackBreaks,
        Event::Wait(2),
        Event::Death(0),
    ];
    events.extend([Event::Full, Event::Wait(2), Event::Death(2)]);
    for event in &events {
        happen(&mut world, &mut model, event);
    }
    world.forget_script();
    come_to_rest(&mut world, &model);
    world.restart();
    come_to_rest(&mut world, &model);
    world.hold_promises();
    assert_eq!(world.reads("/d"), "");
    assert!(world.stays_drifted(&path("/d")), "and status says why");
}
