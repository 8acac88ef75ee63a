//! Queues and pollers: start, stop, replace on reload, drain; systemd, control socket.

mod advice;
mod child;
pub mod control;
mod differences;
mod drift;
pub mod events;
pub mod forget;
mod headline;
mod held;
mod host;
pub mod history;
mod metrics;
mod nap;
mod post;
mod queue;
mod replace;
mod report;
mod signals;
mod socket;
pub mod standing;
pub mod status;
mod supervisor;
mod systemd;
mod templates;
mod view;
mod watches;
mod way;

pub use child::definition;
pub use host::host;
pub use post::{Post, offline_source, offline_status};
pub use replace::Replaced;
pub use supervisor::{Reread, RunEnd, problems_of, supervise};
pub use systemd::Systemd;
pub use watches::{Ground, Reach, look_at, reach};

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use crate::child::Child;
use crate::clock::Clock;
use crate::content::{Content, LoadError};
use crate::install::Installer;
use crate::ledger::{Ledger, LedgerError, State};
use crate::process::Surroundings;
use crate::protocol::{Digest, Identity};
use crate::server::{Options, Server, ServerError, TokenReuse};
use crate::service::Services;
use crate::settings::{ProfileName, Settings, SourceSettings, TargetPath};
use crate::source::{Fault, Source};
use crate::transaction::{Component, Hands, Machine, Pacing};

use metrics::Counters;
use queue::{Letters, Message, QueueHandle};

/// Polls at the same time: a thousand profiles of one tick must not be a thousand connections. A poll waits for its turn
/// here, before it begins: one that is cut off inside counts as sent. So the bound of the source's own is not reached.
const POLLS_AT_ONCE: usize = 32;
/// After `stop_timeout`, for a line in the ledger.
const LEAVING: Duration = Duration::from_secs(2);

/// The running whole: ledger, source, queues.
pub struct Daemon {
    settings: Settings,
    content: Arc<Content>,
    ledger: Ledger,
    source: Source,
    installer: Installer,
    services: Services,
    /// Of `exec`.
    child: Option<Child>,
    server: Option<Server>,
    clock: Clock,
    queues: Vec<Queue>,
    /// READY has been said, or nobody waits for it.
    ready: bool,
    /// What becomes of the pace of services.
    pacing: Pacing,
    /// The queues that come next are those of our start.
    starts: bool,
    permits: Arc<Semaphore>,
    news: Arc<Notify>,
    counters: Counters,
    started_at: Timestamp,
}

/// A running queue and what it was started for.
struct Queue {
    component: Arc<Component>,
    content: Digest,
    handle: QueueHandle,
    /// Its unit jobs wait for this. One a queue: where a queue ends before READY, it must not wait for it.
    ready: watch::Sender<bool>,
}

/// Why a daemon does not start, or does not take new settings.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{} of the files that the settings name cannot be used", .0.len())]
    Content(Vec<LoadError>),
    #[error("targets `{0}` and `{1}` are the same file; declare it once")]
    SameFile(TargetPath, TargetPath),
    #[error("cannot start the embedded server")]
    Server(#[source] Box<ServerError>),
    #[error("{}", .0.message)]
    Source(Fault),
}

impl Daemon {
    /// Opens the ledger, restores targets from it and takes interrupted transactions up again, then polls. `ready`: unit
    /// jobs may run at once (nobody waits for our READY). `child`: that of `exec`, which starts it.
    pub async fn start(
        settings: Settings,
        state_directory: &Path,
        clock: Clock,
        ready: bool,
        child: Option<Child>,
    ) -> Result<Daemon, StartError> {
        let pacing = Pacing::Kept(host(settings.root.as_deref()));
        // Its future is large, and so would be those of all callers
        Box::pin(Daemon::begin(
            settings,
            state_directory,
            clock,
            ready,
            pacing,
            child,
        ))
        .await
    }

    /// The same for one poll of everything, by hand: unit jobs need not wait, nothing waits for a service's pace, and it is
    /// not the start that services may want to hear of.
    pub async fn start_once(
        settings: Settings,
        state_directory: &Path,
        clock: Clock,
    ) -> Result<Daemon, StartError> {
        Box::pin(Daemon::begin(
            settings,
            state_directory,
            clock,
            true,
            Pacing::Ignored,
            None,
        ))
        .await
    }

    async fn begin(
        settings: Settings,
        state_directory: &Path,
        clock: Clock,
        ready: bool,
        pacing: Pacing,
        child: Option<Child>,
    ) -> Result<Daemon, StartError> {
        let content = Arc::new(Content::load(&settings).map_err(StartError::Content)?);
        let installer = Installer::of(&settings);
        distinct(&settings, &installer)?;
        let opened = Ledger::open(state_directory)?;
        if let Some(path) = opened.moved_aside {
            tracing::error!(
                moved_to = %path.display(),
                "the ledger was damaged: history, holds and quarantine are gone, every service is notified once"
            );
        }
        let services = services(&settings).with_child(child.clone());
        let server = serve(&settings.source, &clock).await?;
        let source = connect(&settings, server.as_ref()).await?;
        let mut daemon = Daemon {
            started_at: clock.now().wall,
            settings,
            content,
            ledger: opened.ledger,
            source,
            installer,
            services,
            child,
            server,
            clock,
            queues: Vec::new(),
            ready,
            permits: Arc::new(Semaphore::new(POLLS_AT_ONCE)),
            starts: pacing != Pacing::Ignored,
            pacing,
            news: Arc::new(Notify::new()),
            counters: Counters::new(),
        };
        let state = daemon.ledger.load().await?;
        daemon.sweep(&state).await;
        let state = daemon.forget(state).await?;
        daemon.start_queues(&state);
        daemon.starts = false;
        Ok(daemon)
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Woken whenever there is something new to see.
    pub fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// What was counted since the start.
    fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Where the embedded server reads configurations, and where it listens, under `local` settings.
    pub fn local(&self) -> Option<(&Path, String)> {
        match (&self.settings.source, &self.server) {
            (SourceSettings::Local { directory }, Some(server)) => {
                Some((directory, server.endpoint()))
            }
            _ => None,
        }
    }

    /// The way to ask all queues. It outlives a reload, but then asks queues that have ended.
    pub fn post(&self) -> Post {
        let queues = self
            .queues
            .iter()
            .map(|queue| queue.handle.messages.clone());
        Post::new(
            queues.collect(),
            self.installer.clone(),
            self.clock.clone(),
            self.started_at,
        )
    }

    /// The components of settings, with each profile's identity.
    pub fn components(settings: &Settings, source: &Source, state: &State) -> Vec<Component> {
        let profiles = settings.profiles.iter();
        let identities: BTreeMap<ProfileName, Identity> = profiles
            .map(|(name, profile)| (name.clone(), source.identity(profile)))
            .collect();
        Component::partition(settings, &identities, &state.intents)
    }

    /// From now on unit jobs run, and the child of `exec` does.
    pub fn say_ready(&mut self) {
        self.ready = true;
        if let Some(child) = &self.child {
            child.start();
        }
        for queue in &self.queues {
            queue.ready.send_replace(true);
        }
    }

    /// Removes staged and kept files that no intent names: leftovers of a crash before a commit or after a close.
    async fn sweep(&self, state: &State) {
        let targets: BTreeSet<TargetPath> = self
            .settings
            .targets
            .keys()
            .chain(state.installed.keys())
            .cloned()
            .collect();
        let placed = state.intents.values().flat_map(|intent| &intent.placements);
        let live: Vec<_> = placed.cloned().collect();
        let installer = self.installer.clone();
        let swept = tokio::task::spawn_blocking(move || installer.sweep(&targets, &live)).await;
        if let Err(error) = swept {
            tracing::warn!(reason = %error, "leftovers were not swept");
        }
    }

    /// Starts a queue for every component that has none.
    fn start_queues(&mut self, state: &State) {
        let running: Vec<Arc<Component>> = self
            .queues
            .iter()
            .map(|queue| Arc::clone(&queue.component))
            .collect();
        for component in Daemon::components(&self.settings, &self.source, state) {
            if running.iter().any(|other| other.is_same_work(&component)) {
                continue;
            }
            let content = replace::fingerprint(&self.content, &component);
            let ready = watch::Sender::new(self.ready);
            let component = Arc::new(component);
            let mut machine = Machine::new(
                Arc::clone(&component),
                component.state(state),
                self.pacing.clone(),
            );
            if self.starts {
                machine.started();
            }
            let hands = Hands {
                component: Arc::clone(&component),
                content: Arc::clone(&self.content),
                installer: self.installer.clone(),
                ledger: self.ledger.clone(),
                services: self.services.for_another(),
                clock: self.clock.clone(),
                pacing: self.pacing.clone(),
                ready: ready.subscribe(),
            };
            let shared = queue::Shared {
                source: self.source.clone(),
                permits: Arc::clone(&self.permits),
                news: Arc::clone(&self.news),
                counters: self.counters.clone(),
            };
            let handle = queue::start(machine, hands, shared);
            self.queues.push(Queue {
                component,
                content,
                handle,
                ready,
            });
        }
    }

    /// No new transaction; the running ones are finished, or left to recovery after `stop_timeout`.
    pub async fn stop(mut self) {
        // A thousand polls that wait for their turn are not waited for.
        self.permits.close();
        let queues = std::mem::take(&mut self.queues);
        let handles = queues.iter().map(|queue| queue.handle.messages.clone());
        let handles: Vec<_> = handles.collect();
        if tokio::time::timeout(self.settings.stop_timeout, drain(queues))
            .await
            .is_err()
        {
            tracing::warn!("stop_timeout has passed: a running transaction is left to recovery");
            // A disk that hangs must not keep us: the attempt counts then.
            let _ = tokio::time::timeout(LEAVING, leave(&handles)).await;
        }
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }
}

/// Where the control socket of a runtime directory is.
pub fn control_socket(runtime_directory: &Path) -> PathBuf {
    runtime_directory.join("control.sock")
}

impl From<ServerError> for StartError {
    fn from(error: ServerError) -> StartError {
        StartError::Server(Box::new(error))
    }
}

/// The embedded server of `local` settings.
pub async fn serve(source: &SourceSettings, clock: &Clock) -> Result<Option<Server>, ServerError> {
    let SourceSettings::Local { directory } = source else {
        return Ok(None);
    };
    let options = Options {
        directory: directory.clone(),
        listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        controls: false,
        allow_remote: false,
        token_reuse: TokenReuse::Reject,
        minimum_interval: Duration::from_secs(1),
    };
    Ok(Some(Server::start(options, clock.clone()).await?))
}

/// One for the whole process: it remembers since when it has watched the clocks.
fn services(settings: &Settings) -> Services {
    let directory = settings.directory.clone();
    Services::new(
        settings.root.clone(),
        Surroundings {
            directory,
            ..Surroundings::default()
        },
    )
}

async fn connect(settings: &Settings, server: Option<&Server>) -> Result<Source, StartError> {
    Source::new(settings, server.map(Server::endpoint))
        .await
        .map_err(StartError::Source)
}

fn distinct(settings: &Settings, installer: &Installer) -> Result<(), StartError> {
    let targets: BTreeSet<TargetPath> = settings.targets.keys().cloned().collect();
    match installer.same_file(&targets) {
        Some((one, other)) => Err(StartError::SameFile(one, other)),
        None => Ok(()),
    }
}

/// Ends queues: polls that are under way are taken in, a transaction is finished.
async fn drain(queues: Vec<Queue>) {
    let mut tasks = Vec::with_capacity(queues.len());
    for Queue { handle, ready, .. } in queues {
        // An error means that the queue has ended already.
        let _ = handle.messages.send(Box::new(Message::Stop));
        // A notification that waits for READY would wait for ever: it stays pending.
        drop(ready);
        tasks.push(handle.task);
    }
    for task in tasks {
        if let Err(error) = task.await {
            tracing::error!(reason = %error, "a queue ended unexpectedly");
        }
    }
}

/// Ends the queues that are still there, in the middle of what they do.
async fn leave(queues: &[Letters]) {
    let mut answers = Vec::with_capacity(queues.len());
    for queue in queues {
        let (reply, answer) = oneshot::channel();
        if queue.send(Box::new(Message::Leave(reply))).is_ok() {
            answers.push(answer);
        }
    }
    for answer in answers {
        // An error means that the queue has ended by itself.
        let _ = answer.await;
    }
}
