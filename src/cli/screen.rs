//! Standard output and error. A reader that has gone is no reason to panic, which is what `println!` does.

use std::fmt::Arguments;
use std::io::Write;

/// A line of the command's result.
pub fn write_out(line: Arguments<'_>) {
    // Nobody reads any more: the exit code still tells.
    let _ = writeln!(std::io::stdout(), "{line}");
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
