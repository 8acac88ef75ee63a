//! Services as they hold.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Child, Conditions, Pace, Principal, ServiceName};

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
    pub commands: CommandOptions,
    /// When it is notified is no part of what it is: a quarantine holds whatever stands here.
    #[serde(skip)]
    pub conditions: Conditions,
    #[serde(skip)]
    pub pace: Pace,
    /// After so long without an acknowledgement it is not told again; `None`: it always is.
    #[serde(skip)]
    pub give_up_after: Option<Duration>,
}

/// How the commands of a service are run: `check`, `command` and that of `probe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandOptions {
    /// `None`: ours. With a user, its groups and its HOME.
    pub user: Option<Principal>,
    pub group: Option<Principal>,
    /// Absolute; `None`: the main file's directory.
    pub working_directory: Option<PathBuf>,
    /// At most 0o777; `None`: ours.
    pub umask: Option<u32>,
    /// Variables of our environment that are handed on beside those that all commands get.
    pub environment: Vec<String>,
    /// Between TERM and KILL.
    pub grace: Duration,
    pub sandbox: Sandbox,
}

/// In what a command is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Sandbox {
    /// In whatever appconfigd is confined.
    Ours,
    /// In a transient unit of systemd, in nothing.
    None,
}

/// Between TERM and KILL where nothing is said.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

impl Default for CommandOptions {
    fn default() -> CommandOptions {
        CommandOptions {
            user: None,
            group: None,
            working_directory: None,
            umask: None,
            environment: Vec::new(),
            grace: DEFAULT_GRACE,
            sandbox: Sandbox::Ours,
        }
    }
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
    Http(HttpCall),
}

/// A request that notifies; `unix_socket` lies below the alternate root, like a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpCall {
    /// `http` or `https`, with a host and without user or password.
    pub url: String,
    pub method: HttpMethod,
    /// Names in lower case, sound as the values are.
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    /// Statuses that say yes, 200 to 599; any 2xx where there is none.
    pub expect: Vec<u16>,
    /// PEM bundle; the only authorities that are trusted. `None`: those of the system.
    pub ca: Option<PathBuf>,
    pub unix_socket: Option<PathBuf>,
    /// `None`: the service's.
    pub timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum HttpMethod {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl HttpMethod {
    pub fn word(self) -> &'static str {
        match self {
            HttpMethod::Get => "GET",
            HttpMethod::Post => "POST",
            HttpMethod::Put => "PUT",
            HttpMethod::Patch => "PATCH",
            HttpMethod::Delete => "DELETE",
        }
    }
}

impl HttpCall {
    /// Method and URL, without what may be secret in it.
    pub fn shown(&self) -> String {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        format!("{} {url}", self.method.word())
    }
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
