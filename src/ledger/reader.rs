//! Reading without the lock, beside a running daemon or after one. Nothing is written and nothing is created.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::directory::{Directory, beside};
use super::error::LedgerError;
use super::schema;

/// How often a daemon may start or stop under our eyes before that is an error.
const ATTEMPTS: usize = 8;

/// Calls `read` on a connection to an existing ledger; `None` where there is none.
pub(super) fn read<T>(
    directory: &Path,
    read: impl Fn(&Connection) -> rusqlite::Result<T>,
) -> Result<Option<T>, LedgerError> {
    let path = Directory::at(directory).database();
    let log = beside(&path, "-wal");
    let exists = |path: &Path| {
        path.try_exists()
            .map_err(|error| LedgerError::io("look at", path, error))
    };
    let mut last = None;
    for _ in 0..ATTEMPTS {
        if !exists(&path)? {
            return Ok(None);
        }
        let logged = exists(&log)?;
        let outcome = open(&path, logged).and_then(|connection| {
            schema::verify(&connection, &path)?;
            read(&connection).map_err(|source| LedgerError::sqlite("read", &path, source))
        });
        // A log that came or went in the meantime: what was read may be from neither before nor after.
        if exists(&log)? == logged {
            match outcome {
                Ok(value) => return Ok(Some(value)),
                Err(error @ LedgerError::Newer { .. }) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
    }
    Err(last.unwrap_or_else(|| {
        let restless = std::io::Error::other("a daemon keeps starting and stopping");
        LedgerError::io("read", &path, restless)
    }))
}

/// With a log there is or was a writer: its index is mapped read-only, or, after a crash, built in memory. Without one
/// the file alone is everything, and is read as one that nobody changes; any other way would create a log.
fn open(path: &Path, logged: bool) -> Result<Connection, LedgerError> {
    let fault = |source| LedgerError::sqlite("open the file", path, source);
    let how = if logged {
        "mode=ro&readonly_shm=1"
    } else {
        "mode=ro&immutable=1"
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(format!("file:{}?{how}", escaped(path)), flags)
        .map_err(fault)?;
    connection
        .busy_timeout(Duration::from_secs(1))
        .map_err(fault)?;
    connection
        .pragma_update(None, "cache_size", -1024)
        .map_err(fault)?;
    Ok(connection)
}

/// The path as it stands in a URI.
fn escaped(path: &Path) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'.')
        .remove(b'-')
        .remove(b'_');
    let bytes = path.as_os_str().as_encoded_bytes();
    let escaped = percent_encode(bytes, KEPT).to_string();
    // Two slashes at the start would name a host.
    match escaped.strip_prefix('/') {
        Some(rest) => format!("///{}", rest.trim_start_matches('/')),
        None => escaped,
    }
}
