//! Where targets really lie: links on the way are part of it, for whoever changes one changes what lies there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::install::Installer;
use crate::settings::TargetPath;

use super::Places;

/// As many links as the kernel follows.
const LINKS: usize = 40;

/// A directory target has no more levels than that, and none that somebody made deeper is the right one.
const LEVELS: usize = 64;

/// The directories to watch, and what their entries are about.
pub(super) fn places(installer: &Installer, targets: &BTreeSet<TargetPath>) -> Places {
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
        place.names.entry(name).or_default().insert(path.clone());
        if path.is_directory() {
            add_inside(&mut places, path, &way.end.join(path.file_name()));
        }
        add_links(&mut places, path, &way.links);
        if installer.lies_now(path) != *path {
            // A link at the target's own path that is followed.
            let way = walk(installer.root(), path.as_str());
            if let (Some(directory), Some(name)) = (way.end.parent(), way.end.file_name()) {
                let place = places.entry(directory.to_owned()).or_default();
                let about = place.names.entry(name.to_owned()).or_default();
                about.insert(path.clone());
            }
            add_links(&mut places, path, &way.links);
        }
    }
    places
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
        let about = place.names.entry(name.clone()).or_default();
        about.insert(path.clone());
    }
}

/// The way to a directory.
struct Way {
    end: PathBuf,
    /// Each by the directory that holds it and its name.
    links: Vec<(PathBuf, OsString)>,
}

/// What does not exist (yet) is taken for a directory. Below a root no link leads out of it.
fn walk(root: Option<&Path>, parent: &str) -> Way {
    let base = root.unwrap_or(Path::new("/"));
    let mut end = base.to_owned();
    let mut links = Vec::new();
    let mut ahead: VecDeque<OsString> = parts(Path::new(parent)).into();
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            if end != base {
                end.pop();
            }
            continue;
        }
        let next = end.join(&part);
        match std::fs::read_link(&next) {
            Ok(link) if links.len() < LINKS => {
                links.push((end.clone(), part));
                if link.is_absolute() {
                    end = base.to_owned();
                }
                for part in parts(&link).into_iter().rev() {
                    ahead.push_front(part);
                }
            }
            Ok(_) | Err(_) => end = next,
        }
    }
    Way { end, links }
}

fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_counts_and_none_leads_out_of_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir_all(root.join("real/v1/conf")).unwrap();
        symlink("v1", root.join("real/data")).unwrap();
        std::fs::create_dir(root.join("etc")).unwrap();
        symlink("/real/data/conf", root.join("etc/app")).unwrap();
        symlink("../../../../real", root.join("etc/up")).unwrap();
        let way = walk(Some(root), "/etc/app");
        assert_eq!(way.end, root.join("real/v1/conf"));
        let links = vec![
            (root.join("etc"), "app".into()),
            (root.join("real"), "data".into()),
        ];
        assert_eq!(way.links, links);
        assert_eq!(walk(Some(root), "/etc/up").end, root.join("real"));
        assert_eq!(
            walk(Some(root), "/etc/none/more").end,
            root.join("etc/none/more")
        );
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let directory = tempfile::tempdir().unwrap();
        symlink("b", directory.path().join("a")).unwrap();
        symlink("a", directory.path().join("b")).unwrap();
        let way = walk(Some(directory.path()), "/a/x");
        assert_eq!(way.links.len(), LINKS);
    }
}
