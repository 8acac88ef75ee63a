//! Placements by directory: each directory is opened once and synced once.

use std::collections::BTreeMap;

use super::Placement;
use super::directory::split;
use super::error::{InstallError, NotSwapped};
use super::site::Spot;

/// The placements of one directory.
pub(super) struct Group<'a> {
    /// One of them, to open the directory by.
    pub spot: Spot<'a>,
    /// In order, each with its place in the whole list.
    pub members: Vec<(usize, &'a Placement)>,
}

impl Group<'_> {
    /// What befell the directory befell all of them.
    pub fn failed(&self, error: InstallError) -> NotSwapped {
        let members = self.members.iter();
        let targets = members.map(|(_, one)| one.target.clone()).collect();
        NotSwapped { targets, error }
    }
}

/// Every placement is in exactly one group.
pub(super) fn by_directory(placements: &[Placement]) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<(&str, bool), Group<'_>> = BTreeMap::new();
    for (index, placement) in placements.iter().enumerate() {
        let spot = placement.spot();
        let (parent, _) = split(spot.path);
        let key = (parent, spot.unsafe_path);
        let group = groups.entry(key).or_insert_with(|| Group {
            spot,
            members: Vec::new(),
        });
        group.members.push((index, placement));
    }
    groups.into_values().collect()
}
