//! The child while it runs.

use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Definition, Told, environment};
use crate::process::Program;

/// A child that runs.
pub struct Running {
    pub program: Program,
    pub since: Instant,
    pub variables: Vec<(String, String)>,
    /// How often its files had been replaced when it was started.
    pub changes: u64,
    /// It has been told to end.
    pub ending: Option<Ending>,
}

pub struct Ending {
    pub kill_at: Instant,
    pub killed: bool,
    pub then: Then,
}

/// What follows when it has ended.
pub enum Then {
    Start(oneshot::Sender<Told>),
    Over,
}

impl Running {
    /// `changes`: how often its files have been replaced so far.
    pub fn start(definition: &Definition, changes: u64) -> io::Result<Running> {
        let since = Instant::now();
        let variables = environment::read(definition.environment.as_deref())?;
        Ok(Running {
            program: Program::start(&definition.command, &variables)?,
            since,
            variables,
            changes,
            ending: None,
        })
    }
}

pub fn kill_signal(definition: &Definition) -> Signal {
    Signal::try_from(definition.rules.kill_signal.number).unwrap_or(Signal::SIGTERM)
}

pub fn tell_to_end(program: &Program, signal: Signal) {
    tell(program, signal);
    // One that is stopped hears nothing.
    program.resume();
}

pub fn tell(program: &Program, signal: Signal) {
    if let Err(error) = program.tell(signal) {
        tracing::debug!(signal = signal.as_str(), reason = %error, "child not signalled");
    }
}

/// Of an error of `process`: what was attempted, and what the system answered.
pub fn with_cause(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|attempt| attempt.source());
    match cause {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// To whole milliseconds, for logs.
pub fn rounded(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
