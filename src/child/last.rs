//! How the child ended.

use std::fmt;
use std::io;

use crate::process::Ended;

/// The end of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// There is no such program.
    NotFound,
    NotStarted,
    /// We were told to end, by this signal, before it was started.
    Never(i32),
    /// Nobody knows: a defect of ours.
    Lost,
}

/// As shells have it: no such program, and one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;
/// Added to the number of a signal.
const SIGNALLED: i32 = 128;

impl Last {
    /// The status that stands for this end, as shells have it.
    pub fn status(self) -> u8 {
        let byte = |status: i32| u8::try_from(status).unwrap_or(1);
        match self {
            Last::Exited(status) => byte(status),
            Last::Killed(signal) | Last::Never(signal) => byte(signal.saturating_add(SIGNALLED)),
            Last::NotFound => NOT_FOUND,
            Last::NotStarted => NOT_STARTED,
            Last::Lost => 1,
        }
    }

    pub fn is_success(self) -> bool {
        self == Last::Exited(0)
    }
}

impl From<io::Result<Ended>> for Last {
    fn from(ended: io::Result<Ended>) -> Last {
        match ended {
            Ok(Ended::Exited(status)) => Last::Exited(status),
            Ok(Ended::Killed(signal)) => Last::Killed(signal),
            Ok(Ended::TimedOut) | Err(_) => Last::Lost,
        }
    }
}

impl From<&io::Error> for Last {
    fn from(error: &io::Error) -> Last {
        match error.kind() {
            io::ErrorKind::NotFound => Last::NotFound,
            _ => Last::NotStarted,
        }
    }
}

impl fmt::Display for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Last::Exited(status) => write!(f, "exited with status {status}"),
            Last::Killed(signal) => write!(f, "was killed by signal {signal}"),
            Last::NotFound => f.write_str("was not found"),
            Last::NotStarted => f.write_str("could not be started"),
            Last::Never(_) => f.write_str("was never started"),
            Last::Lost => f.write_str("was lost sight of"),
        }
    }
}
