//! The way back: turn, put back, tell again, probe again, close.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Now;
use crate::install::{Placement, WentBack};
use crate::ledger::{Change, Direction, Intent, Quarantine, ServiceCondition, ServiceRecord};
use crate::protocol::{Digest, Identity};
use crate::service::Verdict;
use crate::settings::{ServiceName, TargetPath};

use super::Scope;
use super::action::{Action, Answers, Outcome, Step};
use super::closing::record_of;
use super::forward::weigh;
use super::machine::Machine;
use super::phase::{Back, Open, Phase};

impl Machine {
    /// Every file of the transaction goes back. `condemn`: somebody said no, so the outcome is quarantined.
    pub(super) fn turn_back(
        &mut self,
        open: Open,
        reason: String,
        condemn: bool,
        now: Now,
    ) -> Vec<Action> {
        let quarantine = condemn.then(|| self.quarantine(&open.intent, &open.undo, &reason, now));
        let quarantine = quarantine.filter(|quarantine| !quarantine.outcome.is_empty());
        self.turn(open.intent, reason, quarantine)
    }

    /// The outcome of an intent, to be kept away from here. What it has undone is no part of the outcome.
    pub(super) fn quarantine(
        &self,
        intent: &Intent,
        undone: &[Placement],
        reason: &str,
        now: Now,
    ) -> Quarantine {
        let outcome: BTreeMap<TargetPath, Digest> = intent
            .placements
            .iter()
            .filter(|placement| !undone.contains(placement))
            .map(|placement| (placement.target.clone(), placement.digest))
            .collect();
        let services = self.component.dependents(outcome.keys());
        // Also profiles whose version did not change: the template may have. `retry` names any of them.
        let feeders = outcome.keys().flat_map(|path| self.component.feeders(path));
        let digest = |identity: Identity| {
            let version = intent
                .profiles
                .get(&identity)
                .or(self.state.accepted.get(&identity))?;
            Some((identity, version.digest))
        };
        Quarantine {
            profiles: feeders.filter_map(digest).collect(),
            services: self.component.definition(&services),
            outcome,
            reason: reason.to_owned(),
            since: now.wall,
        }
    }

    pub(super) fn turn(
        &mut self,
        mut intent: Intent,
        reason: String,
        quarantine: Option<Quarantine>,
    ) -> Vec<Action> {
        intent.direction = Direction::Back {
            reason: reason.clone(),
        };
        let targets = intent
            .placements
            .iter()
            .map(|placement| placement.target.clone())
            .collect();
        let mut changes = vec![Change::Intent(intent.clone())];
        changes.extend(quarantine.clone().map(Change::Quarantined));
        // Of one that stood, and goes back after all.
        changes.extend(self.unheld(&intent));
        let quarantined = quarantine.is_some();
        let reason_of_order = reason.clone();
        let said = Outcome::GoingBack {
            targets,
            reason: reason.clone(),
        };
        let verdicts = BTreeMap::new();
        let back = Back {
            intent,
            reason,
            quarantine,
            quarantined,
            verdicts,
            gone: BTreeSet::new(),
            failures: 0,
        };
        self.phase = Phase::Turning(back, changes.clone());
        if let Some(given) = &mut self.rolling {
            given.failed = Some(format!("it went back: {reason_of_order}"));
        }
        vec![Action::Say(said), Action::Commit(changes)]
    }

    pub(super) fn turned(
        &mut self,
        mut back: Back,
        changes: Vec<Change>,
        result: Result<(), String>,
    ) -> Vec<Action> {
        // A turn that cannot be recorded is made all the same: after a crash the transaction is carried out again and
        // refused again, while a file that is bad now must not wait for the ledger.
        if result.is_ok() {
            self.take_in(&changes);
            back.quarantine = None;
        }
        let placements = back.intent.placements.clone();
        self.phase = Phase::PuttingBack(back);
        vec![Action::PutBack(placements)]
    }

    pub(super) fn went_back(
        &mut self,
        results: Vec<Result<WentBack, String>>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let mut back = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::PuttingBack(back) => back,
            other => return self.unexpected(other, "files went back"),
        };
        if let Some(reason) = results
            .iter()
            .find_map(|result| result.as_ref().err())
            .cloned()
        {
            back.failures = back.failures.saturating_add(1);
            let failures = back.failures;
            return self.block(Phase::PuttingBack(back), failures, reason, now, random);
        }
        let went = back.intent.placements.iter().zip(&results);
        let gone = went.filter(|(_, result)| matches!(result, Ok(WentBack::Gone)));
        back.gone = gone
            .map(|(placement, _)| placement.target.clone())
            .collect();
        // The files were put back just now: a process that started earlier may have read the ones that were refused.
        back.intent.opened_at = now.wall;
        // Who depends on a file that has to be made anew is told when it is there.
        let later = self.component.dependents(&back.gone);
        let told = back
            .intent
            .services
            .iter()
            .filter(|(_, service)| service.notified);
        let services: BTreeSet<ServiceName> = told
            .map(|(name, _)| name.clone())
            .filter(|name| self.component.services.contains_key(name) && !later.contains(name))
            .collect();
        if services.is_empty() {
            return self.close_back(back, now);
        }
        let about = self.about(&back.intent);
        self.asks(&services, now);
        self.phase = Phase::TellingBack(back);
        vec![Action::Ask {
            step: Step::NotifyBack,
            services,
            about,
        }]
    }

    pub(super) fn told_back(&mut self, mut back: Back, answers: Answers, now: Now) -> Vec<Action> {
        for (name, answer) in answers {
            back.verdicts
                .insert(name, (Step::NotifyBack, weigh(answer)));
        }
        let accepted = back
            .verdicts
            .iter()
            .filter(|(_, (_, verdict))| *verdict == Verdict::Accepted);
        let services: BTreeSet<ServiceName> = accepted.map(|(name, _)| name.clone()).collect();
        if services.is_empty() {
            return self.close_back(back, now);
        }
        let about = self.about(&back.intent);
        self.phase = Phase::ProbingBack(back);
        vec![Action::Ask {
            step: Step::ProbeBack,
            services,
            about,
        }]
    }

    pub(super) fn probed_back(
        &mut self,
        mut back: Back,
        answers: Answers,
        now: Now,
    ) -> Vec<Action> {
        for (name, answer) in answers {
            let verdict = weigh(answer);
            if verdict != Verdict::Accepted {
                back.verdicts.insert(name, (Step::ProbeBack, verdict));
            }
        }
        self.close_back(back, now)
    }

    /// The last commit of a way back: what was told has the digests now installed, what was not told gets back what it had.
    fn close_back(&mut self, back: Back, now: Now) -> Vec<Action> {
        let mut changes = self.restore_rows(&back.intent);
        changes.extend(back.gone.iter().map(|target| Change::Installed {
            target: target.clone(),
            installed: None,
        }));
        changes.extend(back.quarantine.clone().map(Change::Quarantined));
        let mut made = back.intent.before.installed.clone();
        made.extend(back.gone.iter().map(|path| (path.clone(), None)));
        for (name, service) in &back.intent.services {
            if !self.component.services.contains_key(name) {
                continue;
            }
            let Some((step, verdict)) = back.verdicts.get(name) else {
                if service.notified {
                    let last_result = format!("went back ({}); not told of it yet", back.reason);
                    let condition = ServiceCondition::Pending;
                    let record = ServiceRecord {
                        condition,
                        since: now.wall,
                        last_result,
                    };
                    changes.extend(self.unsettle_pairs(name, &back.intent.placements));
                    changes.extend(self.told_rows(name, &record, true, now));
                    changes.push(Change::Service {
                        service: name.clone(),
                        record: Some(record),
                    });
                } else {
                    changes.extend(back.intent.placements.iter().filter_map(|placement| {
                        self.give_back(name, &placement.target, &service.acknowledged)
                    }));
                }
                continue;
            };
            let mut record = record_of(*step, verdict, now);
            if matches!(
                record.condition,
                ServiceCondition::Acknowledged | ServiceCondition::NotRunning
            ) {
                changes.extend(self.settle_pairs(name, &made));
            } else {
                changes.extend(self.unsettle_pairs(name, &back.intent.placements));
            }
            changes.extend(self.told_rows(name, &record, true, now));
            record.last_result = format!("went back ({}); {}", back.reason, record.last_result);
            changes.push(Change::Service {
                service: name.clone(),
                record: Some(record),
            });
        }
        changes.push(Change::IntentClosed { id: back.intent.id });
        self.phase = Phase::ClosingBack(back, changes.clone());
        vec![Action::Commit(changes)]
    }

    /// A service that knew of files that went back, and may not know that they did, is still to be told: it had
    /// acknowledged them where its transaction stood for another service.
    fn unsettle_pairs(&self, service: &ServiceName, placements: &[Placement]) -> Vec<Change> {
        let Some(rows) = self.state.acknowledged.get(service) else {
            return Vec::new();
        };
        let targets = placements.iter().map(|placement| &placement.target);
        let known = targets.filter(|target| matches!(rows.get(*target), Some(Some(_))));
        let unknown = known.map(|target| Change::Acknowledged {
            service: service.clone(),
            target: target.clone(),
            digest: None,
        });
        unknown.collect()
    }

    /// What was accepted and installed when the transaction began, where the ledger says otherwise by now.
    fn restore_rows(&self, intent: &Intent) -> Vec<Change> {
        let before = &intent.before;
        let accepted = before.accepted.iter();
        let accepted = accepted.filter(|(id, row)| self.state.accepted.get(*id) != row.as_ref());
        let accepted = accepted.map(|(identity, version)| Change::Accepted {
            identity: identity.clone(),
            version: version.clone(),
        });
        let installed = before.installed.iter();
        let installed =
            installed.filter(|(path, row)| self.state.installed.get(*path) != row.as_ref());
        let installed = installed.map(|(target, installed)| Change::Installed {
            target: target.clone(),
            installed: installed.clone(),
        });
        accepted.chain(installed).collect()
    }

    /// The row that a pair had when the transaction began.
    fn give_back(
        &self,
        service: &ServiceName,
        target: &TargetPath,
        before: &BTreeMap<TargetPath, Option<Digest>>,
    ) -> Option<Change> {
        let rows = self.state.acknowledged.get(service)?;
        rows.get(target)?;
        let (service, target) = (service.clone(), target.clone());
        Some(match before.get(&target) {
            Some(digest) => Change::Acknowledged {
                service,
                target,
                digest: *digest,
            },
            None => Change::AcknowledgementDropped { service, target },
        })
    }

    pub(super) fn closed_back(
        &mut self,
        back: Back,
        changes: Vec<Change>,
        result: Result<(), String>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        if let Err(reason) = result {
            let reason = format!("cannot record the end of going back: {reason}");
            return self.record_later(Phase::ClosingBack(back, changes), reason, now, random);
        }
        self.take_in(&changes);
        let targets: BTreeSet<TargetPath> = back
            .intent
            .placements
            .iter()
            .map(|placement| placement.target.clone())
            .collect();
        let mut actions = vec![
            Action::Release(back.intent.placements.clone()),
            Action::Say(Outcome::WentBack {
                targets: targets.clone(),
                reason: back.reason.clone(),
                quarantined: back.quarantined,
            }),
        ];
        // Who was never told of the new files has nothing to hear of the way back.
        let told = back
            .intent
            .services
            .iter()
            .filter(|(_, service)| service.notified);
        actions.extend(self.schedule(told.map(|(name, _)| name), now));
        // Other profiles of the transaction may still go on, and a target that was gone is made from what is accepted.
        let profiles: BTreeSet<Identity> = back.intent.profiles.keys().cloned().collect();
        self.mark(Scope::Some { profiles, targets });
        actions.extend(self.done(Some(back.intent.id), now));
        actions
    }
}
