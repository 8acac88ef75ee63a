//! The durable state: SQLite, one thread, commits grouped.

mod changes;
mod columns;
mod connection;
mod directory;
mod error;
mod history;
mod installed;
mod limits;
mod presence;
mod reader;
mod record;
mod rows;
mod runs;
mod schema;
mod state;
mod store;
mod table;
mod telling;
mod thread;
mod watched;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::oneshot;

pub use error::LedgerError;
pub use record::*;
pub use table::Table;
pub use thread::Bodies;

use crate::clock::Clock;
use crate::protocol::Digest;
use directory::{Directory, Lock};
use limits::Limits;
use store::Store;
use thread::{Reply, Request};

/// A handle to the ledger's thread; cheap to clone.
///
/// When the last one goes, what is waiting is still committed, the thread ends, and the directory's lock is released;
/// dropping waits for that.
#[derive(Clone, Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
}

/// What opening found.
#[derive(Debug)]
pub struct Opened {
    pub ledger: Ledger,
    /// A damaged ledger was moved here, and a new one begun: history, holds and quarantine are gone.
    pub moved_aside: Option<PathBuf>,
}

impl Ledger {
    /// Opens or creates `ledger.db` (0600) in the directory (made 0700 where it is missing) and takes the directory's lock,
    /// which is held as long as a handle lives. Damage (SQLITE_CORRUPT, NOTADB, values that were never written; never an
    /// I/O or full error) moves `ledger.db`, `-wal`, `-shm` aside together. Blocks while the file is checked.
    pub fn open(directory: &Path) -> Result<Opened, LedgerError> {
        let now = Clock::system().now().wall;
        Ledger::open_within(directory, Limits::default(), now)
    }

    /// Opens an existing ledger for reading only, beside a running daemon; `None` where there is none. Writes nothing,
    /// creates nothing. Blocks. For other processes than the one that opens the ledger: SQLite shares the log's index within
    /// a process, and a writer that opens while somebody reads here would find it read-only.
    pub fn read(directory: &Path) -> Result<Option<State>, LedgerError> {
        reader::read(directory, rows::state)
    }

    /// A body, as `read`: without the lock.
    pub fn read_body(directory: &Path, digest: Digest) -> Result<Option<Bytes>, LedgerError> {
        let body = reader::read(directory, |connection| rows::body(connection, digest))?;
        Ok(body.flatten())
    }

    /// What commands wrote, the oldest first, as `read`: without the lock. Bounded for every service and target.
    pub fn read_runs(directory: &Path) -> Result<Vec<CommandRun>, LedgerError> {
        let runs = reader::read(directory, runs::rows)?;
        Ok(runs.unwrap_or_default())
    }

    /// Where its files lie.
    pub fn directory(&self) -> &Path {
        self.shared.directory.path()
    }

    /// Everything but bodies.
    pub async fn load(&self) -> Result<State, LedgerError> {
        self.ask(Request::Load).await
    }

    /// The bytes of received, accepted or historic configurations, of those that an open intent installs, and of files kept
    /// in history; what is gone is left out. Bytes that do not have their digest any more are damage.
    pub async fn bodies(&self, digests: Vec<Digest>) -> Result<Bodies, LedgerError> {
        self.ask(|reply| Request::Bodies(digests, reply)).await
    }

    /// All changes in one commit, or none. On disk when it is confirmed, unless every change is a session that was renewed or
    /// a configuration that was received: a power cut may take these, the last received first, and both come again. What was
    /// received is on disk 10 ms later. Bodies that nothing names any more go. A caller that stops waiting does not stop
    /// the commit.
    ///
    /// An error is not tried again here; after an I/O error the next request gets a new connection. Where the ledger's files
    /// have been removed under us, they are written anew first, with all that they held; where others lie there now, or
    /// another process has the directory, nothing is committed.
    pub async fn commit(&self, changes: Vec<Change>) -> Result<(), LedgerError> {
        self.ask(|reply| Request::Commit(changes, reply)).await
    }

    fn open_within(
        directory: &Path,
        limits: Limits,
        now: Timestamp,
    ) -> Result<Opened, LedgerError> {
        let directory = Directory::at(directory);
        directory.make()?;
        let lock = Arc::new(directory.lock()?);
        let (mut store, moved_aside) = Store::open(&directory, Arc::clone(&lock), limits, now)?;
        let (requests, incoming) = channel();
        let thread = Builder::new()
            .name("ledger".to_owned())
            .spawn(move || thread::serve(&mut store, &incoming, &Clock::system()))
            .map_err(|error| LedgerError::io("start a thread for", directory.path(), error))?;
        let ledger = Ledger {
            shared: Arc::new(Shared {
                directory,
                requests: Some(requests),
                thread: Some(thread),
                _lock: lock,
            }),
        };
        Ok(Opened {
            ledger,
            moved_aside,
        })
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let requests = self.shared.requests.as_ref().ok_or(LedgerError::Ended)?;
        requests
            .send(request(reply))
            .map_err(|_| LedgerError::Ended)?;
        answer.await.map_err(|_| LedgerError::Ended)?
    }
}

/// What all handles share.
struct Shared {
    directory: Directory,
    /// `None` only while this is dropped.
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
    /// Released after the thread has ended, a panic of it included.
    _lock: Arc<Lock>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was told by its hook, and to its callers as `Ended`.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.directory.path();
        f.debug_struct("Shared")
            .field("directory", &directory)
            .finish_non_exhaustive()
    }
}
