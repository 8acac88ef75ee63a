//! Sessions: a pure machine (`session`) and the thin task around it.

pub mod session;
mod tick;

pub use tick::{Member, Tick};

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::ledger::{Poll, SavedSession};
use crate::protocol::Configuration;
use crate::settings::Profile;
use crate::source::{Fault, FaultKind, Source};

use session::{Action, Event, Session};

/// One profile's session and the calls that it makes.
#[derive(Debug)]
pub struct Poller {
    profile: Arc<Profile>,
    source: Source,
    clock: Clock,
    session: Session,
}

/// What one tick brought.
#[derive(Debug)]
pub enum Polled {
    Unchanged,
    /// `again`: a living session (one that has already delivered) delivered bytes: even if they are the same, they were
    /// deployed again.
    Received {
        configuration: Configuration,
        again: bool,
    },
    /// The service says that it is too early, or `earliest` has not come yet; the token stays.
    TooEarly,
    /// `earliest` tells when to try again.
    Failed(Fault),
}

impl Poller {
    /// `saved` and `poll` come from the ledger.
    pub fn new(
        profile: Arc<Profile>,
        source: Source,
        clock: Clock,
        saved: Option<SavedSession>,
        poll: Option<Poll>,
    ) -> Poller {
        let session = Session::new(profile.poll_interval, saved, poll, clock.now());
        Poller {
            profile,
            source,
            clock,
            session,
        }
    }

    /// The steady time before which no call may be made. In the past or zero: at once.
    pub fn earliest(&self) -> Duration {
        self.session.earliest()
    }

    /// The interval in force: the one answered, else the one asked for.
    pub fn interval(&self) -> Duration {
        self.session.interval()
    }

    /// The session and poll times as they go to the ledger.
    pub fn saved(&self) -> (Option<SavedSession>, Option<Poll>) {
        self.session.saved()
    }

    /// The calls of one tick: at most a StartConfigurationSession and two GetLatestConfiguration. Never waits for an
    /// interval or a backoff, and makes no call before `earliest`.
    ///
    /// Cancel-safe as far as a lost answer is: a token whose call was cut off counts as sent.
    pub async fn poll(&mut self) -> Polled {
        let mut polled = Polled::TooEarly;
        let mut action = self.session.begin(self.clock.now(), fastrand::f64());
        loop {
            let event = match action {
                Action::Rest => return polled,
                Action::Start => match self.source.start_session(&self.profile).await {
                    Ok(token) => Event::Started(token),
                    Err(fault) => failed(fault, &mut polled),
                },
                Action::Get(token) => match self.source.get_latest(&self.profile, token).await {
                    Ok(answer) => {
                        let delivered = answer.configuration.is_some();
                        polled = match answer.configuration {
                            None => Polled::Unchanged,
                            Some(configuration) => Polled::Received {
                                configuration,
                                again: self.session.is_living(),
                            },
                        };
                        Event::Answered {
                            token: answer.token,
                            interval: answer.interval,
                            delivered,
                        }
                    }
                    Err(fault) => failed(fault, &mut polled),
                },
            };
            action = self.session.on(event, self.clock.now(), fastrand::f64());
        }
    }
}

fn failed(fault: Fault, polled: &mut Polled) -> Event {
    let event = Event::of(&fault);
    *polled = match fault.kind {
        FaultKind::TooEarly => Polled::TooEarly,
        _ => Polled::Failed(fault),
    };
    event
}

#[cfg(test)]
mod tests;
