//! What can go wrong with the ledger, sorted by what happens next.

use std::fmt;
use std::path::Path;

use rusqlite::ErrorCode;

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another process holds the state directory. `pid` is 0 where it has not said who it is.
    #[error(
        "the state directory `{directory}` is held by process {pid}: stop that one, or name another by `--state-directory`"
    )]
    Held { directory: String, pid: u32 },
    /// Written by a newer program.
    #[error(
        "`{path}` has schema {found}, this program knows {known}: it was written by appconfigd {written_by}, run that version or a newer one"
    )]
    Newer {
        path: String,
        found: i64,
        known: i64,
        written_by: String,
    },
    #[error("cannot {step} `{path}`")]
    Io {
        step: &'static str,
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot {step} in the ledger `{path}`")]
    Sqlite {
        step: &'static str,
        path: String,
        #[source]
        source: Cause,
    },
    /// What a write has left behind is unknown; the next request opens the file anew.
    #[error(
        "cannot {step} in the ledger `{path}`: its disk or file system fails, or is read-only, or a limit of file sizes (`LimitFSIZE=`) is reached: mend it"
    )]
    Disk {
        step: &'static str,
        path: String,
        #[source]
        source: Cause,
    },
    /// Nothing was written; the ledger is whole.
    #[error("cannot {step} in the ledger `{path}`: free space on its file system")]
    Full {
        step: &'static str,
        path: String,
        #[source]
        source: Cause,
    },
    /// Found while running. The next start moves the ledger aside.
    #[error(
        "cannot {step} in the ledger `{path}`, it is damaged: restart appconfigd, which moves it aside and begins a new one"
    )]
    Damaged {
        step: &'static str,
        path: String,
        #[source]
        source: Cause,
    },
    /// Removed while it was open, and not to be read any more.
    #[error(
        "the ledger `{path}` is gone, and what it held cannot be read any more: put it back, or restart appconfigd, which begins a new one"
    )]
    Gone { path: String },
    /// Somebody has put another file in its place while it was open.
    #[error(
        "the ledger `{path}` has been replaced by another file: restart appconfigd to go on with that one, or put the old one back"
    )]
    Replaced { path: String },
    #[error("the ledger's thread has ended: restart appconfigd")]
    Ended,
}

impl LedgerError {
    pub(super) fn io(step: &'static str, path: &Path, source: impl Into<std::io::Error>) -> Self {
        LedgerError::Io {
            step,
            path: path.display().to_string(),
            source: source.into(),
        }
    }

    /// The same once more, for another of those that it befell.
    pub(super) fn again(&self) -> LedgerError {
        let copy = |source: &std::io::Error| match source.raw_os_error() {
            Some(number) => std::io::Error::from_raw_os_error(number),
            None => std::io::Error::new(source.kind(), source.to_string()),
        };
        match self {
            LedgerError::Held { directory, pid } => LedgerError::Held {
                directory: directory.clone(),
                pid: *pid,
            },
            LedgerError::Newer {
                path,
                found,
                known,
                written_by,
            } => LedgerError::Newer {
                path: path.clone(),
                found: *found,
                known: *known,
                written_by: written_by.clone(),
            },
            LedgerError::Io {
                step,
                path: place,
                source,
            } => LedgerError::Io {
                step,
                path: place.clone(),
                source: copy(source),
            },
            LedgerError::Sqlite {
                step,
                path: place,
                source,
            }
            | LedgerError::Disk {
                step,
                path: place,
                source,
            }
            | LedgerError::Full {
                step,
                path: place,
                source,
            }
            | LedgerError::Damaged {
                step,
                path: place,
                source,
            } => LedgerError::sqlite(step, Path::new(place), again(&source.0)),
            LedgerError::Gone { path } => LedgerError::Gone { path: path.clone() },
            LedgerError::Replaced { path } => LedgerError::Replaced { path: path.clone() },
            LedgerError::Ended => LedgerError::Ended,
        }
    }

    pub(super) fn sqlite(step: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        let path = path.display().to_string();
        let kind = kind(&source);
        let source = Cause(source);
        match kind {
            Kind::Damage => LedgerError::Damaged { step, path, source },
            Kind::Full => LedgerError::Full { step, path, source },
            Kind::Io => LedgerError::Disk { step, path, source },
            Kind::Other => LedgerError::Sqlite { step, path, source },
        }
    }
}

/// What SQLite said, once: the library's error repeats it as its own cause.
#[derive(Debug)]
pub struct Cause(pub(super) rusqlite::Error);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rusqlite::Error::SqliteFailure(failure, Some(said)) = &self.0 else {
            return self.0.fmt(f);
        };
        f.write_str(said)?;
        // The higher bits tell one call that failed from another: reading, writing, locking.
        match failure.extended_code > 0xff {
            true => write!(f, " (SQLite's code {})", failure.extended_code),
            false => Ok(()),
        }
    }
}

impl std::error::Error for Cause {}

/// What follows from an error of SQLite's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The bytes are wrong: to be moved aside.
    Damage,
    /// No space: nothing is wrong with the connection.
    Full,
    /// The connection is not to be used again: what a failed fsync left behind is unknown.
    Io,
    Other,
}

pub(super) fn kind(error: &rusqlite::Error) -> Kind {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Kind::Damage,
            ErrorCode::DiskFull => Kind::Full,
            // Read-only: SQLite opens a file so that it may not write to, and would never look again whether it may.
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly => Kind::Io,
            _ => Kind::Other,
        },
        // A value that this program cannot have written.
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => Kind::Damage,
        _ => Kind::Other,
    }
}

/// An error once more, for each of the commits that it befell; the text of the rarer ones is all that is kept.
pub(super) fn again(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            rusqlite::Error::SqliteFailure(*failure, message.clone())
        }
        other => rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR),
            Some(other.to_string()),
        ),
    }
}

/// Damage that no single call of SQLite's reports.
pub(super) fn damage(what: impl Into<String>) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
        Some(what.into()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::with_causes;

    #[test]
    fn what_sqlite_said_is_told_once() {
        let said = |code, text: &str| {
            let error =
                rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(text.into()));
            with_causes(&LedgerError::sqlite("commit", Path::new("/l"), error))
        };
        assert_eq!(
            said(rusqlite::ffi::SQLITE_FULL, "database or disk is full"),
            "cannot commit in the ledger `/l`: free space on its file system: database or disk is full"
        );
        assert_eq!(
            said(rusqlite::ffi::SQLITE_IOERR_WRITE, "disk I/O error"),
            "cannot commit in the ledger `/l`: its disk or file system fails, or is read-only, or a limit of file sizes (`LimitFSIZE=`) is reached: mend it: \
             disk I/O error (SQLite's code 778)"
        );
    }
}
