//! `reload`: the daemon reads its settings again.

use super::start::{daemon, directories, runtime, silent};
use super::{Exit, Globals};

/// Makes the daemon read its settings again; a bad file changes nothing
#[derive(clap::Args, Debug)]
pub struct Arguments {}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        // The file may be wrong, and the daemon's answer is what counts: directories are found without it if need be.
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(exit) => return exit,
        };
        let settings = match globals.read_settings() {
            Ok(settings) => settings,
            Err(exit) => return exit,
        };
        runtime.block_on(async {
            let client = match daemon(&directories(globals, &settings)).await {
                Ok(client) => client,
                Err(exit) => return exit,
            };
            match client.reload().await {
                Ok(()) => Exit::Done,
                Err(error) => silent(&error),
            }
        })
    }
}
