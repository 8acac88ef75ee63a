//! Decides what a transaction would do: validates, renders, compares with what lies on disk. Writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::content::Content;
use crate::install::{Installer, Placement};
use crate::ledger::{Bodies, Quarantine, Refusal, State, Version};
use crate::protocol::{Digest, Identity};
use crate::settings::TargetPath;

use super::candidates::Candidate;
use super::making::Trouble;
use super::{Component, Pacing, Plan, Scope};

/// Versions that staged checks have turned down.
pub type TurnedDown = BTreeMap<(Identity, Digest), Refusal>;

/// What a rollback installs, by profile.
pub type Pins = BTreeMap<Identity, Pin>;

/// A version that an operator has asked for by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    pub version: Version,
    /// Also where today's `validate` turns it down.
    pub force: bool,
}

/// All that a plan is made from.
pub struct Planner<'a> {
    pub component: &'a Component,
    pub state: &'a State,
    pub content: &'a Content,
    pub installer: &'a Installer,
    pub bodies: &'a Bodies,
    pub scope: &'a Scope,
    /// Targets that a transaction which is taken up again has changed already: they are changes even if their bytes are right.
    pub forced: &'a BTreeMap<TargetPath, Placement>,
    /// Targets that could not be written or whose services could not be asked a moment ago, with the reason.
    pub barred: &'a BTreeMap<TargetPath, String>,
    /// What the transaction that is taken up again installs: it counts where the newest version does not.
    pub resumed: &'a BTreeMap<Identity, Version>,
    /// Versions that a staged check has turned down.
    pub turned_down: &'a TurnedDown,
    /// What an operator's rollback installs: these versions and no others.
    pub pins: &'a Pins,
    pub pacing: &'a Pacing,
    /// Profiles that an operator wants now, whatever the pace.
    pub urgent: &'a BTreeSet<Identity>,
    pub now: Timestamp,
}

impl Planner<'_> {
    /// The bodies that a plan of this scope needs.
    pub fn needs<'a>(
        component: &Component,
        state: &State,
        scope: &'a Scope,
        forced: impl IntoIterator<Item = &'a TargetPath>,
        resumed: &BTreeMap<Identity, Version>,
    ) -> BTreeSet<Digest> {
        let targets = reach(component, state, scope, forced);
        let mut profiles: BTreeSet<Identity> = targets
            .iter()
            .flat_map(|target| component.feeders(target))
            .collect();
        profiles.extend(profiles_in(component, scope));
        let versions = profiles
            .iter()
            .flat_map(|id| [newest(state, id), resumed.get(id), state.accepted.get(id)]);
        versions.flatten().map(|version| version.digest).collect()
    }

    /// The plan. Blocking: it reads the targets that are there.
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        let mut targets = reach(self.component, self.state, self.scope, self.forced.keys());
        let mut candidates = self.candidates(&targets, &mut plan);
        // Each round but the last takes a version of at least one profile, or one target, out of the plan.
        let versions: usize = candidates.values().map(|one| 1 + one.then.len()).sum();
        let rounds = versions + targets.len() + 1;
        for _ in 0..rounds {
            match self.round(&targets, &candidates, &mut plan) {
                Round::Whole => {
                    let left = self.paced(&candidates, &mut plan);
                    if left.is_nothing() {
                        break;
                    }
                    for (identity, reason) in left.profiles {
                        let (one, why) = (BTreeSet::from([identity]), Why::Delayed(reason));
                        self.drop_out(&one, &why, &mut candidates, &mut plan);
                    }
                    for (path, reason) in left.targets {
                        targets.remove(&path);
                        plan.waiting.insert(path, reason);
                    }
                }
                Round::DropOut { profiles, why } => {
                    self.drop_out(&profiles, &why, &mut candidates, &mut plan);
                }
                Round::LeaveOut { paths, reason } => {
                    for path in paths {
                        targets.remove(&path);
                        plan.waiting.insert(path, reason.clone());
                    }
                }
            }
        }
        self.accept(&candidates, &mut plan);
        plan
    }

    /// Renders every target once. Stops at the first that cannot go on as it is.
    fn round(
        &self,
        targets: &BTreeSet<TargetPath>,
        candidates: &BTreeMap<Identity, Candidate>,
        plan: &mut Plan,
    ) -> Round {
        plan.changes.clear();
        plan.adopted.clear();
        plan.repairs.clear();
        plan.sound.clear();
        plan.drifted.clear();
        for path in targets {
            let Some(target) = self.component.targets.get(path) else {
                continue;
            };
            // What an interrupted transaction has changed is finished first: the hold came with its end.
            if self.state.held_targets.contains_key(path) && !self.forced.contains_key(path) {
                continue;
            }
            let missing = target.from.iter().find(|name| {
                let profile = self.component.profiles.get(*name);
                profile.is_none_or(|(profile, identity)| {
                    profile.required && !candidates.contains_key(identity)
                })
            });
            if let Some(name) = missing {
                let identity = self.component.identity(name);
                let received = identity.is_some_and(|id| self.state.received.contains_key(id));
                let reason = match received {
                    true => format!("no version of profile `{name}` can be installed yet"),
                    false => format!("profile `{name}` has no configuration yet"),
                };
                return Round::LeaveOut {
                    paths: BTreeSet::from([path.clone()]),
                    reason,
                };
            }
            let trouble = match self.barred.get(path) {
                Some(reason) => Trouble::Delayed(reason.clone()),
                None => match self.target(target, candidates, plan) {
                    Ok(()) => continue,
                    Err(trouble) => trouble,
                },
            };
            if let Trouble::Hindered(reason) = &trouble {
                plan.hindered.insert(path.clone(), reason.clone());
            }
            let fresh = self.new_feeders(std::iter::once(path), candidates);
            if fresh.is_empty() {
                let (Trouble::Refused(reason)
                | Trouble::Hindered(reason)
                | Trouble::Delayed(reason)) = trouble;
                return Round::LeaveOut {
                    paths: BTreeSet::from([path.clone()]),
                    reason,
                };
            }
            let why = match trouble {
                Trouble::Refused(reason) => Why::Refused(format!("target `{path}`: {reason}")),
                Trouble::Hindered(reason) | Trouble::Delayed(reason) => {
                    Why::Delayed(format!("target `{path}`: {reason}"))
                }
            };
            return Round::DropOut {
                profiles: fresh,
                why,
            };
        }
        self.condemned(candidates, plan)
    }

    /// A plan that contains an outcome which failed here before leaves that outcome's profiles out.
    fn condemned(&self, candidates: &BTreeMap<Identity, Candidate>, plan: &Plan) -> Round {
        let changed: BTreeMap<&TargetPath, Digest> = plan
            .changes
            .iter()
            .map(|change| (&change.target, change.digest))
            .chain(plan.adopted.iter().map(|(path, row)| (path, row.digest)))
            .collect();
        // What would stand in the end counts, also where it stands already.
        let stands = |path: &TargetPath| {
            let row = self.state.installed.get(path).map(|row| row.digest);
            changed.get(path).copied().or(row)
        };
        for entry in &self.state.quarantine {
            let contained = entry.outcome.keys().any(|path| changed.contains_key(path))
                && entry
                    .outcome
                    .iter()
                    .all(|(path, digest)| stands(path) == Some(*digest));
            let services = self.component.dependents(entry.outcome.keys());
            if !contained || self.component.definition(&services) != entry.services {
                continue;
            }
            let reason = quarantine_reason(entry);
            let fresh = self.new_feeders(entry.outcome.keys(), candidates);
            return match fresh.is_empty() {
                true => Round::LeaveOut {
                    paths: entry.outcome.keys().cloned().collect(),
                    reason,
                },
                false => Round::DropOut {
                    profiles: fresh,
                    why: Why::Quarantined(reason),
                },
            };
        }
        Round::Whole
    }
}

/// How one round of rendering ended.
enum Round {
    Whole,
    /// These profiles count with what is accepted; the rest is planned anew.
    DropOut {
        profiles: BTreeSet<Identity>,
        why: Why,
    },
    /// These targets stay as they are.
    LeaveOut {
        paths: BTreeSet<TargetPath>,
        reason: String,
    },
}

pub(super) enum Why {
    Refused(String),
    Delayed(String),
    Quarantined(String),
}

/// The targets that a plan of this scope makes: with a profile whose newest version is not accepted yet come all of its
/// targets, or that version would be accepted while some of them still show the old one.
fn reach<'a>(
    component: &Component,
    state: &State,
    scope: &'a Scope,
    forced: impl IntoIterator<Item = &'a TargetPath>,
) -> BTreeSet<TargetPath> {
    let Scope::Some { profiles, targets } = scope else {
        return component.targets.keys().cloned().collect();
    };
    let declared = |path: &&TargetPath| component.targets.contains_key(*path);
    let mut reached: BTreeSet<TargetPath> = targets
        .iter()
        .chain(forced)
        .filter(declared)
        .cloned()
        .collect();
    let mut seen = BTreeSet::new();
    let mut fresh = profiles.clone();
    loop {
        reached.extend(component.fed_by(&fresh));
        seen.append(&mut fresh);
        let feeders = reached.iter().flat_map(|path| component.feeders(path));
        // What failed together may stand when one of them is another.
        let condemned = state.quarantine.iter();
        let together = condemned.filter(|entry| entry.profiles.keys().any(|id| seen.contains(id)));
        let together = together.flat_map(|entry| entry.profiles.keys().cloned());
        let changed =
            |identity: &Identity| match (newest(state, identity), state.accepted.get(identity)) {
                (Some(received), Some(accepted)) => !same(received, accepted),
                (received, _) => received.is_some(),
            };
        fresh = feeders
            .chain(together)
            .filter(|identity| !seen.contains(identity) && changed(identity))
            .collect();
        if fresh.is_empty() {
            return reached;
        }
    }
}

/// The version that a profile is to have: the one that it is held at, else what was received last.
fn newest<'a>(state: &'a State, identity: &Identity) -> Option<&'a Version> {
    let held = state.held_profiles.get(identity);
    held.map(|held| &held.version)
        .or(state.received.get(identity))
}

/// Label and content type count too: a deployment may change nothing else.
pub(super) fn same(one: &Version, other: &Version) -> bool {
    one.digest == other.digest && one.label == other.label && one.content_type == other.content_type
}

pub(super) fn profiles_in(component: &Component, scope: &Scope) -> BTreeSet<Identity> {
    let all = component.profiles.values().map(|(_, identity)| identity);
    match scope {
        Scope::All => all.cloned().collect(),
        Scope::Some { profiles, .. } => all.filter(|id| profiles.contains(*id)).cloned().collect(),
    }
}

fn quarantine_reason(entry: &Quarantine) -> String {
    format!("failed here before ({}): {}", entry.since, entry.reason)
}
