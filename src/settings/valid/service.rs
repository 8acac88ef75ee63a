//! Services as they hold.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Child, Principal, ServiceName};

/// An argv that runs without a shell, or a line that the operator wrote for `/bin/sh -c`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Command {
    /// Never empty.
    Argv(Vec<String>),
    Shell(String),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Service {
    pub name: ServiceName,
    /// Runs after the swap, before the notification.
    pub check: Option<Command>,
    pub notify: Notify,
    pub probe: Option<Probe>,
    pub on_failure: OnFailure,
    /// Limit of each run of `check`, `command`, `validate_command` and of a unit job.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Notify {
    Reload {
        unit: String,
        verb: ReloadVerb,
    },
    Signal {
        signal: Signal,
        to: SignalTarget,
        whose: Whose,
    },
    Command(Command),
    /// The program that `exec` keeps running.
    Child(Child),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ReloadVerb {
    Reload,
    Restart,
    ReloadOrRestart,
    TryRestart,
    TryReloadOrRestart,
    Start,
}

/// A signal's name without `SIG`, known to this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signal {
    pub name: String,
    pub number: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum SignalTarget {
    /// Below the alternate root, like a target.
    PidFile(PathBuf),
    Unit(String),
    /// The process that runs this file and was started by no other one that does.
    Executable(PathBuf),
}

/// What a process must be to be signalled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Whose {
    /// It runs this file; always given where the file is how the process is found.
    pub executable: Option<PathBuf>,
    /// It runs as this user.
    pub user: Option<Principal>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    pub ask: ProbeAsk,
    /// From the end of the notification; the probe says no when it has not succeeded `successes` times in a row by then.
    pub within: Duration,
    /// In a row; at least 1.
    pub successes: u32,
    /// Before the first try.
    pub delay: Duration,
    /// Between two tries.
    pub interval: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ProbeAsk {
    /// Any 2xx answer is a success.
    Http(String),
    /// Exit 0 is a success.
    Command(Command),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum OnFailure {
    Rollback,
    Keep,
}
