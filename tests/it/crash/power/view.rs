//! A target as its readers would find it on a disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::dress::Dress;
use super::super::scene::DIRECTORY;
use super::disk::{Inode, Tree};
use super::record::{Kind, Recording};

/// All that belongs to it, by path: of a directory target what is in the live generation.
#[derive(Clone, Debug)]
pub struct View {
    pub parts: BTreeMap<PathBuf, (Kind, Dress)>,
    /// Of the file, or of the link.
    pub inode: Option<Inode>,
}

impl PartialEq for View {
    fn eq(&self, other: &View) -> bool {
        self.parts == other.parts
    }
}

impl View {
    pub fn of(tree: &Tree, target: &str) -> Option<View> {
        View::at(tree, below(target), target == DIRECTORY)
    }

    /// What is at this path; behind a link to a generation, what is there.
    pub fn at(tree: &Tree, path: &Path, is_directory: bool) -> Option<View> {
        let node = tree.get(path)?;
        let parts = match (&node.kind, is_directory) {
            (Kind::Link(text), true) => {
                let generation = below(DIRECTORY).with_file_name(text);
                let inside = tree.range(generation.clone()..);
                inside
                    .take_while(|(path, _)| path.starts_with(&generation))
                    .map(|(path, node)| {
                        let path = path.strip_prefix(&generation).unwrap();
                        (path.to_owned(), (node.kind.clone(), node.dress.clone()))
                    })
                    .collect()
            }
            (kind, _) => BTreeMap::from([(PathBuf::new(), (kind.clone(), node.dress.clone()))]),
        };
        Some(View {
            parts,
            inode: Some(node.inode),
        })
    }

    /// Before the first call of a recording.
    pub fn before(recording: &Recording, target: &str) -> Option<View> {
        let mut numbers: Vec<u64> = Vec::new();
        let mut tree = Tree::new();
        for seen in &recording.before {
            let known = numbers.iter().position(|number| *number == seen.number);
            let at = known.unwrap_or_else(|| {
                numbers.push(seen.number);
                numbers.len() - 1
            });
            let node = super::disk::Node {
                kind: seen.kind.clone(),
                dress: seen.dress.clone(),
                // As the disk counts them: the first is the root.
                inode: at + 1,
            };
            tree.insert(seen.path.clone(), node);
        }
        View::of(&tree, target)
    }

    /// The same with other bytes in every file.
    pub fn with(&self, bytes: &Arc<[u8]>) -> View {
        let mut new = self.clone();
        new.inode = None;
        for (kind, _) in new.parts.values_mut() {
            if let Kind::File(old) = kind {
                *old = Arc::clone(bytes);
            }
        }
        new
    }

    pub fn file(bytes: &Arc<[u8]>, dress: Dress) -> View {
        View {
            parts: BTreeMap::from([(PathBuf::new(), (Kind::File(Arc::clone(bytes)), dress))]),
            inode: None,
        }
    }

    /// Other bytes, and nothing else.
    pub fn wears_the_same(&self, other: &View) -> bool {
        let worn = |view: &View| -> Vec<(PathBuf, Dress)> {
            let parts = view.parts.iter();
            parts
                .map(|(path, (_, dress))| (path.clone(), dress.clone()))
                .collect()
        };
        worn(self) == worn(other)
    }

    /// Of the one file.
    pub fn bytes(&self) -> Option<&Arc<[u8]>> {
        match self.parts.get(Path::new("")) {
            Some((Kind::File(bytes), _)) => Some(bytes),
            _ => None,
        }
    }

    pub fn shown(view: Option<&View>) -> String {
        let Some(view) = view else {
            return "nothing".to_owned();
        };
        let parts = view.parts.iter().map(|(path, (kind, dress))| {
            let kind = match kind {
                Kind::File(bytes) => {
                    format!(
                        "{:?}",
                        String::from_utf8_lossy(&bytes[..bytes.len().min(20)])
                    )
                }
                other => format!("{other:?}"),
            };
            format!("{:?} {kind} {dress:?}", path.display().to_string())
        });
        parts.collect::<Vec<String>>().join(", ")
    }
}

/// From the root of the recorded place.
pub fn below(target: &str) -> &Path {
    Path::new(target.trim_matches('/'))
}
