//! The rules of sessions and tokens: pure, `now` is an argument.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::TokenReuse;
use super::names::ProfileId;
use super::token::TokenKey;
use crate::clock::Now;
use crate::protocol::wire::Problem;
use crate::protocol::{Digest, TOKEN_LIFETIME};

/// How long a session is remembered after its last token has expired, so that the answer is `Expired` and not `Corrupted`.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Used-up tokens of a session that are still known to be its own. They are refused like unknown ones; only the count of
/// rejected calls can tell.
const USED_UP_KEPT: usize = 2;
/// Sessions between two sweeps.
const SWEEP_EVERY: usize = 1_024;

/// All sessions of a server.
#[derive(Debug)]
pub struct Sessions {
    reuse: TokenReuse,
    sessions: HashMap<u64, Session>,
    by_token: HashMap<TokenKey, u64>,
    next_id: u64,
}

/// One client's conversation about one profile.
#[derive(Debug)]
pub struct Session {
    pub profile: ProfileId,
    pub started_at: Timestamp,
    pub last_poll_at: Option<Timestamp>,
    pub interval: Duration,
    pub delivered: Option<Digest>,
    /// Oldest first; the last one is the one to use.
    tokens: VecDeque<Issued>,
}

#[derive(Debug)]
struct Issued {
    key: TokenKey,
    at: Duration,
    not_before: Duration,
    /// The revision that the holder of this token has.
    holds: Option<u64>,
    used_up: bool,
}

/// What GetLatestConfiguration answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polled {
    /// False: the session has this revision already, the body is empty.
    pub changed: bool,
    pub interval: Duration,
}

impl Sessions {
    pub fn new(reuse: TokenReuse) -> Sessions {
        Sessions {
            reuse,
            sessions: HashMap::new(),
            by_token: HashMap::new(),
            next_id: 0,
        }
    }

    /// Opens a session; its first poll may come at once.
    pub fn start(&mut self, profile: ProfileId, interval: Duration, initial: TokenKey, now: Now) {
        let id = self.next_id;
        self.next_id += 1;
        if self.sessions.len() % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.sweep(now);
        }
        let first = Issued {
            key: initial,
            at: now.steady,
            not_before: now.steady,
            holds: None,
            used_up: false,
        };
        self.by_token.insert(initial, id);
        let session = Session {
            profile,
            started_at: now.wall,
            last_poll_at: None,
            interval,
            delivered: None,
            tokens: VecDeque::from([first]),
        };
        self.sessions.insert(id, session);
    }

    /// Whose token this is, whether or not it may still be used.
    pub fn profile_of(&self, token: TokenKey) -> Option<&ProfileId> {
        self.session_of(token).map(|session| &session.profile)
    }

    /// What a poll with this token is refused for. Refusing spends nothing.
    pub fn examine(&self, token: TokenKey, now: Now) -> Result<(), Problem> {
        let issued = self
            .session_of(token)
            .and_then(|session| session.issued(token));
        let issued = issued.ok_or(Problem::Corrupted)?;
        if issued.used_up && self.reuse == TokenReuse::Reject {
            Err(Problem::Corrupted)
        } else if now.steady.saturating_sub(issued.at) > TOKEN_LIFETIME {
            Err(Problem::Expired)
        } else if now.steady < issued.not_before {
            Err(Problem::PollIntervalNotSatisfied)
        } else {
            Ok(())
        }
    }

    /// Spends `token`, issues `next`, and delivers what is deployed unless the holder of `token` has it.
    pub fn poll(
        &mut self,
        token: TokenKey,
        next: TokenKey,
        deployed: (u64, Digest),
        now: Now,
    ) -> Result<Polled, Problem> {
        self.examine(token, now)?;
        let reuse = self.reuse;
        let id = *self.by_token.get(&token).ok_or(Problem::Corrupted)?;
        let session = self.sessions.get_mut(&id).ok_or(Problem::Corrupted)?;
        let (revision, digest) = deployed;
        let issued = session.tokens.iter_mut().find(|issued| issued.key == token);
        let issued = issued.ok_or(Problem::Corrupted)?;
        issued.used_up = true;
        let changed = issued.holds != Some(revision);
        session.last_poll_at = Some(now.wall);
        session.delivered = Some(digest);
        session.tokens.push_back(Issued {
            key: next,
            at: now.steady,
            not_before: now.steady.saturating_add(session.interval),
            holds: Some(revision),
            used_up: false,
        });
        let polled = Polled {
            changed,
            interval: session.interval,
        };
        for forgotten in session.forget(reuse, now) {
            self.by_token.remove(&forgotten);
        }
        self.by_token.insert(next, id);
        Ok(polled)
    }

    /// In the order in which they were started.
    pub fn all(&self) -> impl Iterator<Item = &Session> {
        let mut ids: Vec<&u64> = self.sessions.keys().collect();
        ids.sort();
        ids.into_iter().filter_map(|id| self.sessions.get(id))
    }

    fn session_of(&self, token: TokenKey) -> Option<&Session> {
        self.sessions.get(self.by_token.get(&token)?)
    }

    fn sweep(&mut self, now: Now) {
        let oldest = now
            .steady
            .saturating_sub(TOKEN_LIFETIME.saturating_add(REMEMBERED));
        self.sessions
            .retain(|_, session| session.tokens.back().is_some_and(|last| last.at >= oldest));
        let sessions = &self.sessions;
        self.by_token.retain(|_, id| sessions.contains_key(id));
    }
}

impl Session {
    fn issued(&self, token: TokenKey) -> Option<&Issued> {
        self.tokens.iter().rev().find(|issued| issued.key == token)
    }

    /// Drops used-up tokens that need not be known any more: all but a few, or where reuse is accepted the expired ones.
    fn forget(&mut self, reuse: TokenReuse, now: Now) -> Vec<TokenKey> {
        let mut forgotten = Vec::new();
        while let Some(oldest) = self.tokens.front() {
            let too_old = now.steady.saturating_sub(oldest.at) > TOKEN_LIFETIME;
            let superfluous = match reuse {
                TokenReuse::Reject => self.tokens.len() > USED_UP_KEPT + 1,
                TokenReuse::Accept => self.tokens.len() > 1 && too_old,
            };
            if !superfluous {
                break;
            }
            forgotten.extend(self.tokens.pop_front().map(|issued| issued.key));
        }
        forgotten
    }
}

#[cfg(test)]
mod tests;
