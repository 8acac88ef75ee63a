//! A child that leads its own process group.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

use super::invocation::Invocation;
use super::output::Output;
use super::{Pidfd, StartError, Surroundings, lookup};

/// The group of one running command. Dropping it kills the group unless its leader has been reaped.
pub struct Group {
    child: Child,
    leader: Pidfd,
    id: i32,
    reaped: bool,
}

impl Group {
    /// Starts the command; its standard output and error come out of the `Output`.
    #[expect(
        clippy::disallowed_methods,
        reason = "one of the two places that start children"
    )]
    pub fn start(
        invocation: &Invocation,
        surroundings: &Surroundings,
    ) -> io::Result<(Group, Output)> {
        let path = invocation.path.clone();
        let directory = lookup::directory(surroundings);
        // Asked first, because a failed start does not say whether the program or the directory is what is missing.
        std::fs::metadata(directory)
            .map_err(|error| wrap(error, |e| StartError::Directory(directory.into(), e)))?;
        let (reader, writer) = io::pipe()?;

        let mut starting = tokio::process::Command::new(&path);
        let mut words = invocation.words.iter();
        if let Some(name) = words.next() {
            starting.arg0(name);
        }
        starting.args(words);
        starting
            .env_clear()
            .envs(&invocation.environment)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        // `starting` holds the write end of the pipe; as long as it lives the output has no end.
        let group = Group::of(starting, &path)?;
        let output = Output::new(reader, surroundings.occasion.clone(), group.pid())?;
        Ok((group, output))
    }

    /// Starts what is ready to be started, as the leader of a group of its own.
    pub fn of(mut starting: tokio::process::Command, path: &Path) -> io::Result<Group> {
        starting.process_group(0);
        let child = with_no_signal_blocked(|| starting.spawn())
            .map_err(|error| wrap(error, |e| StartError::Spawn(path.to_owned(), e)))?;
        drop(starting);

        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let watched = id.map_or_else(|| Err(io::ErrorKind::NotFound.into()), Pidfd::open);
        match (watched, id) {
            (Ok(leader), Some(id)) => Ok(Group {
                child,
                leader,
                id,
                reaped: false,
            }),
            (Err(error), Some(id)) => {
                let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
                Err(wrap(error, |e| StartError::Watch(path.to_owned(), e)))
            }
            (_, None) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The leader's process id, which is the group's.
    pub fn pid(&self) -> i32 {
        self.id
    }

    /// Sends the leader a signal, and nobody else.
    pub fn tell_leader(&self, signal: rustix::process::Signal) -> io::Result<()> {
        self.leader.signal(signal)
    }

    /// Until the leader has ended, by itself or not. It is not reaped.
    pub async fn leader_ended(&self) {
        self.leader.ended().await;
    }

    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
        // A stopped process acts on TERM only once it runs again.
        self.signal(Signal::SIGCONT);
    }

    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
        // The leader itself may have moved to another group.
        let _ = self.leader.signal(rustix::process::Signal::KILL);
    }

    /// The status of a leader that has ended; from here on its number may belong to somebody else.
    pub fn reap(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.try_wait();
        // Reaped elsewhere (SIGCHLD ignored) counts as well: never signal a number that may be free.
        self.reaped = !matches!(status, Ok(None));
        status?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn signal(&self, signal: Signal) {
        if !self.reaped {
            let _ = killpg(Pid::from_raw(self.id), signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
        }
    }
}

/// A child inherits the mask of the thread that starts it; a blocked TERM would make it deaf to its time limit.
fn with_no_signal_blocked<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let ours = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = start();
    ours.thread_set_mask()?;
    started
}

/// The I/O error of the same kind that says what was attempted.
fn wrap(error: io::Error, attempt: impl FnOnce(io::Error) -> StartError) -> io::Error {
    io::Error::new(error.kind(), attempt(error))
}
