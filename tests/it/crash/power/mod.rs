//! Power loss: one transaction is recorded call by call, with its bytes, and after each call the power goes. What POSIX
//! allows to be lost is lost in a model of a file system, in every combination up to a bound, and every state that can be
//! found must hold what is promised: as it lies there, and after the program has run.
//!
//! A run in the suite takes some states; `scripts/power-loss` takes more.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::scene::{Fate, place, world_of};
use crate::skip::skip;
use crate::world::{Server, World};
use disk::{Disk, Tree};
use promises::Promises;
use record::{Effect, Recording, record};
use states::{Model, Pool, states};

mod back;
mod disk;
mod promises;
mod record;
mod states;

/// How many states are made after one call at most, and with how many the program then runs, in the suite.
const SAMPLE: usize = 60;
const RECOVERED: usize = 24;
const SIDE_BY_SIDE: usize = 8;

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
    ledgers: usize,
    broken: usize,
    /// The first ones.
    shown: Vec<String>,
}

/// The power goes after each call, in this model. Syncs that `left_out` names are not made. Ends early when something is
/// broken and `left_out` names something.
fn cut(
    scene: &Scene,
    model: Model,
    bound: usize,
    left_out: Option<&dyn Fn(usize) -> bool>,
    keep: &mut dyn FnMut(usize, &Tree),
) -> Found {
    let mut found = Found::default();
    let mut pool = Pool::default();
    let mut promises = Promises::of(scene.fate, &scene.recording, scene.told.clone());
    let mut disk = Disk::of(&scene.recording);
    for (at, step) in scene.recording.steps.iter().enumerate() {
        let is_sync = matches!(step.effect, Effect::Sync(..));
        if is_sync && left_out.is_some_and(|left_out| left_out(at)) {
            continue;
        }
        disk.apply(at + 1, &step.effect);
        // Until the next call nothing new can be lost. After a sync there is nothing that there was not before it, but
        // services may have been told meanwhile.
        found.prefixes += 1;
        let told = scene
            .recording
            .steps
            .get(at + 1)
            .unwrap_or(step)
            .told
            .clone();
        let told = [&step.told, &told];
        let mut seen = BTreeSet::new();
        let complete = states(&disk, model, bound, &mut pool, |tree| {
            found.states += 1;
            if !seen.insert(digest(&tree)) {
                return;
            }
            let broken: Vec<String> = told
                .iter()
                .flat_map(|told| promises.broken(&tree, told))
                .collect();
            if found.distinct.insert(digest(&tree)) {
                keep(at, &tree);
            }
            if !broken.is_empty() {
                found.broken += 1;
                if found.shown.len() < 5 {
                    let words = format!("after call {} ({}): {}", at + 1, step.words, broken[0]);
                    found.shown.push(words);
                }
            }
        });
        found.whole_prefixes += usize::from(complete);
        if found.broken > 0 && left_out.is_some() {
            break;
        }
    }
    found.ledgers = promises.ledgers();
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

#[test]
fn after_a_power_cut_at_any_call_files_are_whole_and_nothing_owed_is_forgotten() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the tracer of the crash tests knows the calls of x86_64 only");
    }
    let bound = number("APPCONFIGD_POWER_STATES", SAMPLE);
    let recovered = number("APPCONFIGD_POWER_RECOVERED", RECOVERED);
    let mut failed = Vec::new();
    for fate in Fate::ALL {
        let scene = recorded(fate);
        let mut kept: Vec<(usize, Tree)> = Vec::new();
        for model in [Model::Journal, Model::AnyOrder, Model::TornRenames] {
            let mut keep = |at: usize, tree: &Tree| kept.push((at, tree.clone()));
            let found = cut(&scene, model, bound, None, &mut keep);
            eprintln!(
                "{fate:?}, {model:?}: cut after {} calls (all states of {}), {} states, {} of them distinct, {} ledgers, {} violations",
                found.prefixes,
                found.whole_prefixes,
                found.states,
                found.distinct.len(),
                found.ledgers,
                found.broken
            );
            failed.extend(
                found
                    .shown
                    .iter()
                    .map(|shown| format!("{fate:?}, {model:?}: {shown}")),
            );
        }
        failed.extend(run_after(&scene, &kept, recovered));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The program runs on some of the states, evenly drawn; what went wrong.
fn run_after(scene: &Scene, kept: &[(usize, Tree)], number: usize) -> Vec<String> {
    let stride = kept.len().div_ceil(number).max(1);
    let offset = usize::try_from(std::process::id()).unwrap() % stride;
    let drawn = kept.iter().skip(offset).step_by(stride);
    let tried = drawn.len();
    let waiting = Mutex::new(drawn);
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
    let bound = number("APPCONFIGD_POWER_STATES", SAMPLE);
    let mut needless = Vec::new();
    for fate in [Fate::Stays, Fate::TurnedDown] {
        let scene = recorded(fate);
        let ledger = |at: usize| match &scene.recording.steps[at].effect {
            Effect::Sync(path, _) => path.starts_with("var"),
            _ => false,
        };
        let mut without: Vec<(String, Box<dyn Fn(usize) -> bool + '_>)> =
            vec![("all syncs of the ledger".to_owned(), Box::new(ledger))];
        for (at, step) in scene.recording.steps.iter().enumerate() {
            if matches!(step.effect, Effect::Sync(..)) && !ledger(at) {
                let words = format!("call {} ({})", at + 1, step.words);
                without.push((words, Box::new(move |one| one == at)));
            }
        }
        for (words, left_out) in without {
            let found = cut(
                &scene,
                Model::AnyOrder,
                bound,
                Some(&*left_out),
                &mut |_, _| {},
            );
            match found.shown.first() {
                Some(broken) => eprintln!("{fate:?} without {words}: {broken}"),
                None => {
                    eprintln!("{fate:?} without {words}: nothing is broken");
                    needless.push(format!("{fate:?}: {words}"));
                }
            }
        }
    }
    assert!(needless.is_empty(), "{needless:#?}");
}
