//! Asking every queue of a daemon, and the same picture without one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::install::Installer;
use crate::ledger::{Direction, State};
use crate::settings::{ProfileName, Settings, TargetPath};
use crate::source::{Fault, Source};
use crate::transaction::Order;

use super::Daemon;
use super::history::Declared;
use super::queue::{Letters, Message, Obeyed};
use super::status::{DaemonStatus, Status};
use super::view::QueueView;

/// Asks every queue of a daemon.
#[derive(Clone)]
pub struct Post {
    queues: Vec<Letters>,
    installer: Installer,
    clock: Clock,
    started_at: Timestamp,
}

impl Post {
    pub(super) fn new(
        queues: Vec<Letters>,
        installer: Installer,
        clock: Clock,
        started_at: Timestamp,
    ) -> Post {
        Post {
            queues,
            installer,
            clock,
            started_at,
        }
    }

    /// What the daemon goes by.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Each queue as it stands. A queue that has ended is missing.
    pub async fn views(&self) -> Vec<QueueView> {
        self.ask_all(Message::View).await
    }

    /// Polls what is due, waits until everything has settled or `limit` has passed. `again`: lost and throttled answers
    /// are asked for again until then.
    pub async fn settle(
        &self,
        profiles: Option<BTreeSet<ProfileName>>,
        limit: Duration,
        again: bool,
    ) -> Vec<QueueView> {
        let until = self.clock.now().steady.saturating_add(limit);
        let ask = |reply| Message::Settle {
            profiles: profiles.clone(),
            until,
            again,
            reply,
        };
        self.ask_all(ask).await
    }

    /// Has an order carried out, waits until what it concerns has settled or `limit` has passed. Why it was not carried
    /// out as text; `None` where it concerns nothing that we have.
    pub async fn order(&self, order: &Order, limit: Duration) -> Option<Obeyed> {
        let until = self.clock.now().steady.saturating_add(limit);
        let ask = |reply| Message::Order {
            order: order.clone(),
            until,
            reply,
        };
        let obeyed = self.ask_all(ask).await.into_iter().flatten();
        obeyed.reduce(Result::and)
    }

    /// True when every queue has gone round its loop. `replacing`: some may have ended because a reload replaces them.
    pub async fn is_alive(&self, replacing: bool) -> bool {
        let there = self.queues.iter().filter(|queue| !queue.is_closed());
        let asked = match replacing {
            true => there.count(),
            false => self.queues.len(),
        };
        self.ask_all(Message::Ping).await.len() >= asked
    }

    /// READY may be said: interrupted transactions are taken up again and the files of every required profile stand.
    pub async fn files_stand(&self) -> bool {
        let views = self.views().await;
        let stand = |view: &QueueView| view.files_stand && required_stand(view);
        views.len() == self.queues.len() && views.iter().all(stand)
    }

    pub async fn declared(&self) -> Declared {
        Declared::by_queues(&self.views().await)
    }

    pub async fn status(&self) -> Status {
        self.status_of(self.views().await).await
    }

    pub async fn status_of(&self, views: Vec<QueueView>) -> Status {
        let daemon = DaemonStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.started_at,
        };
        look(
            views,
            self.installer.clone(),
            Some(daemon),
            self.clock.now().wall,
        )
        .await
    }

    async fn ask_all<T>(&self, ask: impl Fn(oneshot::Sender<T>) -> Message) -> Vec<T> {
        let mut replies = Vec::with_capacity(self.queues.len());
        for queue in &self.queues {
            let (reply, answer) = oneshot::channel();
            if queue.send(Box::new(ask(reply))).is_ok() {
                replies.push(answer);
            }
        }
        let mut answers = Vec::with_capacity(replies.len());
        for reply in replies {
            answers.extend(reply.await.ok());
        }
        answers
    }
}

/// The same picture from the ledger alone, without a daemon.
pub async fn offline_status(
    settings: &Settings,
    source: &Source,
    state: &State,
    now: Timestamp,
) -> Status {
    let view = |component: crate::transaction::Component| QueueView {
        state: Arc::new(component.state(state)),
        component: Arc::new(component),
        waiting: BTreeMap::new(),
        left_out: BTreeMap::new(),
        trouble: None,
        files_stand: false,
        live: BTreeMap::new(),
    };
    let views = Daemon::components(settings, source, state)
        .into_iter()
        .map(view)
        .collect();
    look(views, Installer::of(settings), None, now).await
}

/// The client of these settings, with no server behind `local`: enough for identities, which its address is no part of.
pub async fn offline_source(settings: &Settings) -> Result<Source, Fault> {
    // Nothing is ever asked there.
    let nowhere = "http://127.0.0.1:1".to_owned();
    Source::new(settings, Some(nowhere)).await
}

async fn look(
    views: Vec<QueueView>,
    installer: Installer,
    daemon: Option<DaemonStatus>,
    now: Timestamp,
) -> Status {
    let without_queues = Status::of(&[], &installer, daemon.clone(), now);
    let looked = move || Status::of(&views, &installer, daemon, now);
    // Where looking panicked, the picture without any queue is still true about the daemon.
    tokio::task::spawn_blocking(looked)
        .await
        .unwrap_or(without_queues)
}

/// Where the machine says that files stand, those of a transaction that is open forwards do too: its notifications may
/// wait for READY, so READY must not wait for its end.
fn required_stand(view: &QueueView) -> bool {
    let intents = view.state.intents.values();
    let open: Vec<_> = intents
        .filter(|intent| intent.direction == Direction::Forward)
        .collect();
    let required = view
        .component
        .profiles
        .values()
        .filter(|(profile, _)| profile.required);
    let mut identities = required.map(|(_, identity)| identity);
    identities.all(|identity| {
        let fed = view.component.fed_by([identity]);
        let installed = |path: &TargetPath| {
            let mut placements = open.iter().flat_map(|intent| &intent.placements);
            view.state.installed.contains_key(path)
                || placements.any(|placement| placement.target == *path)
        };
        view.state.accepted.contains_key(identity)
            || open
                .iter()
                .any(|intent| intent.profiles.contains_key(identity))
            || (!fed.is_empty() && fed.iter().all(installed))
    })
}
