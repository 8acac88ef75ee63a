//! The one connection that writes.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use super::changes::Changes;
use super::connection::{busy, check, connect, create, tidy_at_close, touch};
use super::directory::{self, Directory, Lock};
use super::error::{Kind, LedgerError, again, damage, kind};
use super::limits::Limits;
use super::presence::{Presence, Sight};
use super::record::{Change, State};
use super::{rows, schema};
use crate::protocol::Digest;

/// Pages that may be in the log before they are brought home; the log is then about 4 MiB.
const LOG_PAGES: usize = 1000;

/// Bytes of a page.
const PAGE: usize = 4096;

pub(super) struct Store {
    directory: Directory,
    path: PathBuf,
    limits: Limits,
    lock: Arc<Lock>,
    /// `None` after an error that leaves a connection's state unknown: the next request opens another.
    connection: Option<Connection>,
    /// The files of the connection, or of the last one.
    presence: Option<Presence>,
    synchronous: Synchronous,
    /// The log may lack pages that an fsync reported as lost; it is brought home before anything is built on it.
    suspect: bool,
    /// `State::history_bytes`, when known.
    history_bytes: Option<u64>,
    /// About how many pages have gone to the log.
    log_pages: usize,
    /// What opening read to see whether it can be read; the first `load` takes it.
    read_at_open: Option<State>,
    /// The log holds a configuration that no sync has followed.
    unsynced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Synchronous {
    Full,
    Normal,
}

impl Synchronous {
    fn of(changes: &[Change]) -> Synchronous {
        if comes_again(changes) {
            Synchronous::Normal
        } else {
            Synchronous::Full
        }
    }
}

/// A renewed session that is lost costs a new session, nothing else.
pub(super) fn may_be_lost(changes: &[Change]) -> bool {
    changes.iter().all(is_renewal)
}

/// A configuration that is lost together with the token that came with it comes again with a new session. Whatever is built
/// on it is a later commit, and no power cut keeps that one without this.
fn comes_again(changes: &[Change]) -> bool {
    let comes = |change: &Change| is_renewal(change) || matches!(change, Change::Received { .. });
    changes.iter().all(comes)
}

fn is_renewal(change: &Change) -> bool {
    matches!(
        change,
        Change::Session {
            session: Some(_),
            ..
        }
    )
}

impl Store {
    /// Opens the ledger of a locked directory, or makes one. With the place that a damaged one went to.
    pub(super) fn open(
        directory: &Directory,
        lock: Arc<Lock>,
        limits: Limits,
        now: Timestamp,
    ) -> Result<(Store, Option<PathBuf>), LedgerError> {
        let mut moved_aside = None;
        if directory.database().exists() {
            let mut opened = Store::existing(directory, &lock, limits).map_err(blame_the_file);
            if matches!(opened, Err(LedgerError::Damaged { .. })) {
                // SQLite calls a page wrong, too, that the disk could not read: that is no damage.
                directory.read_through()?;
                opened = Store::existing(directory, &lock, limits).map_err(blame_the_file);
            }
            match opened {
                Err(LedgerError::Damaged { .. }) => {
                    moved_aside = Some(directory.move_aside(now)?);
                }
                other => return other.map(|store| (store, None)),
            }
        }
        create(directory)?;
        let store = Store::existing(directory, &lock, limits)?;
        Ok((store, moved_aside))
    }

    fn existing(
        directory: &Directory,
        lock: &Arc<Lock>,
        limits: Limits,
    ) -> Result<Store, LedgerError> {
        let path = directory.database();
        if directory.is_marked() || !directory.has_known_format()? {
            let found = damage("damage was found in it before");
            return Err(LedgerError::sqlite("open the file", &path, found));
        }
        directory.close_to_others()?;
        let connection = connect(&path)?;
        let sqlite = |step| {
            let path = path.clone();
            move |source| LedgerError::sqlite(step, &path, source)
        };
        schema::verify(&connection, &path)?;
        check(&connection).map_err(sqlite("check the pages"))?;
        schema::migrate(&connection).map_err(sqlite("bring up to date"))?;
        // SQLite sees wrong pages; wrong values show when they are read.
        let state = rows::state(&connection).map_err(sqlite("read"))?;
        tidy_at_close(&connection, true).map_err(sqlite("open the file"))?;
        schema::sign(&connection).map_err(sqlite("write"))?;
        Ok(Store {
            directory: directory.clone(),
            lock: Arc::clone(lock),
            presence: Presence::of(&path)?,
            path,
            limits,
            connection: Some(connection),
            synchronous: Synchronous::Full,
            suspect: false,
            history_bytes: Some(state.history_bytes),
            log_pages: 0,
            read_at_open: Some(state),
            unsynced: false,
        })
    }

    pub(super) fn load(&mut self) -> Result<State, LedgerError> {
        if let Some(state) = self.read_at_open.take() {
            return Ok(state);
        }
        let state = rows::state(self.connection()?);
        state.map_err(|source| self.failed("read", source))
    }

    pub(super) fn body(&mut self, digest: Digest) -> Result<Option<Bytes>, LedgerError> {
        let body = rows::body(self.connection()?, digest);
        body.map_err(|source| self.failed("read", source))
    }

    /// Each of the groups' members whole or not at all, in one transaction. A member that fails by itself takes down no
    /// other; when the commit fails, all fail.
    pub(super) fn commit(&mut self, group: &[Vec<Change>]) -> Vec<Result<(), LedgerError>> {
        self.read_at_open = None;
        if let Err(error) = self.stand_firm() {
            return refuse_all(group.len(), error);
        }
        let mut outcomes = Vec::with_capacity(group.len());
        let source = match self.attempt(group, &mut outcomes) {
            Ok(()) => {
                self.bring_home(group);
                None
            }
            Err(Failure::Ledger(error)) => {
                // There was no connection: the first is told why, and each of the others would be told the same.
                return refuse_all(group.len(), error);
            }
            Err(Failure::Sqlite(source)) => Some(source),
        };
        if let Some(source) = source {
            self.history_bytes = None;
            self.roll_back();
            outcomes.resize_with(group.len(), || Ok(()));
            return outcomes
                .into_iter()
                .map(|own| Err(self.failed("commit", own.err().unwrap_or_else(|| again(&source)))))
                .collect();
        }
        outcomes
            .into_iter()
            .map(|own| own.map_err(|source| self.failed("commit", source)))
            .collect()
    }

    /// `outcomes` gets the members that failed by themselves; an error is everybody's.
    fn attempt(
        &mut self,
        group: &[Vec<Change>],
        outcomes: &mut Vec<rusqlite::Result<()>>,
    ) -> Result<(), Failure> {
        let full = group
            .iter()
            .any(|changes| Synchronous::of(changes) == Synchronous::Full);
        let wanted = if full {
            Synchronous::Full
        } else {
            Synchronous::Normal
        };
        self.connection().map_err(Failure::Ledger)?;
        let Some(connection) = self.connection.as_mut() else {
            return Err(Failure::Ledger(LedgerError::Ended));
        };
        if self.synchronous != wanted {
            let word = match wanted {
                Synchronous::Full => "FULL",
                Synchronous::Normal => "NORMAL",
            };
            connection.pragma_update(None, "synchronous", word)?;
            self.synchronous = wanted;
        }
        let mut transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for changes in group {
            let savepoint = transaction.savepoint()?;
            let own = Changes::new(&savepoint, &self.limits, &mut self.history_bytes).make(changes);
            match own {
                Ok(()) => {
                    savepoint.commit()?;
                    outcomes.push(Ok(()));
                }
                Err(error) => {
                    self.history_bytes = None;
                    // Full disks and failed writes end the whole transaction, not only the savepoint.
                    if savepoint.is_autocommit() || kind(&error) != Kind::Other {
                        return Err(Failure::Sqlite(error));
                    }
                    savepoint.finish()?;
                    outcomes.push(Err(error));
                }
            }
        }
        transaction.commit()?;
        let received = |change: &Change| matches!(change, Change::Received { .. });
        self.unsynced = !full && (self.unsynced || group.iter().flatten().any(received));
        Ok(())
    }

    /// [`Store::sync`] is owed.
    pub(super) fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// Makes what was received last through a power cut. What fails here fails no commit: the next one builds on a log that
    /// has been brought home.
    pub(super) fn sync(&mut self) {
        self.unsynced = false;
        if let Err(error) = self.directory.sync_log() {
            self.connection = None;
            self.suspect = true;
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what was received last may not last through a power cut"
            );
        }
    }

    /// Nothing is committed to files that are not in the state directory any more, or while somebody else has it.
    fn stand_firm(&mut self) -> Result<(), LedgerError> {
        self.directory.hold(&self.lock)?;
        let path = || self.path.display().to_string();
        let Some(presence) = self.presence else {
            return Ok(());
        };
        match (presence.look(&self.path)?, &self.connection) {
            (Sight::Same, _) | (Sight::OtherLog, None) => Ok(()),
            (Sight::OtherLog, Some(_)) => self.go_on_in_a_new_log(),
            (Sight::OtherDatabase, _) => Err(LedgerError::Replaced { path: path() }),
            (Sight::Nothing, None) => Err(LedgerError::Gone { path: path() }),
            (Sight::Nothing, Some(_)) => self.write_anew(),
        }
    }

    /// What only the removed log held is brought home by the connection that still has it open.
    fn go_on_in_a_new_log(&mut self) -> Result<(), LedgerError> {
        let step = "write back the removed log";
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let home = self
            .connection()?
            .query_row(checkpoint, [], |row| row.get::<_, i64>(0));
        match home {
            Ok(0) => {}
            Ok(_) => return Err(self.failed(step, busy())),
            Err(source) => return Err(self.failed(step, source)),
        }
        self.connection = None;
        tracing::error!(ledger = %self.path.display(), "the ledger's log was removed while running: what it held is safe");
        Ok(())
    }

    /// The connection that still has the removed files open writes all that they held to new ones.
    fn write_anew(&mut self) -> Result<(), LedgerError> {
        let step = "write what it held anew";
        let new = self.directory.begin()?;
        let copied = self
            .connection()?
            .execute("VACUUM INTO ?1", [new.to_string_lossy()]);
        if let Err(source) = copied {
            return Err(LedgerError::sqlite(step, &self.path, source));
        }
        directory::sync(&new)?;
        // Closed before the new one is there: it removes its log by the log's name.
        self.connection = None;
        self.directory.drop_log()?;
        self.directory.finish()?;
        self.presence = None;
        tracing::error!(
            ledger = %self.path.display(),
            "the ledger was removed while running: it is written anew with all that it held; to begin without it, stop appconfigd first"
        );
        Ok(())
    }

    /// Writes the log's pages into the database when there are many. What fails here fails no commit: the log has it.
    fn bring_home(&mut self, group: &[Vec<Change>]) {
        self.log_pages += group.iter().flatten().map(pages).sum::<usize>();
        if self.log_pages < LOG_PAGES {
            return;
        }
        self.log_pages = 0;
        let Some(connection) = &self.connection else {
            return;
        };
        let done = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(source) = done {
            let error = self.failed("write back the log", source);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the ledger's log grows"
            );
        }
    }

    /// The connection, opened anew where the last one was given up.
    fn connection(&mut self) -> Result<&Connection, LedgerError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = connect(&self.path)?;
                self.synchronous = Synchronous::Full;
                self.history_bytes = None;
                if self.suspect {
                    // Every page of the log is written once more, into the database, and that is synced.
                    connection
                        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                        .map_err(|source| {
                            LedgerError::sqlite("write back the log", &self.path, source)
                        })?;
                    self.suspect = false;
                }
                // A log is there from the first reading on.
                touch(&connection)
                    .and_then(|()| tidy_at_close(&connection, true))
                    .map_err(|source| LedgerError::sqlite("read", &self.path, source))?;
                self.presence = Presence::of(&self.path)?;
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// What an error means for the connection, and for the caller.
    fn failed(&mut self, step: &'static str, source: rusqlite::Error) -> LedgerError {
        match kind(&source) {
            Kind::Io => {
                self.connection = None;
                self.suspect = true;
            }
            Kind::Damage => {
                if let Some(connection) = self.connection.take()
                    && let Err(error) = tidy_at_close(&connection, false)
                {
                    tracing::debug!(%error, "the log of the damaged ledger may go");
                }
                self.directory.mark_damaged();
            }
            Kind::Full | Kind::Other => {}
        }
        LedgerError::sqlite(step, &self.path, source)
    }

    /// Dropping a transaction rolls it back as a rule; a connection that stays inside one is given up.
    fn roll_back(&mut self) {
        if let Some(connection) = &self.connection
            && !connection.is_autocommit()
            && connection.execute_batch("ROLLBACK").is_err()
        {
            self.connection = None;
        }
    }
}

/// While opening, every statement is right, so an error that blames one (no such table, unknown format) is the file's.
fn blame_the_file(error: LedgerError) -> LedgerError {
    match error {
        LedgerError::Sqlite { step, path, source } if schema::is_the_files(&source.0) => {
            LedgerError::Damaged { step, path, source }
        }
        other => other,
    }
}

/// Why nobody's changes were made.
enum Failure {
    Ledger(LedgerError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(source: rusqlite::Error) -> Failure {
        Failure::Sqlite(source)
    }
}

/// About the pages that a change sends to the log.
fn pages(change: &Change) -> usize {
    match change {
        Change::Received { configuration, .. } => 4 + configuration.bytes().len() / PAGE,
        Change::FileKept { bytes, .. } => 4 + bytes.len() / PAGE,
        Change::Ran(run) => 4 + run.output.len() / PAGE,
        Change::Session { .. } => 2,
        _ => 3,
    }
}

fn refuse_all(members: usize, error: LedgerError) -> Vec<Result<(), LedgerError>> {
    let mut all: Vec<_> = (1..members).map(|_| Err(error.again())).collect();
    all.push(Err(error));
    all
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn after_a_failed_write_the_next_request_gets_a_new_connection_and_the_log_is_brought_home() {
        let directory = tempfile::tempdir().unwrap();
        let place = Directory::at(directory.path());
        let now = Timestamp::UNIX_EPOCH;
        place.make().unwrap();
        let lock = Arc::new(place.lock().unwrap());
        let (mut store, _) = Store::open(&place, lock, Limits::default(), now).unwrap();
        let refused = vec![Change::Refused {
            identity: crate::protocol::Identity("a".into()),
            refusal: Some(crate::ledger::Refusal {
                digest: Digest::of(b"one"),
                reason: "no JSON".to_owned(),
                since: now,
            }),
        }];
        store
            .commit(std::slice::from_ref(&refused))
            .remove(0)
            .unwrap();
        let log = directory.path().join("ledger.db-wal");
        assert_ne!(log.metadata().unwrap().len(), 0);

        let failed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        let error = store.failed("commit", rusqlite::Error::SqliteFailure(failed, None));
        assert!(matches!(error, LedgerError::Disk { .. }));
        assert!(store.connection.is_none() && store.suspect);
        assert!(!place.is_marked());
        store.load().unwrap();
        store.load().unwrap();
        assert!(store.connection.is_some() && !store.suspect);
        assert_eq!(log.metadata().unwrap().len(), 0);
        store.commit(&[refused]).remove(0).unwrap();
    }

    #[test]
    fn a_connection_that_was_opened_while_nothing_could_be_written_is_given_up() {
        let refused = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        for code in [
            rusqlite::ffi::SQLITE_READONLY,
            rusqlite::ffi::SQLITE_IOERR_WRITE,
        ] {
            let directory = tempfile::tempdir().unwrap();
            let place = Directory::at(directory.path());
            let lock = Arc::new(place.lock().unwrap());
            let now = Timestamp::UNIX_EPOCH;
            let (mut store, _) = Store::open(&place, lock, Limits::default(), now).unwrap();
            store.failed("commit", refused(code));
            assert!(store.connection.is_none() && store.suspect);
        }
    }

    #[test]
    fn only_what_comes_again_may_be_lost_in_a_power_cut() {
        let session = |session| Change::Session {
            identity: crate::protocol::Identity("a".into()),
            session,
            poll: None,
        };
        let renewed = session(Some(crate::ledger::SavedSession {
            token: crate::ledger::SavedToken("t".into()),
            issued_at: Timestamp::UNIX_EPOCH,
            sent: false,
            interval: Duration::ZERO,
            fresh: true,
        }));
        let other = Change::IntentClosed { id: 1 };
        let received = Change::Received {
            identity: crate::protocol::Identity("a".into()),
            configuration: crate::protocol::Configuration::new(Default::default(), None, None),
            at: Timestamp::UNIX_EPOCH,
        };
        let normal = Synchronous::Normal;
        let together = [received.clone(), renewed.clone()];
        assert_eq!(Synchronous::of(&together), normal);
        assert!(!may_be_lost(&together), "it is synced soon");
        assert_ne!(Synchronous::of(&[received, other.clone()]), normal);
        assert_eq!(Synchronous::of(std::slice::from_ref(&renewed)), normal);
        assert_ne!(Synchronous::of(&[session(None)]), normal);
        assert_ne!(Synchronous::of(&[renewed, other]), normal);
    }
}
