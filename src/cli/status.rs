//! `status`: what is on disk, since when, why not the newer one, what is pending.

use super::screen::{err, json, out};
use super::start::{Place, refused, runtime, silent};
use super::{Exit, Globals};
use crate::clock::{Clock, second_of};
use crate::daemon::control::{Client, ControlError};
use crate::daemon::status::{Health, Status, VersionStatus};
use crate::daemon::{StartError, offline_source, offline_status};
use crate::ledger::{Ledger, State};
use crate::settings::Settings;

/// Shows profiles, targets and services as they stand; without a daemon, as the ledger has them
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// One JSON document, schema 1
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        match runtime() {
            Ok(runtime) => match runtime.block_on(status(globals)) {
                Ok(status) => self.show(&status),
                Err(exit) => exit,
            },
            Err(exit) => exit,
        }
    }

    fn show(self, status: &Status) -> Exit {
        if !self.json {
            print(status);
        } else if let Err(exit) = json("the status", status) {
            return exit;
        }
        match (&status.daemon, status.state) {
            (None, _) => Exit::NoDaemon,
            (Some(_), Health::Healthy) => Exit::Done,
            (Some(_), Health::Degraded) => Exit::Different,
            (Some(_), Health::Failed) => Exit::Failed,
        }
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

async fn from_ledger(
    settings: &Settings,
    state_directory: &std::path::Path,
) -> Result<Status, Exit> {
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
    match &status.daemon {
        Some(daemon) => {
            out!(
                "{} (process {}, since {})",
                word(&status.state),
                daemon.pid,
                second_of(daemon.started_at)
            );
        }
        None => out!(
            "{} (no daemon is running; this is what the ledger says)",
            word(&status.state)
        ),
    }
    for (name, profile) in &status.profiles {
        let installed = profile
            .installed
            .as_ref()
            .map_or("nothing installed".to_owned(), version);
        out!("profile {name}: {}, {installed}", word(&profile.state));
        let newer = profile.received.as_ref().filter(|received| {
            profile
                .installed
                .as_ref()
                .is_none_or(|installed| installed.digest != received.digest)
        });
        if let Some(received) = newer {
            out!("  received: {}", version(received));
        }
        if let Some(reason) = &profile.reason {
            out!("  {reason}");
        }
        if let Some(remedy) = status.notes.profiles.get(name) {
            out!("  {remedy}");
        }
        if let Some(next) = profile.next_poll {
            out!("  next poll is due at {}", second_of(next));
        }
    }
    for (path, target) in &status.targets {
        out!("target {path}: {}", word(&target.state));
        for note in status.notes.targets.get(path).into_iter().flatten() {
            out!("  {note}");
        }
    }
    for (name, service) in &status.services {
        let since = service.since.map_or(String::new(), |since| {
            format!(" since {}", second_of(since))
        });
        out!("service {name}: {}{since}", word(&service.state));
        if let Some(result) = service
            .last_result
            .as_deref()
            .filter(|result| *result != "accepted")
        {
            out!("  {result}");
        }
        if let Some(next) = service.next_attempt {
            out!("  told again at {}", second_of(next));
        }
    }
    for (name, watch) in &status.watches {
        let changed = watch
            .changed
            .map_or("no change seen yet".to_owned(), |changed| {
                format!("changed at {}", second_of(changed))
            });
        let pending = match watch.pending.is_empty() {
            true => String::new(),
            false => format!("; not acknowledged by {}", watch.pending.join(", ")),
        };
        out!("watch {name}: {changed}{pending}");
    }
}

fn version(version: &VersionStatus) -> String {
    let digest: String = version
        .digest
        .chars()
        .skip("sha256:".len())
        .take(12)
        .collect();
    let label = version
        .label
        .as_deref()
        .map_or(String::new(), |label| format!(" ({label})"));
    format!("{digest}{label} since {}", second_of(version.since))
}

/// The word that the JSON has, with spaces.
fn word(state: &impl serde::Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(word)) => word.replace('_', " "),
        _ => "unknown".to_owned(),
    }
}
