//! Commits, and what goes with them.

use tokio::task::spawn_blocking;

use crate::install::Placement;
use crate::ledger::{Change, CommandRun, RunFor};
use crate::service::{Owner, Ran};
use crate::words::with_causes;

use super::action::Event;
use super::task::Hands;

impl Hands {
    pub(super) async fn commit(self, changes: Vec<Change>) -> Event {
        Event::Committed(self.record(changes).await)
    }

    /// Commits an intent, and keeps the present files meanwhile.
    pub(super) async fn open(self, changes: Vec<Change>, placements: Vec<Placement>) -> Event {
        let installer = self.installer.clone();
        let keep = spawn_blocking(move || installer.keep(&placements).is_ok());
        let committed = self.record(changes).await;
        // What cannot be kept is told when the swap tries again.
        Event::Opened(committed, keep.await.unwrap_or(false))
    }

    /// With what commands have written since the last commit, which nothing follows from.
    async fn record(&self, mut changes: Vec<Change>) -> Result<(), String> {
        let ran = self.services.ran();
        changes.extend(ran.iter().map(|ran| Change::Ran(recorded(ran))));
        let committed = self.ledger.commit(changes).await;
        if committed.is_err() {
            self.services.put_back(ran);
        }
        committed.map_err(|error| with_causes(&error))
    }
}

fn recorded(ran: &Ran) -> CommandRun {
    CommandRun {
        whose: match &ran.owner {
            Owner::Service(name) => RunFor::Service(name.clone()),
            Owner::Target(path) => RunFor::Target(path.clone()),
        },
        what: ran.errand.word().to_owned(),
        at: ran.at,
        command: ran.command.clone(),
        outcome: ran.outcome.clone(),
        output: ran.output.clone(),
    }
}
