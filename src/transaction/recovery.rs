//! Taking interrupted transactions up again, before the first poll.

use crate::clock::Now;
use crate::ledger::{Change, Direction, Intent};

use super::Scope;
use super::action::{Action, Outcome};
use super::machine::Machine;
use super::phase::{Back, Phase};

/// A transaction that was interrupted this often goes back.
const ATTEMPTS: u32 = 3;

impl Machine {
    /// Backwards is finished backwards. Forwards is counted first, then carried out again under today's settings with the
    /// newest versions that may be installed.
    pub(super) fn take_up(&mut self, mut intent: Intent, now: Now) -> Vec<Action> {
        match intent.direction.clone() {
            Direction::Back { reason } => {
                let placements = intent.placements.clone();
                let verdicts = Default::default();
                let attempts = intent.attempts;
                let id = intent.id;
                let condemned = self.state.quarantine.iter();
                let quarantined = condemned
                    .map(|entry| &entry.reason)
                    .any(|why| *why == reason);
                // Whether it was told is known from before the turn; a turn that was not recorded is not here.
                let back = Back {
                    intent,
                    reason,
                    quarantine: None,
                    quarantined,
                    verdicts,
                    gone: Default::default(),
                    failures: 0,
                };
                self.phase = Phase::PuttingBack(back);
                vec![
                    Action::Say(Outcome::TakenUp {
                        intent: id,
                        attempts,
                    }),
                    Action::PutBack(placements),
                ]
            }
            Direction::Forward if self.counted.contains(&intent.id) => self.carry_out(intent, now),
            Direction::Forward => {
                intent.attempts = intent.attempts.saturating_add(1);
                // The crash may have come right after any notification.
                for service in intent.services.values_mut() {
                    service.notified |= !service.spared;
                }
                let said = Outcome::TakenUp {
                    intent: intent.id,
                    attempts: intent.attempts,
                };
                let changes = vec![Change::Intent(intent.clone())];
                self.phase = Phase::TakingUp(intent);
                vec![Action::Say(said), Action::Commit(changes)]
            }
            Direction::Standing => self.done(Some(intent.id), now),
        }
    }

    pub(super) fn taken_up(
        &mut self,
        intent: Intent,
        result: Result<(), String>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        if let Err(reason) = result {
            return self.rest(reason, None, now, random);
        }
        self.take_in(&[Change::Intent(intent.clone())]);
        self.counted.insert(intent.id);
        if intent.attempts > ATTEMPTS {
            let reason = "interrupted three times".to_owned();
            let quarantine = self.quarantine(&intent, &[], &reason, now);
            return self.turn(intent, reason, Some(quarantine));
        }
        self.carry_out(intent, now)
    }

    fn carry_out(&mut self, intent: Intent, now: Now) -> Vec<Action> {
        let profiles = intent.profiles.keys().cloned().collect();
        let targets = intent
            .placements
            .iter()
            .map(|placement| placement.target.clone())
            .collect();
        self.plan(Scope::Some { profiles, targets }, Some(intent), now)
    }
}
