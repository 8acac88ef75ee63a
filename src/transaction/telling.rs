//! Telling services that still have to be told, outside a transaction.
//!
//! A pair (service, target) is pending when it has no row, or its row differs from what the ledger says is installed.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Now;
use crate::ledger::{Change, Direction, Intent, ServiceCondition};
use crate::service::Verdict;
use crate::settings::{Service, ServiceName, TargetPath};

use super::action::{About, Action, Answers, Event, Step};
use super::closing::record_of;
use super::forward::weigh;
use super::machine::Machine;
use super::phase::Phase;

/// One round of telling.
#[derive(Debug)]
pub struct Telling {
    step: Step,
    services: BTreeSet<ServiceName>,
    verdicts: BTreeMap<ServiceName, (Step, Verdict)>,
    /// While services are asked: closed transactions whose files can still go back. At the commit: those that it lets go.
    standing: Vec<Intent>,
    about: About,
    /// What the commit under way holds.
    changes: Vec<Change>,
}

impl Telling {
    /// Nobody is asked, this is recorded.
    pub(super) fn of_nobody(changes: Vec<Change>) -> Telling {
        Telling {
            step: Step::Probe,
            services: BTreeSet::new(),
            verdicts: BTreeMap::new(),
            standing: Vec::new(),
            about: About::default(),
            changes,
        }
    }
}

impl Machine {
    /// The services that do not know of what is installed.
    pub fn pending(&self) -> BTreeSet<ServiceName> {
        let pending = |name: &&ServiceName| self.is_behind(name) || self.is_behind_watches(name);
        self.component
            .services
            .keys()
            .filter(pending)
            .cloned()
            .collect()
    }

    /// It does not know of what is installed.
    pub(super) fn is_behind(&self, name: &ServiceName) -> bool {
        let behind = self.behind.get_or_init(|| {
            let services = self.component.services.values();
            let behind = services.filter(|service| self.lags(service));
            behind.map(|service| service.name.clone()).collect()
        });
        behind.contains(name)
    }

    fn lags(&self, service: &Service) -> bool {
        let rows = self.state.acknowledged.get(&service.name);
        let depends = self.component.dependencies(&service.name).iter();
        let mut depends = depends.filter(|path| self.concerns(service, path));
        depends.any(|path| {
            let installed = self.state.installed.get(path);
            let installed = installed.map(|row| row.known_to(&service.name));
            match rows.and_then(|rows| rows.get(path)) {
                // A file that has gone again is news as well, until it has been told.
                Some(None) => true,
                Some(told @ Some(_)) => installed.is_some() && installed != *told,
                None => installed.is_some(),
            }
        })
    }

    pub(super) fn tell_pending(&mut self, now: Now) -> Vec<Action> {
        let pending = self.pending();
        self.services.retain(|name, _| pending.contains(name));
        self.resume_pauses(&pending, now);
        self.wait_for_pace(&pending, now);
        let due = |name: &ServiceName| {
            let pausing = self.services.get(name);
            pausing.is_none_or(|pausing| pausing.due.is_some_and(|due| due <= now.steady))
        };
        let turn = |name: &ServiceName| self.may_tell_of_watches(name, now);
        let due = |name: &ServiceName| due(name) && turn(name);
        let services: BTreeSet<ServiceName> = pending.into_iter().filter(due).collect();
        self.hurried();
        if services.is_empty() {
            return Vec::new();
        }
        let touches = |intent: &&Intent| {
            intent.direction == Direction::Standing
                && intent
                    .services
                    .keys()
                    .any(|name| services.contains(name) && self.is_behind(name))
        };
        let intents = self.state.intents.values();
        let mut standing: Vec<Intent> = intents.filter(touches).cloned().collect();
        // The newest first: what it goes back to is what the one before it made.
        standing.sort_by_key(|intent| std::cmp::Reverse(intent.opened_at));
        let mut about = standing
            .first()
            .map(|intent| self.about(intent))
            .unwrap_or_else(|| self.about_installed(&services, now));
        if let Some(seen) = self.seen_at(&services) {
            about.since = about.since.max(seen);
        }
        let telling = Telling {
            step: Step::Check,
            services: services.clone(),
            verdicts: BTreeMap::new(),
            standing,
            about: about.clone(),
            changes: Vec::new(),
        };
        self.phase = Phase::Telling(telling);
        vec![Action::Ask {
            step: Step::Check,
            services,
            about,
        }]
    }

    /// Closes the transactions that stand for nobody any more: their services know, keep the files, or have left the settings.
    pub(super) fn let_go(&mut self) -> Vec<Action> {
        let pending = self.pending();
        let waits = |name: &ServiceName| {
            let ours = self.component.services.contains_key(name);
            ours && self.is_behind(name) && !self.keeps(name)
        };
        let closed: Vec<Intent> = self
            .state
            .intents
            .values()
            .filter(|intent| intent.direction == Direction::Standing)
            .filter(|intent| !intent.services.keys().any(waits))
            .cloned()
            .collect();
        let ids = closed.iter().map(|intent| intent.id);
        let mut changes: Vec<Change> = ids.map(|id| Change::IntentClosed { id }).collect();
        let known = self.state.retries.keys();
        changes.extend(known.filter(|name| !pending.contains(*name)).map(|name| {
            let service = name.clone();
            Change::Retried {
                service,
                retry: None,
            }
        }));
        if changes.is_empty() {
            return Vec::new();
        }
        self.commit_of_telling(Telling {
            standing: closed,
            ..Telling::of_nobody(changes)
        })
    }

    pub(super) fn commit_of_telling(&mut self, telling: Telling) -> Vec<Action> {
        let changes = telling.changes.clone();
        self.phase = Phase::Telling(telling);
        vec![Action::Commit(changes)]
    }

    fn about_installed(&self, services: &BTreeSet<ServiceName>, now: Now) -> About {
        let targets: BTreeSet<TargetPath> = services
            .iter()
            .flat_map(|name| self.component.dependencies(name).iter().cloned())
            .collect();
        let installed = targets
            .iter()
            .filter_map(|path| self.state.installed.get(path));
        About {
            since: installed.map(|row| row.since).max().unwrap_or(now.wall),
            versions: self.accepted_by(&targets),
            targets,
            ..About::default()
        }
    }

    pub(super) fn telling(
        &mut self,
        mut telling: Telling,
        answers: Answers,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let step = telling.step;
        for (name, answer) in answers {
            let verdict = weigh(answer);
            // A check or probe that says yes leaves the word to the notification.
            if step == Step::Notify || verdict != Verdict::Accepted {
                telling.verdicts.insert(name, (step, verdict));
            }
        }
        let next = match step {
            Step::Check => Step::Notify,
            Step::Notify => Step::Probe,
            Step::Probe | Step::NotifyBack | Step::ProbeBack => return self.tell_end(telling, now),
        };
        let goes_on = |name: &&ServiceName| match telling.verdicts.get(*name) {
            None => next == Step::Notify,
            Some((_, verdict)) => next == Step::Probe && *verdict == Verdict::Accepted,
        };
        let services: BTreeSet<ServiceName> =
            telling.services.iter().filter(goes_on).cloned().collect();
        telling.step = next;
        if next == Step::Notify {
            self.asks(&services, now);
        }
        let about = telling.about.clone();
        self.phase = Phase::Telling(telling);
        if services.is_empty() {
            return self.on(Event::Answered(BTreeMap::new()), now, random);
        }
        vec![Action::Ask {
            step: next,
            services,
            about,
        }]
    }

    fn tell_end(&mut self, mut telling: Telling, now: Now) -> Vec<Action> {
        let rejected = telling.standing.iter().find_map(|intent| {
            // A no about watched files alone turns nothing back.
            let names = intent.services.keys();
            let names = names.filter(|name| !self.keeps(name) && self.is_behind(name));
            let mut verdicts = names.filter_map(|name| Some((name, telling.verdicts.get(name)?)));
            let (name, (_, verdict)) =
                verdicts.find(|(_, (_, verdict))| matches!(verdict, Verdict::Rejected(_)))?;
            match verdict {
                Verdict::Rejected(reason) => {
                    Some((intent.clone(), format!("service `{name}`: {reason}")))
                }
                Verdict::Accepted
                | Verdict::Undecided(_)
                | Verdict::Nobody(_)
                | Verdict::NotRunning(_) => None,
            }
        });
        if let Some((mut intent, reason)) = rejected {
            for name in &telling.services {
                if let Some(service) = intent.services.get_mut(name) {
                    service.notified |= !service.spared;
                }
            }
            return self.turn_standing(intent, reason, now);
        }
        let mut changes = Vec::new();
        for name in &telling.services {
            let Some((step, verdict)) = telling.verdicts.get(name) else {
                continue;
            };
            let mut record = record_of(*step, verdict, now);
            changes.extend(self.told_rows(name, &record, false, now));
            if let Some(reason) = self.gives_up(name, &record, &changes) {
                record.condition = ServiceCondition::Failed;
                record.last_result = reason;
            }
            if matches!(
                record.condition,
                ServiceCondition::Acknowledged | ServiceCondition::NotRunning
            ) {
                changes.extend(self.settle_pairs(name, &BTreeMap::new()));
            }
            changes.push(Change::Service {
                service: name.clone(),
                record: Some(record),
            });
        }
        // Which of them stand no more is seen when these changes are in.
        telling.standing.clear();
        telling.changes = changes.clone();
        self.phase = Phase::Telling(telling);
        vec![Action::Commit(changes)]
    }

    /// A late no: the files of the closed transaction go back after all, and what they were made from is not accepted any more.
    fn turn_standing(&mut self, mut intent: Intent, reason: String, now: Now) -> Vec<Action> {
        // Who was passed over then may have been told by a later transaction.
        for (name, service) in &mut intent.services {
            let rows = self.state.acknowledged.get(name);
            let mut placed = intent.placements.iter();
            let may_know = placed.any(|placement| {
                rows.is_some_and(|rows| matches!(rows.get(&placement.target), Some(Some(_))))
            });
            service.notified |= may_know && !service.spared;
        }
        let quarantine = self.quarantine(&intent, &[], &reason, now);
        self.turn(intent, reason, Some(quarantine))
    }

    pub(super) fn told(
        &mut self,
        telling: Telling,
        result: Result<(), String>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        if let Err(reason) = result {
            return self.rest(reason, Some(super::Scope::nothing()), now, random);
        }
        self.take_in(&telling.changes);
        let kept = telling
            .standing
            .iter()
            .flat_map(|intent| intent.placements.iter().cloned());
        let kept: Vec<_> = kept.collect();
        let mut actions = Vec::new();
        if !kept.is_empty() {
            actions.push(Action::Release(kept));
        }
        actions.extend(self.schedule(telling.services.iter(), now));
        actions.extend(self.done(None, now));
        actions
    }
}
