//! `forget`: drops what the ledger knows of what the settings do not name any more.

use super::screen::{err, out};
use super::start::{Place, runtime, silent};
use super::{Exit, Globals};
use crate::daemon::forget::Forgotten;

/// Drops history and state of a profile or path that is no longer in the settings
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// A configuration profile, or APPLICATION/ENVIRONMENT/PROFILE, or the path of a target
    #[arg(value_name = "PROFILE|PATH")]
    name: String,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        let forgotten = runtime().and_then(|runtime| {
            runtime.block_on(async {
                let client = Place::of(globals).daemon().await?;
                let forgotten = client.forget(&self.name).await;
                forgotten.map_err(|error| silent(&error))
            })
        });
        match forgotten {
            Ok(Forgotten::Done { what }) => {
                out!("forgotten: {what}");
                Exit::Done
            }
            Ok(Forgotten::Not { problem }) => {
                err!("error: {problem}");
                Exit::Failed
            }
            Ok(Forgotten::Unknown { problem }) => {
                err!("error: {problem}; `appconfigd status` lists what is in the settings");
                Exit::NoInput
            }
            Err(exit) => exit,
        }
    }
}
