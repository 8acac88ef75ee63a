//! A step whose task ended without an answer.

use std::collections::BTreeMap;

use crate::clock::Now;

use super::action::Action;
use super::machine::{Machine, discard};
use super::phase::Phase;

impl Machine {
    /// A step's task died. Before the commit nothing has happened; after it the files go back, undecided.
    pub(super) fn broke(
        &mut self,
        reason: String,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let reason = format!("a step ended unexpectedly: {reason}");
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Planning(draft)
            | Phase::Repairing(draft)
            | Phase::Recording(draft, _)
            | Phase::Staging(draft)
            | Phase::CheckingStaged(draft)
            | Phase::Baselining(draft) => {
                let mut actions = discard(&draft);
                // As good as a death: a transaction that makes us panic each time must not be taken up for ever.
                if let Some(intent) = &draft.resumes {
                    self.counted.remove(&intent.id);
                }
                actions.extend(self.rest(reason, draft.scope, now, random));
                actions
            }
            // Whether the commit arrived is not known: the ledger is the only witness.
            Phase::Opening(open, changes) => {
                self.opened(open, changes, Err(reason), false, now, random)
            }
            Phase::Swapping(open)
            | Phase::Checking(open)
            | Phase::Notifying(open)
            | Phase::Probing(open) => {
                let placed = open.intent.placements.iter();
                let targets: Vec<_> = placed.map(|placed| placed.target.clone()).collect();
                let mut actions = self.bar(targets, &reason, now, random);
                actions.extend(self.turn_back(open, reason, false, now));
                actions
            }
            Phase::Closing {
                open,
                changes,
                standing,
            } => self.closed(open, changes, standing, Err(reason), now, random),
            Phase::Turning(back, changes) => self.turned(back, changes, Err(reason)),
            Phase::PuttingBack(mut back) => {
                back.failures = back.failures.saturating_add(1);
                let failures = back.failures;
                self.block(Phase::PuttingBack(back), failures, reason, now, random)
            }
            Phase::TellingBack(back) => self.told_back(back, BTreeMap::new(), now),
            Phase::ProbingBack(back) => self.probed_back(back, BTreeMap::new(), now),
            Phase::ClosingBack(back, changes) => {
                self.closed_back(back, changes, Err(reason), now, random)
            }
            Phase::TakingUp(_) => self.rest(reason, None, now, random),
            Phase::Ordering(given, changes) => {
                self.obeyed(given, &changes, Err(reason), now, random)
            }
            Phase::Telling(telling) => self.told(telling, Err(reason), now, random),
            other @ (Phase::Idle | Phase::Blocked { .. }) => self.unexpected(other, "a step broke"),
        }
    }
}
