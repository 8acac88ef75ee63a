//! `systemd-dropin`: what these settings need beyond the unit that is shipped, as a drop-in of systemd or a rule of polkit.

mod needs;
mod sandbox;
mod text;

use std::path::Path;

use super::screen::out;
use super::start::runtime;
use super::{Exit, Globals};

pub use needs::{Need, Of, Wanted, wanted};
pub use sandbox::Sandbox;

/// The unit that is looked at.
pub const UNIT: &str = "appconfigd.service";

/// Prints the drop-in for systemd that these settings need on this host, beyond appconfigd-unprivileged.conf
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Beyond appconfigd.service alone, which runs as root
    #[arg(long)]
    as_root: bool,

    /// The rule for polkit instead, which lets the unprivileged user reload units
    #[arg(long, conflicts_with = "as_root")]
    polkit: bool,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        let settings = match globals.read_settings() {
            Ok(settings) => settings,
            Err(exit) => return exit,
        };
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(exit) => return exit,
        };
        let sandbox = match self.as_root {
            true => Sandbox::shipped(),
            false => Sandbox::unprivileged(),
        };
        let wanted = wanted(&settings, &sandbox, &runtime);
        let file = Path::new(&settings.file);
        if self.polkit {
            out!("{}", text::polkit(file, sandbox.user(), &wanted));
        } else {
            out!("{}", text::drop_in(file, self.as_root, &wanted));
        }
        Exit::Done
    }
}
