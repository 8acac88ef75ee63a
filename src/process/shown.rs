//! A command on one short line, for messages.

use std::fmt;

use crate::settings::Command;
use crate::words;

/// A command as messages show it.
pub struct Shown<'a>(pub &'a Command);

/// Characters of a command that a message shows.
const LONGEST: usize = 120;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = match self.0 {
            Command::Argv(argv) => argv.join(" "),
            Command::Shell(line) => line.clone(),
        };
        f.write_str(&words::one_line(&line, LONGEST))
    }
}
