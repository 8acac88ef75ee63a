//! `refresh`: asks the daemon to poll what is due, and waits for the transactions.

use std::collections::BTreeSet;
use std::time::Duration;

use super::screen::err;
use super::start::{daemon, directories, exit_of, runtime, silent};
use super::status::print;
use super::{Exit, Globals};
use crate::settings::{ProfileName, Settings, parse_duration};

/// Polls what is due now, waits for the transactions, and ends as `once` does
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Only these profiles
    #[arg(value_name = "PROFILE")]
    profiles: Vec<String>,
    /// How long to wait at most
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        let settings = match globals.read_settings() {
            Ok(settings) => settings,
            Err(exit) => return exit,
        };
        let names: BTreeSet<ProfileName> = self
            .profiles
            .iter()
            .map(|name| ProfileName::from(name.as_str()))
            .collect();
        if let Some(unknown) = names
            .iter()
            .find(|name| !settings.profiles.contains_key(*name))
        {
            let file = settings.file.display();
            err!("error: no profile `{unknown}` in `{file}`; `appconfigd status` lists them");
            return Exit::NoInput;
        }
        match runtime() {
            Ok(runtime) => runtime.block_on(self.refresh(settings, names, globals)),
            Err(exit) => exit,
        }
    }

    async fn refresh(
        self,
        settings: Settings,
        names: BTreeSet<ProfileName>,
        globals: &Globals,
    ) -> Exit {
        let client = match daemon(&directories(globals, &settings)).await {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let profiles = (!names.is_empty()).then_some(names);
        match client.refresh(profiles, self.timeout).await {
            Ok(refreshed) => {
                print(&refreshed.status);
                exit_of(refreshed.settled, refreshed.refused, refreshed.unreachable)
            }
            Err(error) => silent(&error),
        }
    }
}
