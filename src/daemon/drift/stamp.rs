//! What tells one state of a target from another without reading it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::place::{Inside, inside};

/// Of a file; of a directory target also of everything in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    inside: u64,
}

impl Stamp {
    /// `directory`: the target is one.
    pub(super) fn of(place: &Path, directory: bool) -> Option<Stamp> {
        let mut stamp = Stamp::of_one(place)?;
        if directory {
            let mut hasher = DefaultHasher::new();
            for Inside { path, .. } in inside(place) {
                Stamp::of_one(&path).hash(&mut hasher);
                path.hash(&mut hasher);
            }
            stamp.inside = hasher.finish();
        }
        Some(stamp)
    }

    fn of_one(file: &Path) -> Option<Stamp> {
        let found = std::fs::symlink_metadata(file).ok()?;
        Some(Stamp {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            inside: 0,
        })
    }
}
