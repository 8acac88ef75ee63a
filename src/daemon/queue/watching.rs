//! What a queue hears of files that are not ours.

use std::ops::ControlFlow;

use tokio::sync::mpsc::WeakUnboundedSender;
use tokio::task::JoinSet;

use crate::transaction::Hands;

use super::super::watches::{Ground, Lookout};
use super::Message;

/// Looks after the watches of a component. It ends when what is returned is dropped.
pub(super) fn start(hands: &Hands, messages: &WeakUnboundedSender<Message>) -> JoinSet<()> {
    let mut task = JoinSet::new();
    let watches = &hands.component.watches;
    if watches.is_empty() {
        return task;
    }
    let ground = Ground {
        root: hands.installer.root().map(Into::into),
        ours: hands.installer.targets().cloned().collect(),
    };
    let watches = watches.values().cloned();
    let lookout = Lookout::new(watches, ground, hands.clock.clone());
    let messages = messages.clone();
    task.spawn(lookout.run(move |sightings| {
        let sent = messages
            .upgrade()
            .map(|messages| messages.send(Message::Watched(sightings)));
        match sent {
            Some(Ok(())) => ControlFlow::Continue(()),
            // The queue has ended.
            Some(Err(_)) | None => ControlFlow::Break(()),
        }
    }));
    task
}
