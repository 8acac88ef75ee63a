//! What is tried again later, and when.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::Now;
use crate::ledger::Retry;
use crate::settings::TargetPath;

use super::Scope;
use super::action::{Action, Outcome};
use super::machine::Machine;
use super::phase::{Later, Phase};

/// Between attempts on a host that does not let us, or a service that does not answer.
pub(super) const PAUSES: Backoff = Backoff {
    first: Duration::from_secs(2),
    ceiling: Duration::from_secs(300),
};

/// A pause of the whole queue.
#[derive(Debug)]
pub(super) struct Rest {
    pub reason: String,
    /// Steady time; `None` once it has passed and the queue tries again.
    pub until: Option<Duration>,
}

/// A service that is told again, as this process counts.
#[derive(Debug)]
pub(super) struct Pausing {
    pub row: Retry,
    /// How much of the pause had passed when this process began to count.
    pub waited: Duration,
    /// Steady time from which it counts.
    pub began: Duration,
    /// Steady time of the next attempt; `None`: there is none.
    pub due: Option<Duration>,
}

impl Pausing {
    /// For how long it has been tried.
    pub fn trying(&self, now: Now) -> Duration {
        let since = now.steady.saturating_sub(self.began);
        let paused = self.waited.saturating_add(since);
        self.row.trying.saturating_add(paused)
    }
}

impl Machine {
    /// The ledger or a task failed before anything was swapped: everything in scope is tried again after a pause.
    pub(super) fn rest(
        &mut self,
        reason: String,
        scope: Option<Scope>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        self.phase = Phase::Idle;
        self.dirty.add(scope.unwrap_or(Scope::All));
        self.failures = self.failures.saturating_add(1);
        let pause = PAUSES.growing_pause(self.failures, random.f64());
        let due = now.steady + pause;
        self.rest = Some(Rest {
            reason: reason.clone(),
            until: Some(due),
        });
        let mut said = self.rolled_back(Err(reason.clone()));
        said.push(Action::Say(Outcome::Trouble {
            reason,
            retry_in: pause,
        }));
        said
    }

    /// Bars these targets, which failed together, for a growing while.
    pub(super) fn bar(
        &mut self,
        targets: impl IntoIterator<Item = TargetPath>,
        reason: &str,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let targets: Vec<TargetPath> = targets.into_iter().collect();
        let before = targets.iter().filter_map(|target| self.barred.get(target));
        let failures = before.map(|retry| retry.failures).max().unwrap_or(0);
        let failures = failures.saturating_add(1);
        // One pause for all: a target that came free before the others would only lose its reason and its count.
        let pause = PAUSES.growing_pause(failures, random.f64());
        let mut said = Vec::new();
        for target in targets {
            let reason = reason.to_owned();
            let retry = Later {
                reason: reason.clone(),
                failures,
                due: now.steady + pause,
            };
            self.barred.insert(target.clone(), retry);
            said.push(Action::Say(Outcome::Delayed {
                target,
                reason,
                retry_in: pause,
            }));
        }
        said
    }

    /// Tries the blocked step again at a later time.
    pub(super) fn block(
        &mut self,
        then: Phase,
        failures: u32,
        reason: String,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        let pause = PAUSES.growing_pause(failures, random.f64());
        self.phase = Phase::Blocked {
            until: now.steady + pause,
            reason: reason.clone(),
            then: Box::new(then),
        };
        vec![Action::Say(Outcome::BackFailed {
            reason,
            retry_in: pause,
        })]
    }

    /// A commit that must not be lost is tried again at a later time; nothing else happens until it is made.
    pub(super) fn record_later(
        &mut self,
        then: Phase,
        reason: String,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        self.failures = self.failures.saturating_add(1);
        let retry_in = PAUSES.growing_pause(self.failures, random.f64());
        self.phase = Phase::Blocked {
            until: now.steady + retry_in,
            reason: reason.clone(),
            then: Box::new(then),
        };
        vec![Action::Say(Outcome::Trouble { reason, retry_in })]
    }
}
