//! The terminal that we may have been started on: the child is in a process group of its own, and reads from it and gets
//! its keys only while that group is in the foreground.

use std::fs::File;

use nix::sys::signal::{Signal, raise};
use nix::unistd::{getpgrp, getpid, getsid};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

use crate::process::Program;

/// The controlling terminal.
#[derive(Debug)]
pub struct Terminal(File);

impl Terminal {
    /// `None` where there is none.
    pub fn open() -> Option<Terminal> {
        File::open("/dev/tty").ok().map(Terminal)
    }

    /// To the child, if it is ours to give. What it was stopped by in the meantime is undone.
    pub fn give(&self, program: &Program) {
        if self.foreground() == Some(getpgrp().as_raw())
            && let Some(group) = Pid::from_raw(program.pid())
            && tcsetpgrp(&self.0, group).is_ok()
        {
            program.resume();
        }
    }

    /// Whether this child has it.
    pub fn is_with(&self, pid: i32) -> bool {
        self.foreground() == Some(pid)
    }

    /// From a child that has ended or is stopped.
    pub fn take_back(&self, pid: i32) {
        if self.is_with(pid)
            && let Some(group) = Pid::from_raw(getpgrp().as_raw())
        {
            // An error means that the terminal has gone.
            let _ = tcsetpgrp(&self.0, group);
        }
    }

    /// A child may have been stopped by its terminal (Ctrl-Z): then we stop as well, or the shell would wait for a job
    /// of which nothing runs, and both go on together. Where no shell is above us the child goes on at once.
    pub fn follow(&self, program: &Program) {
        let Some(by) = stopped_by_terminal(program.pid()) else {
            return;
        };
        if by != Signal::SIGTSTP && self.is_with(program.pid()) {
            // It wanted the terminal in the moment before it had it.
            program.resume();
            return;
        }
        let pid = getpid();
        if pid.as_raw() == 1 || getsid(None) == Ok(pid) {
            self.give(program);
            program.resume();
            return;
        }
        if self.foreground() != Some(getpgrp().as_raw()) {
            self.take_back(program.pid());
            // The call returns when somebody lets us go on.
            let _ = raise(Signal::SIGSTOP);
            program.resume();
        }
        self.give(program);
    }

    fn foreground(&self) -> Option<i32> {
        let group = tcgetpgrp(&self.0).ok()?;
        Some(group.as_raw_nonzero().get())
    }
}

fn stopped_by_terminal(pid: i32) -> Option<Signal> {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
    let status = waitid(WaitId::Pid(Pid::from_raw(pid)?), options).ok()??;
    let by = status.stopping_signal()?;
    let mut terminal = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU].into_iter();
    terminal.find(|signal| *signal as i32 == by)
}

/// The next time that a child may have been stopped.
pub async fn next(stops: &mut Option<tokio::signal::unix::Signal>) {
    match stops {
        Some(stops) => {
            stops.recv().await;
        }
        None => std::future::pending().await,
    }
}
