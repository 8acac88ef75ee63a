//! What a directory holds, in memory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Metadata;

/// A directory with all that is in it, or what lies in the place of one.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// By relative path, a directory before what is in it, names in byte order; the empty path is the directory itself.
    pub(super) entries: BTreeMap<PathBuf, Entry>,
}

/// One name in it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub metadata: Metadata,
    pub what: What,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum What {
    Directory,
    File(Bytes),
    /// A symbolic link with its text.
    Link(OsString),
    /// A pipe, a socket, a device.
    Other,
}

impl Tree {
    /// These files, in directories that all have the metadata of the whole.
    pub(super) fn of(
        metadata: Metadata,
        files: impl IntoIterator<Item = (PathBuf, Metadata, Bytes)>,
    ) -> Tree {
        let mut entries = BTreeMap::new();
        let directory = || Entry {
            metadata: metadata.clone(),
            what: What::Directory,
        };
        entries.insert(PathBuf::new(), directory());
        for (path, metadata, bytes) in files {
            for above in path.ancestors().skip(1) {
                entries.entry(above.to_owned()).or_insert_with(directory);
            }
            let what = What::File(bytes);
            entries.insert(path, Entry { metadata, what });
        }
        Tree { entries }
    }

    /// The bytes of its files, by relative path.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &Bytes)> {
        self.entries
            .iter()
            .filter_map(|(path, entry)| match &entry.what {
                What::File(bytes) => Some((path.as_path(), bytes)),
                What::Directory | What::Link(_) | What::Other => None,
            })
    }

    /// In words, by relative path: what everything in it is apart from bytes. The directory itself is `.`.
    pub fn words(&self) -> BTreeMap<&Path, String> {
        let words = |entry: &Entry| {
            let Metadata { uid, gid, mode, .. } = entry.metadata;
            let what = match &entry.what {
                What::Directory => "directory",
                What::File(_) => "file",
                What::Link(text) => return format!("link to {}", text.display()),
                What::Other => "neither file nor directory",
            };
            format!("{what}, owner {uid}, group {gid}, mode {mode:04o}")
        };
        let entries = self.entries.iter();
        entries
            .map(|(path, entry)| (path.as_path(), words(entry)))
            .collect()
    }
}

/// Never shows bytes.
impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.entries.keys()).finish()
    }
}
