//! Where targets really lie: links on the way are part of it, for whoever changes one changes what lies there.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::install::Installer;
use crate::settings::TargetPath;
use crate::watch::Watcher;

use super::super::way::{Way, walk};
use super::{Place, Places};

/// A directory target has no more levels than that, and none that somebody made deeper is the right one.
const LEVELS: usize = 64;

/// Directories may be others before they are watched, and then no event says so.
const ROUNDS: usize = 3;

/// Watches the directories that matter, instead of those `before`; what their entries are about.
pub(super) fn watch(
    watcher: &mut Watcher,
    installer: &Installer,
    targets: &BTreeSet<TargetPath>,
    before: Vec<PathBuf>,
) -> Places {
    let mut found = places(installer, targets);
    let mut watched = BTreeSet::from_iter(before);
    for _ in 0..ROUNDS {
        for (directory, place) in &found {
            match place.whole.is_empty() {
                true => watcher.watch_entries(directory, place.names.keys()),
                false => watcher.watch(directory),
            }
            watched.insert(directory.clone());
        }
        if found.values().all(|place| place.links.is_empty()) {
            break;
        }
        let now = places(installer, targets);
        let same = now == found;
        found = now;
        if same {
            break;
        }
    }
    for directory in watched {
        if !found.contains_key(&directory) {
            watcher.unwatch(&directory);
        }
    }
    found
}

/// The directories to watch, and what their entries are about.
fn places(installer: &Installer, targets: &BTreeSet<TargetPath>) -> Places {
    let mut walked: BTreeMap<&str, Way> = BTreeMap::new();
    let mut places = Places::new();
    for path in targets {
        let parent = path.location();
        let parent = parent.rsplit_once('/').map_or("", |(dir, _)| dir);
        let way = walked
            .entry(parent)
            .or_insert_with(|| walk(installer.root(), parent));
        let place = places.entry(way.end.clone()).or_default();
        let name = OsString::from(path.file_name());
        if path.is_directory() {
            // When it leads to another generation, other directories are to be watched.
            place.links.insert(name.clone());
        }
        place.about(name, path);
        if path.is_directory() {
            add_inside(&mut places, path, &way.end.join(path.file_name()));
        }
        add_links(&mut places, path, &way.links);
        if installer.lies_now(path) != *path {
            // A link at the target's own path that is followed.
            let way = walk(installer.root(), path.as_str());
            if let (Some(directory), Some(name)) = (way.end.parent(), way.end.file_name()) {
                let place = places.entry(directory.to_owned()).or_default();
                place.about(name.to_owned(), path);
            }
            add_links(&mut places, path, &way.links);
        }
    }
    places
}

impl Place {
    /// The entry is about this target, too. All that is about one target is said in one go.
    fn about(&mut self, name: OsString, path: &TargetPath) {
        let about = self.names.entry(name).or_default();
        if about.last() != Some(path) {
            about.push(path.clone());
        }
    }
}

/// One name in a generation.
pub(super) struct Inside {
    pub path: PathBuf,
    pub is_directory: bool,
}

/// Everything in the generation that the link of a directory target leads to, the generation itself among it. What the link leads to
/// otherwise is none of ours.
pub(super) fn inside(link: &Path) -> Vec<Inside> {
    let (Ok(text), Some(parent)) = (std::fs::read_link(link), link.parent()) else {
        return Vec::new();
    };
    let beside = text.file_name() == Some(text.as_os_str());
    if !beside || !text.to_string_lossy().contains(".appconfigd.") {
        return Vec::new();
    }
    let generation = parent.join(text);
    let mut found = Vec::new();
    let mut ahead = vec![(generation.clone(), 0)];
    while let Some((directory, level)) = ahead.pop() {
        let entries = std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory && level < LEVELS {
                ahead.push((entry.path(), level + 1));
            }
            found.push(Inside {
                path: entry.path(),
                is_directory,
            });
        }
    }
    found.push(Inside {
        path: generation,
        is_directory: true,
    });
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn add_inside(places: &mut Places, path: &TargetPath, link: &Path) {
    let directories = inside(link).into_iter().filter(|one| one.is_directory);
    for Inside {
        path: directory, ..
    } in directories
    {
        let place = places.entry(directory).or_default();
        place.whole.insert(path.clone());
    }
}

fn add_links(places: &mut Places, path: &TargetPath, links: &[(PathBuf, OsString)]) {
    for (directory, name) in links {
        let place = places.entry(directory.clone()).or_default();
        place.links.insert(name.clone());
        place.about(name.clone(), path);
    }
}
