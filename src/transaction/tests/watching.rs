//! Watches under any history: files change, are looked at, services answer what they like, the process dies at any moment;
//! and a model beside it that knows the bytes, and how often a notification has had a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::super::action::Answer;
use super::super::{Event, Step};
use super::world::{World, no, perhaps, service};
use crate::protocol::Digest;
use crate::service::Verdict;
use crate::settings::{OnFailure, PathPattern, ServiceName, Watch, WatchName};

/// Which services hear of which watch.
const WATCHES: [(&str, &[&str]); 2] = [("a", &["web"]), ("b", &["web", "app"])];
const SERVICES: [&str; 2] = ["web", "app"];
const STEPS: [Step; 3] = [Step::Check, Step::Notify, Step::Probe];

#[derive(Clone, Debug)]
enum Happening {
    /// The files of a watch have other bytes, or again those of before.
    Change(usize, u8),
    /// What differs from the last look is handed over.
    Look,
    /// So many actions happen.
    Actions(usize),
    /// The next action is done by half, then the process dies.
    Death(usize),
    /// Everything that needs no time happens.
    Quiet,
    Wait(u64),
    /// The next answer of a service to a step.
    Answer(usize, usize, u8),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        5 => (0..2usize, 0..3u8).prop_map(|(watch, bytes)| Change(watch, bytes)),
        6 => Just(Look),
        5 => (1..6usize).prop_map(Actions),
        2 => (0..3usize).prop_map(Death),
        3 => Just(Quiet),
        2 => (1..400u64).prop_map(Wait),
        3 => (0..2usize, 0..3usize, 0..4u8).prop_map(|(name, step, kind)| Answer(name, step, kind)),
    ]
}

/// What is known without looking into the machine.
#[derive(Default)]
struct Model {
    bytes: [u8; 2],
    /// What this process has been told of each watch.
    looked: [Option<u8>; 2],
    /// What any process has been told of each watch last.
    reported: [Option<u8>; 2],
    /// Of each pair, what the service has read, or what it was taken to know.
    read: BTreeMap<(&'static str, usize), u8>,
    /// So many more notifications of a service have a reason.
    reasons: BTreeMap<&'static str, usize>,
    /// Services with news, until they have acknowledged.
    unsettled: BTreeSet<&'static str>,
    /// Notifications that the model has counted.
    counted: usize,
}

fn hear(watch: usize) -> &'static [&'static str] {
    WATCHES[watch].1
}

fn digest(bytes: u8) -> Digest {
    Digest::of(&[bytes])
}

fn world() -> World {
    let services = vec![
        service("web", OnFailure::Rollback),
        service("app", OnFailure::Keep),
    ];
    let watches = WATCHES.iter().map(|(name, notify)| Watch {
        name: WatchName::from(*name),
        paths: vec![PathPattern::exactly("/etc/x")],
        notify: notify.iter().map(|name| ServiceName::from(*name)).collect(),
    });
    World::watching(watches.collect(), services)
}

/// What the ledger has of a pair.
fn row(world: &World, service: &str, watch: &str) -> Option<Option<Digest>> {
    let rows = world.ledger.watched.get(&ServiceName::from(service))?;
    rows.get(&WatchName::from(watch)).copied()
}

impl Model {
    fn happen(&mut self, world: &mut World, happening: &Happening) {
        match *happening {
            Happening::Change(watch, bytes) => {
                // What goes away and comes back before that is recorded is not seen: digests count, not events.
                let comes_back = |service: &&str| {
                    row(world, service, WATCHES[watch].0) == Some(Some(digest(bytes)))
                };
                if self.looked[watch] == Some(bytes) || hear(watch).iter().any(comes_back) {
                    self.look(world);
                    self.rest(world);
                }
                self.bytes[watch] = bytes;
            }
            Happening::Look => self.look(world),
            Happening::Actions(count) => {
                for _ in 0..count {
                    world.step();
                    self.count(world);
                }
            }
            Happening::Death(share) => {
                // What was done by half may be done again.
                for name in SERVICES {
                    self.has_reason(name);
                }
                world.die_during_next(share);
                self.looked = [None, None];
            }
            Happening::Quiet => self.rest(world),
            Happening::Wait(seconds) => {
                self.rest(world);
                world.advance(Duration::from_secs(seconds));
                world.event(Event::Tick);
            }
            Happening::Answer(name, step, kind) => {
                let verdict = match kind {
                    0 => perhaps(),
                    1 => no(),
                    2 if STEPS[step] == Step::Notify => Verdict::Nobody("nobody".to_owned()),
                    2 => perhaps(),
                    _ => Verdict::Accepted,
                };
                let answer = Answer {
                    verdict,
                    ended: false,
                };
                world.says_exactly(SERVICES[name], STEPS[step], answer);
            }
        }
        self.count(world);
        self.take_baselines(world);
    }

    fn look(&mut self, world: &mut World) {
        let mut seen = BTreeMap::new();
        for (watch, (name, _)) in WATCHES.iter().enumerate() {
            let bytes = self.bytes[watch];
            if self.looked[watch] == Some(bytes) {
                continue;
            }
            let first = self.looked[watch].is_none();
            self.looked[watch] = Some(bytes);
            seen.insert(WatchName::from(*name), Some(digest(bytes)));
            for service in hear(watch) {
                let news = match first {
                    // What an earlier process has not recorded is news once more.
                    true => {
                        matches!(row(world, service, name), Some(Some(known)) if known != digest(bytes))
                    }
                    false => self.reported[watch] != Some(bytes),
                };
                if news {
                    self.has_reason(service);
                }
            }
            self.reported[watch] = Some(bytes);
        }
        if !seen.is_empty() {
            world.event(Event::Watched(seen));
        }
    }

    fn has_reason(&mut self, service: &'static str) {
        *self.reasons.entry(service).or_default() += 1;
        self.unsettled.insert(service);
    }

    /// Each notification has a reason, and brings the service what lies there.
    fn count(&mut self, world: &World) {
        for (service, knows) in &world.notified[self.counted..] {
            let service = *SERVICES
                .iter()
                .find(|name| **name == service.as_str())
                .unwrap();
            let reasons = self.reasons.entry(service).or_default();
            assert!(
                *reasons > 0,
                "`{service}` is told without a reason: {:?}",
                world.log
            );
            *reasons -= 1;
            for watch in 0..WATCHES.len() {
                if *knows && hear(watch).contains(&service) {
                    self.read.insert((service, watch), self.bytes[watch]);
                }
            }
        }
        self.counted = world.notified.len();
    }

    /// What was there when a pair was recorded first is what the service knows.
    fn take_baselines(&mut self, world: &World) {
        for (watch, (name, notify)) in WATCHES.iter().enumerate() {
            for service in *notify {
                if let (Some(Some(known)), Some(reported)) =
                    (row(world, service, name), self.reported[watch])
                    && known == digest(reported)
                {
                    self.read.entry((service, watch)).or_insert(reported);
                }
            }
        }
    }

    fn rest(&mut self, world: &mut World) {
        self.count(world);
        while world.step() {
            self.count(world);
        }
        let pending = world.machine.pending();
        for name in SERVICES {
            // Whoever has not acknowledged news is told again; nobody else.
            let again = pending.contains(&ServiceName::from(name)) && self.unsettled.contains(name);
            self.reasons.insert(name, usize::from(again));
            if !again {
                self.unsettled.remove(name);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_change_of_watched_files_is_told_once_is_never_lost_and_nothing_else_is_told(
        happenings in proptest::collection::vec(happening(), 0..40)
    ) {
        let mut world = world();
        let mut model = Model::default();
        model.happen(&mut world, &Happening::Look);
        for happening in &happenings {
            model.happen(&mut world, happening);
        }
        // Everybody is well from now on.
        world.forget_script();
        model.happen(&mut world, &Happening::Quiet);
        model.happen(&mut world, &Happening::Look);
        for _ in 0..20 {
            model.rest(&mut world);
            if !world.wait() {
                break;
            }
        }
        model.count(&world);
        model.take_baselines(&world);
        prop_assert!(world.machine.pending().is_empty(), "{:?}", world.log);
        for (watch, (name, notify)) in WATCHES.iter().enumerate() {
            for service in *notify {
                let read = model.read.get(&(*service, watch));
                prop_assert_eq!(read, Some(&model.bytes[watch]), "`{}` of `{}`", service, name);
                let known = row(&world, service, name);
                prop_assert_eq!(known, Some(Some(digest(model.bytes[watch]))));
            }
        }
        world.hold_promises();
        // And nobody is told once more.
        let told = world.notified.len();
        model.happen(&mut world, &Happening::Look);
        world.restart();
        model.looked = [None, None];
        model.look(&mut world);
        world.settle();
        prop_assert_eq!(world.notified.len(), told, "{:?}", world.log);
    }
}

#[test]
fn two_watches_that_change_together_are_one_notification_and_the_status_can_say_when() {
    let mut world = world();
    let mut model = Model::default();
    model.look(&mut world);
    world.run();
    assert_eq!(world.notified.len(), 0);
    assert!(world.ledger.watch_changes.is_empty(), "nothing has changed");
    world.advance(Duration::from_secs(5));
    model.bytes = [1, 1];
    model.look(&mut world);
    let changed = world.now.wall;
    world.run();
    let told: Vec<&str> = world
        .notified
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.contains(&"web") && told.contains(&"app"));
    for (name, _) in WATCHES {
        let at = world.ledger.watch_changes.get(&WatchName::from(name));
        assert_eq!(at, Some(&changed), "{name}");
    }
}
