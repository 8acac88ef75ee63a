//! After the commit: swap, check, notify, probe.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Now;
use crate::service::Verdict;
use crate::settings::{OnFailure, ServiceName, TargetPath};

use super::action::{Action, Answer, Answers, Event, Outcome, Step};
use super::machine::Machine;
use super::phase::{Open, Phase};

impl Machine {
    pub(super) fn swapped(
        &mut self,
        result: Result<(), (Vec<TargetPath>, String)>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let mut open = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Swapping(open) => open,
            other => return self.unexpected(other, "files were swapped"),
        };
        if let Err((targets, reason)) = result {
            // All go back; who has nothing to do with these targets goes forward again without them.
            let mut actions = self.bar(targets, &reason, now, random);
            actions.extend(self.turn_back(open, reason, false, now));
            return actions;
        }
        // Files count as put in place now: a process that started between the commit and the swap has read the old ones.
        open.intent.opened_at = now.wall;
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
            return self.on(Event::Answered(BTreeMap::new()), now, random);
        }
        vec![action]
    }

    pub(super) fn ask(&self, open: &Open, step: Step, services: BTreeSet<ServiceName>) -> Action {
        Action::Ask {
            step,
            services,
            about: self.about(&open.intent),
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
                Verdict::Undecided(reason) | Verdict::Nobody(reason) if !keep => {
                    let reason = format!("check of service `{name}`: {reason}");
                    undecided = Some((name, reason));
                }
                Verdict::Rejected(_) | Verdict::Undecided(_) | Verdict::Nobody(_) => {
                    open.verdicts.insert(name, (Step::Check, verdict));
                }
                Verdict::Accepted | Verdict::NotRunning(_) => {}
            }
        }
        if let Some((name, reason)) = undecided {
            let depend = self.component.dependencies(&name).clone();
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
            .iter()
            .filter(|(name, service)| !service.spared && !open.verdicts.contains_key(*name));
        let services: BTreeSet<ServiceName> = asked.map(|(name, _)| name.clone()).collect();
        if services.is_empty() {
            actions.extend(self.close(open, now));
            return actions;
        }
        actions.push(self.ask(&open, Step::Notify, services.clone()));
        self.asks(&services, now);
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
            let service = open.intent.services.get(&name);
            let failing = service.is_some_and(|service| service.failing);
            let verdict = weigh_probe(answer, failing);
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
fn weigh_probe(answer: Answer, failing: bool) -> Verdict {
    match answer {
        Answer {
            verdict: Verdict::Rejected(reason),
            ended: false,
        } if failing => {
            Verdict::Undecided(format!("{reason} (it failed before the change as well)"))
        }
        answer => weigh(answer),
    }
}
