//! `hold`: keeps a profile's version, or keeps its hands off a path.

use std::time::Duration;

use super::limit::limit;
use super::order::{Ends, give, holdable};
use super::{Exit, Globals};
use crate::settings::parse_duration;
use crate::transaction::Order;

/// Keeps a profile at its installed version, or a path as it is, until `release`
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// A profile keeps its version, newer ones are only received; a path is not written at all
    #[arg(value_name = "PROFILE|PATH")]
    name: String,
    /// Ends by itself after so long, in whole seconds
    #[arg(long = "for", value_name = "DURATION", value_parser = limit)]
    duration: Option<Duration>,
    /// How long to wait for the running transaction at most
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        give(globals, self.timeout, Ends::Done, |status| {
            Ok(Order::Hold {
                what: holdable(&self.name, status)?,
                seconds: self.duration.map(|duration| duration.as_secs().max(1)),
            })
        })
    }
}
