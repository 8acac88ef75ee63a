//! Before the commit: plan, repair, stage, check staged, look at the services.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Now;
use crate::ledger::{Change, Installed, Refusal};
use crate::service::Verdict;
use crate::settings::{ServiceName, TargetPath};

use super::action::{Action, Baseline, Names, Outcome};
use super::holds::held;
use super::machine::{LeftOut, Machine};
use super::phase::{Draft, Phase};
use super::{Drift, Plan};

impl Machine {
    pub(super) fn planned(
        &mut self,
        plan: Plan,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let mut draft = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Planning(draft) => draft,
            other => return self.unexpected(other, "a plan came"),
        };
        if self.stopping() {
            return self.give_up(draft);
        }
        if let Some(reason) = self.unrolled(&draft, &plan) {
            let mut actions = self.rolled_back(Err(reason));
            actions.extend(self.done(None, now));
            return actions;
        }
        self.remember(&plan);
        let mut actions = self.review(&draft.tried, &plan, now, random);
        actions.extend(self.report_drift(&plan));
        draft.plan = plan;
        actions.extend(self.defer(&mut draft, now));
        if draft.plan.repairs.is_empty() {
            actions.extend(self.stage(draft, now));
            return actions;
        }
        let repairs = draft.plan.repairs.clone();
        self.phase = Phase::Repairing(draft);
        actions.push(Action::Repair(repairs));
        actions
    }

    /// Every target whose pause was over has left the plan with a change to be made, with a new pause, or free: one that
    /// stayed as it is would be due again at once, for ever.
    fn review(
        &mut self,
        tried: &BTreeSet<TargetPath>,
        plan: &Plan,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let changes = plan.changes.iter().map(|change| &change.target);
        let touched: BTreeSet<&TargetPath> = changes.chain(plan.repairs.keys()).collect();
        for path in tried {
            let known = plan.sound.contains(path) || plan.waiting.contains_key(path);
            let gone = !self.component.targets.contains_key(path);
            let hindered = plan.hindered.contains_key(path);
            if (known || gone) && !hindered && !touched.contains(path) {
                self.barred.remove(path);
            }
        }
        let hindered = plan.hindered.iter();
        hindered
            .flat_map(|(path, reason)| self.bar([path.clone()], reason, now, random))
            .collect()
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
                    self.barred.remove(&target);
                    let found = draft.plan.drifted.get(&target);
                    actions.push(Action::Say(Outcome::Repaired {
                        target: target.clone(),
                        found: found.and_then(Drift::metadata),
                    }));
                    draft.recorded.extend(self.known_still(&target, &installed));
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
        self.record_judgements(&mut draft);
        if draft.plan.changes.is_empty() && draft.resumes.is_none() {
            let accepts = draft.plan.accepts.iter();
            draft
                .recorded
                .extend(accepts.map(|(identity, version)| Change::Accepted {
                    identity: identity.clone(),
                    version: Some(version.clone()),
                }));
            draft.recorded.extend(held(draft.holds()));
            let changes = std::mem::take(&mut draft.recorded);
            if changes.is_empty() {
                return self.done(None, now);
            }
            self.phase = Phase::Recording(draft, changes.clone());
            return vec![Action::Commit(changes)];
        }
        let changes = draft.plan.changes.clone();
        self.phase = Phase::Staging(draft);
        vec![Action::Stage(changes)]
    }

    /// Refusals that came or went, and files that are right already.
    fn record_judgements(&self, draft: &mut Draft) {
        for (identity, refusal) in &draft.plan.refused {
            if self.state.refusals.get(identity) != Some(refusal) {
                draft.recorded.push(Change::Refused {
                    identity: identity.clone(),
                    refusal: Some(refusal.clone()),
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
        for (path, row) in &draft.plan.adopted {
            let known = self.known_still(path, row);
            draft.recorded.extend(known);
        }
        let adopted = draft.plan.adopted.iter();
        draft
            .recorded
            .extend(adopted.map(|(target, installed)| Change::Installed {
                target: target.clone(),
                installed: Some(installed.clone()),
            }));
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
        let mut actions = refused(&changes);
        actions.extend(self.rolled_back(Ok(())));
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
                    discards.push((change.lies().clone(), names.staged.clone()));
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
        let staged = draft.plan.changes.iter().zip(&draft.names);
        let checks: Vec<(TargetPath, String)> = staged
            .map(|(change, names)| (change.target.clone(), names.staged.clone()))
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
                                (identity.clone(), digest),
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
                Verdict::Undecided(reason) | Verdict::Nobody(reason) => {
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
    pub(super) fn services_of(&self, draft: &Draft) -> BTreeSet<ServiceName> {
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
}

/// Refusals are said once they are recorded: a draft that is planned again would say them again.
pub(super) fn refused(recorded: &[Change]) -> Vec<Action> {
    let refused = recorded.iter().filter_map(|change| match change {
        Change::Refused {
            identity,
            refusal: Some(refusal),
        } => Some(Action::Say(Outcome::Refused {
            profiles: BTreeSet::from([identity.clone()]),
            refusal: refusal.clone(),
        })),
        _ => None,
    });
    refused.collect()
}
