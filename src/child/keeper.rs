//! The task that has the child: nobody else starts, signals or reaps it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::running::{Ending, Running, Then, kill_signal, rounded, tell, tell_to_end, with_cause};
use super::terminal::{Terminal, next};
use super::{Definition, Last, Seen, State, Told, environment};
use crate::backoff::Backoff;
use crate::process::Shown;
use crate::settings::Restart;

/// What the keeper is asked.
#[derive(Debug)]
pub enum Order {
    Define(Box<Definition>),
    Start,
    Begin(oneshot::Sender<Seen>),
    Restart(oneshot::Sender<Told>),
    Watch(oneshot::Sender<Told>),
    WasThere(oneshot::Sender<bool>),
    Judged,
    Tell(Signal),
    End(Signal),
}

/// Between two starts of a child that ends by itself.
const PAUSES: Backoff = Backoff {
    first: Duration::from_secs(1),
    ceiling: Duration::from_secs(60),
};
/// A child that has run for so long was well: the pauses begin anew.
const WELL: Duration = Duration::from_secs(10);
/// For its files to go back. It is for defects: who notified it starts it again when they have gone back.
const GOING_BACK: Duration = Duration::from_secs(60);
/// What the kernel is given to carry out a KILL.
const GRACE: Duration = Duration::from_secs(5);

pub struct Keeper {
    definition: Definition,
    phase: Phase,
    state: watch::Sender<State>,
    /// Who wants to know whether it stays up, and when that is.
    proof: Option<(Instant, oneshot::Sender<Told>)>,
    on_trial: bool,
    /// When somebody wanted to notify it last, it had no start yet, or its first one with the files as they were then.
    was_new: bool,
    /// How often its files were replaced.
    changes: Arc<AtomicU64>,
    /// Of starts.
    number: u64,
    /// Ends by itself, in a row.
    failures: u32,
    last: Last,
    terminal: Option<Terminal>,
}

#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
enum Phase {
    Unborn,
    Running(Running),
    /// Until its next start.
    Resting(Instant),
    /// It ended on trial: until its files have gone back, or that time has come.
    Fallen(Instant),
    Over,
}

impl Keeper {
    pub fn new(
        definition: Definition,
        state: watch::Sender<State>,
        changes: Arc<AtomicU64>,
    ) -> Keeper {
        Keeper {
            definition,
            phase: Phase::Unborn,
            state,
            proof: None,
            on_trial: false,
            was_new: false,
            changes,
            number: 0,
            failures: 0,
            last: Last::Lost,
            terminal: Terminal::open(),
        }
    }

    /// Until nobody is left who could ask for anything.
    pub async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        // An error means that a child that is stopped on its terminal is not followed.
        let mut stops = signal(SignalKind::child()).ok();
        loop {
            self.publish();
            let due = self.due();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.order(order),
                    None => return,
                },
                () = ended(&self.phase) => self.ended(),
                () = at(due), if due.is_some() => self.time(),
                () = next(&mut stops), if self.terminal.is_some() => self.follow(),
            }
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Define(definition) => self.definition = *definition,
            Order::Start => {
                if matches!(self.phase, Phase::Unborn) {
                    self.start();
                }
            }
            Order::Begin(reply) => {
                let seen = self.begin();
                // An error means that nobody waits any more; so below.
                let _ = reply.send(seen);
            }
            Order::Restart(reply) => self.restart(reply),
            Order::Watch(reply) => match &self.phase {
                Phase::Running(Running { ending: None, .. }) => self.prove(reply),
                Phase::Running(_) | Phase::Unborn | Phase::Over => {
                    let _ = reply.send(Told::Ending);
                }
                Phase::Resting(_) | Phase::Fallen(_) => {
                    let _ = reply.send(Told::Fell(self.how()));
                }
            },
            Order::WasThere(reply) => {
                let _ = reply.send(!self.was_new);
            }
            Order::Judged => self.on_trial = false,
            Order::Tell(signal) => {
                if let Phase::Running(running) = &self.phase {
                    tell(&running.program, signal);
                }
            }
            Order::End(signal) => self.end(signal),
        }
    }

    fn begin(&mut self) -> Seen {
        let now = environment::read(self.definition.environment.as_deref());
        let changes = self.changes.load(Ordering::SeqCst);
        self.was_new = match &self.phase {
            Phase::Unborn => true,
            Phase::Running(running) => self.number == 1 && running.changes == changes,
            Phase::Resting(_) | Phase::Fallen(_) | Phase::Over => false,
        };
        match &self.phase {
            Phase::Unborn => Seen::Unborn,
            Phase::Running(running) => match &running.ending {
                Some(Ending {
                    then: Then::Over, ..
                }) => Seen::Ending,
                Some(_) => Seen::Down,
                None => {
                    let up_to_date = now.is_ok_and(|now| now == running.variables);
                    let has_read = running.changes == changes;
                    self.on_trial = self.definition.goes_back && !(up_to_date && has_read);
                    Seen::Running {
                        pid: running.program.pid(),
                        number: self.number,
                        up_to_date,
                        has_read,
                    }
                }
            },
            Phase::Resting(_) | Phase::Fallen(_) => Seen::Down,
            Phase::Over => Seen::Ending,
        }
    }

    fn restart(&mut self, reply: oneshot::Sender<Told>) {
        match &mut self.phase {
            Phase::Unborn | Phase::Over => {
                let _ = reply.send(Told::Ending);
            }
            Phase::Resting(_) | Phase::Fallen(_) => {
                self.start();
                self.prove(reply);
            }
            Phase::Running(running) => match &mut running.ending {
                None => {
                    let signal = kill_signal(&self.definition);
                    tell_to_end(&running.program, signal);
                    running.ending = Some(Ending {
                        kill_at: Instant::now() + self.definition.rules.kill_timeout,
                        killed: false,
                        then: Then::Start(reply),
                    });
                }
                Some(ending) => match &mut ending.then {
                    // Who asked before has gone, or the queue would not ask again.
                    Then::Start(before) => *before = reply,
                    Then::Over => {
                        let _ = reply.send(Told::Ending);
                    }
                },
            },
        }
    }

    /// Answers when it has run for its time, or at once where it does not run.
    fn prove(&mut self, reply: oneshot::Sender<Told>) {
        if !matches!(self.phase, Phase::Running(_)) {
            let _ = reply.send(Told::Fell(self.how()));
            return;
        }
        self.proof = Some((Instant::now() + self.definition.rules.min_uptime, reply));
    }

    fn end(&mut self, signal: Signal) {
        if let Some((_, reply)) = self.proof.take() {
            let _ = reply.send(Told::Ending);
        }
        match &mut self.phase {
            Phase::Unborn => {
                self.last = Last::Never(signal as i32);
                self.phase = Phase::Over;
            }
            Phase::Running(running) => {
                let signal = match signal {
                    Signal::SIGTERM => kill_signal(&self.definition),
                    other => other,
                };
                tell_to_end(&running.program, signal);
                let kill_at = Instant::now() + self.definition.rules.kill_timeout;
                let ending = running.ending.get_or_insert(Ending {
                    kill_at,
                    killed: false,
                    then: Then::Over,
                });
                if let Then::Start(reply) = std::mem::replace(&mut ending.then, Then::Over) {
                    let _ = reply.send(Told::Ending);
                }
            }
            Phase::Resting(_) | Phase::Fallen(_) => self.phase = Phase::Over,
            Phase::Over => {}
        }
    }

    fn start(&mut self) {
        self.number += 1;
        let changes = self.changes.load(Ordering::SeqCst);
        let command = &self.definition.command;
        match Running::start(&self.definition, changes) {
            Ok(running) => {
                if let Some(terminal) = &self.terminal {
                    terminal.give(&running.program);
                }
                let pid = running.program.pid();
                tracing::info!(command = %Shown(command), pid, "child started");
                self.phase = Phase::Running(running);
            }
            Err(error) => {
                let reason = with_cause(&error);
                tracing::error!(command = %Shown(command), reason, "child not started");
                self.fell(Last::from(&error), Duration::ZERO);
            }
        }
    }

    /// Its process has ended, and is still there to be reaped.
    fn ended(&mut self) {
        let Phase::Running(mut running) = std::mem::replace(&mut self.phase, Phase::Unborn) else {
            return;
        };
        // From here on nobody uses its number.
        self.state.send_replace(State::Down);
        if let Some(terminal) = &self.terminal {
            terminal.take_back(running.program.pid());
        }
        let last = Last::from(running.program.reap());
        let lived = running.since.elapsed();
        match running.ending.map(|ending| ending.then) {
            Some(Then::Over) => {
                tracing::info!(how = %last, "child ended");
                self.last = last;
                self.phase = Phase::Over;
            }
            Some(Then::Start(reply)) => {
                tracing::debug!(how = %last, "child ended, to be started again");
                self.start();
                self.prove(reply);
            }
            None => {
                tracing::warn!(how = %last, after = ?rounded(lived), "child ended by itself");
                let keys = matches!(last, Last::Killed(by) if by == Signal::SIGINT as i32 || by == Signal::SIGQUIT as i32);
                if keys && self.terminal.is_some() {
                    // Who sits at the terminal wants no other one.
                    self.last = last;
                    self.phase = Phase::Over;
                } else {
                    self.fell(last, lived);
                }
            }
        }
    }

    /// It does not run, and nobody wanted that.
    fn fell(&mut self, last: Last, lived: Duration) {
        self.last = last;
        if let Some((_, reply)) = self.proof.take() {
            let after = match last {
                Last::Exited(_) | Last::Killed(_) => {
                    format!(" {:?} after its start", rounded(lived))
                }
                _ => String::new(),
            };
            let _ = reply.send(Told::Fell(format!("the child {last}{after}")));
        }
        self.failures = match lived >= WELL {
            true => 1,
            false => self.failures.saturating_add(1),
        };
        if self.on_trial {
            self.on_trial = false;
            self.phase = Phase::Fallen(Instant::now() + GOING_BACK);
            return;
        }
        self.by_rule();
    }

    fn by_rule(&mut self) {
        let again = match self.definition.rules.restart {
            Restart::Never => false,
            Restart::OnFailure => !self.last.is_success(),
            Restart::Always => true,
        };
        if !again {
            self.phase = Phase::Over;
            return;
        }
        let pause = PAUSES.growing_pause(self.failures, fastrand::f64());
        tracing::info!(pause = ?rounded(pause), "child is started again");
        self.phase = Phase::Resting(Instant::now() + pause);
    }

    fn due(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Running(running) => running.ending.as_ref().map(|ending| ending.kill_at),
            Phase::Resting(until) | Phase::Fallen(until) => Some(*until),
            Phase::Unborn | Phase::Over => None,
        };
        let proof = self.proof.as_ref().map(|(until, _)| *until);
        phase.into_iter().chain(proof).min()
    }

    fn time(&mut self) {
        let now = Instant::now();
        if let Some((until, reply)) = self.proof.take() {
            if until <= now {
                let _ = reply.send(Told::Up);
            } else {
                self.proof = Some((until, reply));
            }
        }
        match &mut self.phase {
            Phase::Running(running) => {
                let due = running.ending.as_mut().filter(|it| it.kill_at <= now);
                let Some(ending) = due else { return };
                if !ending.killed {
                    tracing::warn!(
                        pid = running.program.pid(),
                        "child did not end within kill_timeout: it is killed"
                    );
                    running.program.kill();
                    ending.killed = true;
                    ending.kill_at = now + GRACE;
                    return;
                }
                // The kernel does not let it go (a dead network file system): we do not wait for that.
                ending.kill_at = now + GOING_BACK;
                if matches!(ending.then, Then::Over) {
                    self.last = Last::Killed(Signal::SIGKILL as i32);
                    self.phase = Phase::Over;
                }
            }
            Phase::Resting(until) if *until <= now => self.start(),
            Phase::Fallen(until) if *until <= now => self.by_rule(),
            Phase::Resting(_) | Phase::Fallen(_) | Phase::Unborn | Phase::Over => {}
        }
    }

    fn follow(&self) {
        if let (Some(terminal), Phase::Running(running)) = (&self.terminal, &self.phase) {
            terminal.follow(&running.program);
        }
    }

    fn how(&self) -> String {
        format!("the child {}", self.last)
    }

    fn publish(&self) {
        let state = match &self.phase {
            Phase::Unborn => State::Unborn,
            Phase::Running(running) => match &running.ending {
                None => State::Running {
                    pid: running.program.pid(),
                    number: self.number,
                },
                Some(Ending {
                    then: Then::Start(_),
                    ..
                }) => State::Down,
                Some(_) => State::Ending,
            },
            Phase::Resting(_) | Phase::Fallen(_) => State::Down,
            Phase::Over => State::Over(self.last),
        };
        self.state.send_if_modified(|before| {
            let differs = *before != state;
            *before = state;
            differs
        });
    }
}

async fn ended(phase: &Phase) {
    match phase {
        Phase::Running(running) => running.program.ended().await,
        Phase::Unborn | Phase::Resting(_) | Phase::Fallen(_) | Phase::Over => {
            std::future::pending().await
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
