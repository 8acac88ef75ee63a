//! What `run`, `once` and the commands beside a daemon have in common: runtime, directories, errors to exit codes.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::globals::{Directories, process_environment, report};
use super::screen::err;
use super::{Exit, Globals};
use crate::daemon::control::{Client, ControlError};
use crate::daemon::{StartError, control_socket, problems_of};
use crate::settings::{self, Problems, Settings};
use crate::telemetry;
use crate::words::last_cause;

/// Threads for tasks: more than one so that a slow one stops no other, few because there is little to compute.
const WORKERS: usize = 2;
/// Longer than threads take to start on any machine that is of use.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// A thread for blocking work outlives the pause between two polls: one that is there need not be given by the system.
const IDLES_FOR: Duration = Duration::from_secs(600);
/// For what still runs when all has been stopped, or given up.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// A write beyond RLIMIT_FSIZE is then an error of that write, as a full disk is, instead of the end of the program. By a
/// handler, for what is ignored stays ignored in children.
fn bear_file_size_limits() {
    let exceeded = SignalKind::from_raw(nix::libc::SIGXFSZ);
    if let Err(error) = signal(exceeded) {
        tracing::debug!(%error, "a write beyond the limit of file sizes ends this program");
    }
}

/// A runtime whose threads all run, or the words why there is none.
pub fn runtime() -> Result<Runtime, Exit> {
    let built = start_threads().inspect(|runtime| {
        let _inside = runtime.enter();
        bear_file_size_limits();
    });
    built.map_err(|error| {
        err!(
            "error: cannot start the runtime: {error}; a limit on processes, threads or tasks may be too low (`ulimit -u`, `TasksMax=`)"
        );
        Exit::Failed
    })
}

/// The runtime panics when the system gives it no first thread, and waits for ever for a later one that it does not get.
fn start_threads() -> io::Result<Runtime> {
    // The workers, one that makes them, one for blocking work, and those of ledger, watch and inotify instance.
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(held);
    let wait = || drop(held.lock().map(|held| held.recv()));
    std::thread::scope(|scope| {
        let started: io::Result<Vec<_>> = (0..WORKERS + 5)
            .map(|_| std::thread::Builder::new().spawn_scoped(scope, wait))
            .collect();
        drop(hold);
        started.map(drop)
    })?;
    let (says, starts) = sync_channel(WORKERS + 1);
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(WORKERS)
        .max_blocking_threads(32)
        .thread_keep_alive(IDLES_FOR)
        .on_thread_start(move || {
            let _there_are_enough = says.try_send(());
        })
        .enable_all();
    // Threads may have become scarce since: then this one panics, and may not even come to its end.
    let (says_built, built) = sync_channel(1);
    std::thread::Builder::new().spawn(move || {
        let runtime = builder.build().inspect(|runtime| {
            drop(runtime.spawn_blocking(|| ()));
        });
        says_built.send(runtime)
    })?;
    let scarce = || io::Error::from(ErrorKind::WouldBlock);
    let runtime = built.recv_timeout(STARTS_WITHIN).map_err(|_| scarce())??;
    for _ in 0..=WORKERS {
        if starts.recv_timeout(STARTS_WITHIN).is_err() {
            runtime.shutdown_background();
            return Err(scarce());
        }
    }
    Ok(runtime)
}

/// Reads the settings, starts the log, and does the command's work.
pub fn with_settings(globals: &Globals, work: impl AsyncFnOnce(Settings) -> Exit) -> Exit {
    let settings = match globals.read_settings() {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    logs(globals);
    match runtime() {
        Ok(runtime) => {
            let exit = runtime.block_on(work(settings));
            leave(runtime);
            exit
        }
        Err(exit) => exit,
    }
}

/// Ends with whatever still hangs in a file system: it has had its time, and a service manager waits.
pub fn leave(runtime: Runtime) {
    runtime.shutdown_timeout(LAST_PATIENCE);
}

/// Where things are kept for these settings.
pub fn directories(globals: &Globals, settings: &Settings) -> Directories {
    let is_root = nix::unistd::geteuid().is_root();
    globals.directories(settings.root.as_deref(), is_root, &process_environment)
}

/// Where to ask a daemon, and the settings as they are now: a daemon answers also while its file is being edited.
pub struct Place {
    pub directories: Directories,
    settings: Result<Settings, Problems>,
}

impl Place {
    /// Settings that cannot be used still say what their `root:` is, if it stands in a line of its own.
    pub fn of(globals: &Globals) -> Place {
        let file = globals.settings_file(&process_environment);
        let read = settings::read(&file, &globals.circumstances(&process_environment));
        let settings = read.map(|read| read.settings);
        let root = match &settings {
            Ok(settings) => settings.root.clone(),
            Err(_) => root_of(&file),
        };
        let is_root = nix::unistd::geteuid().is_root();
        Place {
            directories: globals.directories(root.as_deref(), is_root, &process_environment),
            settings,
        }
    }

    /// The daemon. Where there is none, the problems of the settings come first: they are why.
    pub async fn daemon(self) -> Result<Client, Exit> {
        match (Client::connect(&self.socket()).await, self.settings) {
            (Ok(client), _) => Ok(client),
            (Err(_), Err(problems)) => Err(report(&problems)),
            (Err(error), Ok(_)) => Err(silent(&error)),
        }
    }

    pub fn socket(&self) -> PathBuf {
        control_socket(&self.directories.runtime)
    }

    /// The settings, or how a command ends that needs them, after the problems on standard error.
    pub fn settings(self) -> Result<Settings, Exit> {
        self.settings.map_err(|problems| report(&problems))
    }
}

fn root_of(file: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("root:"))?;
    let value = value.split(" #").next().unwrap_or(value).trim();
    let value = value.trim_matches(['"', '\'']);
    let directory = std::path::absolute(file).ok()?;
    (!value.is_empty()).then(|| directory.parent().map(|it| it.join(value)))?
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
            let answered = last_cause(error).downcast_ref::<std::io::Error>();
            let next = match answered.map(std::io::Error::kind) {
                Some(ErrorKind::PermissionDenied) => {
                    "run as the user whom it belongs to or as root; `--state-directory` names another"
                }
                _ => "`--state-directory` names another",
            };
            err!(
                "error: {} (the state directory is `{}`; {next})",
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
        ControlError::TooLong(_) => {
            err!(
                "error: {error}: the kernel takes 107 bytes; give a shorter `--runtime-directory`"
            );
            Exit::Failed
        }
        ControlError::Unusable { source, .. } => {
            let next = match source.kind() {
                ErrorKind::PermissionDenied => {
                    "it belongs to the daemon's user: ask as that user or as root"
                }
                _ => "give the daemon's `--runtime-directory`",
            };
            err!("error: {error}: {source}; {next}");
            Exit::Failed
        }
        ControlError::Unknown => {
            err!("error: {error}");
            Exit::NoInput
        }
        ControlError::Ending | ControlError::Forbidden => {
            err!("error: {error}");
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
