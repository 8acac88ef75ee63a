//! An operator's orders: handed to the machine, answered when it has obeyed and all has settled.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::transaction::{Event, Order};

use super::Queue;

/// What became of an order: why it was not carried out, as text.
pub type Obeyed = Result<(), String>;

/// An order whose asker waits.
pub(super) struct Ordered {
    number: u64,
    pub(super) until: Duration,
    result: Option<Obeyed>,
    reply: oneshot::Sender<Option<Obeyed>>,
}

impl Queue {
    pub(super) fn take_order(
        &mut self,
        order: Order,
        until: Duration,
        reply: oneshot::Sender<Option<Obeyed>>,
    ) {
        if !order.concerns(self.machine.component()) {
            let _ = reply.send(None);
            return;
        }
        let number = self.random.u64(..);
        self.orders.push(Ordered {
            number,
            until,
            result: None,
            reply,
        });
        let actions = self.on(Event::Order(number, order));
        self.act(actions);
    }

    pub(super) fn ordered(&mut self, number: u64, result: Obeyed) {
        let mut orders = self.orders.iter_mut();
        if let Some(order) = orders.find(|order| order.number == number) {
            order.result = Some(result);
        }
    }

    /// Answers those whose order cannot be carried out, or has been and all has settled, or whose time is up.
    pub(super) fn settle_orders(&mut self, quiet: bool, now: Duration) {
        let mut waiting = Vec::new();
        for order in std::mem::take(&mut self.orders) {
            let over = order.until <= now || self.stopping;
            let result = match &order.result {
                Some(Ok(())) if !quiet && !over => None,
                Some(result) => Some(result.clone()),
                None if !over => None,
                None if self.machine.withdraw(order.number) => Some(Err(
                    "what is under way has not ended in time, so nothing was changed; try again, \
                     `appconfigd status` says what it waits for"
                        .to_owned(),
                )),
                None => Some(Err(
                    "it was begun and has not ended in time; `appconfigd status` shows how it goes on"
                        .to_owned(),
                )),
            };
            match result {
                Some(result) => drop(order.reply.send(Some(result))),
                None => waiting.push(order),
            }
        }
        self.orders = waiting;
    }
}
