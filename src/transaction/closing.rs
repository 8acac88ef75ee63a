//! The commit that ends a transaction well.

use std::collections::BTreeMap;

use crate::clock::Now;
use crate::install::{Kept, Placement};
use crate::ledger::{Change, Direction, Installed, Intent, ServiceCondition, ServiceRecord};
use crate::protocol::Identity;
use crate::service::Verdict;
use crate::settings::{ServiceName, TargetPath};

use super::action::{Action, Outcome, Step};
use super::holds::held;
use super::machine::Machine;
use super::phase::{Open, Phase};

impl Machine {
    /// The commit that ends a transaction well.
    pub(super) fn close(&mut self, mut open: Open, now: Now) -> Vec<Action> {
        let mut changes = Vec::new();
        let mut made = BTreeMap::new();
        for change in &open.plan.changes {
            let row = Installed {
                digest: change.digest,
                metadata: change.metadata.clone(),
                since: now.wall,
                parts: change.parts.clone(),
            };
            made.insert(change.target.clone(), Some(row.clone()));
            changes.push(Change::Installed {
                target: change.target.clone(),
                installed: Some(row),
            });
        }
        for placement in &open.undo {
            if placement.kept == Kept::Absent {
                made.insert(placement.target.clone(), None);
                let target = placement.target.clone();
                changes.push(Change::Installed {
                    target,
                    installed: None,
                });
            }
        }
        changes.extend(
            open.plan
                .accepts
                .iter()
                .map(|(identity, version)| Change::Accepted {
                    identity: identity.clone(),
                    version: Some(version.clone()),
                }),
        );
        changes.extend(held(open.intent.holds.clone()));
        let mut standing = false;
        let services = open.intent.services.iter();
        for (name, _) in services.filter(|(_, service)| !service.spared) {
            let (step, verdict) = open
                .verdicts
                .get(name)
                .cloned()
                .unwrap_or((Step::Notify, Verdict::Accepted));
            let record = record_of(step, &verdict, now);
            let told = matches!(
                record.condition,
                ServiceCondition::Acknowledged | ServiceCondition::NotRunning
            );
            if told {
                changes.extend(self.settle_pairs(name, &made));
            }
            let pending = matches!(
                record.condition,
                ServiceCondition::Pending | ServiceCondition::Nobody
            );
            standing |= pending && !self.keeps(name);
            changes.extend(self.told_rows(name, &record, true, now));
            changes.push(Change::Service {
                service: name.clone(),
                record: Some(record),
            });
        }
        // What was undone cannot go back any further.
        let mut intent = open.intent.clone();
        intent.placements.retain(|one| !open.undo.contains(one));
        let undone = open.undo.iter().map(|one| &one.target);
        for target in undone {
            intent.before.installed.remove(target);
        }
        standing &= !intent.placements.is_empty();
        if standing {
            intent.direction = Direction::Standing;
            changes.push(Change::Intent(intent));
        } else {
            changes.push(Change::IntentClosed { id: open.intent.id });
        }
        for (old, rest) in self.superseded(&open) {
            let stays = |one: &Placement| rest.placements.contains(one);
            let gone = old.placements.iter().filter(|one| !stays(one));
            open.superseded.extend(gone.cloned());
            changes.push(match rest.placements.is_empty() {
                true => Change::IntentClosed { id: old.id },
                false => Change::Intent(rest),
            });
        }
        self.phase = Phase::Closing {
            open,
            changes: changes.clone(),
            standing,
        };
        vec![Action::Commit(changes)]
    }

    /// Standing transactions over whose files this one has put others, each with what of it stands on: the files whose
    /// profiles are still as it left them. Not before this one ends well: if it goes back, their files are there again,
    /// and so must be their way back.
    fn superseded(&self, open: &Open) -> Vec<(Intent, Intent)> {
        let intents = self.state.intents.values();
        let standing = intents.filter(|old| old.direction == Direction::Standing);
        let both = standing.map(|old| (old.clone(), self.what_stands(old.clone(), open)));
        both.filter(|(old, rest)| old.placements.len() != rest.placements.len())
            .collect()
    }

    fn what_stands(&self, mut old: Intent, open: &Open) -> Intent {
        let accepts = &open.plan.accepts;
        old.profiles.retain(|identity, version| {
            let newer = accepts.get(identity);
            newer.is_none_or(|newer| newer.digest == version.digest)
        });
        let as_it_was = |identity: &Identity| {
            !accepts.contains_key(identity) || old.profiles.contains_key(identity)
        };
        old.placements.retain(|placement| {
            let mut changes = open.plan.changes.iter();
            // Its own files restored are no newer ones.
            let newer = changes.any(|change| {
                change.target == placement.target && change.digest != placement.digest
            });
            let feeders = self.component.feeders(&placement.target);
            !newer && feeders.iter().all(as_it_was)
        });
        let stands = |path: &TargetPath| old.placements.iter().any(|one| one.target == *path);
        old.before.installed.retain(|path, _| stands(path));
        old.before
            .accepted
            .retain(|one, _| old.profiles.contains_key(one));
        old.holds.retain(|one, _| old.profiles.contains_key(one));
        old.before
            .held
            .retain(|one, _| old.profiles.contains_key(one));
        let depends = |name: &ServiceName| self.component.dependencies(name).iter().any(stands);
        old.services.retain(|name, _| depends(name));
        old
    }

    /// The service knows of all that is installed, and of all that is gone: rows that are others by that. `made` is what
    /// the same commit installs and takes away.
    pub(super) fn settle_pairs(
        &self,
        service: &ServiceName,
        made: &BTreeMap<TargetPath, Option<Installed>>,
    ) -> Vec<Change> {
        let rows = self.state.acknowledged.get(service);
        let pair = |target: &TargetPath| {
            let installed = match made.get(target) {
                Some(row) => row.as_ref(),
                None => self.state.installed.get(target),
            };
            let told = rows.and_then(|rows| rows.get(target));
            match (installed.map(|row| row.known_to(service)), told) {
                (Some(known), Some(Some(told))) if known == *told => None,
                (None, None) => None,
                (Some(known), _) => Some(Change::Acknowledged {
                    service: service.clone(),
                    target: target.clone(),
                    digest: Some(known),
                }),
                (None, Some(_)) => Some(Change::AcknowledgementDropped {
                    service: service.clone(),
                    target: target.clone(),
                }),
            }
        };
        let pairs = self.component.dependencies(service).iter();
        let pairs = pairs.filter_map(pair);
        pairs.chain(self.settle_watches(service)).collect()
    }

    pub(super) fn closed(
        &mut self,
        open: Open,
        changes: Vec<Change>,
        standing: bool,
        result: Result<(), String>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        if let Err(reason) = result {
            let reason = format!("cannot record the end of a transaction: {reason}");
            let phase = Phase::Closing {
                open,
                changes,
                standing,
            };
            return self.record_later(phase, reason, now, random);
        }
        self.take_in(&changes);
        let mut actions = self.rolled_back(Ok(()));
        // A kept name that is still needed goes when the transaction stands no more.
        let mut released = match standing {
            true => open.undo.clone(),
            false => open.intent.placements.clone(),
        };
        released.extend(open.superseded.iter().cloned());
        if !released.is_empty() {
            actions.push(Action::Release(released));
        }
        let made = open.plan.changes.iter();
        for target in made.map(|change| &change.target) {
            self.barred.remove(target);
        }
        let targets = open
            .plan
            .changes
            .iter()
            .map(|change| change.target.clone())
            .collect();
        let services = open.intent.services.keys().cloned().collect();
        let profiles = open.plan.accepts.clone();
        actions.push(Action::Say(Outcome::Installed {
            targets,
            profiles,
            services,
        }));
        actions.extend(self.schedule(open.intent.services.keys(), now));
        actions.extend(self.done(Some(open.intent.id), now));
        actions
    }
}

/// A service's record after a verdict.
pub(super) fn record_of(step: Step, verdict: &Verdict, now: Now) -> ServiceRecord {
    let probe = matches!(step, Step::Probe | Step::ProbeBack);
    let (condition, last_result) = match verdict {
        Verdict::Accepted => (ServiceCondition::Acknowledged, "accepted".to_owned()),
        Verdict::NotRunning(reason) => (ServiceCondition::NotRunning, reason.clone()),
        // Nothing is sent again because of a probe that could not tell.
        Verdict::Undecided(reason) if probe => (
            ServiceCondition::Acknowledged,
            format!("accepted; probe undecided: {reason}"),
        ),
        Verdict::Undecided(reason) => (ServiceCondition::Pending, reason.clone()),
        Verdict::Nobody(reason) => (ServiceCondition::Nobody, reason.clone()),
        Verdict::Rejected(reason) => (ServiceCondition::Failed, reason.clone()),
    };
    ServiceRecord {
        condition,
        since: now.wall,
        last_result,
    }
}
