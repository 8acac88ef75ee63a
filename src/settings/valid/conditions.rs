//! Of what, and when, services want to be notified, as it holds.

use std::collections::BTreeMap;

use super::{ProfileName, Target, TargetPath};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `None`: of every change of its targets.
    pub when_changed: Option<WhenChanged>,
    pub on_start: OnStart,
}

/// Of what at the daemon's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStart {
    #[default]
    IfPending,
    /// Once, also where it knows of everything.
    Always,
}

/// Parts of its targets: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhenChanged {
    pub targets: BTreeMap<TargetPath, Parts>,
    pub profiles: BTreeMap<ProfileName, Parts>,
}

/// What of a target or a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parts {
    Whole,
    /// JSON pointers (RFC 6901), at least one.
    Pointers(Vec<String>),
}

impl Conditions {
    /// A change of this target may be one that the service wants to hear of.
    pub fn concern(&self, target: &Target) -> bool {
        self.when_changed.as_ref().is_none_or(|when| {
            when.targets.contains_key(&target.path)
                || target
                    .from
                    .iter()
                    .any(|name| when.profiles.contains_key(name))
        })
    }
}
