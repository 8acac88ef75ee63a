//! One profile's session as a pure machine: events and the time go in, the next call comes out.
//!
//! The rules are those of AppConfig Data (API reference, StartConfigurationSession and GetLatestConfiguration): a token
//! is good for one call and lives 24 hours, every answer brings the next one, and a call before the interval has passed
//! is refused without spending the token. Whether a token whose answer was lost may be sent again is not documented, so
//! it is sent once more, as every AWS SDK does, and then the session is renewed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::backoff::Backoff;
use crate::clock::Now;
use crate::ledger::{Poll, SavedSession, SavedToken};
use crate::protocol::{
    DEFAULT_POLL_INTERVAL, GREATEST_POLL_INTERVAL, LEAST_POLL_INTERVAL, TOKEN_LIFETIME,
};
use crate::source::{Fault, FaultKind, Token};

/// After a lost answer.
pub const AFTER_LOSS: Backoff = Backoff {
    first: Duration::from_secs(1),
    ceiling: Duration::from_secs(300),
};
/// After 429.
pub const AFTER_THROTTLE: Backoff = Backoff {
    first: Duration::from_secs(5),
    ceiling: Duration::from_secs(600),
};
/// After sessions that are refused again and again.
pub const AFTER_REFUSAL: Backoff = Backoff {
    first: Duration::from_secs(10),
    ceiling: Duration::from_secs(600),
};
/// A token this close to its end is not sent: it has to arrive alive.
const LIFETIME_MARGIN: Duration = Duration::from_secs(60);

/// The session of one profile.
#[derive(Debug)]
pub struct Session {
    state: State,
    /// What was asked for; zero: nothing, the service's default.
    asked: Duration,
    /// The interval in force.
    interval: Duration,
    /// Steady time before which no call may be made; zero: at once.
    earliest: Duration,
    /// Steady time of the last call that the service may have processed.
    last_call: Option<Duration>,
    poll: Option<Poll>,
    /// Lost, throttled or early answers in a row.
    failures: u32,
    /// Sessions in a row that were refused without having brought a second answer.
    refusals: u32,
    /// This session has brought no answer yet.
    fresh: bool,
    /// This session has delivered a configuration.
    delivered: bool,
}

/// What may be sent, and how often, is the state's type.
#[derive(Debug)]
enum State {
    /// The next call starts a session.
    Absent,
    /// A StartConfigurationSession is under way.
    Starting,
    /// May be sent, and a second time if that answer is lost.
    Unsent(Held),
    /// Sent for the first time, no answer yet: if none is ever heard of, it counts as lost.
    FirstSend(Held),
    /// Sent once, and the answer was lost: may be sent this one more time.
    Doubtful(Held),
    /// Sent for the second time: only an answer that proves the token unspent brings it back.
    LastSend(Held),
}

#[derive(Debug)]
struct Held {
    token: Token,
    issued_at: Timestamp,
    /// Steady time of issue in nanoseconds; below zero when that was before this boot.
    issued: i128,
}

/// What to do now.
#[derive(Debug)]
pub enum Action {
    /// Call StartConfigurationSession.
    Start,
    /// Call GetLatestConfiguration with this token.
    Get(Token),
    /// Nothing before `Session::earliest`.
    Rest,
}

/// What a call brought.
#[derive(Debug)]
pub enum Event {
    Started(Token),
    Answered {
        token: Token,
        interval: Duration,
        /// The answer had a body.
        delivered: bool,
    },
    Failed {
        kind: FaultKind,
        /// The request may have reached the service.
        sent: bool,
    },
}

impl Event {
    pub fn of(fault: &Fault) -> Event {
        Event::Failed {
            kind: fault.kind,
            sent: fault.sent,
        }
    }
}

impl Session {
    /// A session that continues what the ledger has, as far as its times make sense by today's clock.
    ///
    /// `asked` is the interval that is asked for; zero asks for none.
    pub fn new(
        asked: Duration,
        saved: Option<SavedSession>,
        poll: Option<Poll>,
        now: Now,
    ) -> Session {
        let mut session = Session {
            state: State::Absent,
            asked,
            interval: if asked.is_zero() {
                DEFAULT_POLL_INTERVAL
            } else {
                asked
            },
            earliest: Duration::ZERO,
            last_call: None,
            poll,
            failures: 0,
            refusals: 0,
            fresh: true,
            delivered: false,
        };
        if let Some(saved) = saved {
            session.resume(saved, now);
        }
        let fresh = session.fresh && !matches!(session.state, State::Absent);
        if let (Some(poll), false) = (poll, fresh) {
            session.earliest = remaining(&poll, session.interval, now)
                .map(|left| now.steady.saturating_add(left))
                .unwrap_or_default();
        }
        session
    }

    /// The steady time before which no call may be made; zero: at once.
    pub fn earliest(&self) -> Duration {
        self.earliest
    }

    /// The interval in force: the one answered, else the one asked for.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// This session has delivered a configuration before: what it delivers now was deployed again.
    pub fn is_living(&self) -> bool {
        self.delivered
    }

    /// What outlives a restart. A token whose call is under way, or was cut off, counts as sent.
    pub fn saved(&self) -> (Option<SavedSession>, Option<Poll>) {
        let (held, sent) = match &self.state {
            State::Absent | State::Starting | State::LastSend(_) => return (None, self.poll),
            State::Unsent(held) => (held, false),
            State::FirstSend(held) | State::Doubtful(held) => (held, true),
        };
        let saved = SavedSession {
            token: SavedToken(Arc::clone(held.token.reveal())),
            issued_at: held.issued_at,
            sent,
            interval: self.interval,
            fresh: self.fresh,
        };
        (Some(saved), self.poll)
    }

    /// Begins a tick: the first call of it, or `Rest` before `earliest`.
    pub fn begin(&mut self, now: Now, random: f64) -> Action {
        if now.steady < self.earliest {
            return Action::Rest;
        }
        self.state = match std::mem::replace(&mut self.state, State::Absent) {
            // The last tick's call was cut off: nobody knows whether the service saw it.
            State::FirstSend(held) => State::Doubtful(held),
            State::LastSend(_) | State::Starting => State::Absent,
            state @ (State::Absent | State::Unsent(_) | State::Doubtful(_)) => state,
        };
        // Should this call be cut off, too, the next one still has to wait a moment.
        self.earliest = now.steady.saturating_add(AFTER_LOSS.pause(1, random));
        self.call(now)
    }

    /// Takes in what a call brought. Calls that follow at once are the result, `Rest` ends the tick.
    pub fn on(&mut self, event: Event, now: Now, random: f64) -> Action {
        match event {
            Event::Started(token) => self.started(token, now),
            Event::Answered {
                token,
                interval,
                delivered,
            } => self.answered(token, interval, delivered, now),
            Event::Failed { kind, sent } => self.failed(kind, sent, now, random),
        }
    }

    fn resume(&mut self, saved: SavedSession, now: Now) {
        self.interval = self.bounded(saved.interval);
        // An age below zero means that the clock has jumped: the token's age is unknowable, and it is not used.
        let age = now.wall.duration_since(saved.issued_at);
        let (Ok(age), Some(token)) = (Duration::try_from(age), Token::new(saved.token.0)) else {
            return;
        };
        let held = Held {
            token,
            issued_at: saved.issued_at,
            issued: nanos(now.steady) - nanos(age),
        };
        self.fresh = saved.fresh;
        self.delivered = !saved.fresh;
        self.state = if saved.sent {
            State::Doubtful(held)
        } else {
            State::Unsent(held)
        };
    }

    /// The call that the state allows.
    fn call(&mut self, now: Now) -> Action {
        let (action, state) = match std::mem::replace(&mut self.state, State::Absent) {
            State::Unsent(held) if held.lives(now) => {
                (Action::Get(held.token.again()), State::FirstSend(held))
            }
            State::Doubtful(held) if held.lives(now) => {
                (Action::Get(held.token.again()), State::LastSend(held))
            }
            State::Absent
            | State::Starting
            | State::Unsent(_)
            | State::Doubtful(_)
            | State::FirstSend(_)
            | State::LastSend(_) => (Action::Start, State::Starting),
        };
        self.state = state;
        action
    }

    fn started(&mut self, token: Token, now: Now) -> Action {
        self.fresh = true;
        self.delivered = false;
        self.state = State::Unsent(Held::new(token, now));
        // The first call of a session may be made at once.
        self.call(now)
    }

    fn answered(&mut self, token: Token, interval: Duration, delivered: bool, now: Now) -> Action {
        if !self.fresh {
            self.refusals = 0;
        }
        self.failures = 0;
        self.fresh = false;
        self.delivered |= delivered;
        self.interval = self.bounded(interval);
        self.state = State::Unsent(Held::new(token, now));
        self.last_call = Some(now.steady);
        self.earliest = now.steady.saturating_add(self.interval);
        self.poll = Some(Poll {
            last: now.wall,
            next: later(now.wall, self.interval),
        });
        Action::Rest
    }

    fn failed(&mut self, kind: FaultKind, sent: bool, now: Now, random: f64) -> Action {
        let refused_unsent = matches!(self.state, State::FirstSend(_));
        let starting = matches!(self.state, State::Starting);
        let processed = match kind {
            FaultKind::Lost => sent,
            FaultKind::Throttled | FaultKind::TokenRefused => true,
            FaultKind::TooEarly | FaultKind::NotFound | FaultKind::Operator => false,
        };
        self.state = match std::mem::replace(&mut self.state, State::Absent) {
            _ if kind == FaultKind::TokenRefused => State::Absent,
            State::FirstSend(held) if processed => State::Doubtful(held),
            State::LastSend(_) if processed => State::Absent,
            // An answer other than a loss proves that the token was not spent: it is what it was before.
            State::FirstSend(held) | State::Unsent(held) => State::Unsent(held),
            State::LastSend(held) | State::Doubtful(held) => State::Doubtful(held),
            State::Absent | State::Starting => State::Absent,
        };
        let pause = match kind {
            FaultKind::Lost => AFTER_LOSS.pause(self.count_failure(), random),
            FaultKind::Throttled => AFTER_THROTTLE.pause(self.count_failure(), random),
            FaultKind::TooEarly => self.until_ripe(now, random),
            FaultKind::TokenRefused if starting => self.interval,
            FaultKind::TokenRefused => {
                // A token in doubt was most likely spent by the call whose answer was lost: that is no sign of a
                // service that refuses every session.
                self.refusals = self.refusals.saturating_add(u32::from(refused_unsent));
                if self.refusals <= 1 && !(self.fresh && refused_unsent) {
                    return self.call(now);
                }
                AFTER_REFUSAL.pause(self.refusals, random)
            }
            FaultKind::NotFound | FaultKind::Operator => {
                self.failures = 0;
                // Nothing was asked of the service (no credentials yet, no region yet): that costs it nothing, and
                // after a boot the metadata service may only be late.
                if sent {
                    self.interval
                } else {
                    self.interval.min(AFTER_LOSS.ceiling)
                }
            }
        };
        if processed {
            self.last_call = Some(now.steady);
        }
        self.earliest = now.steady.saturating_add(pause);
        Action::Rest
    }

    fn count_failure(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// The pause after "too early": what remains of the interval, and more each time that it was not enough.
    fn until_ripe(&mut self, now: Now, random: f64) -> Duration {
        let remains = self
            .last_call
            .map(|last| {
                last.saturating_add(self.interval)
                    .saturating_sub(now.steady)
            })
            .unwrap_or_default();
        let backoff = Backoff {
            first: AFTER_LOSS.first,
            ceiling: self.interval.max(AFTER_LOSS.first),
        };
        remains.max(backoff.pause(self.count_failure(), random))
    }

    /// An answered interval within what makes sense: a minimum that was not undercut by asking, and a token's life.
    fn bounded(&self, interval: Duration) -> Duration {
        let least = if self.asked.is_zero() {
            LEAST_POLL_INTERVAL
        } else {
            self.asked.min(LEAST_POLL_INTERVAL)
        };
        interval.clamp(least.max(Duration::from_secs(1)), GREATEST_POLL_INTERVAL)
    }
}

impl Held {
    fn new(token: Token, now: Now) -> Held {
        Held {
            token,
            issued_at: now.wall,
            issued: nanos(now.steady),
        }
    }

    /// Young enough to be sent; an age that makes no sense is not.
    fn lives(&self, now: Now) -> bool {
        let age = nanos(now.steady) - self.issued;
        (0..nanos(TOKEN_LIFETIME - LIFETIME_MARGIN)).contains(&age)
    }
}

/// How long the recorded poll still forbids another; `None` where it does not. Times in the future count as passed.
fn remaining(poll: &Poll, interval: Duration, now: Now) -> Option<Duration> {
    if poll.last > now.wall {
        return None;
    }
    let left = Duration::try_from(poll.next.duration_since(now.wall)).ok()?;
    (!left.is_zero() && left <= interval).then_some(left)
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// No duration has more nanoseconds than 2^94.
fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}
