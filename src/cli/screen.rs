//! Standard output and error. A reader that has gone is no reason to panic, which is what `println!` does.

use std::fmt::Arguments;
use std::io::{IsTerminal, Write};

use super::Exit;
use super::globals::process_environment;

/// A line of the command's result.
pub fn write_out(line: Arguments<'_>) {
    // Nobody reads any more: the exit code still tells.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Text of the command's result, for a command that goes on as long as somebody reads it.
pub fn stream_out(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Whether colours are wanted on standard output: a terminal, and NO_COLOR is not set, or empty (no-color.org).
pub fn colours() -> bool {
    let objection = process_environment("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !objection
}

/// A line for whoever started the command.
pub fn write_err(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// `println!` that does not panic.
macro_rules! out {
    ($($words:tt)*) => { $crate::cli::screen::write_out(format_args!($($words)*)) };
}

/// `eprintln!` that does not panic.
macro_rules! err {
    ($($words:tt)*) => { $crate::cli::screen::write_err(format_args!($($words)*)) };
}

pub(crate) use {err, out};

/// Prints a command's result as one JSON document; `what` names it in the error.
pub fn json(what: &str, result: &impl serde::Serialize) -> Result<(), Exit> {
    match serde_json::to_string_pretty(result) {
        Ok(text) => {
            out!("{text}");
            Ok(())
        }
        Err(error) => {
            err!("error: cannot write {what} as JSON: {error}");
            Err(Exit::Failed)
        }
    }
}

/// Says that the command line names nothing that there is.
pub fn unknown(noun: &str, name: &str) -> Exit {
    err!("error: no {noun} `{name}`; `appconfigd status` lists them");
    Exit::NoInput
}
