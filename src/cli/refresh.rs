//! `refresh`: asks the daemon to poll what is due, and waits for the transactions.

use std::collections::BTreeSet;
use std::time::Duration;

use super::screen::unknown;
use super::start::{Place, exit_of, runtime, silent};
use super::status::print;
use super::{Exit, Globals};
use crate::settings::{ProfileName, parse_duration};

/// Polls what is due now, waits for the transactions, and ends as `once` does
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Only these [default: all]
    #[arg(value_name = "PROFILE")]
    profiles: Vec<String>,
    /// How long to wait at most
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        let names = self.profiles.iter();
        let names: BTreeSet<ProfileName> =
            names.map(|name| ProfileName::from(name.as_str())).collect();
        match runtime() {
            Ok(runtime) => match runtime.block_on(self.refresh(names, globals)) {
                Ok(exit) | Err(exit) => exit,
            },
            Err(exit) => exit,
        }
    }

    async fn refresh(self, names: BTreeSet<ProfileName>, globals: &Globals) -> Result<Exit, Exit> {
        let client = Place::of(globals).daemon().await?;
        if !names.is_empty() {
            // The daemon's profiles count: the file may have been edited since.
            let known = client
                .status()
                .await
                .map_err(|error| silent(&error))?
                .profiles;
            if let Some(name) = names.iter().find(|name| !known.contains_key(*name)) {
                return Err(unknown("profile", name.as_str()));
            }
        }
        let profiles = (!names.is_empty()).then_some(names);
        let refreshed = client.refresh(profiles, self.timeout).await;
        let refreshed = refreshed.map_err(|error| silent(&error))?;
        let exit = exit_of(refreshed.settled, refreshed.refused, refreshed.unreachable);
        print(&refreshed.status());
        Ok(exit)
    }
}
