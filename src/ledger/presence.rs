//! Whether the files that a connection has open are still those in the state directory.
//!
//! A file that was removed can be written to as before, and all of it is gone when the process ends: an obligation that is
//! recorded there is recorded nowhere.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::directory::beside;
use super::error::LedgerError;

/// Device and inode.
type File = (u64, u64);

/// The files of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Presence {
    database: File,
    /// The log and its index; `None` where they were not there yet.
    log: Option<File>,
    index: Option<File>,
}

/// What lies at the ledger's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    Same,
    /// The database is the same, its log or the log's index is another or gone.
    OtherLog,
    OtherDatabase,
    Nothing,
}

impl Presence {
    /// To be asked right after a connection was opened and has read something; `None` where nothing lies there.
    pub(super) fn of(path: &Path) -> Result<Option<Presence>, LedgerError> {
        let Some(database) = file(path)? else {
            return Ok(None);
        };
        Ok(Some(Presence {
            database,
            log: file(&beside(path, "-wal"))?,
            index: file(&beside(path, "-shm"))?,
        }))
    }

    pub(super) fn look(&self, path: &Path) -> Result<Sight, LedgerError> {
        let Some(found) = Presence::of(path)? else {
            return Ok(Sight::Nothing);
        };
        if found.database != self.database {
            return Ok(Sight::OtherDatabase);
        }
        let other = |then: Option<File>, now| then.is_some() && then != now;
        match other(self.log, found.log) || other(self.index, found.index) {
            true => Ok(Sight::OtherLog),
            false => Ok(Sight::Same),
        }
    }
}

/// Device and inode of what lies there.
pub(super) fn file(path: &Path) -> Result<Option<File>, LedgerError> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::io("look at", path, error)),
    }
}
