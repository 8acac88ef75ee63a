//! The power is back: the state becomes real files, and the program runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::super::scene::{Fate, OLD, TARGETS, all, is_settled, own, whole, worn_by};
use super::disk::{Inode, Tree};
use super::promises::facts;
use super::record::Kind;
use crate::world::{World, wait_for};

/// A world like `origin`, with these files below its root.
pub fn build(origin: &World, tree: &Tree, told: [&str; 2]) -> World {
    let world = World::new();
    let [from, to] = [origin, &world].map(|world| world.path("").display().to_string());
    let settings = origin.read("appconfigd.yaml").unwrap().replace(&from, &to);
    world.write("appconfigd.yaml", &settings);
    for name in ["check", "tell"] {
        fs::copy(origin.path(name), world.path(name)).unwrap();
    }
    for worn in TARGETS.map(worn_by) {
        world.write(&worn, &origin.read(&worn).unwrap());
    }
    for (name, seen) in ["one.log", "two.log"].into_iter().zip(told) {
        world.write(name, seen);
    }
    let root = world.path("root");
    let mut made: Vec<(Inode, PathBuf)> = Vec::new();
    for (path, node) in tree {
        let path = root.join(path);
        if let Some((_, first)) = made.iter().find(|one| one.0 == node.inode) {
            fs::hard_link(first, &path).unwrap();
            continue;
        }
        match &node.kind {
            Kind::Directory => fs::create_dir(&path).unwrap(),
            Kind::File(bytes) => fs::write(&path, bytes).unwrap(),
            Kind::Link(text) => symlink(text, &path).unwrap(),
        }
        if !matches!(node.kind, Kind::Link(_)) {
            node.dress.put_on(&path);
        }
        made.push((node.inode, path));
    }
    world
}

/// Runs `once` and holds all that must be so when it has ended. Panics.
pub fn recover(fate: Fate, world: &World) {
    let output = world.output(&["once"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let wanted = match fate {
        Fate::Stays => {
            assert_eq!(output.status.code(), Some(0), "{said}");
            all(fate.version())
        }
        Fate::Refused | Fate::TurnedDown => OLD.to_owned(),
    };
    wait_for(&format!("{wanted}: {said}"), || {
        is_settled(world, &wanted).then_some(())
    });
    whole(world, fate);
    assert_eq!(own(world), Vec::<PathBuf>::new(), "{said}");
    let facts = facts(&world.target("/var/lib/appconfigd/ledger.db")).expect("a sound ledger");
    assert!(facts.intents.is_empty(), "{:?}", facts.intents);
}
