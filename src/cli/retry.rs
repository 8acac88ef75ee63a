//! `retry`: lifts quarantine and refusal, and tries at once.

use std::collections::BTreeSet;
use std::time::Duration;

use super::order::{Ends, give, profile};
use super::{Exit, Globals};
use crate::settings::parse_duration;
use crate::transaction::Order;

/// Lifts quarantine and refusal, tries what was received at once, without a poll, and ends as `once` does
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Only this profile [default: all]
    #[arg(value_name = "PROFILE")]
    profile: Option<String>,
    /// How long to wait at most
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        give(globals, self.timeout, Ends::AsOnce, |status| {
            let profiles = match &self.profile {
                Some(name) => Some(BTreeSet::from([profile(name, status)?])),
                None => None,
            };
            Ok(Order::Retry { profiles })
        })
    }
}
