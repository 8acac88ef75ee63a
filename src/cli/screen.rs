//! Standard output and error. A reader that has gone is no reason to panic, which is what `println!` does.

use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Exit;
use super::globals::process_environment;

/// `println!` that does not panic.
macro_rules! out {
    ($($words:tt)*) => { $crate::cli::screen::write_out(format_args!($($words)*)) };
}

/// `eprintln!` that does not panic.
macro_rules! err {
    ($($words:tt)*) => { $crate::cli::screen::write_err(format_args!($($words)*)) };
}

/// A line of the command's result.
pub fn write_out(line: Arguments<'_>) {
    wrote(writeln!(std::io::stdout(), "{line}"));
}

/// The first thing that went wrong with standard output, but for a reader that has gone.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// Takes note of how a write to standard output ended.
pub fn wrote(result: std::io::Result<()>) {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            // Only the first is told.
            let _ = LOST.set(error);
        }
        // Nobody reads any more: the exit code still tells.
        Ok(()) | Err(_) => {}
    }
}

/// How the command ends, given how it would: a result that a full disk has cut is no result.
pub fn ending(exit: Exit) -> Exit {
    let Some(error) = LOST.get() else {
        return exit;
    };
    err!("error: cannot write the result to standard output: {error}");
    match exit {
        Exit::Done | Exit::Different => Exit::Failed,
        exit => exit,
    }
}

/// Text of the command's result, for a command that goes on as long as somebody reads it.
pub fn stream_out(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Between two looks at who reads.
const PACE: Duration = Duration::from_secs(1);

/// Ends about a second after the reader of standard output has gone, whether or not there is anything to write.
pub async fn unread() {
    let out = std::io::stdout();
    loop {
        // Asked for nothing, it answers with what has gone wrong.
        let mut asked = [PollFd::new(&out, PollFlags::empty())];
        if poll(&mut asked, Some(&Timespec::default())).is_ok_and(|gone| gone > 0) {
            return;
        }
        tokio::time::sleep(PACE).await;
    }
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
