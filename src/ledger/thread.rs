//! The thread that owns the connection, and how it is asked.

use std::sync::mpsc::Receiver;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::error::LedgerError;
use super::record::{Change, State};
use super::store::Store;
use crate::protocol::Digest;

/// Commits that share a transaction at most.
const GROUP: usize = 1024;

pub(super) type Reply<T> = oneshot::Sender<Result<T, LedgerError>>;

pub(super) enum Request {
    Load(Reply<State>),
    Body(Digest, Reply<Option<Bytes>>),
    Commit(Vec<Change>, Reply<()>),
}

/// Serves until the last sender is gone. Requests are served in the order in which they came. Whoever has stopped
/// waiting for a reply does not get it; the commit counts.
pub(super) fn serve(mut store: Store, requests: &Receiver<Request>) {
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
                let mut group = vec![changes];
                let mut replies = vec![reply];
                while group.len() < GROUP {
                    match requests.try_recv() {
                        Ok(Request::Commit(changes, reply)) => {
                            group.push(changes);
                            replies.push(reply);
                        }
                        Ok(other) => {
                            put_back = Some(other);
                            break;
                        }
                        Err(_) => break,
                    }
                }
                for (reply, outcome) in replies.into_iter().zip(store.commit(&group)) {
                    let _ = reply.send(outcome);
                }
            }
        }
    }
}
