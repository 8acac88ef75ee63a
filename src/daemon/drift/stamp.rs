//! What tells one state of a target from another without reading it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::place::{Inside, inside};

/// Of a file; of a directory target also of everything in it. A digest: there is one for every target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u64);

impl Stamp {
    /// `directory`: the target is one.
    pub(super) fn of(place: &Path, directory: bool) -> Option<Stamp> {
        let mut hasher = DefaultHasher::new();
        stamp(place)?.hash(&mut hasher);
        if directory {
            for Inside { path, .. } in inside(place) {
                stamp(&path).hash(&mut hasher);
                path.hash(&mut hasher);
            }
        }
        Some(Stamp(hasher.finish()))
    }
}

/// Device, inode, size, and the times of the last change of the bytes and of anything.
fn stamp(file: &Path) -> Option<impl Hash> {
    let found = std::fs::symlink_metadata(file).ok()?;
    let modified = (found.mtime(), found.mtime_nsec());
    let changed = (found.ctime(), found.ctime_nsec());
    Some((found.dev(), found.ino(), found.size(), modified, changed))
}
