//! What a transaction would do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;

use crate::install::{Foreign, Metadata, Site};
use crate::ledger::{Installed, Refusal, Version};
use crate::protocol::{Digest, Identity};
use crate::settings::{Service, ServiceName, Target, TargetPath};

use super::{Deferral, Drift};

/// What a plan looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: at start, after a change of settings, on request.
    All,
    Some {
        profiles: BTreeSet<Identity>,
        targets: BTreeSet<TargetPath>,
    },
}

impl Scope {
    pub fn nothing() -> Scope {
        Scope::Some {
            profiles: BTreeSet::new(),
            targets: BTreeSet::new(),
        }
    }

    pub fn profile(identity: Identity) -> Scope {
        Scope::Some {
            profiles: BTreeSet::from([identity]),
            targets: BTreeSet::new(),
        }
    }

    pub fn is_nothing(&self) -> bool {
        *self == Scope::nothing()
    }

    /// Takes the other's wishes in.
    pub fn add(&mut self, other: Scope) {
        match (&mut *self, other) {
            (Scope::All, _) => {}
            (_, Scope::All) => *self = Scope::All,
            (
                Scope::Some { profiles, targets },
                Scope::Some {
                    profiles: more_profiles,
                    targets: more_targets,
                },
            ) => {
                profiles.extend(more_profiles);
                targets.extend(more_targets);
            }
        }
    }
}

/// A target that is to get new bytes; those of a directory target are an archive of it.
#[derive(Clone, PartialEq, Eq)]
pub struct FileChange {
    pub target: TargetPath,
    pub site: Site,
    pub bytes: Bytes,
    pub digest: Digest,
    pub metadata: Metadata,
    /// Nothing lies there now.
    pub absent: bool,
    /// A directory lies there that is exchanged for the link of a directory target.
    pub exchanged: bool,
    /// What lies there is not what was installed: it is kept in history first.
    pub foreign: Option<Foreign>,
    /// Of services that depend on parts of it: the digest of those parts.
    pub parts: BTreeMap<ServiceName, Digest>,
}

impl FileChange {
    /// Where the target's file lies.
    pub fn lies(&self) -> &TargetPath {
        self.site.lies(&self.target)
    }

    /// The service wants to hear of it. `told`: what it has acknowledged. Where somebody else has changed the file, nobody
    /// knows what it has read since.
    pub fn concerns(
        &self,
        service: &Service,
        target: &Target,
        told: Option<Digest>,
        drifted: bool,
    ) -> bool {
        let conditions = &service.conditions;
        if conditions.when_changed.is_none() {
            return true;
        }
        let parts = self.parts.get(&service.name).unwrap_or(&self.digest);
        conditions.concern(target) && (drifted || told != Some(*parts))
    }
}

impl fmt::Debug for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileChange")
            .field("target", &self.target)
            .field("site", &self.site)
            .field("digest", &self.digest)
            .field("metadata", &self.metadata)
            .field("absent", &self.absent)
            .field("exchanged", &self.exchanged)
            .field("foreign", &self.foreign.is_some())
            .field("parts", &self.parts)
            .finish()
    }
}

/// What would happen, decided without writing anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Per profile the version that files are now made from, where that differs from `accepted`.
    pub accepts: BTreeMap<Identity, Version>,
    pub changes: Vec<FileChange>,
    /// Already right on disk, but not what the ledger says.
    pub adopted: BTreeMap<TargetPath, Installed>,
    /// Right bytes under wrong metadata: repaired without rewriting and without notifying.
    pub repairs: BTreeMap<TargetPath, Installed>,
    /// Targets that are no longer what was installed, whatever becomes of them.
    pub drifted: BTreeMap<TargetPath, Drift>,
    /// Versions turned down, with the reason.
    pub refused: BTreeMap<Identity, Refusal>,
    /// Profiles in scope whose newest version is not refused.
    pub unrefused: BTreeSet<Identity>,
    /// Profiles whose newest version is left out because of a quarantine.
    pub quarantined: BTreeMap<Identity, String>,
    /// Profiles whose newest version is left out for the time being: a target cannot be written.
    pub delayed: BTreeMap<Identity, String>,
    /// Profiles that cannot have the version that an operator has asked for, with the reason.
    pub unpinned: BTreeMap<Identity, String>,
    /// Targets that cannot be made now, with the reason.
    pub waiting: BTreeMap<TargetPath, String>,
    /// Targets of which the host does not let us know what lies there: to be looked at again later.
    pub hindered: BTreeMap<TargetPath, String>,
    /// What waits for the pace of a service.
    pub deferred: BTreeMap<ServiceName, Deferral>,
    /// Targets of the scope that could be looked at.
    pub sound: BTreeSet<TargetPath>,
}
