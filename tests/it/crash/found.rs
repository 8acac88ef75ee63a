//! What lies at a target's path, as its readers see it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::dress::Dress;
use super::scene::DIRECTORY;
use crate::world::World;

#[derive(Debug)]
pub struct Found {
    /// The first line, if that is all there is; in all files of a directory target.
    pub version: String,
    /// What the file wears, or everything in the directory by path.
    pub worn: Worn,
}

pub type Worn = Vec<(PathBuf, Dress)>;

/// What a new file wears.
pub fn plain() -> Dress {
    let us = (
        nix::unistd::geteuid().as_raw(),
        nix::unistd::getegid().as_raw(),
    );
    Dress::plain(us, 0o644)
}

/// `None` where nothing is.
pub fn at(world: &World, target: &str) -> Option<Found> {
    let path = world.target(target.trim_end_matches('/'));
    if target != DIRECTORY {
        return file(&path).ok();
    }
    // It may be replaced, and what is replaced removed, while this looks.
    loop {
        let Ok(live) = fs::read_link(&path) else {
            assert!(!path.exists(), "{target} is no link");
            return None;
        };
        let found = directory(&path.with_file_name(&live));
        if fs::read_link(&path).is_ok_and(|still| still == live) {
            return Some(found.unwrap_or_else(|error| panic!("{target} is not whole: {error}")));
        }
    }
}

fn file(path: &Path) -> io::Result<Found> {
    let text = fs::read_to_string(path)?;
    Ok(Found {
        version: version(&text),
        worn: vec![(PathBuf::new(), Dress::of(path)?)],
    })
}

fn version(text: &str) -> String {
    match text.strip_suffix('\n') {
        Some(line) if !line.is_empty() && !line.contains('\n') => line.to_owned(),
        _ => format!("{text:?}"),
    }
}

fn directory(path: &Path) -> io::Result<Found> {
    let mut worn = Worn::new();
    let mut versions = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(at) = open.pop() {
        let here = path.join(&at);
        worn.push((at.clone(), Dress::of(&here)?));
        if here.is_dir() {
            for entry in fs::read_dir(&here)? {
                open.push(at.join(entry?.file_name()));
            }
        } else {
            versions.push(version(&fs::read_to_string(&here)?));
        }
    }
    worn.sort_by(|one, other| one.0.cmp(&other.0));
    versions.dedup();
    Ok(Found {
        version: versions.join("+"),
        worn,
    })
}
