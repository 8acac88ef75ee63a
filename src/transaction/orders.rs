//! The operator's hand: orders, carried out between two pieces of work and never inside an open transaction.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::clock::Now;
use crate::ledger::Change;
use crate::protocol::Identity;
use crate::settings::ProfileName;

use super::action::{Action, Outcome};
use super::machine::Machine;
use super::phase::Phase;

/// What an operator wants of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Lifts quarantine and refusal of these profiles (`None`: all) and tries at once.
    Retry {
        profiles: Option<BTreeSet<ProfileName>>,
    },
}

impl Order {
    /// The order concerns something of this component.
    pub fn concerns(&self, component: &super::Component) -> bool {
        match self {
            Order::Retry { profiles: None } => true,
            Order::Retry {
                profiles: Some(names),
            } => names
                .iter()
                .any(|name| component.profiles.contains_key(name)),
        }
    }
}

/// An order under its number; the number is the asker's.
pub(super) type Numbered = (u64, Order);

impl Machine {
    /// Takes an order in; it is carried out as soon as nothing else is under way.
    pub(super) fn order(&mut self, id: u64, order: Order, now: Now) -> Vec<Action> {
        self.orders.push_back((id, order));
        self.next(now)
    }

    /// Forgets an order that has not been begun: nobody waits for it any more. True if it was there.
    pub fn withdraw(&mut self, id: u64) -> bool {
        let before = self.orders.len();
        self.orders.retain(|(other, _)| *other != id);
        self.orders.len() < before
    }

    /// The next order, when nothing is under way. What it changes in the ledger is committed before anything is tried.
    pub(super) fn next_order(&mut self, now: Now) -> Option<Vec<Action>> {
        let (id, order) = self.orders.pop_front()?;
        let changes = match order {
            Order::Retry { profiles } => self.retried(profiles.as_ref()),
        };
        if changes.is_empty() {
            let mut actions = vec![ordered(id, Ok(()))];
            actions.extend(self.next(now));
            return Some(actions);
        }
        self.phase = Phase::Ordering(id, changes.clone());
        Some(vec![Action::Commit(changes)])
    }

    pub(super) fn obeyed(
        &mut self,
        id: u64,
        changes: &[Change],
        result: Result<(), String>,
        now: Now,
    ) -> Vec<Action> {
        self.phase = Phase::Idle;
        if result.is_ok() {
            self.take_in(changes);
        }
        let result = result.map_err(|reason| format!("the ledger did not take it: {reason}"));
        let mut actions = vec![ordered(id, result)];
        actions.extend(self.next(now));
        actions
    }

    fn retried(&mut self, profiles: Option<&BTreeSet<ProfileName>>) -> Vec<Change> {
        let declared = self.component.profiles.iter();
        let wanted = declared.filter(|(name, _)| profiles.is_none_or(|only| only.contains(*name)));
        let identities: BTreeSet<Identity> =
            wanted.map(|(_, (_, identity))| identity.clone()).collect();
        self.retry(&identities);
        self.rest = None;
        let mut changes = Vec::new();
        for identity in identities {
            let mut condemned = self.state.quarantine.iter();
            if condemned.any(|entry| entry.profiles.contains_key(&identity)) {
                let identity = identity.clone();
                changes.push(Change::QuarantineLifted { identity });
            }
            if self.state.refusals.contains_key(&identity) {
                changes.push(Change::Refused {
                    identity,
                    refusal: None,
                });
            }
        }
        changes
    }
}

/// Orders that wait for their turn.
pub(super) type Orders = VecDeque<Numbered>;

pub(super) fn ordered(order: u64, result: Result<(), String>) -> Action {
    Action::Say(Outcome::Ordered { order, result })
}
