//! Power loss: one transaction is recorded call by call, with its bytes, and after each call the power goes. What POSIX
//! allows to be lost is lost in a model of a file system, in every combination up to a bound, and every state that can be
//! found must hold what is promised: as it lies there, and after the program has run.
//!
//! A run in the suite takes some states; `scripts/power-loss` takes more.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::scene::{Fate, place, world_of};
use crate::skip::skip;
use crate::world::{Server, World};
use disk::{Disk, Tree};
use promises::{LOST, Promises};
use record::{Effect, Recording, record};
use states::{Model, Pool, states};

mod back;
mod disk;
mod promises;
mod record;
mod states;

/// How many states are made after one call at most, and with how many the program then runs, in the suite.
const SAMPLE: usize = 24;
const RECOVERED: usize = 16;
const SIDE_BY_SIDE: usize = 8;

/// After files went back: that their kept names have gone. Nothing depends on it, the next start removes them.
const BEYOND_NEED: [&str; 3] = [
    "fsync etc/one/.appconfigd, time 2",
    "fsync etc/three/.appconfigd, time 2",
    "fsync etc/two/.appconfigd, time 1",
];

struct Scene {
    fate: Fate,
    world: World,
    _server: Server,
    recording: Recording,
    told: [String; 2],
}

fn recorded(fate: Fate) -> Scene {
    let (world, server) = world_of(fate);
    let logs = ["one.log", "two.log"];
    let told = logs.iter().map(|log| world.path(log)).collect();
    let recording = record(world.command(&["once"]), &place(&world), told);
    assert_eq!(
        recording.code == Some(0),
        fate == Fate::Stays,
        "{}",
        world.log()
    );
    let told = logs.map(|log| world.read(log).unwrap());
    Scene {
        fate,
        world,
        _server: server,
        recording,
        told,
    }
}

/// What was found.
#[derive(Default)]
struct Found {
    prefixes: usize,
    whole_prefixes: usize,
    states: usize,
    distinct: BTreeSet<u64>,
    broken: usize,
    /// The first ones.
    shown: Vec<String>,
}

/// What is known of a scene from all its cuts.
struct Known {
    pool: Pool,
    promises: Promises,
}

impl Known {
    fn of(scene: &Scene) -> Known {
        let told = scene.told.clone();
        Known {
            pool: Pool::default(),
            promises: Promises::of(scene.fate, &scene.recording, told),
        }
    }
}

/// Syncs that are not made: the first one's number, and which they are.
type LeftOut<'a> = (usize, Box<dyn Fn(usize) -> bool + 'a>);

/// The power goes after each call, in this model. With syncs left out: only after calls that follow them, and until
/// something is broken.
fn cut(
    scene: &Scene,
    known: &mut Known,
    (model, bound): (Model, usize),
    left_out: Option<&LeftOut<'_>>,
    keep: &mut dyn FnMut(usize, &Tree),
) -> Found {
    let mut found = Found::default();
    let steps = &scene.recording.steps;
    let mut disk = Disk::of(&scene.recording);
    for (at, step) in steps.iter().enumerate() {
        if left_out.is_some_and(|(_, left_out)| left_out(at)) {
            continue;
        }
        disk.apply(at + 1, &step.effect);
        if left_out.is_some_and(|(first, _)| at < *first) {
            continue;
        }
        if is_sample() && is_of_the_ledger(&step.effect) && at % 4 != 0 {
            continue;
        }
        found.prefixes += 1;
        // Until the next call nothing more is lost, but services may be told meanwhile.
        let next = &steps.get(at + 1).unwrap_or(step).told;
        let mut seen = BTreeSet::new();
        let complete = states(&disk, model, bound, &mut known.pool, |tree| {
            found.states += 1;
            let digest = digest(&tree);
            if !seen.insert(digest) {
                return;
            }
            let mut broken = known.promises.broken(&tree, &step.told);
            if *next != step.told {
                broken.extend(known.promises.broken(&tree, next));
            }
            if left_out.is_some() && model == Model::TornRenames {
                // That happens with all syncs, too.
                broken.retain(|broken| !broken.contains(LOST));
            }
            if found.distinct.insert(digest) {
                keep(at, &tree);
            }
            if let Some(broken) = broken.first() {
                found.broken += 1;
                if found.shown.len() < 5 {
                    let words = format!("after call {} ({}): {broken}", at + 1, step.words);
                    found.shown.push(words);
                }
            }
        });
        found.whole_prefixes += usize::from(complete);
        if found.broken > 0 && left_out.is_some() {
            break;
        }
    }
    found
}

/// Equal bytes are one piece of memory, so that a look at where they lie is enough.
fn digest(tree: &Tree) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (path, node) in tree {
        path.hash(&mut hasher);
        node.dress.hash(&mut hasher);
        node.inode.hash(&mut hasher);
        match &node.kind {
            record::Kind::File(bytes) => bytes.as_ptr().addr().hash(&mut hasher),
            other => other.hash(&mut hasher),
        }
    }
    hasher.finish()
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |number| number.parse().unwrap())
}

fn is_sample() -> bool {
    std::env::var_os("APPCONFIGD_POWER_STATES").is_none()
}

/// All, or in the suite one, another each time.
fn fates() -> Vec<Fate> {
    if !is_sample() {
        return Fate::ALL.to_vec();
    }
    let drawn = usize::try_from(std::process::id()).unwrap() % Fate::ALL.len();
    vec![Fate::ALL[drawn]]
}

fn is_of_the_ledger(effect: &Effect) -> bool {
    match effect {
        Effect::Write(path, ..) | Effect::Sync(path, _) => path.starts_with("var"),
        _ => false,
    }
}

#[test]
fn after_a_power_cut_at_any_call_files_are_whole_and_nothing_owed_is_forgotten() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the tracer of the crash tests knows the calls of x86_64 only");
    }
    let bound = number("APPCONFIGD_POWER_STATES", SAMPLE);
    let recovered = number("APPCONFIGD_POWER_RECOVERED", RECOVERED);
    let mut failed = Vec::new();
    for fate in fates() {
        let scene = recorded(fate);
        let mut known = Known::of(&scene);
        let mut kept: Vec<(usize, Tree)> = Vec::new();
        let mut met = 0;
        for model in [Model::Journal, Model::AnyOrder, Model::TornRenames] {
            let is_promised = model != Model::TornRenames;
            let mut keep = |at: usize, tree: &Tree| {
                if !is_promised {
                    return;
                }
                // Each one as likely as the others.
                met += 1;
                if kept.len() < recovered {
                    kept.push((at, tree.clone()));
                } else if let Some(one) = kept.get_mut(fastrand::usize(..met)) {
                    *one = (at, tree.clone());
                }
            };
            let found = cut(&scene, &mut known, (model, bound), None, &mut keep);
            eprintln!(
                "{fate:?}, {model:?}: cut after {} calls (all states of {}), {} states, {} of them distinct, {} violations",
                found.prefixes,
                found.whole_prefixes,
                found.states,
                found.distinct.len(),
                found.broken
            );
            let shown = found.shown.iter();
            let shown = shown.map(|shown| format!("{fate:?}, {model:?}: {shown}"));
            if is_promised {
                failed.extend(shown);
            } else {
                shown.for_each(|shown| eprintln!("  not promised: {shown}"));
            }
        }
        eprintln!("{fate:?}: {} different ledgers", known.promises.ledgers());
        failed.extend(run_after(&scene, &kept));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The program runs on these states; what went wrong.
fn run_after(scene: &Scene, kept: &[(usize, Tree)]) -> Vec<String> {
    let tried = kept.len();
    let waiting = Mutex::new(kept.iter());
    let failed: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((at, tree)) = { waiting.lock().unwrap().next() } {
                    let step = &scene.recording.steps[*at];
                    let length = |log: usize| usize::try_from(step.told[log]).unwrap();
                    let told = [0, 1].map(|log| &scene.told[log][..length(log)]);
                    let run = || back::recover(scene.fate, &back::build(&scene.world, tree, told));
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                        let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        let words =
                            format!("recovery after call {} ({}): {said}", at + 1, step.words);
                        failed.lock().unwrap().push(words);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    eprintln!(
        "{:?}: the program ran on {tried} states, {} violations",
        scene.fate,
        failed.len()
    );
    failed
}

#[test]
fn every_sync_is_needed() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the tracer of the crash tests knows the calls of x86_64 only");
    }
    let mut needed = BTreeSet::from(BEYOND_NEED.map(String::from));
    let mut needless = Vec::new();
    // Going back begins with the syncs of going forwards.
    for fate in [Fate::Stays, Fate::TurnedDown] {
        let scene = recorded(fate);
        let mut known = Known::of(&scene);
        for (words, left_out) in syncs(&scene) {
            if needed.contains(&words) {
                continue;
            }
            match broken_without(&scene, &mut known, &left_out) {
                Some(broken) => {
                    eprintln!("{fate:?} without {words}: {broken}");
                    needed.insert(words);
                }
                None => {
                    eprintln!("{fate:?} without {words}: nothing is broken");
                    needless.push(words);
                }
            }
        }
    }
    // A sync that is not made any more is missed, too.
    assert_eq!(needed.len(), 17, "{needed:#?}");
    assert!(needless.is_empty(), "{needless:#?}");
}

/// Every sync of a file or a directory by itself, and all of the ledger's.
fn syncs(scene: &Scene) -> Vec<(String, LeftOut<'_>)> {
    let steps = &scene.recording.steps;
    let is_the_ledgers = |at: usize| {
        let effect = &steps[at].effect;
        matches!(effect, Effect::Sync(..)) && is_of_the_ledger(effect)
    };
    let mut syncs: Vec<(String, LeftOut<'_>)> = vec![(
        "all syncs of the ledger".to_owned(),
        (0, Box::new(is_the_ledgers)),
    )];
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        if matches!(step.effect, Effect::Sync(..)) && !is_the_ledgers(at) {
            let time = times.entry(&step.words).or_default();
            *time += 1;
            let words = format!("{}, time {time}", step.words);
            syncs.push((words, (at, Box::new(move |one| one == at))));
        }
    }
    syncs
}

fn broken_without(scene: &Scene, known: &mut Known, left_out: &LeftOut<'_>) -> Option<String> {
    let bound = number("APPCONFIGD_POWER_STATES", SAMPLE);
    let mut models = [Model::AnyOrder, Model::TornRenames].into_iter();
    models.find_map(|model| {
        let found = cut(scene, known, (model, bound), Some(left_out), &mut |_, _| {});
        let broken = found.shown.first()?;
        Some(format!("{model:?}, {broken}"))
    })
}
