//! What `run`, `once` and the commands beside a daemon have in common: runtime, directories, errors to exit codes.

use std::path::Path;

use tokio::runtime::{Builder, Runtime};

use super::globals::{Directories, process_environment};
use super::screen::err;
use super::{Exit, Globals};
use crate::daemon::control::{Client, ControlError};
use crate::daemon::{StartError, control_socket, problems_of};
use crate::settings::Settings;
use crate::telemetry;

/// Threads for tasks: more than one so that a slow one stops no other, few because there is little to compute.
const WORKERS: usize = 2;

/// A runtime, or the words why there is none.
pub fn runtime() -> Result<Runtime, Exit> {
    let built = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(64)
        .enable_all()
        .build();
    built.map_err(|error| {
        err!("error: cannot start the runtime: {error}");
        Exit::Failed
    })
}

/// Where things are kept for these settings.
pub fn directories(globals: &Globals, settings: &Settings) -> Directories {
    let is_root = nix::unistd::geteuid().is_root();
    globals.directories(settings.root.as_deref(), is_root, &process_environment)
}

/// Logs go to standard error from here on.
pub fn logs(globals: &Globals) {
    telemetry::start(globals.log_level(), globals.log_format());
}

/// Says why a daemon did not start, and how the command ends.
pub fn refused(error: &StartError, state_directory: &Path) -> Exit {
    match error {
        StartError::Ledger(crate::ledger::LedgerError::Held { pid, .. }) => {
            err!(
                "error: a daemon (process {pid}) holds the state directory `{}`; ask it by `appconfigd refresh`",
                state_directory.display()
            );
            Exit::Failed
        }
        StartError::Ledger(_) => {
            err!(
                "error: {} (the state directory is `{}`; `--state-directory` names another)",
                problems_of(error),
                state_directory.display()
            );
            Exit::Failed
        }
        StartError::Source(_) => {
            err!("error: {}", problems_of(error));
            Exit::Failed
        }
        StartError::Content(_) | StartError::SameFile(..) | StartError::Server(_) => {
            err!("error: {}", problems_of(error));
            Exit::Settings
        }
    }
}

/// Connects to the daemon of these settings.
pub async fn daemon(directories: &Directories) -> Result<Client, Exit> {
    Client::connect(&control_socket(&directories.runtime))
        .await
        .map_err(|error| silent(&error))
}

/// Says why a daemon did not answer, and how the command ends.
pub fn silent(error: &ControlError) -> Exit {
    match error {
        ControlError::NoDaemon(_) => {
            err!("error: {error}");
            Exit::NoDaemon
        }
        ControlError::Refused(problems) => {
            err!("{problems}");
            Exit::Settings
        }
        ControlError::NotPermitted { source, .. } => {
            err!(
                "error: {error}: {source}; the socket belongs to the daemon's user: ask as that user or as root"
            );
            Exit::Failed
        }
        ControlError::Silent(source) => {
            err!("error: {error}: {source}");
            Exit::Failed
        }
    }
}

/// How `once` and `refresh` end: 1 before 75 before 0.
pub fn exit_of(settled: bool, refused: bool, unreachable: bool) -> Exit {
    match (refused, unreachable, settled) {
        (true, _, _) => Exit::Failed,
        (false, true, _) => Exit::Unreachable,
        (false, false, true) => Exit::Done,
        (false, false, false) => Exit::Failed,
    }
}
