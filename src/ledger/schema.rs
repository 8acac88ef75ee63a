//! The tables, and whether a file holds them.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::error::{LedgerError, damage};

/// `PRAGMA user_version`.
pub(super) const SCHEMA_VERSION: i64 = 3;

/// Ledgers from here on are taken over.
const OLDEST: i64 = 1;

/// The version of the program that writes.
const WRITTEN_BY: &str = env!("CARGO_PKG_VERSION");

/// Operators read these with `sqlite3`: times are RFC 3339, digests `sha256:` and hexadecimal digits, intervals seconds.
const TABLES: &str = "
CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE bodies (digest TEXT NOT NULL UNIQUE, bytes BLOB NOT NULL) STRICT;
CREATE TABLE polls (identity TEXT NOT NULL PRIMARY KEY, last TEXT NOT NULL, next TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE received (identity TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL, label TEXT, content_type TEXT, size INTEGER NOT NULL, since TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX received_digest ON received (digest);
CREATE TABLE accepted (identity TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL, label TEXT, content_type TEXT, size INTEGER NOT NULL, since TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX accepted_digest ON accepted (digest);
CREATE TABLE history (identity TEXT NOT NULL, position INTEGER NOT NULL, digest TEXT NOT NULL, label TEXT, content_type TEXT, size INTEGER NOT NULL, since TEXT NOT NULL, PRIMARY KEY (identity, position)) STRICT, WITHOUT ROWID;
CREATE INDEX history_digest ON history (digest);
CREATE TABLE found_files (id INTEGER PRIMARY KEY, target TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL, mode INTEGER NOT NULL, at TEXT NOT NULL, reason TEXT NOT NULL) STRICT;
CREATE INDEX found_files_digest ON found_files (digest);
CREATE INDEX found_files_target ON found_files (target);
CREATE TABLE refusals (identity TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL, reason TEXT NOT NULL, since TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE installed (target TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL, mode INTEGER NOT NULL, since TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE acknowledged (service TEXT NOT NULL, target TEXT NOT NULL, digest TEXT, PRIMARY KEY (service, target)) STRICT, WITHOUT ROWID;
CREATE TABLE services (service TEXT NOT NULL PRIMARY KEY, condition TEXT NOT NULL, since TEXT NOT NULL, last_result TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE intents (id INTEGER PRIMARY KEY, opened_at TEXT NOT NULL, attempts INTEGER NOT NULL, intent TEXT NOT NULL) STRICT;
CREATE TABLE intent_versions (intent INTEGER NOT NULL, identity TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (intent, identity, digest)) STRICT, WITHOUT ROWID;
CREATE INDEX intent_versions_digest ON intent_versions (digest);
CREATE TABLE quarantine (id INTEGER PRIMARY KEY, since TEXT NOT NULL, reason TEXT NOT NULL, quarantine TEXT NOT NULL) STRICT;
CREATE TABLE quarantine_profiles (identity TEXT NOT NULL, quarantine INTEGER NOT NULL, PRIMARY KEY (identity, quarantine)) STRICT, WITHOUT ROWID;
CREATE INDEX quarantine_profiles_quarantine ON quarantine_profiles (quarantine);
CREATE TABLE held_profiles (identity TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL, label TEXT, content_type TEXT, size INTEGER NOT NULL, version_since TEXT NOT NULL, since TEXT NOT NULL, until TEXT) STRICT, WITHOUT ROWID;
CREATE INDEX held_profiles_digest ON held_profiles (digest);
CREATE TABLE held_targets (target TEXT NOT NULL PRIMARY KEY, since TEXT NOT NULL, until TEXT) STRICT, WITHOUT ROWID;
";

/// Until version 2 without rowid: such a row of more than 1,002 bytes gets a page of its own, and a token is longer.
const SESSIONS_UNTIL_2: &str = "
CREATE TABLE sessions (identity TEXT NOT NULL PRIMARY KEY, token TEXT NOT NULL, issued_at TEXT NOT NULL, sent INTEGER NOT NULL, interval_seconds TEXT NOT NULL, fresh INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

const SESSIONS: &str = "
CREATE TABLE sessions (identity TEXT NOT NULL PRIMARY KEY, token TEXT NOT NULL, issued_at TEXT NOT NULL, sent INTEGER NOT NULL, interval_seconds TEXT NOT NULL, fresh INTEGER NOT NULL) STRICT;
";

/// What version 2 added: when services are notified, tried again, and which parts of a file they depend on; ACL and `user.*`
/// attributes of installed files, for those that have any; when watched files changed;
/// what commands wrote.
const SINCE_2: &str = "
CREATE TABLE notified (service TEXT NOT NULL PRIMARY KEY, at TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE waits (service TEXT NOT NULL PRIMARY KEY, since TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE retries (service TEXT NOT NULL PRIMARY KEY, failures INTEGER NOT NULL, trying_seconds TEXT NOT NULL, last TEXT NOT NULL, pause_seconds TEXT NOT NULL, definition TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE installed_parts (target TEXT NOT NULL, service TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (target, service)) STRICT, WITHOUT ROWID;
CREATE TABLE installed_attributes (target TEXT NOT NULL PRIMARY KEY, attributes TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE watch_changes (watch TEXT NOT NULL PRIMARY KEY, at TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE runs (id INTEGER PRIMARY KEY, service TEXT, target TEXT, what TEXT NOT NULL, at TEXT NOT NULL, command TEXT NOT NULL, outcome TEXT NOT NULL, output TEXT NOT NULL, CHECK ((service IS NULL) <> (target IS NULL))) STRICT;
CREATE INDEX runs_of ON runs (service, target, what);
";

/// The tables as a version of the schema has them.
fn tables(version: i64) -> String {
    let sessions = if version < 3 {
        SESSIONS_UNTIL_2
    } else {
        SESSIONS
    };
    let since_2 = if version < 2 { "" } else { SINCE_2 };
    [TABLES, sessions, since_2].concat()
}

/// Makes the tables in an empty database.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(&tables(SCHEMA_VERSION))?;
    let mut insert = transaction.prepare("INSERT INTO meta (key, value) VALUES (?1, ?2)")?;
    // A second copy of the version: it tells a newer ledger from a flipped bit.
    insert.execute(("schema", SCHEMA_VERSION.to_string()))?;
    insert.execute(("written_by", WRITTEN_BY))?;
    drop(insert);
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

/// Brings an older ledger, verified before, to this program's schema: whole, or not at all.
pub(super) fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let found = version(connection)?;
    if found == SCHEMA_VERSION {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    if found < 2 {
        transaction.execute_batch(SINCE_2)?;
    }
    transaction.execute_batch("ALTER TABLE sessions RENAME TO sessions_until_2")?;
    transaction.execute_batch(SESSIONS)?;
    transaction.execute_batch(
        "INSERT INTO sessions SELECT * FROM sessions_until_2; DROP TABLE sessions_until_2",
    )?;
    let update = "UPDATE meta SET value = ?1 WHERE key = 'schema'";
    transaction.execute(update, [SCHEMA_VERSION.to_string()])?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

/// The schema that the file has. A reader beside or before the writer may meet an older one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Holds the file against this program's tables. A table or index of the operator's own is no fault.
pub(super) fn verify(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let sqlite = |source| LedgerError::sqlite("read the schema", path, fatal(source));
    let found = version(connection).map_err(sqlite)?;
    if meta(connection, "schema").map_err(sqlite)? != Some(found.to_string()) {
        return Err(sqlite(damage(
            "the schema's version is not what was written",
        )));
    }
    if found > SCHEMA_VERSION {
        let written_by = meta(connection, "written_by").map_err(sqlite)?;
        return Err(LedgerError::Newer {
            path: path.display().to_string(),
            found,
            known: SCHEMA_VERSION,
            written_by: written_by.unwrap_or_else(|| "of an unknown version".to_owned()),
        });
    }
    if found < OLDEST || !has_tables(connection, found).map_err(sqlite)? {
        return Err(sqlite(damage("the tables are not those that were made")));
    }
    Ok(())
}

/// Leaves this program's version in the ledger that it is about to write.
pub(super) fn sign(connection: &Connection) -> rusqlite::Result<()> {
    if meta(connection, "written_by")?.as_deref() != Some(WRITTEN_BY) {
        let update = "INSERT OR REPLACE INTO meta (key, value) VALUES ('written_by', ?1)";
        connection.execute(update, [WRITTEN_BY])?;
    }
    Ok(())
}

fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let select = "SELECT value FROM meta WHERE key = ?1";
    connection
        .query_row(select, [key], |row| row.get(0))
        .optional()
}

fn has_tables(connection: &Connection, version: i64) -> rusqlite::Result<bool> {
    let model = Connection::open_in_memory()?;
    model.execute_batch(&tables(version))?;
    let found = definitions(connection)?;
    Ok(definitions(&model)?
        .iter()
        .all(|wanted| found.contains(wanted)))
}

fn definitions(connection: &Connection) -> rusqlite::Result<Vec<[Option<String>; 4]>> {
    let select = "SELECT type, name, tbl_name, sql FROM sqlite_schema";
    let mut select = connection.prepare(select)?;
    let rows = select.query_map([], |row| {
        Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
    })?;
    rows.collect()
}

/// The error blames a statement of ours, and those are right.
pub(super) fn is_the_files(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => failure.code == rusqlite::ErrorCode::Unknown,
        rusqlite::Error::SqlInputError { .. } => true,
        _ => false,
    }
}

fn fatal(error: rusqlite::Error) -> rusqlite::Error {
    if is_the_files(&error) {
        damage(error.to_string())
    } else {
        error
    }
}
