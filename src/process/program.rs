//! A program in the foreground: our standard descriptors, our environment and directory, a process group of its own.

use std::io;
use std::path::PathBuf;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::group::Group;
use super::{Ended, Surroundings, lookup};
use crate::settings::Command;

/// Between us and our service manager: a child that inherits them speaks in our name.
const OURS: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// A running program. Dropping it kills its group unless it has been reaped.
pub struct Program(Group);

impl Program {
    /// Starts the command with these variables beside all of ours. An error of the kind `NotFound` or
    /// `PermissionDenied` is about the program itself.
    #[expect(
        clippy::disallowed_methods,
        reason = "one of the two places that start children"
    )]
    pub fn start(command: &Command, variables: &[(String, String)]) -> io::Result<Program> {
        let here = Surroundings {
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            ..Surroundings::default()
        };
        let path = lookup::program(lookup::name(command), &here)?;
        let mut starting = tokio::process::Command::new(&path);
        match command {
            Command::Argv(argv) => {
                starting
                    .arg0(lookup::name(command))
                    .args(argv.iter().skip(1));
            }
            Command::Shell(line) => {
                starting.arg("-c").arg(line);
            }
        }
        for name in OURS {
            starting.env_remove(name);
        }
        for (name, value) in variables {
            starting.env(name, value);
        }
        Group::of(starting, &path).map(Program)
    }

    pub fn pid(&self) -> i32 {
        self.0.pid()
    }

    /// Until it has ended, by itself or not. It is not reaped: its number is still its own.
    pub async fn ended(&self) {
        self.0.leader_ended().await;
    }

    /// Sends it a signal, and none to its children.
    pub fn tell(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::Signal::from_named_raw(signal as i32) {
            Some(signal) => self.0.tell_leader(signal),
            None => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// It and all of its group go on, if somebody has stopped them.
    pub fn resume(&self) {
        // An error means that nobody is left in the group.
        let _ = killpg(Pid::from_raw(self.0.pid()), Signal::SIGCONT);
    }

    /// It and all that is left of its group.
    pub fn kill(&self) {
        self.0.kill();
    }

    /// How it ended, once it has. What it has left behind in its group is killed first, while its number is still its own.
    pub fn reap(&mut self) -> io::Result<Ended> {
        self.0.kill();
        self.0.reap().map(Ended::from)
    }
}
