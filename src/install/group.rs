//! Placements by directory: each directory is opened once and synced once.

use std::collections::BTreeMap;

use super::Placement;
use super::directory::split;
use crate::settings::TargetPath;

/// The placements of one directory.
pub(super) struct Group<'a> {
    /// One of them, to open the directory by.
    pub target: &'a TargetPath,
    /// In order, each with its place in the whole list.
    pub members: Vec<(usize, &'a Placement)>,
}

/// Every placement is in exactly one group.
pub(super) fn by_directory(placements: &[Placement]) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<&str, Group<'_>> = BTreeMap::new();
    for (index, placement) in placements.iter().enumerate() {
        let (parent, _) = split(placement.lies());
        let group = groups.entry(parent).or_insert_with(|| Group {
            target: placement.lies(),
            members: Vec::new(),
        });
        group.members.push((index, placement));
    }
    groups.into_values().collect()
}
