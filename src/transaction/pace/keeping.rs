//! Keeping the pace: what a plan leaves out for the time being, and when it is planned again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::Now;
use crate::ledger::Change;
use crate::protocol::Identity;
use crate::settings::{ServiceName, TargetPath};
use crate::transaction::action::{Action, Outcome};
use crate::transaction::candidates::Candidate;
use crate::transaction::machine::Machine;
use crate::transaction::phase::Draft;
use crate::transaction::planning::Planner;
use crate::transaction::{Plan, Scope};

use super::{Deferral, Host, Pacing, Turn};

/// What a round of a plan leaves out, each with the reason.
#[derive(Debug, Default)]
pub(in crate::transaction) struct Left {
    pub profiles: BTreeMap<Identity, String>,
    /// Targets that change although no profile does: their template is another.
    pub targets: BTreeMap<TargetPath, String>,
}

impl Left {
    pub fn is_nothing(&self) -> bool {
        self.profiles.is_empty() && self.targets.is_empty()
    }
}

/// Changes of one service, as far as they can wait.
struct Waiting {
    came: Timestamp,
    profiles: BTreeSet<Identity>,
    targets: BTreeSet<TargetPath>,
}

impl Planner<'_> {
    /// What of this plan has to wait, noted in the plan. Nothing waits that is made or put back, that was begun, that an
    /// operator wants now, and no first version of a profile.
    pub(in crate::transaction) fn paced(
        &self,
        candidates: &BTreeMap<Identity, Candidate>,
        plan: &mut Plan,
    ) -> Left {
        let (Pacing::Kept(host) | Pacing::Told(host)) = self.pacing else {
            return Left::default();
        };
        let mut left = Left::default();
        for (name, waiting) in self.could_wait(candidates, plan) {
            let Some(service) = self.component.services.get(&name) else {
                continue;
            };
            let since = self.state.waits.get(&name).copied();
            let turn = Turn {
                service,
                notified: self.state.notified.get(&name).copied(),
                since: since.unwrap_or(self.now),
                came: waiting.came,
            };
            let (until, key) = turn.comes(host, self.now);
            if until <= self.now {
                continue;
            }
            let reason = Deferral::words(&name, until, key);
            // The longest wait is the one that is shown.
            for identity in &waiting.profiles {
                let shown = left.profiles.entry(identity.clone()).or_default();
                *shown = reason.clone().max(std::mem::take(shown));
            }
            for path in &waiting.targets {
                if self
                    .new_feeders(std::iter::once(path), candidates)
                    .is_empty()
                {
                    let shown = left.targets.entry(path.clone()).or_default();
                    *shown = reason.clone().max(std::mem::take(shown));
                }
            }
            let deferral = plan.deferred.entry(name).or_insert(Deferral {
                until,
                reason,
                profiles: BTreeSet::new(),
                targets: BTreeSet::new(),
            });
            deferral.until = deferral.until.max(until);
            deferral.profiles.extend(waiting.profiles);
            deferral.targets.extend(waiting.targets);
        }
        match self.pacing {
            Pacing::Kept(_) => left,
            Pacing::Told(_) | Pacing::Ignored => Left::default(),
        }
    }

    /// Per service with a pace the changes that it would be notified of and that can wait.
    fn could_wait(
        &self,
        candidates: &BTreeMap<Identity, Candidate>,
        plan: &Plan,
    ) -> BTreeMap<ServiceName, Waiting> {
        let mut waiting: BTreeMap<ServiceName, Waiting> = BTreeMap::new();
        for change in &plan.changes {
            let path = &change.target;
            let known = self.state.installed.get(path);
            let newer = known.is_some_and(|known| known.digest != change.digest);
            let Some(target) = self.component.targets.get(path) else {
                continue;
            };
            if !newer || change.absent || self.forced.contains_key(path) {
                continue;
            }
            let fresh = self.new_feeders(std::iter::once(path), candidates);
            let at_once = |one: &Identity| self.urgent.contains(one) || self.pins.contains_key(one);
            let can_wait = |one: &Identity| !at_once(one) && self.state.accepted.contains_key(one);
            let profiles: BTreeSet<Identity> =
                fresh.iter().filter(|one| can_wait(one)).cloned().collect();
            let wanted = match fresh.is_empty() {
                true => self.component.feeders(path).iter().any(at_once),
                false => profiles.is_empty(),
            };
            if wanted {
                continue;
            }
            let came = profiles.iter().filter_map(|one| candidates.get(one));
            let came = came.map(|candidate| candidate.version.since).max();
            let drifted = plan.drifted.contains_key(path);
            for name in &target.notify {
                let Some(service) = self.component.services.get(name) else {
                    continue;
                };
                let row = self.state.acknowledged.get(name);
                let told = row.and_then(|row| row.get(path)).copied().flatten();
                if service.pace.is_none() || !change.concerns(service, target, told, drifted) {
                    continue;
                }
                let one = waiting.entry(name.clone()).or_insert(Waiting {
                    came: Timestamp::MIN,
                    profiles: BTreeSet::new(),
                    targets: BTreeSet::new(),
                });
                one.came = one.came.max(came.unwrap_or(Timestamp::MIN));
                one.profiles.extend(profiles.iter().cloned());
                one.targets.insert(path.clone());
            }
        }
        waiting
    }
}

/// What waits for the pace of services.
#[derive(Debug, Default)]
pub(in crate::transaction) struct Deferred {
    services: BTreeMap<ServiceName, Deferral>,
    /// Steady time of the first turn.
    due: Option<Duration>,
}

impl Deferred {
    pub fn due(&self) -> Option<Duration> {
        self.due
    }

    fn scope(&self) -> Scope {
        let mut scope = Scope::nothing();
        for deferral in self.services.values() {
            scope.add(Scope::Some {
                profiles: deferral.profiles.clone(),
                targets: deferral.targets.clone(),
            });
        }
        scope
    }
}

impl Machine {
    /// What waits is planned again when its turn has come, by either clock.
    pub(in crate::transaction) fn end_waits(&mut self, now: Now) {
        let mut waits = self.deferred.services.values();
        let due = self.deferred.due.is_some_and(|due| due <= now.steady);
        if due || waits.any(|deferral| deferral.until <= now.wall) {
            self.deferred.due = None;
            self.mark(self.deferred.scope());
        }
    }

    /// With anything that is planned comes what waits, so that one plan tells all that does.
    pub(in crate::transaction) fn with_waits(&self, draft: &Draft, scope: Scope) -> Scope {
        let mut scope = scope;
        if draft.is_ordinary() {
            scope.add(self.deferred.scope());
        }
        scope
    }

    /// Remembers what a plan has left out, and since when in the ledger.
    pub(in crate::transaction) fn defer(&mut self, draft: &mut Draft, now: Now) -> Vec<Action> {
        if !draft.is_ordinary() {
            return Vec::new();
        }
        let found = draft.plan.deferred.clone();
        let first = found.values().map(|deferral| deferral.until).min();
        let due = first.map(|until| {
            let wait = Duration::try_from(until.duration_since(now.wall));
            now.steady.saturating_add(wait.unwrap_or_default())
        });
        let mut said = Vec::new();
        for (name, deferral) in &found {
            let known = self.deferred.services.get(name);
            if known.is_none_or(|known| known.reason != deferral.reason) {
                said.push(Action::Say(Outcome::Deferred {
                    service: name.clone(),
                    deferral: deferral.clone(),
                }));
            }
            let row = self.state.waits.get(name);
            if row.is_none_or(|since| *since > now.wall) {
                draft.recorded.push(Change::Waits {
                    service: name.clone(),
                    since: Some(now.wall),
                });
            }
        }
        let over = self.state.waits.keys();
        for name in over.filter(|name| !found.contains_key(*name)) {
            draft.recorded.push(Change::Waits {
                service: name.clone(),
                since: None,
            });
        }
        self.deferred = Deferred {
            services: found,
            due,
        };
        said
    }
}

impl Host {
    /// As systemd knows this host, else as the network does.
    pub fn of(machine_id: Option<&str>, name: &str) -> Host {
        let id = machine_id.map(str::trim);
        let id = id.filter(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        Host::new(id.unwrap_or(name))
    }
}
