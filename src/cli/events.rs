//! `events`: what the daemon has done lately, and what it does.

use super::screen::{err, stream_out, unread};
use super::start::{Place, runtime, silent};
use super::{Exit, Globals};
use crate::daemon::control::Client;
use crate::telemetry::Told;

/// Shows the latest outcomes of the running daemon, oldest first
#[derive(clap::Args, Debug)]
#[command(after_help = MORE)]
pub struct Arguments {
    /// Go on with what happens from now on, until the daemon ends
    #[arg(long, short)]
    follow: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

const MORE: &str = "\
The daemon keeps the last 256 since its start, whatever its log level is; the journal keeps more: `journalctl -x -u \
appconfigd`.

Exit: 0 done, 3 no daemon is running, or with --follow it has ended.";

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        match runtime().and_then(|runtime| runtime.block_on(self.show(globals))) {
            Ok(exit) | Err(exit) => exit,
        }
    }

    async fn show(self, globals: &Globals) -> Result<Exit, Exit> {
        let client: Client = Place::of(globals).daemon().await?;
        let mut events = client
            .events(self.follow)
            .await
            .map_err(|error| silent(&error))?;
        loop {
            let next = tokio::select! {
                next = events.next() => next,
                () = unread() => return Ok(Exit::Done),
            };
            let told = match next {
                Ok(Some(told)) => told,
                // The connection ends with the daemon, in one way or another.
                Ok(None) | Err(_) if self.follow => {
                    err!(
                        "error: the daemon has ended; `appconfigd status` shows what the ledger says"
                    );
                    return Ok(Exit::NoDaemon);
                }
                Ok(None) => return Ok(Exit::Done),
                Err(error) => return Err(silent(&error)),
            };
            if stream_out(&self.line(&told)).is_err() {
                return Ok(Exit::Done);
            }
        }
    }

    fn line(&self, told: &Told) -> String {
        match self.json {
            true => format!("{}\n", told.event),
            false => format!("{}\n", told.text),
        }
    }
}
