//! `release`: ends a hold.

use std::time::Duration;

use super::order::{Ends, give, holdable};
use super::{Exit, Globals};
use crate::settings::parse_duration;
use crate::transaction::Order;

/// Ends a hold, installs what was received last, and ends as `once` does
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// What is held
    #[arg(value_name = "PROFILE|PATH")]
    name: String,
    /// How long to wait at most
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        give(globals, self.timeout, Ends::AsOnce, |status| {
            let what = holdable(&self.name, status)?;
            Ok(Order::Release { what })
        })
    }
}
