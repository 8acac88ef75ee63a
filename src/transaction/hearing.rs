//! Of what services want to hear: parts of their targets, and the daemon's start.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::{Change, Installed, Intent};
use crate::protocol::{Digest, Identity};
use crate::settings::{OnStart, Service, ServiceName, Target, TargetPath};

use super::action::Action;
use super::candidates::Candidate;
use super::machine::Machine;
use super::phase::{Draft, Phase};
use super::planning::Planner;

impl Planner<'_> {
    /// Per service that depends on parts of this target their digest.
    pub(super) fn parts(
        &self,
        target: &Target,
        bytes: &[u8],
        candidates: &BTreeMap<Identity, Candidate>,
    ) -> BTreeMap<ServiceName, Digest> {
        let mut parts = BTreeMap::new();
        for name in &target.notify {
            let Some(service) = self.component.services.get(name) else {
                continue;
            };
            let conditions = &service.conditions;
            if let Some(when) = conditions.when_changed.as_ref()
                && conditions.concern(target)
            {
                let inputs = self.inputs(target, candidates);
                let digest = self.content.parts(target, bytes, &inputs, when);
                parts.insert(name.clone(), digest);
            }
        }
        parts
    }
}

impl Machine {
    /// A change of this target may be one for this service.
    pub(super) fn concerns(&self, service: &Service, path: &TargetPath) -> bool {
        // Asked of every target again and again; nearly no service has a condition.
        service.conditions.when_changed.is_none()
            || self
                .component
                .targets
                .get(path)
                .is_none_or(|target| service.conditions.concern(target))
    }

    /// The services that are told of a transaction; the others only check it, since what they depend on has not changed.
    pub(super) fn told_of(
        &self,
        draft: &Draft,
        services: &BTreeSet<ServiceName>,
    ) -> BTreeSet<ServiceName> {
        let owed = |name: &ServiceName| {
            let old = draft.resumes.as_ref();
            let old = old.and_then(|intent: &Intent| intent.services.get(name));
            old.is_some_and(|service| !service.spared)
        };
        let hears = |name: &ServiceName| {
            let Some(service) = self.component.services.get(name) else {
                return false;
            };
            let rows = self.state.acknowledged.get(name);
            let mut changes = draft.plan.changes.iter();
            changes.any(|change| {
                let path = &change.target;
                let told = rows.and_then(|rows| rows.get(path)).copied().flatten();
                let drifted = draft.plan.drifted.contains_key(path);
                let target = self.component.targets.get(path);
                target.is_some_and(|target| {
                    target.notify.contains(name) && change.concerns(service, target, told, drifted)
                })
            })
        };
        let told = services.iter().filter(|name| owed(name) || hears(name));
        told.cloned().collect()
    }

    /// A row with the same bytes and other parts: who knew of the file still does.
    pub(super) fn known_still(&self, path: &TargetPath, row: &Installed) -> Vec<Change> {
        let Some(before) = self.state.installed.get(path) else {
            return Vec::new();
        };
        if before.digest != row.digest || before.parts == row.parts {
            return Vec::new();
        }
        let knew = |(service, rows): (&ServiceName, &BTreeMap<TargetPath, Option<Digest>>)| {
            let told = rows.get(path).copied().flatten();
            (told == Some(before.known_to(service))).then(|| Change::Acknowledged {
                service: service.clone(),
                target: path.clone(),
                digest: Some(row.known_to(service)),
            })
        };
        self.state.acknowledged.iter().filter_map(knew).collect()
    }

    /// The daemon has started: services that want to hear of every start are told once, though they know of everything.
    pub fn started(&mut self) {
        let services = self.component.services.values();
        let always = services.filter(|one| one.conditions.on_start == OnStart::Always);
        self.greeted = always.map(|service| service.name.clone()).collect();
    }

    /// Makes a start an obligation like any other: from then on it is on disk.
    pub(super) fn greet(&mut self) -> Option<Vec<Action>> {
        let mut changes = Vec::new();
        for name in &self.greeted {
            let rows = self.state.acknowledged.get(name).into_iter().flatten();
            let service = self.component.services.get(name);
            let known = rows.filter(|(path, told)| {
                told.is_some()
                    && self.state.installed.contains_key(*path)
                    && service.is_none_or(|service| self.concerns(service, path))
            });
            changes.extend(known.map(|(path, _)| Change::Acknowledged {
                service: name.clone(),
                target: path.clone(),
                digest: None,
            }));
            changes.extend(self.greet_watches(name));
            if self.state.retries.contains_key(name) {
                changes.push(Change::Retried {
                    service: name.clone(),
                    retry: None,
                });
            }
        }
        if changes.is_empty() {
            self.greeted.clear();
            return None;
        }
        self.phase = Phase::Recording(Draft::default(), changes.clone());
        Some(vec![Action::Commit(changes)])
    }
}
