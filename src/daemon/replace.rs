//! New settings for a running daemon: queues that differ are drained and replaced, the others never notice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::content::Content;
use crate::install::Installer;
use crate::ledger::{Change, State};
use crate::protocol::Digest;
use crate::settings::{ServiceName, Settings, TargetPath};
use crate::transaction::Component;

use super::child::definition;
use super::differences::Differences;
use super::{Daemon, Queue, StartError, connect, distinct, drain, serve, services};

/// While the ledger cannot be read, the queues that are to be replaced cannot be started again.
const LEDGER_PAUSE: Duration = Duration::from_secs(5);

/// What a reload changed, and in how many queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    pub differences: Differences,
    pub unchanged: usize,
    pub replaced: usize,
    pub started: usize,
}

impl Daemon {
    /// Takes new settings: queues whose component differs are drained and replaced, the others never notice. On an error
    /// nothing has changed.
    pub async fn replace(&mut self, settings: Settings) -> Result<Replaced, StartError> {
        let content = Arc::new(Content::load(&settings).map_err(StartError::Content)?);
        let installer = Installer::of(&settings);
        distinct(&settings, &installer)?;
        let moves = settings.source != self.settings.source || settings.root != self.settings.root;
        let (server, source) = match settings.source != self.settings.source {
            true => {
                let server = serve(&settings.source, &self.clock).await?;
                let source = connect(&settings, server.as_ref()).await?;
                (Some(server), source)
            }
            false => (None, self.source.clone()),
        };
        let differences =
            Differences::between((&self.settings, &self.content), (&settings, &content));
        let state = self.ledger.load().await?;
        let components = Daemon::components(&settings, &source, &state);
        let stays = |queue: &Queue| {
            let same = |other: &Component| other.is_same_work(&queue.component);
            !moves
                && queue.content == fingerprint(&content, &queue.component)
                && components.iter().any(same)
        };
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.queues)
            .into_iter()
            .partition(stays);
        let replaced = gone.len();
        tracing::debug!(queues = replaced, "queues that differ end what they are at");
        drain(gone).await;
        if let Some(server) = server
            && let Some(old) = std::mem::replace(&mut self.server, server)
        {
            old.stop().await;
        }
        self.queues = kept;
        self.settings = settings;
        self.content = content;
        self.source = source;
        self.installer = installer;
        if let (Some(child), Some(definition)) = (&self.child, definition(&self.settings)) {
            child.define(definition);
        }
        if moves {
            self.services = services(&self.settings).with_child(self.child.clone());
        }
        let unchanged = self.queues.len();
        self.resume().await;
        Ok(Replaced {
            differences,
            unchanged,
            replaced,
            started: self.queues.len() - unchanged,
        })
    }

    /// Starts the queues that are missing. There is no way back any more, so a ledger that fails is asked until it answers.
    async fn resume(&mut self) {
        loop {
            let error = match self.ledger.load().await {
                Ok(state) => match self.forget(state).await {
                    Ok(state) => return self.start_queues(&state),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            let reason = super::problems_of(&StartError::Ledger(error));
            tracing::error!(
                reason,
                "the ledger fails: the queues that changed wait for it; asked again in 5 s"
            );
            tokio::time::sleep(LEDGER_PAUSE).await;
        }
    }

    /// A pair that leaves the settings loses its row, a target that leaves them loses its rows; files stay. The state after.
    pub(super) async fn forget(
        &self,
        mut state: State,
    ) -> Result<State, crate::ledger::LedgerError> {
        let changes = forgotten(&self.settings, &state);
        if !changes.is_empty() {
            self.ledger.commit(changes.clone()).await?;
            for change in &changes {
                state.apply(change);
            }
        }
        Ok(state)
    }
}

/// The schemas and templates that a component works with.
pub(super) fn fingerprint(content: &Content, component: &Component) -> Digest {
    let profiles = component.profiles.values();
    content.fingerprint(
        profiles.map(|(profile, _)| profile.as_ref()),
        component.targets.values().map(AsRef::as_ref),
    )
}

/// Rows of pairs and targets that the settings do not have any more. Targets of open intents stay until those are finished.
fn forgotten(settings: &Settings, state: &State) -> Vec<Change> {
    let placed = state.intents.values().flat_map(|intent| &intent.placements);
    let placed: BTreeSet<&TargetPath> = placed.map(|placement| &placement.target).collect();
    let mut changes = Vec::new();
    for (service, rows) in &state.acknowledged {
        for target in rows.keys().filter(|path| !placed.contains(path)) {
            let declared = settings.targets.get(target);
            if declared.is_none_or(|declared| !declared.notify.contains(service)) {
                let (service, target) = (service.clone(), target.clone());
                changes.push(Change::AcknowledgementDropped { service, target });
            }
        }
    }
    let gone = |name: &&ServiceName| !settings.services.contains_key(*name);
    let waits = state.waits.keys().filter(gone);
    changes.extend(waits.map(|service| Change::Waits {
        service: service.clone(),
        since: None,
    }));
    let retries = state.retries.keys().filter(gone);
    changes.extend(retries.map(|service| Change::Retried {
        service: service.clone(),
        retry: None,
    }));
    for (service, rows) in &state.watched {
        for watch in rows.keys() {
            let declared = settings.watches.get(watch);
            if declared.is_none_or(|declared| !declared.notify.contains(service)) {
                let (service, watch) = (service.clone(), watch.clone());
                changes.push(Change::WatchDropped { service, watch });
            }
        }
    }
    let held = state.held_targets.keys();
    let held = held.filter(|path| !settings.targets.contains_key(*path));
    changes.extend(held.map(|path| Change::TargetHeld {
        target: path.clone(),
        hold: None,
    }));
    let gone = state.installed.keys();
    let gone = gone.filter(|path| !settings.targets.contains_key(*path) && !placed.contains(path));
    changes.extend(gone.map(|path| Change::Installed {
        target: path.clone(),
        installed: None,
    }));
    changes
}
