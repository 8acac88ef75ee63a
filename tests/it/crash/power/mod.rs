//! Power loss: one transaction is recorded call by call, with its bytes, and after each call the power goes. What POSIX
//! allows to be lost is lost in a model of a file system, in every combination up to a bound, and every state that can be
//! found must hold what is promised: as it lies there, and after the program has run.
//!
//! A run in the suite takes some states; `scripts/power-loss` takes more.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::scene::Fate;
use crate::skip::skip;
use disk::{Disk, Tree};
use promises::{LOST, Promises};
use record::Effect;
use scenes::Scene;
use states::{Model, Pool, states};

mod back;
mod disk;
mod promises;
mod record;
mod scenes;
mod states;
mod syncs;
mod view;

/// How many states are made after one call at most, and with how many the program then runs, in the suite.
const SAMPLE: usize = 16;
const RECOVERED: usize = 12;
/// How often it is cut again while it puts things right.
const SECOND: usize = 1;
const SIDE_BY_SIDE: usize = 8;

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
            promises: Promises::of(scene.versions.clone(), told, scene.is_first),
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
    let second = number("APPCONFIGD_POWER_SECOND", SECOND);
    let mut failed = Vec::new();
    let mut scenes: Vec<fn() -> Scene> = vec![
        || Scene::recorded(Fate::Stays),
        || Scene::recorded(Fate::Refused),
        || Scene::recorded(Fate::TurnedDown),
        Scene::begun,
    ];
    if is_sample() {
        // Another one each time.
        let drawn = usize::try_from(std::process::id()).unwrap() % scenes.len();
        scenes = vec![scenes.swap_remove(drawn)];
    }
    for scene in scenes {
        let scene = scene();
        let mut kept = Vec::new();
        failed.extend(cut_everywhere(&scene, bound, recovered, &mut kept));
        failed.extend(run_after(&scene, &kept));
        // The power goes again while the program puts things right.
        for (at, tree) in kept.iter().take(second) {
            let scene = scene.again(*at, tree);
            let mut kept = Vec::new();
            let (bound, recovered) = (bound.div_ceil(4), recovered.div_ceil(4));
            failed.extend(cut_everywhere(&scene, bound, recovered, &mut kept));
            failed.extend(run_after(&scene, &kept));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// After each call, in every model; what went wrong. `kept`: some of the states, drawn.
fn cut_everywhere(
    scene: &Scene,
    bound: usize,
    recovered: usize,
    kept: &mut Vec<(usize, Tree)>,
) -> Vec<String> {
    let mut failed = Vec::new();
    let mut known = Known::of(scene);
    let name = &scene.name;
    let mut met = 0;
    for model in [Model::Journal, Model::AnyOrder, Model::TornRenames] {
        let is_promised = model != Model::TornRenames;
        if !is_promised && !scene.is_first {
            continue;
        }
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
        let found = cut(scene, &mut known, (model, bound), None, &mut keep);
        eprintln!(
            "{name}, {model:?}: cut after {} calls (all states of {}), {} states, {} of them distinct, {} violations",
            found.prefixes,
            found.whole_prefixes,
            found.states,
            found.distinct.len(),
            found.broken
        );
        let shown = found.shown.iter();
        let shown = shown.map(|shown| format!("{name}, {model:?}: {shown}"));
        if is_promised {
            failed.extend(shown);
        } else {
            shown.for_each(|shown| eprintln!("  not promised: {shown}"));
        }
    }
    fastrand::shuffle(kept);
    eprintln!("{name}: {} different ledgers", known.promises.ledgers());
    failed
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
                    let told = scene.told_by(*at);
                    let run = || back::recover(scene.fate, &back::build(&scene.world, tree, told));
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                        let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        let words = format!(
                            "{}, recovery after call {} ({}): {said}",
                            scene.name,
                            at + 1,
                            step.words
                        );
                        failed.lock().unwrap().push(words);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    eprintln!(
        "{}: the program ran on {tried} states, {} violations",
        scene.name,
        failed.len()
    );
    failed
}
