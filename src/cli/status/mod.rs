//! `status`: what is on disk, since when, why not the newer one, what is pending.

pub mod layout;
mod page;
mod span;

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use super::screen::{colours, err, json, stream_out, unread, wrote};
use super::start::{Place, refused, runtime, silent};
use super::{Exit, Globals};
use crate::clock::Clock;
use crate::daemon::control::{Client, ControlError};
use crate::daemon::status::{Health, Status};
use crate::daemon::{StartError, offline_source, offline_status};
use crate::ledger::{Ledger, State};
use crate::settings::Settings;

/// Between two pages of `--watch`.
const PACE: Duration = Duration::from_secs(1);
/// Of a terminal: the cursor to the upper left, and what was there erased.
const ANEW: &str = "\u{1b}[H\u{1b}[2J\u{1b}[3J";

/// Shows profiles, targets and services as they stand; without a daemon, as the ledger has them
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// One JSON document, schema 1
    #[arg(long)]
    json: bool,
    /// Go on: on a terminal a page that is kept up to date, elsewhere one whenever something has changed
    #[arg(long)]
    watch: bool,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        match runtime() {
            Ok(runtime) => match runtime.block_on(self.show(globals)) {
                Ok(exit) | Err(exit) => exit,
            },
            Err(exit) => exit,
        }
    }

    async fn show(self, globals: &Globals) -> Result<Exit, Exit> {
        if self.watch {
            return self.watch(globals).await;
        }
        let status = status(globals).await?;
        if self.json {
            json("the status", &status)?;
        } else {
            print(&status);
        }
        Ok(exit_of(&status))
    }

    /// Ends when nobody reads any more, or by a signal.
    async fn watch(self, globals: &Globals) -> Result<Exit, Exit> {
        let terminal = std::io::stdout().is_terminal() && !self.json;
        let mut last = None;
        loop {
            let status = status(globals).await?;
            let text = match self.json {
                true => serde_json::to_string(&status).unwrap_or_default() + "\n",
                false => text(&status),
            };
            let shown = match terminal {
                true => stream_out(&format!("{ANEW}{text}")),
                false => {
                    let facts = facts(&status);
                    let news = last.as_ref() != Some(&facts);
                    last = Some(facts);
                    match (news, self.json) {
                        (false, _) => Ok(()),
                        (true, true) => stream_out(&text),
                        (true, false) => stream_out(&format!("{text}\n")),
                    }
                }
            };
            if shown.is_err() {
                return Ok(exit_of(&status));
            }
            tokio::select! {
                () = unread() => return Ok(exit_of(&status)),
                () = tokio::time::sleep(PACE) => {}
            }
        }
    }
}

/// What is to be known of a status, without the times of polls.
fn facts(status: &Status) -> serde_json::Value {
    let mut facts = serde_json::to_value(status).unwrap_or_default();
    let profiles = facts.get_mut("profiles").and_then(|it| it.as_object_mut());
    for profile in profiles.into_iter().flat_map(|all| all.values_mut()) {
        if let Some(profile) = profile.as_object_mut() {
            profile.retain(|key, _| key != "last_poll" && key != "next_poll");
        }
    }
    facts
}

fn exit_of(status: &Status) -> Exit {
    match (&status.daemon, status.state) {
        (None, _) => Exit::NoDaemon,
        (Some(_), Health::Healthy) => Exit::Done,
        (Some(_), Health::Degraded) => Exit::Different,
        (Some(_), Health::Failed) => Exit::Failed,
    }
}

/// The daemon's, or the ledger's where there is none.
async fn status(globals: &Globals) -> Result<Status, Exit> {
    let place = Place::of(globals);
    match Client::connect(&place.socket()).await {
        Ok(client) => client.status().await.map_err(|error| silent(&error)),
        Err(ControlError::NoDaemon(_)) => {
            let state = place.directories.state.clone();
            from_ledger(&place.settings()?, &state).await
        }
        Err(error) => Err(silent(&error)),
    }
}

async fn from_ledger(settings: &Settings, state_directory: &Path) -> Result<Status, Exit> {
    let state = Ledger::read(state_directory)
        .map_err(|error| refused(&StartError::Ledger(error), state_directory))?;
    let source = offline_source(settings).await.map_err(|fault| {
        err!("error: {}", fault.message);
        Exit::Failed
    })?;
    let state = state.unwrap_or_else(State::default);
    Ok(offline_status(settings, &source, &state, Clock::system().now().wall).await)
}

/// The status for a person.
pub fn print(status: &Status) {
    // Nobody reads any more: the exit code still tells.
    wrote(stream_out(&text(status)));
}

fn text(status: &Status) -> String {
    page::page(status, Clock::system().now().wall, colours())
}
