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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::server::token::Token;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Now {
        let wall = Timestamp::from_second(1_800_000_000 + i64::try_from(seconds).unwrap()).unwrap();
        Now {
            wall,
            steady: Duration::from_secs(seconds),
        }
    }

    fn token() -> TokenKey {
        Token::random().unwrap().key()
    }

    fn version(revision: u64) -> (u64, Digest) {
        (revision, Digest::of(&revision.to_be_bytes()))
    }

    fn profile() -> ProfileId {
        ProfileId {
            application: "a".into(),
            environment: "e".into(),
            profile: "p".into(),
        }
    }

    fn started(reuse: TokenReuse) -> (Sessions, TokenKey) {
        let mut sessions = Sessions::new(reuse);
        let initial = token();
        sessions.start(profile(), MINUTE, initial, at(1_000));
        (sessions, initial)
    }

    #[test]
    fn the_first_poll_may_come_at_once_and_brings_the_configuration() {
        let (mut sessions, initial) = started(TokenReuse::Reject);
        let polled = sessions.poll(initial, token(), version(1), at(1_000));
        assert_eq!(
            polled,
            Ok(Polled {
                changed: true,
                interval: MINUTE
            })
        );
    }

    #[test]
    fn an_unchanged_configuration_is_not_delivered_again() {
        let (mut sessions, first) = started(TokenReuse::Reject);
        let (second, third) = (token(), token());
        sessions.poll(first, second, version(1), at(1_000)).unwrap();
        assert!(
            !sessions
                .poll(second, third, version(1), at(1_060))
                .unwrap()
                .changed
        );
        assert!(
            sessions
                .poll(third, token(), version(2), at(1_120))
                .unwrap()
                .changed
        );
    }

    #[test]
    fn a_used_up_token_is_corrupted() {
        let (mut sessions, first) = started(TokenReuse::Reject);
        sessions
            .poll(first, token(), version(1), at(1_000))
            .unwrap();
        assert_eq!(
            sessions.poll(first, token(), version(1), at(1_100)),
            Err(Problem::Corrupted)
        );
        assert_eq!(sessions.profile_of(first), Some(&profile()));
    }

    #[test]
    fn a_token_may_be_used_again_where_that_is_accepted_and_brings_the_same_again() {
        let (mut sessions, first) = started(TokenReuse::Accept);
        sessions
            .poll(first, token(), version(1), at(1_000))
            .unwrap();
        assert!(
            sessions
                .poll(first, token(), version(1), at(1_001))
                .unwrap()
                .changed
        );
    }

    #[test]
    fn an_early_poll_does_not_spend_the_token() {
        let (mut sessions, first) = started(TokenReuse::Reject);
        let second = token();
        sessions.poll(first, second, version(1), at(1_000)).unwrap();
        let early = sessions.poll(second, token(), version(1), at(1_059));
        assert_eq!(early, Err(Problem::PollIntervalNotSatisfied));
        assert!(
            sessions
                .poll(second, token(), version(1), at(1_060))
                .is_ok()
        );
    }

    #[test]
    fn a_token_lives_24_hours_and_then_is_expired_for_a_week() {
        let (mut sessions, first) = started(TokenReuse::Reject);
        let day = 24 * 60 * 60;
        assert_eq!(sessions.examine(first, at(1_000 + day)), Ok(()));
        assert_eq!(
            sessions.examine(first, at(1_000 + day + 1)),
            Err(Problem::Expired)
        );
        sessions.sweep(at(1_000 + 7 * day));
        assert_eq!(
            sessions.examine(first, at(1_000 + 7 * day)),
            Err(Problem::Expired)
        );
        sessions.sweep(at(1_001 + 8 * day));
        assert_eq!(sessions.examine(first, at(1_000)), Err(Problem::Corrupted));
        assert!(sessions.by_token.is_empty());
    }

    #[test]
    fn an_unknown_token_is_corrupted() {
        let (mut sessions, _) = started(TokenReuse::Reject);
        assert_eq!(
            sessions.poll(token(), token(), version(1), at(1_000)),
            Err(Problem::Corrupted)
        );
    }

    #[test]
    fn used_up_tokens_take_no_memory() {
        let (mut sessions, mut current) = started(TokenReuse::Reject);
        for minute in 0..100 {
            let next = token();
            sessions
                .poll(current, next, version(1), at(1_000 + 60 * minute))
                .unwrap();
            current = next;
        }
        assert_eq!(sessions.by_token.len(), USED_UP_KEPT + 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Poll,
        PollUsedUp,
        Wait(u64),
        Deploy,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Poll),
            1 => Just(Step::PollUsedUp),
            2 => (0_u64..120).prop_map(Step::Wait),
            1 => Just(Step::Deploy),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        #[test]
        fn every_session_gets_every_change_once_and_never_sooner_than_the_interval(steps in steps()) {
            let (mut sessions, mut current) = started(TokenReuse::Reject);
            let (mut now, mut revision) = (1_000, 1);
            let (mut held, mut last_poll, mut used_up) = (None, None, None);
            for step in steps {
                match step {
                    Step::Wait(seconds) => now += seconds,
                    Step::Deploy => revision += 1,
                    Step::PollUsedUp => if let Some(used_up) = used_up {
                        prop_assert_eq!(sessions.poll(used_up, token(), version(revision), at(now)), Err(Problem::Corrupted));
                    },
                    Step::Poll => {
                        let next = token();
                        let early = last_poll.is_some_and(|last| now < last + 60);
                        match sessions.poll(current, next, version(revision), at(now)) {
                            Ok(polled) => {
                                prop_assert!(!early);
                                prop_assert_eq!(polled.changed, held != Some(revision));
                                held = Some(revision);
                                last_poll = Some(now);
                                used_up = Some(current);
                                current = next;
                            }
                            Err(problem) => {
                                prop_assert_eq!(problem, Problem::PollIntervalNotSatisfied);
                                prop_assert!(early);
                            }
                        }
                    }
                }
            }
        }
    }
}
