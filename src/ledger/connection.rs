//! Connections to the ledger's file, as this program uses them.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::directory::Directory;
use super::error::{LedgerError, damage};
use super::schema;

/// What is left of the log's file after a burst.
const LOG_BYTES: i64 = 4 * 1024 * 1024;

/// How long somebody with a shell may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes a new ledger beside its place, and gives it its name when it is whole and synced.
pub(super) fn create(directory: &Directory) -> Result<(), LedgerError> {
    let path = directory.begin()?;
    let fault = |source| LedgerError::sqlite("create the tables", &path, source);
    let connection =
        Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(fault)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(fault)?;
    schema::create(&connection).map_err(fault)?;
    journal(&connection, &path)?;
    connection.close().map_err(|(_, source)| fault(source))?;
    directory.finish()
}

/// A connection to an existing ledger as this program uses it; it leaves the log as it is when it is closed.
pub(super) fn connect(path: &Path) -> Result<Connection, LedgerError> {
    let fault = |source| LedgerError::sqlite("open the file", path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    // Until it has shown that it is sound.
    tidy_at_close(&connection, false).map_err(fault)?;
    configure(&connection).map_err(fault)?;
    journal(&connection, path)?;
    Ok(connection)
}

/// Whether closing the connection brings the log home and removes it. Of a damaged ledger it is a witness.
pub(super) fn tidy_at_close(connection: &Connection, on: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !on)?;
    Ok(())
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Negative: KiB. The daemon reads the ledger once; pages kept in memory would only be large.
    connection.pragma_update(None, "cache_size", -1024)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // This program does it itself: an error of the built-in one is told to nobody.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    // After a burst the log's file becomes small again.
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))
}

fn journal(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(|source| LedgerError::sqlite("begin a log", path, source))?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let unsupported = std::io::Error::other("no write-ahead log: a local file system is needed");
    Err(LedgerError::io("begin a log for", path, unsupported))
}

/// Reads the least that there is.
pub(super) fn touch(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("SELECT count(*) FROM meta", [], |_| Ok(()))
}

/// Somebody else keeps us from it.
pub(super) fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)
}

/// Holds every page against its place in the file.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<()> {
    let mut check = connection.prepare("PRAGMA quick_check(1)")?;
    let found: String = check.query_row([], |row| row.get(0))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(damage(found))
    }
}
