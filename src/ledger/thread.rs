//! The thread that owns the connection, and how it is asked.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::error::LedgerError;
use super::record::{Change, State};
use super::store::{Store, may_be_lost};
use crate::clock::Clock;
use crate::protocol::Digest;

/// Commits that share a transaction at most.
const GROUP: usize = 1024;
/// How long renewed sessions wait for others, so that a tick of a thousand polls is not a thousand transactions. Shorter
/// than anybody notices, because a queue plans what a tick brought when all its sessions are kept.
const COMPANY: Duration = Duration::from_millis(10);

pub(super) type Reply<T> = oneshot::Sender<Result<T, LedgerError>>;

pub(super) enum Request {
    Load(Reply<State>),
    Body(Digest, Reply<Option<Bytes>>),
    Commit(Vec<Change>, Reply<()>),
}

/// Serves until the last sender is gone. Requests are served in the order in which they came. Whoever has stopped
/// waiting for a reply does not get it; the commit counts.
pub(super) fn serve(mut store: Store, requests: &Receiver<Request>, clock: &Clock) {
    let mut put_back = None;
    while let Some(request) = put_back.take().or_else(|| requests.recv().ok()) {
        match request {
            Request::Load(reply) => {
                let _ = reply.send(store.load());
            }
            Request::Body(digest, reply) => {
                let _ = reply.send(store.body(digest));
            }
            Request::Commit(changes, reply) => {
                let mut group = Group::of(changes, reply);
                put_back = group.gather(requests, clock);
                for (reply, outcome) in group.replies.into_iter().zip(store.commit(&group.changes))
                {
                    let _ = reply.send(outcome);
                }
            }
        }
    }
}

/// Commits that share a transaction.
struct Group {
    changes: Vec<Vec<Change>>,
    replies: Vec<Reply<()>>,
    /// Somebody's next step depends on it.
    urgent: bool,
}

impl Group {
    fn of(changes: Vec<Change>, reply: Reply<()>) -> Group {
        Group {
            urgent: !may_be_lost(&changes),
            changes: vec![changes],
            replies: vec![reply],
        }
    }

    /// Takes in what is there, and waits for more while nobody is in a hurry. What is no commit is put back.
    fn gather(&mut self, requests: &Receiver<Request>, clock: &Clock) -> Option<Request> {
        let until = clock.now().steady.saturating_add(COMPANY);
        while self.changes.len() < GROUP {
            let next = match requests.try_recv() {
                Err(_) if !self.urgent => {
                    let left = until.saturating_sub(clock.now().steady);
                    requests.recv_timeout(left)
                }
                other => other.map_err(|_| RecvTimeoutError::Timeout),
            };
            match next {
                Ok(Request::Commit(changes, reply)) => {
                    self.urgent |= !may_be_lost(&changes);
                    self.changes.push(changes);
                    self.replies.push(reply);
                }
                Ok(other) => return Some(other),
                Err(_) => break,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Sender, channel};

    use jiff::Timestamp;

    use super::*;
    use crate::clock::Now;
    use crate::ledger::{SavedSession, SavedToken};
    use crate::protocol::Identity;

    fn session(identity: &str) -> Change {
        Change::Session {
            identity: Identity(identity.into()),
            session: Some(SavedSession {
                token: SavedToken("token".into()),
                issued_at: Timestamp::UNIX_EPOCH,
                sent: false,
                interval: Duration::from_secs(60),
                fresh: false,
            }),
            poll: None,
        }
    }

    fn commit(to: &Sender<Request>, change: Change) {
        to.send(Request::Commit(vec![change], oneshot::channel().0))
            .unwrap();
    }

    /// Time stands still until somebody hangs up.
    fn for_ever() -> Clock {
        let begun = AtomicBool::new(false);
        Clock::of(move || Now {
            wall: Timestamp::UNIX_EPOCH,
            steady: match begun.swap(true, Ordering::SeqCst) {
                false => Duration::from_secs(3600),
                true => Duration::ZERO,
            },
        })
    }

    #[test]
    fn renewed_sessions_wait_for_others_that_come_a_little_later() {
        let (to, requests) = channel();
        let mut group = Group::of(vec![session("a")], oneshot::channel().0);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for identity in ["b", "c", "d"] {
                    std::thread::yield_now();
                    commit(&to, session(identity));
                }
            });
            assert!(group.gather(&requests, &for_ever()).is_none());
        });
        assert_eq!((group.changes.len(), group.urgent), (4, false));
    }

    #[test]
    fn what_somebody_waits_for_takes_in_what_is_there_and_goes() {
        let (to, requests) = channel();
        let mut group = Group::of(vec![session("a")], oneshot::channel().0);
        commit(&to, session("b"));
        commit(
            &to,
            Change::QuarantineLifted {
                identity: Identity("c".into()),
            },
        );
        commit(&to, session("d"));
        // Nobody hangs up: a wait would last for an hour.
        assert!(group.gather(&requests, &for_ever()).is_none());
        assert_eq!((group.changes.len(), group.urgent), (4, true));
        drop(to);
    }

    #[test]
    fn a_question_ends_the_wait_and_comes_next() {
        let (to, requests) = channel();
        let mut group = Group::of(vec![session("a")], oneshot::channel().0);
        to.send(Request::Load(oneshot::channel().0)).unwrap();
        let put_back = group.gather(&requests, &for_ever());
        assert!(matches!(put_back, Some(Request::Load(_))));
        assert_eq!(group.changes.len(), 1);
        drop(to);
    }
}
