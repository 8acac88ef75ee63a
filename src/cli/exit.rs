//! The exit codes, decided in one place.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or healthy.
    Done,
    /// Failed, refused or rolled back.
    Failed,
    /// There is a difference (`plan`), or degraded (`status`).
    Different,
    /// No daemon is running.
    NoDaemon,
    /// Usage.
    Usage,
    /// The settings file, or a resource named on the command line, does not exist.
    NoInput,
    /// The source could not be reached in time.
    Unreachable,
    /// The settings are wrong, or a file that they name is missing.
    Settings,
    /// As the child of `exec` did.
    Child(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Different => 2,
            Exit::NoDaemon => 3,
            Exit::Usage => 64,
            Exit::NoInput => 66,
            Exit::Unreachable => 75,
            Exit::Settings => 78,
            Exit::Child(status) => status,
        })
    }
}
