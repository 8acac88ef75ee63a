//! `reload`: the daemon reads its settings again.

use super::screen::out;
use super::start::{Place, runtime, silent};
use super::{Exit, Globals};

/// Makes the daemon read its settings again; a bad file changes nothing
#[derive(clap::Args, Debug)]
pub struct Arguments {}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(exit) => return exit,
        };
        // What counts is what the daemon makes of its file, in its environment: it is asked even if the file is wrong.
        let reloaded = runtime.block_on(async {
            let client = Place::of(globals).daemon().await?;
            client.reload().await.map_err(|error| silent(&error))
        });
        match reloaded {
            Ok(differences) => {
                out!("{differences}");
                Exit::Done
            }
            Err(exit) => exit,
        }
    }
}
