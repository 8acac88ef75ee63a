//! The state directory: its lock, its files' modes, and where damage goes.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::error::LedgerError;
use super::presence;

/// Names inside a state directory.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(super) fn at(path: &Path) -> Directory {
        Directory {
            path: path.to_owned(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join("ledger.db")
    }

    /// Where a ledger is made before it gets its name, so that a half-made one never has it.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.path.join("ledger.db.new")
    }

    /// Lies there when a running program met damage that the next start might not see.
    fn mark(&self) -> PathBuf {
        self.path.join("ledger.db.is-damaged")
    }

    /// Makes the directory, 0700, where it is missing; parents as usual.
    pub(super) fn make(&self) -> Result<(), LedgerError> {
        if self.path.is_dir() {
            return Ok(());
        }
        let parent = self.path.parent().filter(|parent| *parent != Path::new(""));
        let parent = parent.unwrap_or(Path::new("."));
        make_parents(parent)?;
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.path.is_dir() => {
                return Ok(());
            }
            Err(error) => return Err(LedgerError::io("create the directory", &self.path, error)),
        }
        // Not left to the umask, which may take more than it should.
        set_mode(&self.path, 0o700)?;
        sync(parent)
    }

    /// Takes the directory for this process, until the lock is dropped. Children do not inherit it.
    pub(super) fn lock(&self) -> Result<Lock, LedgerError> {
        let file = self.take()?;
        Ok(Lock(Mutex::new(file)))
    }

    /// Takes the directory once more where it, or its lock, has been removed since: another process may have come then.
    /// The directory is made anew where it is missing.
    pub(super) fn hold(&self, lock: &Lock) -> Result<(), LedgerError> {
        let mut held = lock.file();
        let ours = held
            .metadata()
            .map_err(|error| LedgerError::io("look at", &self.path, error))?;
        if presence::file(&self.lock_file())? == Some((ours.dev(), ours.ino())) {
            return Ok(());
        }
        self.make()?;
        *held = self.take()?;
        Ok(())
    }

    fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    fn take(&self) -> Result<File, LedgerError> {
        let path = self.lock_file();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| LedgerError::io("open", &path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LedgerError::Held {
                    directory: self.path.display().to_string(),
                    pid: holder(&file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(LedgerError::io("lock", &path, error)),
        }
        // Written before what is left of an older text goes, so that there is a number to read at any time.
        let text = format!("{}\n", std::process::id());
        let written = file.write_all_at(text.as_bytes(), 0);
        match written.and_then(|()| file.set_len(text.len() as u64)) {
            Ok(()) => Ok(file),
            Err(error) => {
                // As at the end of a `Lock`.
                let _ = file.unlock();
                let step = "write our process number to";
                Err(LedgerError::io(step, &path, error))
            }
        }
    }

    /// Remembers damage for the next start. It is only a help: where it fails, the error that was met is told anyway.
    pub(super) fn mark_damaged(&self) {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.mark());
        if let Err(error) = file {
            tracing::warn!(directory = %self.path.display(), %error, "cannot mark the ledger as damaged");
        }
    }

    pub(super) fn is_marked(&self) -> bool {
        self.mark().exists()
    }

    /// Moves the ledger and what belongs to it out of the way, under names that `sqlite3` opens together; the new name.
    #[expect(
        clippy::disallowed_methods,
        reason = "the ledger owns its directory, and syncs it here"
    )]
    pub(super) fn move_aside(&self, now: Timestamp) -> Result<PathBuf, LedgerError> {
        let database = self.database();
        let stamp = now.strftime("%Y%m%dT%H%M%SZ");
        let mut aside = beside(&database, &format!(".damaged-{stamp}"));
        for number in 2..1000 {
            if !aside.exists() {
                break;
            }
            aside = beside(&database, &format!(".damaged-{stamp}.{number}"));
        }
        // The database last: a new one never meets the old one's log.
        for suffix in ["-wal", "-shm", ""] {
            let from = beside(&database, suffix);
            match fs::rename(&from, beside(&aside, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LedgerError::io(
                        "move the damaged ledger from",
                        &from,
                        error,
                    ));
                }
                Ok(()) | Err(_) => {}
            }
        }
        match fs::remove_file(self.mark()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LedgerError::io("remove", &self.mark(), error));
            }
            Ok(()) | Err(_) => {}
        }
        sync(&self.path)?;
        Ok(aside)
    }

    /// An empty file for a new ledger, 0600 whatever the umask.
    pub(super) fn begin(&self) -> Result<PathBuf, LedgerError> {
        let path = self.unfinished();
        for suffix in ["-wal", "-shm", "-journal", ""] {
            let leftover = beside(&path, suffix);
            match fs::remove_file(&leftover) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LedgerError::io("remove", &leftover, error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| LedgerError::io("create", &path, error))?;
        set_mode(&path, 0o600)?;
        Ok(path)
    }

    /// Removes a log that belongs to no database any more: a new one would take it for its own.
    pub(super) fn drop_log(&self) -> Result<(), LedgerError> {
        for suffix in ["-wal", "-shm"] {
            let log = beside(&self.database(), suffix);
            match fs::remove_file(&log) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LedgerError::io("remove", &log, error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Gives the new ledger its name.
    #[expect(
        clippy::disallowed_methods,
        reason = "the ledger owns its directory, and syncs it here"
    )]
    pub(super) fn finish(&self) -> Result<(), LedgerError> {
        let (from, to) = (self.unfinished(), self.database());
        fs::rename(from, &to).map_err(|error| LedgerError::io("rename into", &to, error))?;
        sync(&self.path)
    }

    /// Takes from others what they may do with an existing ledger: it holds tokens.
    pub(super) fn close_to_others(&self) -> Result<(), LedgerError> {
        let path = self.database();
        let found =
            fs::metadata(&path).map_err(|error| LedgerError::io("look at", &path, error))?;
        if found.permissions().mode() & 0o177 != 0 {
            set_mode(&path, 0o600)?;
        }
        Ok(())
    }

    /// A log that has been removed is the next commit's to find.
    pub(super) fn sync_log(&self) -> Result<(), LedgerError> {
        let log = beside(&self.database(), "-wal");
        match File::open(&log).and_then(|file| file.sync_all()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LedgerError::io("sync", &log, error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Reads the ledger's files from end to end: says whether the disk can.
    pub(super) fn read_through(&self) -> Result<(), LedgerError> {
        let database = self.database();
        for path in [beside(&database, "-wal"), database] {
            let read = File::open(&path).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
            match read {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LedgerError::io("read", &path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The two format bytes of the header say WAL or rollback journal. SQLite takes other values for a newer format and
    /// reads on without writing, so that they would never be found out as damage.
    pub(super) fn has_known_format(&self) -> Result<bool, LedgerError> {
        let path = self.database();
        let mut header = [0; 20];
        let read = File::open(&path).and_then(|mut file| file.read_exact(&mut header));
        match read {
            Ok(()) => {
                let [.., write, read] = header;
                Ok((1..=2).contains(&write) && (1..=2).contains(&read))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(LedgerError::io("read", &path, error)),
        }
    }
}

/// The path with a suffix behind its last name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn holder(file: &File) -> u32 {
    let mut text = [0; 16];
    let length = file.read_at(&mut text, 0).unwrap_or(0);
    let text = text.get(..length).unwrap_or_default();
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.lines()
        .next()
        .and_then(|line| line.trim().parse().ok())
        .unwrap_or(0)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), LedgerError> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|error| LedgerError::io("set the mode of", path, error))
}

/// Each with a synced name: where it is lost, the ledger is.
fn make_parents(path: &Path) -> Result<(), LedgerError> {
    let lies_in = |path: &Path| match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    fs::create_dir_all(path)
        .map_err(|error| LedgerError::io("create the directory", path, error))?;
    let named = missing.iter().filter(|path| **path != Path::new(""));
    named.rev().try_for_each(|made| sync(&lies_in(made)))
}

/// Of a directory, or of a file that SQLite has written without it.
pub(super) fn sync(path: &Path) -> Result<(), LedgerError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| LedgerError::io("sync", path, error))
}

/// The directory is this process's for as long as this lives.
pub(super) struct Lock(Mutex<File>);

impl Lock {
    fn file(&self) -> MutexGuard<'_, File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Not left to closing the file: a child that has been forked and not yet begun its program shares it.
        let _ = self.file().unlock();
    }
}
