//! Who waits for a queue to have settled, and how a queue looks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::protocol::Identity;
use crate::source::FaultKind;
use crate::transaction::Event;

use super::super::view::{ProfileLive, QueueView};
use super::{Message, Queue, Slot};

pub(super) struct Waiter {
    /// Still to be polled with an answer.
    pub(super) identities: BTreeSet<Identity>,
    pub(super) until: Duration,
    /// Lost and throttled answers are asked again until then.
    pub(super) again: bool,
    reply: oneshot::Sender<QueueView>,
}

impl Queue {
    pub(super) fn message(&mut self, message: Message) {
        match message {
            Message::Ping(reply) => {
                let _ = reply.send(());
            }
            Message::View(reply) => {
                let _ = reply.send(self.view());
            }
            Message::Settle {
                profiles,
                until,
                again,
                reply,
            } => {
                let now = self.steady();
                let wanted = |slot: &Slot| {
                    profiles
                        .as_ref()
                        .is_none_or(|names| slot.names.iter().any(|name| names.contains(name)))
                };
                let due: BTreeSet<Identity> = self
                    .slots
                    .iter()
                    .filter(|(_, slot)| wanted(slot))
                    .filter(|(_, slot)| {
                        // A poll that has failed before this question came is asked again as well.
                        let failed = again
                            && slot
                                .fault
                                .as_ref()
                                .is_some_and(|(kind, ..)| is_passing(*kind));
                        let poller = slot.poller.as_ref();
                        failed || poller.is_none_or(|poller| poller.earliest() <= now)
                    })
                    .map(|(identity, _)| identity.clone())
                    .collect();
                // Asked for by hand: no jitter for what is due already. A poller rests where it is too early.
                if self.polling && !self.stopping {
                    for identity in &due {
                        self.poll(identity);
                    }
                }
                self.waiters.push(Waiter {
                    identities: due,
                    until,
                    again,
                    reply,
                });
            }
            Message::Order {
                order,
                until,
                reply,
            } => self.take_order(order, until, reply),
            Message::Watched(sightings) => {
                let actions = self.on(Event::Watched(sightings));
                self.act(actions);
            }
            Message::Stop => self.stop(),
            Message::Leave(reply) => self.left = Some(reply),
        }
    }

    /// Answers those who wait for everything to have settled, or whose time is up.
    pub(super) fn settle(&mut self) {
        if self.waiters.is_empty() && self.orders.is_empty() {
            return;
        }
        let now = self.steady();
        let quiet = self.step.is_none()
            && self.gathered.is_nothing()
            && self.polling
            && self.machine.is_idle()
            && self.machine.has_looked()
            && (self.machine.files_stand() || self.machine.trouble().is_some());
        self.settle_orders(quiet, now);
        let mut waiting = Vec::new();
        for waiter in std::mem::take(&mut self.waiters) {
            if (quiet && waiter.identities.is_empty()) || waiter.until <= now || self.stopping {
                let view = self.view_for(&waiter);
                let _ = waiter.reply.send(view);
            } else {
                waiting.push(waiter);
            }
        }
        self.waiters = waiting;
    }

    /// The view of one whose time may be up: what has not answered by then was not reached in time.
    fn view_for(&self, waiter: &Waiter) -> QueueView {
        let mut view = self.view();
        let now = self.hands.clock.now().wall;
        for identity in &waiter.identities {
            let live = view.live.entry(identity.clone()).or_default();
            let reason = || "no answer within the time limit".to_owned();
            live.fault
                .get_or_insert_with(|| (FaultKind::Lost, reason(), now));
        }
        view
    }

    fn view(&self) -> QueueView {
        let live = self.slots.iter().map(|(identity, slot)| {
            let live = ProfileLive {
                fault: slot.fault.clone(),
                due_in: slot
                    .poller
                    .as_ref()
                    .map(|poller| poller.earliest().saturating_sub(self.steady())),
            };
            (identity.clone(), live)
        });
        let mut waiting = self.machine.waiting().clone();
        waiting.extend(self.drift.reasons());
        QueueView {
            component: Arc::clone(self.machine.component()),
            state: Arc::clone(self.machine.state()),
            waiting,
            left_out: self.machine.left_out().clone(),
            trouble: self.machine.trouble().map(str::to_owned),
            files_stand: self.machine.files_stand(),
            live: live.collect(),
        }
    }
}

/// A fault that may pass when the same is asked again.
pub(super) fn is_passing(kind: FaultKind) -> bool {
    match kind {
        FaultKind::Lost | FaultKind::Throttled | FaultKind::TokenRefused => true,
        FaultKind::TooEarly | FaultKind::NotFound | FaultKind::Operator => false,
    }
}
