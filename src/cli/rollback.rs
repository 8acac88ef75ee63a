//! `rollback`: installs an earlier version and holds the profile.

use std::time::Duration;

use super::order::{Ends, give, profile};
use super::recorded::{Recorded, choose};
use super::screen::unknown;
use super::start::runtime;
use super::{Exit, Globals};
use crate::daemon::history::versions;
use crate::protocol::Digest;
use crate::settings::{ProfileName, parse_duration};
use crate::transaction::Order;

/// Installs an earlier version by an ordinary transaction and holds the profile
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Whose version goes back
    #[arg(value_name = "PROFILE")]
    name: String,
    /// A label, or at least 8 digits of a digest [default: the version before the installed one]
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Install it also where today's `validate` turns it down
    #[arg(long)]
    force: bool,
    /// How long to wait at most
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        let version = match self.version(globals) {
            Ok(version) => version,
            Err(exit) => return exit,
        };
        give(globals, self.timeout, Ends::Done, |status| {
            Ok(Order::Rollback {
                profile: profile(&self.name, status)?,
                version,
                force: self.force,
            })
        })
    }

    fn version(&self, globals: &Globals) -> Result<Option<Digest>, Exit> {
        let Some(word) = &self.to else {
            return Ok(None);
        };
        let recorded = runtime()?.block_on(Recorded::read(globals))?;
        let name = ProfileName::from(self.name.as_str());
        let Some(declared) = recorded.declared.profiles.get(&name) else {
            return Err(unknown("profile", name.as_str()));
        };
        let known: Vec<(Digest, Option<&str>)> = versions(&declared.identity, &recorded.state)
            .into_iter()
            .map(|version| (version.digest, version.label.as_deref()))
            .collect();
        choose(word, &known, &format!("profile `{name}`")).map(Some)
    }
}
