//! How a target is written, decided once a transaction and recorded with it: settings may change before it goes back.

use serde::{Deserialize, Serialize};

use crate::settings::TargetPath;

/// How new bytes come to a target's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// A new file takes the place of the old one.
    #[default]
    Rename,
    /// The bytes are written over the file that is there: complete after a crash, but not during the write. A missing file is made
    /// as by `Rename`.
    InPlace,
    /// A new generation takes the place of the old one, by a link.
    Directory,
}

/// How a target is written. What a recorded site does not say is as it was before it could be said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Site {
    pub kind: TargetKind,
    /// Where the link leads to that lies at the target's path and is followed: that file is kept right.
    pub leads_to: Option<TargetPath>,
    /// Whoever owns a directory on the way may lead us to what is not his.
    pub unsafe_path: bool,
}

/// Where a file lies, and whether the way there is judged.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    pub path: &'a TargetPath,
    pub unsafe_path: bool,
}

impl Site {
    /// Where the target's file lies.
    pub fn lies<'a>(&'a self, target: &'a TargetPath) -> &'a TargetPath {
        self.leads_to.as_ref().unwrap_or(target)
    }

    pub(super) fn spot<'a>(&'a self, target: &'a TargetPath) -> Spot<'a> {
        Spot {
            path: self.lies(target),
            unsafe_path: self.unsafe_path,
        }
    }
}
