//! What a plan does with a target that is no longer what was installed, and what is said of it.

use std::collections::BTreeSet;

use crate::clock::Now;
use crate::install::{Found, InstallError, Metadata, Wanted};
use crate::ledger::Installed;
use crate::protocol::Digest;
use crate::settings::{OnDrift, Principal, Target, TargetPath};

use super::action::{Action, Outcome};
use super::machine::Machine;
use super::phase::Open;
use super::{Plan, Scope};

/// A target that is no longer what was installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    pub found: Found,
    /// The settings say that it is left as it is until the next version.
    pub left: bool,
}

impl Drift {
    /// Of the file that was found.
    pub(super) fn metadata(&self) -> Option<Metadata> {
        match &self.found {
            Found::Absent => None,
            Found::File { metadata, .. } | Found::Directory { metadata, .. } => {
                Some(metadata.clone())
            }
        }
    }
}

/// One target's rule, over what the ledger says is installed there.
pub(super) struct Rule<'a> {
    on_drift: OnDrift,
    known: Option<&'a Installed>,
    /// Everything is planned: what is missing under `ignore` is put back then, or a tmpfs would stay empty after a reboot.
    all: bool,
}

impl<'a> Rule<'a> {
    /// `known`: `None` also for a target that a transaction which is taken up again has changed.
    pub(super) fn new(target: &Target, known: Option<&'a Installed>, scope: &Scope) -> Rule<'a> {
        Rule {
            on_drift: target.on_drift,
            known,
            all: *scope == Scope::All,
        }
    }

    /// Where nobody has said whose the file should be, the file that is there says it. But what somebody else has put there,
    /// or removed, is put back as it was installed.
    pub(super) fn wanted(&self, wanted: Wanted, found: &Found, digest: Digest) -> Wanted {
        let is_gone = |row: &&Installed| match found {
            Found::Absent | Found::Directory { .. } => true,
            Found::File { digest: lies, .. } => *lies != row.digest && row.digest == digest,
        };
        let Some(row) = self.known.filter(is_gone) else {
            return wanted;
        };
        let Metadata {
            uid,
            gid,
            mode,
            attributes,
        } = row.metadata.clone();
        Wanted {
            owner: wanted.owner.or(Some(Principal::Id(uid))),
            group: wanted.group.or(Some(Principal::Id(gid))),
            mode: wanted.mode.or(Some(mode)),
            attributes: Some(attributes),
            ..wanted
        }
    }

    /// What is found has drifted from what was installed. `digest` and `metadata` are what belongs there now, `as_installed` is
    /// the metadata that would if nobody else had changed any: a new version, or new settings, are installed in any case.
    pub(super) fn judge(
        &self,
        found: &Found,
        digest: Digest,
        metadata: &Metadata,
        as_installed: &Metadata,
    ) -> Option<Drift> {
        let row = self.known?;
        let same_bytes = match found {
            Found::Absent | Found::Directory { .. } => false,
            Found::File {
                digest: lies,
                metadata: has,
            } => {
                let same_bytes = *lies == row.digest;
                if same_bytes && (*has == row.metadata || has == metadata) {
                    return None;
                }
                same_bytes
            }
        };
        let current = row.digest == digest && (!same_bytes || row.metadata == *as_installed);
        let left = match (self.on_drift, found) {
            (OnDrift::Restore, _) | (OnDrift::Report, Found::Absent) => false,
            (OnDrift::Report, Found::File { .. } | Found::Directory { .. }) => current,
            (OnDrift::Ignore, Found::Absent) => current && !self.all,
            (OnDrift::Ignore, Found::File { .. } | Found::Directory { .. }) => current,
        };
        Some(Drift {
            found: found.clone(),
            left,
        })
    }

    /// What cannot be looked at is no trouble where drift is nobody's business.
    pub(super) fn ignores(&self, error: &InstallError, digest: Digest) -> bool {
        let current = self.known.is_some_and(|row| row.digest == digest);
        self.on_drift == OnDrift::Ignore
            && current
            && match error {
                InstallError::NotAFile { .. }
                | InstallError::NotADirectory { .. }
                | InstallError::RealDirectory { .. } => true,
                InstallError::NoDirectory { .. } => !self.all,
                _ => false,
            }
    }
}

impl Machine {
    /// These targets have changed since they were last looked at: one that could not be written is tried at once.
    pub fn try_again(&mut self, targets: &BTreeSet<TargetPath>, now: Now) {
        for path in targets {
            if let Some(retry) = self.barred.get_mut(path) {
                retry.due = retry.due.min(now.steady);
            }
        }
    }

    /// Drift that is left alone is said once, and again when something else is found.
    pub(super) fn report_drift(&mut self, plan: &Plan) -> Vec<Action> {
        let left = |path: &TargetPath| plan.drifted.get(path).is_some_and(|drift| drift.left);
        self.reported
            .retain(|path, _| left(path) || !plan.sound.contains(path));
        let mut said = Vec::new();
        for (path, drift) in &plan.drifted {
            let target = self.component.targets.get(path);
            let reports = target.is_some_and(|target| target.on_drift == OnDrift::Report);
            if !drift.left || !reports || self.reported.get(path) == Some(&drift.found) {
                continue;
            }
            self.reported.insert(path.clone(), drift.found.clone());
            said.push(Action::Say(Outcome::Drifted {
                target: path.clone(),
                drift: drift.clone(),
                kept: false,
            }));
        }
        said
    }
}

/// What a transaction that has just been committed puts back.
pub(super) fn put_back(open: &Open) -> Vec<Action> {
    let changes = open.plan.changes.iter();
    let drifted = changes.filter_map(|change| {
        let drift = open.plan.drifted.get(&change.target)?;
        Some(Action::Say(Outcome::Drifted {
            target: change.target.clone(),
            drift: drift.clone(),
            kept: change.foreign.is_some(),
        }))
    });
    drifted.collect()
}
