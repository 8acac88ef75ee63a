//! Each sync is left out by itself: a promise is then broken in some state that can be found.

use std::collections::{BTreeMap, BTreeSet};

use super::record::Effect;
use super::scenes::Scene;
use super::states::Model;
use super::{Known, LeftOut, SAMPLE, cut, number};
use crate::crash::scene::Fate;
use crate::skip::skip;

/// Nothing that is promised depends on these.
const BEYOND_NEED: [&str; 15] = [
    // After files went back: that their kept names have gone. The next start removes them.
    "fsync etc/one/.appconfigd, time 2",
    "fsync etc/three/.appconfigd, time 2",
    "fsync etc/two/.appconfigd, time 1",
    "fsync etc/whole/.appconfigd, time 3",
    "fsync etc/written/.appconfigd, time 2",
    // What is written in place is not renamed: its directory stays as it is.
    "fsync etc/written, time 2",
    "fsync etc/written, time 3",
    "first start: fsync etc/written, time 2",
    // It is made again, and written over the target again.
    "fsync etc/written/.appconfigd/new-…, time 1",
    "first start: fsync etc/written/.appconfigd/new-…, time 1",
    // The rename of the link that lies there is durable with the directory above.
    "fsync etc/whole/.appconfigd, time 1",
    "first start: fsync etc/whole/.appconfigd, time 1",
    // Of the ledger's while it has not got its name yet, and of that name; the one of its log's name does the same.
    "first start: fsync var/lib/appconfigd, time 1",
    "first start: fsync var/lib/appconfigd, time 2",
    "first start: fsync var/lib/appconfigd, time 3",
];

/// Each of these makes durable what the other does, and one is needed.
const TOGETHER: [&str; 2] = ["fsync etc/whole, time 1", "fsync etc/whole, time 2"];

/// How many there are in all.
const NEEDED: usize = 50;

#[test]
fn every_sync_is_needed() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the tracer of the crash tests knows the calls of x86_64 only");
    }
    let mut needed: BTreeSet<String> = BTreeSet::new();
    let mut needless = BTreeSet::new();
    let scenes: [fn() -> Scene; 3] = [
        || Scene::recorded(Fate::Stays),
        // Going back begins with the syncs of going forwards.
        || Scene::recorded(Fate::TurnedDown),
        Scene::begun,
    ];
    for scene in scenes {
        let scene = scene();
        let mut known = Known::of(&scene);
        for (words, left_out) in syncs(&scene) {
            let beyond_need = BEYOND_NEED.contains(&words.as_str());
            let together = TOGETHER.contains(&words.as_str());
            if beyond_need || together || needed.contains(&words) {
                continue;
            }
            match broken_without(&scene, &mut known, &left_out) {
                Some(broken) => {
                    eprintln!("{} without {words}: {broken}", scene.name);
                    needed.insert(words);
                }
                None => {
                    eprintln!("{} without {words}: nothing is broken", scene.name);
                    needless.insert(words);
                }
            }
        }
    }
    assert!(needless.is_empty(), "{needless:#?}");
    // A sync that is not made any more is missed, too.
    assert_eq!(needed.len(), NEEDED, "{needed:#?}");
}

/// Every sync of a file or a directory by itself, all of the ledger's files, and those that stand in for each other.
fn syncs(scene: &Scene) -> Vec<(String, LeftOut<'_>)> {
    let mut ledger = Vec::new();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    let mut alone: Vec<(String, usize)> = Vec::new();
    for (at, step) in scene.recording.steps.iter().enumerate() {
        let Effect::Sync(path, _) = &step.effect else {
            continue;
        };
        if path.to_string_lossy().contains("/ledger.db") {
            ledger.push(at);
            continue;
        }
        let time = times.entry(&step.words).or_default();
        *time += 1;
        let begun = if scene.begins { "first start: " } else { "" };
        alone.push((format!("{begun}{}, time {time}", step.words), at));
    }
    let mut syncs = vec![("the ledger".to_owned(), ledger)];
    let together = alone
        .iter()
        .filter(|(words, _)| TOGETHER.contains(&words.as_str()));
    let together: Vec<usize> = together.map(|(_, at)| *at).collect();
    if !together.is_empty() {
        syncs.push((TOGETHER.join(" and "), together));
    }
    syncs.extend(alone.into_iter().map(|(words, at)| (words, vec![at])));
    syncs
        .into_iter()
        .map(|(words, steps)| {
            let first = steps[0];
            let left_out: LeftOut<'_> = (first, Box::new(move |at| steps.contains(&at)));
            (words, left_out)
        })
        .collect()
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
