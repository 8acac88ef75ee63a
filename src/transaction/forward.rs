//! The way forwards: plan, stage, check staged, open, swap, check, notify, probe, close.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::Now;
use crate::install::{Kept, Placement};
use crate::ledger::{
    Before, Change, Direction, FoundFile, Installed, Intent, IntentService, Refusal,
    ServiceCondition, ServiceRecord,
};
use crate::protocol::Digest;
use crate::service::{Running, Verdict};
use crate::settings::{OnFailure, ServiceName, TargetPath};

use super::machine::{
    About, Action, Answer, Answers, Baseline, Draft, LeftOut, Machine, Names, Open, Outcome, Phase,
    Step,
};
use super::{Plan, Scope};

impl Machine {
    pub(super) fn planned(&mut self, plan: Plan, now: Now) -> Vec<Action> {
        let mut draft = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Planning(draft) => draft,
            other => return self.unexpected(other, "a plan came"),
        };
        if self.stopping() {
            return Vec::new();
        }
        self.remember(&plan);
        draft.plan = plan;
        if draft.plan.repairs.is_empty() {
            return self.stage(draft, now);
        }
        let repairs = draft.plan.repairs.clone();
        self.phase = Phase::Repairing(draft);
        vec![Action::Repair(repairs)]
    }

    /// What status shows of targets and profiles that this plan could not serve.
    fn remember(&mut self, plan: &Plan) {
        self.waiting.retain(|path, _| !plan.sound.contains(path));
        self.waiting.extend(plan.waiting.clone());
        for identity in plan.unrefused.iter().chain(plan.refused.keys()) {
            self.left_out.remove(identity);
        }
        let quarantined = plan.quarantined.iter();
        self.left_out.extend(
            quarantined.map(|(id, reason)| (id.clone(), LeftOut::Quarantined(reason.clone()))),
        );
        let delayed = plan.delayed.iter();
        self.left_out
            .extend(delayed.map(|(id, reason)| (id.clone(), LeftOut::Delayed(reason.clone()))));
    }

    pub(super) fn repaired(
        &mut self,
        results: Vec<(TargetPath, Installed, Result<(), String>)>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let mut draft = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Repairing(draft) => draft,
            other => return self.unexpected(other, "metadata was repaired"),
        };
        let mut actions = Vec::new();
        for (target, installed, result) in results {
            match result {
                Ok(()) => {
                    actions.push(Action::Say(Outcome::Repaired {
                        target: target.clone(),
                    }));
                    draft.recorded.push(Change::Installed {
                        target,
                        installed: Some(installed),
                    });
                }
                Err(reason) => actions.extend(self.bar([target], &reason, now, random)),
            }
        }
        actions.extend(self.stage(draft, now));
        actions
    }

    /// Goes on to staging, or straight to a commit when no file changes.
    fn stage(&mut self, mut draft: Draft, now: Now) -> Vec<Action> {
        let mut actions = self.record_judgements(&mut draft, now);
        if draft.plan.changes.is_empty() && draft.resumes.is_none() {
            let accepts = draft.plan.accepts.iter();
            draft
                .recorded
                .extend(accepts.map(|(identity, version)| Change::Accepted {
                    identity: identity.clone(),
                    version: Some(version.clone()),
                }));
            let changes = std::mem::take(&mut draft.recorded);
            if changes.is_empty() {
                actions.extend(self.done(None, now));
                return actions;
            }
            self.phase = Phase::Recording(draft, changes.clone());
            actions.push(Action::Commit(changes));
            return actions;
        }
        let changes = draft.plan.changes.clone();
        self.phase = Phase::Staging(draft);
        actions.push(Action::Stage(changes));
        actions
    }

    /// Refusals that came or went, and files that are right already.
    fn record_judgements(&mut self, draft: &mut Draft, _now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        for (identity, refusal) in &draft.plan.refused {
            if self.state.refusals.get(identity) != Some(refusal) {
                let profiles = BTreeSet::from([identity.clone()]);
                let refusal = refusal.clone();
                actions.push(Action::Say(Outcome::Refused {
                    profiles,
                    refusal: refusal.clone(),
                }));
                let identity = identity.clone();
                draft.recorded.push(Change::Refused {
                    identity,
                    refusal: Some(refusal),
                });
            }
        }
        for identity in &draft.plan.unrefused {
            if self.state.refusals.contains_key(identity) {
                let identity = identity.clone();
                draft.recorded.push(Change::Refused {
                    identity,
                    refusal: None,
                });
            }
        }
        let adopted = draft.plan.adopted.iter();
        draft
            .recorded
            .extend(adopted.map(|(target, installed)| Change::Installed {
                target: target.clone(),
                installed: Some(installed.clone()),
            }));
        actions
    }

    pub(super) fn recorded(
        &mut self,
        draft: Draft,
        changes: Vec<Change>,
        result: Result<(), String>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        if let Err(reason) = result {
            return self.rest(reason, draft.scope, now, random);
        }
        self.take_in(&changes);
        let mut actions = Vec::new();
        if !draft.plan.accepts.is_empty() {
            actions.push(Action::Say(Outcome::Accepted {
                profiles: draft.plan.accepts,
            }));
        }
        actions.extend(self.done(None, now));
        actions
    }

    pub(super) fn staged(
        &mut self,
        results: Vec<Result<Names, String>>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let mut draft = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Staging(draft) => draft,
            other => return self.unexpected(other, "files were staged"),
        };
        let mut discards = Vec::new();
        let mut actions = Vec::new();
        let mut failed = false;
        for (change, result) in draft.plan.changes.iter().zip(results) {
            match result {
                Ok(names) => {
                    discards.push((change.target.clone(), names.staged.clone()));
                    draft.names.push(names);
                }
                Err(reason) => {
                    failed = true;
                    actions.extend(self.bar([change.target.clone()], &reason, now, random));
                }
            }
        }
        if failed || self.stopping() {
            draft.names.clear();
            actions.push(Action::Discard(discards));
            actions.extend(self.plan_again(draft, now));
            return actions;
        }
        let checks: Vec<(TargetPath, String)> = discards
            .into_iter()
            .filter(|(path, _)| {
                let target = self.component.targets.get(path);
                target.is_some_and(|target| target.validate_command.is_some())
            })
            .collect();
        if checks.is_empty() {
            actions.extend(self.baseline(draft));
        } else {
            self.phase = Phase::CheckingStaged(draft);
            actions.push(Action::CheckStaged(checks));
        }
        actions
    }

    pub(super) fn staged_checked(
        &mut self,
        verdicts: BTreeMap<TargetPath, Verdict>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let draft = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::CheckingStaged(draft) => draft,
            other => return self.unexpected(other, "staged files were checked"),
        };
        let mut actions = Vec::new();
        let mut again = self.stopping();
        for (path, verdict) in verdicts {
            match verdict {
                Verdict::Accepted | Verdict::NotRunning(_) => continue,
                Verdict::Rejected(reason) => {
                    let feeders = self.component.feeders(&path);
                    let fresh = draft
                        .plan
                        .accepts
                        .iter()
                        .filter(|(id, _)| feeders.contains(id));
                    let reason = format!("target `{path}`: {reason}");
                    let refusals: Vec<_> = fresh
                        .map(|(identity, version)| {
                            let (digest, reason) = (version.digest, reason.clone());
                            (
                                identity.clone(),
                                Refusal {
                                    digest,
                                    reason,
                                    since: now.wall,
                                },
                            )
                        })
                        .collect();
                    if refusals.is_empty() {
                        actions.extend(self.bar([path], &reason, now, random));
                    }
                    self.turned_down.extend(refusals);
                }
                Verdict::Undecided(reason) => {
                    actions.extend(self.bar([path], &reason, now, random))
                }
            }
            again = true;
        }
        actions.extend(match again {
            true => self.plan_again(draft, now),
            false => self.baseline(draft),
        });
        actions
    }

    fn baseline(&mut self, draft: Draft) -> Vec<Action> {
        let services = self.services_of(&draft);
        self.phase = Phase::Baselining(draft);
        vec![Action::Baseline(services)]
    }

    /// The services of the changed targets, and those that an interrupted transaction still owes.
    fn services_of(&self, draft: &Draft) -> BTreeSet<ServiceName> {
        let changed = draft.plan.changes.iter().map(|change| &change.target);
        let mut services = self.component.dependents(changed);
        let owed = draft
            .resumes
            .iter()
            .flat_map(|intent| intent.services.keys());
        services.extend(
            owed.filter(|name| self.component.services.contains_key(*name))
                .cloned(),
        );
        services
    }

    pub(super) fn baselined(
        &mut self,
        baseline: BTreeMap<ServiceName, Baseline>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let mut draft = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Baselining(draft) => draft,
            other => return self.unexpected(other, "services were looked at"),
        };
        let mut actions = Vec::new();
        let mut again = self.stopping();
        for (name, found) in &baseline {
            let Some(missing) = &found.missing else {
                continue;
            };
            let changed = draft
                .plan
                .changes
                .iter()
                .map(|change| change.target.clone());
            let depend = self.component.dependencies(name);
            let targets: Vec<_> = changed.filter(|path| depend.contains(path)).collect();
            if targets.is_empty() {
                continue;
            }
            again = true;
            let reason = format!("service `{name}`: {missing}");
            actions.extend(self.bar(targets, &reason, now, random));
        }
        if again {
            actions.extend(self.plan_again(draft, now));
            return actions;
        }
        draft.baseline = baseline;
        actions.extend(self.open(draft, now, random));
        actions
    }

    /// The commit before the first rename: the intent, and `acknowledged := unknown` for every service of the transaction.
    fn open(&mut self, draft: Draft, now: Now, random: &mut fastrand::Rng) -> Vec<Action> {
        let services = self.services_of(&draft);
        let Draft {
            plan,
            names,
            baseline,
            mut recorded,
            resumes,
            ..
        } = draft;
        let known: BTreeMap<&TargetPath, &Placement> = resumes
            .iter()
            .flat_map(|intent| &intent.placements)
            .map(|placement| (&placement.target, placement))
            .collect();
        let mut placements: Vec<Placement> = plan
            .changes
            .iter()
            .zip(names)
            .map(|(change, names)| Placement {
                target: change.target.clone(),
                staged: names.staged,
                kept: match known.get(&change.target) {
                    Some(placement) => placement.kept.clone(),
                    None if change.absent => Kept::Absent,
                    None => Kept::Name(names.kept),
                },
                digest: change.digest,
                metadata: change.metadata,
            })
            .collect();
        let made: BTreeSet<&TargetPath> =
            plan.changes.iter().map(|change| &change.target).collect();
        let undo: Vec<Placement> = known
            .values()
            .filter(|placement| !made.contains(&placement.target))
            .map(|placement| (*placement).clone())
            .collect();
        // They stay in the intent until it is closed: a kept name that no row names would be swept.
        placements.extend(undo.iter().cloned());
        let outcome = |list: &[Placement]| -> BTreeMap<TargetPath, Digest> {
            list.iter()
                .map(|placement| (placement.target.clone(), placement.digest))
                .collect()
        };
        let intent = Intent {
            id: resumes
                .as_ref()
                .map_or_else(|| random.u64(1..=i64::MAX as u64), |old| old.id),
            direction: Direction::Forward,
            attempts: match &resumes {
                Some(old) if outcome(&old.placements) == outcome(&placements) => old.attempts,
                _ => 1,
            },
            opened_at: now.wall,
            profiles: plan.accepts.clone(),
            services: services
                .iter()
                .map(|name| {
                    (
                        name.clone(),
                        self.intent_service(name, &baseline, resumes.as_ref()),
                    )
                })
                .collect(),
            before: self.before(&plan, &placements, resumes.as_ref()),
            placements,
        };
        recorded.extend(plan.changes.iter().filter_map(|change| {
            let foreign = change.foreign.as_ref()?;
            let file = FoundFile {
                target: foreign.target.clone(),
                digest: Digest::of(&foreign.bytes),
                size: foreign.bytes.len() as u64,
                metadata: foreign.metadata,
                at: now.wall,
                reason: "it was not installed by appconfigd and has been replaced".to_owned(),
            };
            Some(Change::FileKept {
                file,
                bytes: foreign.bytes.clone(),
            })
        }));
        for service in &services {
            for target in self.component.dependencies(service) {
                if intent
                    .placements
                    .iter()
                    .any(|placement| placement.target == target)
                {
                    let service = service.clone();
                    recorded.push(Change::Acknowledged {
                        service,
                        target,
                        digest: None,
                    });
                }
            }
        }
        let mut superseded = Vec::new();
        for old in self
            .state
            .intents
            .values()
            .filter(|old| old.direction == Direction::Standing)
        {
            let shared = old
                .placements
                .iter()
                .any(|placement| made.contains(&placement.target));
            if shared {
                recorded.push(Change::IntentClosed { id: old.id });
                superseded.extend(old.placements.iter().cloned());
            }
        }
        recorded.push(Change::Intent(intent.clone()));
        let verdicts = BTreeMap::new();
        let open = Open {
            intent,
            plan,
            undo,
            baseline,
            verdicts,
            superseded,
        };
        self.phase = Phase::Opening(open, recorded.clone());
        vec![Action::Commit(recorded)]
    }

    /// The rows that going back restores; those of a transaction that is taken up again stay as they were.
    fn before(&self, plan: &Plan, placements: &[Placement], resumes: Option<&Intent>) -> Before {
        let accepted = plan.accepts.keys();
        let accepted = accepted.map(|id| (id.clone(), self.state.accepted.get(id).cloned()));
        let targets = placements.iter().map(|placement| &placement.target);
        let installed = targets.map(|path| (path.clone(), self.state.installed.get(path).cloned()));
        let mut before = Before {
            accepted: accepted.collect(),
            installed: installed.collect(),
        };
        if let Some(old) = resumes {
            before.accepted.extend(old.before.accepted.clone());
            before.installed.extend(old.before.installed.clone());
        }
        before
    }

    fn intent_service(
        &self,
        name: &ServiceName,
        baseline: &BTreeMap<ServiceName, Baseline>,
        resumes: Option<&Intent>,
    ) -> IntentService {
        let before = resumes.and_then(|intent| intent.services.get(name));
        let rows = self
            .state
            .acknowledged
            .get(name)
            .cloned()
            .unwrap_or_default();
        let runs = baseline
            .get(name)
            .is_some_and(|found| found.running == Running::Yes);
        IntentService {
            acknowledged: before.map_or(rows, |before| before.acknowledged.clone()),
            ran: runs || before.is_some_and(|before| before.ran),
            notified: before.is_some_and(|before| before.notified),
        }
    }

    pub(super) fn opened(
        &mut self,
        open: Open,
        changes: Vec<Change>,
        result: Result<(), String>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        if let Err(reason) = result {
            // Without a recorded obligation nothing is swapped.
            let resumed = self.state.intents.contains_key(&open.intent.id);
            let undone: BTreeSet<&TargetPath> = open.undo.iter().map(|p| &p.target).collect();
            let placements = open.intent.placements.iter();
            let staged = placements.filter(|p| !undone.contains(&p.target));
            let staged = staged
                .map(|p| (p.target.clone(), p.staged.clone()))
                .collect();
            let targets = open
                .plan
                .changes
                .iter()
                .map(|change| change.target.clone())
                .collect();
            let profiles = open.plan.accepts.keys().cloned().collect();
            let scope = (!resumed).then_some(Scope::Some { profiles, targets });
            let mut actions = vec![Action::Discard(staged)];
            actions.extend(self.rest(reason, scope, now, random));
            return actions;
        }
        self.take_in(&changes);
        let undo = open.undo.clone();
        let undone: BTreeSet<&TargetPath> = open.undo.iter().map(|p| &p.target).collect();
        let placements = open.intent.placements.iter();
        let placements = placements
            .filter(|p| !undone.contains(&p.target))
            .cloned()
            .collect();
        let mut actions = Vec::new();
        if !open.superseded.is_empty() {
            actions.push(Action::Release(open.superseded.clone()));
        }
        self.phase = Phase::Swapping(open);
        actions.push(Action::Swap { undo, placements });
        actions
    }

    pub(super) fn swapped(
        &mut self,
        result: Result<(), String>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let open = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Swapping(open) => open,
            other => return self.unexpected(other, "files were swapped"),
        };
        if let Err(reason) = result {
            let targets: Vec<_> = open
                .intent
                .placements
                .iter()
                .map(|p| p.target.clone())
                .collect();
            let mut actions = self.bar(targets, &reason, now, random);
            actions.extend(self.turn_back(open, reason, false, now));
            return actions;
        }
        let with_check = open.intent.services.keys().filter(|name| {
            self.component
                .services
                .get(*name)
                .is_some_and(|service| service.check.is_some())
        });
        let services: BTreeSet<ServiceName> = with_check.cloned().collect();
        let action = self.ask(&open, Step::Check, services.clone());
        self.phase = Phase::Checking(open);
        if services.is_empty() {
            return self.on(super::Event::Answered(BTreeMap::new()), now, random);
        }
        vec![action]
    }

    pub(super) fn ask(&self, open: &Open, step: Step, services: BTreeSet<ServiceName>) -> Action {
        Action::Ask {
            step,
            services,
            about: about(&open.intent),
        }
    }

    pub(super) fn checked(
        &mut self,
        mut open: Open,
        answers: Answers,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let mut undecided = None;
        for (name, Answer { verdict, .. }) in answers {
            let keep = self.keeps(&name);
            match &verdict {
                Verdict::Rejected(reason) if !keep => {
                    let reason = format!("check of service `{name}`: {reason}");
                    return self.turn_back(open, reason, true, now);
                }
                Verdict::Undecided(reason) if !keep => {
                    let reason = format!("check of service `{name}`: {reason}");
                    undecided = Some((name, reason));
                }
                Verdict::Rejected(_) | Verdict::Undecided(_) => {
                    open.verdicts.insert(name, (Step::Check, verdict));
                }
                Verdict::Accepted | Verdict::NotRunning(_) => {}
            }
        }
        if let Some((name, reason)) = undecided {
            let depend = self.component.dependencies(&name);
            let mut actions = self.bar(depend, &reason, now, random);
            actions.extend(self.turn_back(open, reason, false, now));
            return actions;
        }
        let targets = open
            .intent
            .placements
            .iter()
            .map(|p| p.target.clone())
            .collect();
        let mut actions = vec![Action::Say(Outcome::Swapped { targets })];
        let asked = open
            .intent
            .services
            .keys()
            .filter(|name| !open.verdicts.contains_key(*name));
        let services: BTreeSet<ServiceName> = asked.cloned().collect();
        if services.is_empty() {
            actions.extend(self.close(open, now));
            return actions;
        }
        actions.push(self.ask(&open, Step::Notify, services.clone()));
        for name in &services {
            if let Some(service) = open.intent.services.get_mut(name) {
                service.notified = true;
            }
        }
        self.phase = Phase::Notifying(open);
        actions
    }

    pub(super) fn keeps(&self, name: &ServiceName) -> bool {
        let service = self.component.services.get(name);
        service.is_some_and(|service| service.on_failure == OnFailure::Keep)
    }

    pub(super) fn notified(
        &mut self,
        mut open: Open,
        answers: Answers,
        now: Now,
        _random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let mut rejected = None;
        for (name, answer) in answers {
            let verdict = weigh(answer);
            if let Verdict::Rejected(reason) = &verdict
                && !self.keeps(&name)
            {
                rejected.get_or_insert(format!("service `{name}`: {reason}"));
            }
            open.verdicts.insert(name, (Step::Notify, verdict));
        }
        if let Some(reason) = rejected {
            return self.turn_back(open, reason, true, now);
        }
        let services: BTreeSet<ServiceName> = open
            .verdicts
            .iter()
            .filter(|(_, (step, verdict))| *step == Step::Notify && *verdict == Verdict::Accepted)
            .map(|(name, _)| name.clone())
            .collect();
        if services.is_empty() {
            return self.close(open, now);
        }
        let action = self.ask(&open, Step::Probe, services);
        self.phase = Phase::Probing(open);
        vec![action]
    }

    pub(super) fn probed(
        &mut self,
        mut open: Open,
        answers: Answers,
        now: Now,
        _random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let mut rejected = None;
        for (name, answer) in answers {
            let verdict = weigh_probe(answer, open.baseline.get(&name));
            if let Verdict::Rejected(reason) = &verdict
                && !self.keeps(&name)
            {
                rejected.get_or_insert(format!("probe of service `{name}`: {reason}"));
            }
            // Undecided at a probe: the notification stands.
            if verdict != Verdict::Accepted {
                open.verdicts.insert(name, (Step::Probe, verdict));
            }
        }
        match rejected {
            Some(reason) => self.turn_back(open, reason, true, now),
            None => self.close(open, now),
        }
    }

    /// The commit that ends a transaction well.
    fn close(&mut self, open: Open, now: Now) -> Vec<Action> {
        let mut changes = Vec::new();
        let mut installed = self.digests();
        for change in &open.plan.changes {
            installed.insert(change.target.clone(), change.digest);
            let row = Installed {
                digest: change.digest,
                metadata: change.metadata,
                since: now.wall,
            };
            changes.push(Change::Installed {
                target: change.target.clone(),
                installed: Some(row),
            });
        }
        for placement in &open.undo {
            if placement.kept == Kept::Absent {
                installed.remove(&placement.target);
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
        let mut standing = false;
        for name in open.intent.services.keys() {
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
                changes.extend(self.acknowledge(name, &installed));
            }
            standing |= record.condition == ServiceCondition::Pending && !self.keeps(name);
            changes.push(Change::Service {
                service: name.clone(),
                record: Some(record),
            });
        }
        if standing {
            let direction = Direction::Standing;
            changes.push(Change::Intent(Intent {
                direction,
                ..open.intent.clone()
            }));
        } else {
            changes.push(Change::IntentClosed { id: open.intent.id });
        }
        self.phase = Phase::Closing {
            open,
            changes: changes.clone(),
            standing,
        };
        vec![Action::Commit(changes)]
    }

    /// The service knows of all that is installed.
    pub(super) fn acknowledge(
        &self,
        service: &ServiceName,
        installed: &BTreeMap<TargetPath, Digest>,
    ) -> Vec<Change> {
        let depends = self.component.dependencies(service);
        let known = depends
            .into_iter()
            .filter_map(|path| Some((installed.get(&path).copied()?, path)));
        known
            .map(|(digest, target)| Change::Acknowledged {
                service: service.clone(),
                target,
                digest: Some(digest),
            })
            .collect()
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
            return self.block(
                Phase::Closing {
                    open,
                    changes,
                    standing,
                },
                1,
                reason,
                now,
                random,
            );
        }
        self.take_in(&changes);
        let mut actions = Vec::new();
        if !standing {
            actions.push(Action::Release(open.intent.placements.clone()));
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
        actions.extend(self.schedule(open.intent.services.keys(), now, random));
        actions.extend(self.done(Some(open.intent.id), now));
        actions
    }

    pub(super) fn take_in(&mut self, changes: &[Change]) {
        for change in changes {
            Arc::make_mut(&mut self.state).apply(change);
        }
    }
}

/// What services are told about a transaction.
pub(super) fn about(intent: &Intent) -> About {
    let ran = intent.services.iter().filter(|(_, service)| service.ran);
    About {
        since: intent.opened_at,
        targets: intent
            .placements
            .iter()
            .map(|placement| placement.target.clone())
            .collect(),
        versions: intent.profiles.clone(),
        ran: ran.map(|(name, _)| name.clone()).collect(),
    }
}

/// A notification's verdict: what ran before and does not run now has been brought down, whatever else was said.
pub(super) fn weigh(answer: Answer) -> Verdict {
    match answer {
        Answer {
            verdict: verdict @ (Verdict::NotRunning(_) | Verdict::Rejected(_)),
            ..
        } => verdict,
        Answer { ended: true, .. } => {
            Verdict::Rejected("it ran before and does not run any more".to_owned())
        }
        Answer { verdict, .. } => verdict,
    }
}

/// A probe's verdict: a probe that was failing before says nothing about the new version.
fn weigh_probe(answer: Answer, baseline: Option<&Baseline>) -> Verdict {
    let before = baseline.and_then(|baseline| baseline.probe.as_ref());
    match (answer, before) {
        (
            Answer {
                verdict: Verdict::Rejected(reason),
                ended: false,
            },
            Some(Err(_)),
        ) => Verdict::Undecided(format!("{reason} (it failed before the change as well)")),
        (answer, _) => weigh(answer),
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
        Verdict::Rejected(reason) => (ServiceCondition::Failed, reason.clone()),
    };
    ServiceRecord {
        condition,
        since: now.wall,
        last_result,
    }
}
