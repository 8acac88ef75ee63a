//! Commits, and what goes with them.

use crate::ledger::{Change, CommandRun, RunFor};
use crate::service::{Owner, Ran};
use crate::words::with_causes;

use super::action::Event;
use super::task::Hands;

impl Hands {
    /// With what commands have written since the last commit, which nothing follows from.
    pub(super) async fn commit(self, mut changes: Vec<Change>) -> Event {
        let ran = self.services.ran();
        changes.extend(ran.iter().map(|ran| Change::Ran(recorded(ran))));
        let committed = self.ledger.commit(changes).await;
        if committed.is_err() {
            self.services.put_back(ran);
        }
        Event::Committed(committed.map_err(|error| with_causes(&error)))
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
