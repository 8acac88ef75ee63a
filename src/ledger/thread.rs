//! The thread that owns the connection, and how it is asked.

use std::collections::BTreeMap;
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

/// What was received is synced after this, unless a commit that is synced has come: its transaction makes one at once, as
/// a rule, and need not wait for two.
const SYNC: Duration = Duration::from_millis(10);

/// Bytes by their digest.
pub type Bodies = BTreeMap<Digest, Bytes>;

pub(super) type Reply<T> = oneshot::Sender<Result<T, LedgerError>>;

pub(super) enum Request {
    Load(Reply<State>),
    Bodies(Vec<Digest>, Reply<Bodies>),
    Commit(Vec<Change>, Reply<()>),
}

/// Serves until the last sender is gone. Requests are served in the order in which they came. Whoever has stopped
/// waiting for a reply does not get it; the commit counts.
pub(super) fn serve(store: &mut Store, requests: &Receiver<Request>, clock: &Clock) {
    let mut put_back = None;
    let mut sync_at = None;
    loop {
        let now = clock.now().steady;
        sync_at = store.is_unsynced().then(|| sync_at.unwrap_or(now + SYNC));
        let left = sync_at.map(|at: Duration| at.saturating_sub(now));
        if left == Some(Duration::ZERO) {
            store.sync();
            continue;
        }
        let next = match (put_back.take(), left) {
            (Some(request), _) => Ok(request),
            (None, None) => requests.recv().map_err(RecvTimeoutError::from),
            (None, Some(left)) => requests.recv_timeout(left),
        };
        let request = match next {
            Ok(request) => request,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match request {
            Request::Load(reply) => {
                let _ = reply.send(store.load());
            }
            Request::Bodies(digests, reply) => {
                let bodies = digests.into_iter().filter_map(|digest| {
                    let body = store.body(digest).transpose()?;
                    Some(body.map(|body| (digest, body)))
                });
                let _ = reply.send(bodies.collect());
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
    use std::sync::{Arc, Mutex};

    use jiff::Timestamp;

    use super::*;
    use crate::clock::Now;
    use crate::ledger::directory::Directory;
    use crate::ledger::limits::Limits;
    use crate::ledger::{SavedSession, SavedToken};
    use crate::protocol::{Configuration, Identity};

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

    /// What is owed after this much time has passed between what was received and a question.
    fn unsynced_after(passed: Duration) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let at = Directory::at(directory.path());
        at.make().unwrap();
        let lock = Arc::new(at.lock().unwrap());
        let opened = Store::open(&at, lock, Limits::default(), Timestamp::UNIX_EPOCH);
        let (mut store, _) = opened.unwrap();
        let steady = Arc::new(Mutex::new(Duration::ZERO));
        let read = Arc::clone(&steady);
        let clock = Clock::of(move || Now {
            wall: Timestamp::UNIX_EPOCH,
            steady: *read.lock().unwrap(),
        });
        let received = Change::Received {
            identity: Identity("a".into()),
            configuration: Configuration::new(Bytes::from_static(b"x"), None, None),
            at: Timestamp::UNIX_EPOCH,
        };
        let (to, requests) = channel();
        std::thread::scope(|scope| {
            let (store, clock) = (&mut store, &clock);
            scope.spawn(move || serve(store, &requests, clock));
            let (reply, done) = oneshot::channel();
            to.send(Request::Commit(vec![received], reply)).unwrap();
            done.blocking_recv().unwrap().unwrap();
            let ask = || {
                let (reply, loaded) = oneshot::channel();
                to.send(Request::Load(reply)).unwrap();
                loaded.blocking_recv().unwrap().unwrap();
            };
            // Its answer comes after the wait has begun, and the second's after what the first found owed.
            ask();
            *steady.lock().unwrap() += passed;
            ask();
            ask();
            drop(to);
        });
        store.is_unsynced()
    }

    #[test]
    fn what_was_received_is_synced_when_no_commit_has_done_it_in_time() {
        assert!(unsynced_after(SYNC / 2));
        assert!(!unsynced_after(SYNC));
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
