//! The exit codes, decided in one place.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or healthy.
    Done = 0,
    /// Failed, refused or rolled back.
    Failed = 1,
    /// There is a difference (`plan`), or degraded (`status`).
    Different = 2,
    /// No daemon is running.
    NoDaemon = 3,
    /// Usage.
    Usage = 64,
    /// The settings file, or a resource named on the command line, does not exist.
    NoInput = 66,
    /// The source could not be reached in time.
    Unreachable = 75,
    /// The settings are wrong, or a file that they name is missing.
    Settings = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
