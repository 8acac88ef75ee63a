//! Children: argv or shell, own process group, time limit, group killed before its leader is reaped, output kept short.

mod account;
mod group;
mod invocation;
mod lookup;
mod output;
mod pidfd;
mod program;
mod shown;
mod transient;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use crate::settings::{Command, CommandOptions, Sandbox};
use crate::words;

pub use lookup::NotFound;
pub use pidfd::Pidfd;
pub use program::Program;
pub use shown::Shown;

use group::Group;
use invocation::Invocation;
use output::Output;
use transient::Unit;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Exit status, 0 to 255.
    Exited(i32),
    /// By a signal that was not ours.
    Killed(i32),
    /// Its time was up: TERM, grace (5 s where nothing is said), KILL, to its whole group.
    TimedOut,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct Run {
    pub ended: Ended,
    /// The last 4 KiB of standard output and error together, as text; control characters escaped.
    pub output: String,
}

/// What a child is given.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Where the child starts; `/` where it is empty.
    pub directory: PathBuf,
    /// Added to the allow-listed variables (PATH, HOME, LANG, LC_*, TZ, USER, LOGNAME, SHELL, TMPDIR).
    pub variables: Vec<(String, String)>,
    pub options: CommandOptions,
    pub occasion: Occasion,
}

/// For whom and for what a command runs: fields of what the log says of it.
#[derive(Clone, Debug, Default)]
pub struct Occasion {
    pub service: Option<String>,
    pub target: Option<String>,
    /// A word, such as `check`.
    pub what: Option<&'static str>,
}

/// Why a command could not be started; travels inside the `io::Error` of [`run`].
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot enter the working directory `{}`", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    #[error("{0}")]
    Account(String),
    #[error("cannot start `{}`", .0.display())]
    Spawn(PathBuf, #[source] io::Error),
    #[error("cannot watch the child of `{}`; this needs Linux 5.3 or later", .0.display())]
    Watch(PathBuf, #[source] io::Error),
}

/// What the kernel is given to carry out a KILL, and systemd to stop a unit beside its grace.
const PATIENCE: Duration = Duration::from_secs(5);

/// By these statuses setpriv(1), and a shell that becomes the program, say that they could not start it.
const COULD_NOT: [i32; 2] = [126, 127];

/// Runs the command to its end or its limit. Standard input is /dev/null. An error means that it could not be started.
///
/// A run that is dropped kills its whole group. What the leader leaves behind when it ends by itself is left alone:
/// it may be a daemon that the command was meant to start. Needs a Tokio runtime with IO and time.
pub async fn run(
    command: &Command,
    surroundings: &Surroundings,
    limit: Duration,
) -> io::Result<Run> {
    run_within(command, surroundings, limit).await
}

/// The absolute path of the program that the command would start, searched as execvp does; an error names the program.
///
/// A name without a slash is searched in the PATH that children get; any other relative one lies below `directory`.
pub fn program(command: &Command, directory: &Path) -> io::Result<PathBuf> {
    let surroundings = Surroundings {
        directory: directory.to_owned(),
        ..Surroundings::default()
    };
    surroundings.program(command)
}

/// Keeps what whoever started us left open from all children: their descriptors end with the standard ones.
///
/// For the start of the program: what we open ourselves is marked when it is opened.
pub fn keep_descriptors_from_children() {
    const AFTER_STANDARD_ERROR: i32 = 3;
    close_fds::set_fds_cloexec(AFTER_STANDARD_ERROR, &[]);
}

impl Surroundings {
    /// As [`program`], with a PATH of these variables before our own.
    pub fn program(&self, command: &Command) -> io::Result<PathBuf> {
        Invocation::tools(self)?;
        lookup::program(lookup::name(command), self)
    }

    /// The status of a run in these surroundings may say that the command was never started.
    pub fn could_not_start(&self, status: i32, output: &str) -> bool {
        match (&self.options.sandbox, &self.options) {
            // systemd's own, of which 255 is a signal; 1 is that of a client that got no unit.
            (Sandbox::None, _) => {
                matches!(status, 200..=243 | 255) || status == 1 && output.starts_with("Failed to ")
            }
            (Sandbox::Ours, options) => {
                let wrapped =
                    options.user.is_some() || options.group.is_some() || options.umask.is_some();
                wrapped && COULD_NOT.contains(&status)
            }
        }
    }

    /// The same, run in a service's way.
    pub fn under(&self, options: &CommandOptions) -> Surroundings {
        let directory = options.working_directory.as_ref();
        Surroundings {
            directory: directory.unwrap_or(&self.directory).clone(),
            variables: self.variables.clone(),
            options: options.clone(),
            occasion: self.occasion.clone(),
        }
    }

    /// The same for this occasion.
    pub fn on(self, occasion: Occasion) -> Surroundings {
        Surroundings { occasion, ..self }
    }

    /// The same with more variables; later ones win.
    pub fn with(&self, variables: &[(String, String)]) -> Surroundings {
        let mut all = self.variables.clone();
        all.extend_from_slice(variables);
        Surroundings {
            variables: all,
            ..self.clone()
        }
    }
}

impl Run {
    /// The end of the output on one line of at most about `limit` characters; empty when there was none.
    pub fn last_words(&self, limit: usize) -> String {
        words::last_line(&self.output, limit)
    }
}

async fn run_within(
    command: &Command,
    surroundings: &Surroundings,
    limit: Duration,
) -> io::Result<Run> {
    let invocation = Invocation::of(command, surroundings, limit)?;
    let (mut group, mut output) = Group::start(&invocation, surroundings)?;
    let mut unit = invocation.unit.map(Unit::new);
    let (pid, occasion) = (group.pid(), &surroundings.occasion);
    let (service, target) = (occasion.service.as_deref(), occasion.target.as_deref());
    debug!(service, target_path = target, what = occasion.what, pid, command = %Shown(command), "started");
    let in_time = {
        let mut reading = pin!(output.drain());
        let wait = async {
            let mut ended = pin!(group.leader_ended());
            tokio::select! {
                () = &mut ended => {}
                // The end of the output is not the end of the child: daemons close theirs and go on.
                () = &mut reading => ended.await,
            }
        };
        timeout(limit, wait).await.is_ok()
    };
    let grace = surroundings.options.grace;
    let ended = if in_time {
        if let Some(unit) = &mut unit {
            unit.has_ended();
        }
        Ended::from(group.reap()?)
    } else {
        if let Some(unit) = &mut unit {
            unit.stop(grace).await;
        }
        end_group(&mut group, &mut output, grace).await;
        Ended::TimedOut
    };
    debug!(service, target_path = target, what = occasion.what, pid, command = %Shown(command), ?ended, "ended");
    Ok(Run {
        ended,
        output: output.finish(),
    })
}

/// TERM, grace, KILL. The leader is reaped last: while it is unreaped, nobody else can have the group's number.
async fn end_group(group: &mut Group, output: &mut Output, grace: Duration) {
    group.terminate();
    // The leader's end alone says nothing about its children, an output that all of them have closed does.
    let all_gone = async {
        output.drain().await;
        group.leader_ended().await;
    };
    let _ = timeout(grace, all_gone).await;
    group.kill();
    // A child that the kernel does not let go (a dead network file system) is left to the runtime to reap.
    if timeout(PATIENCE, group.leader_ended()).await.is_ok() {
        let _ = group.reap();
    }
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exited(code),
            (None, signal) => Ended::Killed(signal.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests;
