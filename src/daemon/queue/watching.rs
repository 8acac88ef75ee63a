//! What a queue hears of files that are not ours.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::mpsc::WeakUnboundedSender;
use tokio::task::JoinSet;

use crate::transaction::Hands;

use super::super::watches::{Ground, Lookout};
use super::Message;

/// Looks after the watches of a component. It ends when what is returned is dropped.
pub(super) fn start(hands: &Hands, messages: &WeakUnboundedSender<Box<Message>>) -> JoinSet<()> {
    let mut task = JoinSet::new();
    let watches = &hands.component.watches;
    if watches.is_empty() {
        return task;
    }
    let targets = hands.installer.targets().cloned();
    let ground = Ground::new(hands.installer.root(), targets, hands.ledger.directory());
    let watches = watches.values().cloned();
    let lookout = Lookout::new(watches, ground, hands.clock.clone());
    let messages = messages.clone();
    let (component, services) = (Arc::clone(&hands.component), hands.services.clone());
    task.spawn(lookout.run(move |sightings| {
        let told = sightings.keys().flat_map(|watch| component.told_by(watch));
        let told = told.filter_map(|name| component.services.get(name));
        services.files_changed(told.map(AsRef::as_ref));
        let sent = messages
            .upgrade()
            .map(|messages| messages.send(Box::new(Message::Watched(sightings))));
        match sent {
            Some(Ok(())) => ControlFlow::Continue(()),
            // The queue has ended.
            Some(Err(_)) | None => ControlFlow::Break(()),
        }
    }));
    task
}
