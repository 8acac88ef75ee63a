//! PID files: a number in a file is a claim, and is believed only as far as whoever can write it is.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use tokio::time::sleep;

use super::Running;
use super::running_process::RunningProcess;
use crate::process::Pidfd;

/// A PID file, which may be missing.
#[derive(Clone, Debug)]
pub struct PidFile {
    path: PathBuf,
}

/// Why there is no process to signal.
#[derive(Debug, thiserror::Error)]
pub enum NoProcess {
    #[error("nobody to signal yet: there is no PID file `{}`", .0.display())]
    Missing(PathBuf),
    #[error("nobody to signal yet: process {1} of `{path}` does not run", path = .0.display())]
    Dead(PathBuf, i32),
    #[error("nobody to signal yet: the PID file `{}` is empty", .0.display())]
    Empty(PathBuf),
    #[error("cannot read the PID file `{path}`: {1}", path = .0.display())]
    Unreadable(PathBuf, io::Error),
    #[error("cannot use the PID file `{path}`: {1}", path = .0.display())]
    Refused(PathBuf, String),
}

impl NoProcess {
    /// Nobody runs, as far as the file says. Otherwise the file cannot be believed.
    pub fn is_absence(&self) -> bool {
        match self {
            NoProcess::Missing(_) | NoProcess::Dead(..) | NoProcess::Empty(_) => true,
            NoProcess::Unreadable(..) | NoProcess::Refused(..) => false,
        }
    }
}

/// How often and at what distance a file is looked at that is being written anew.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Bytes of the file that are read; some programs write more lines after the number.
const READ: u64 = 4096;

impl PidFile {
    pub fn new(path: PathBuf) -> PidFile {
        PidFile { path }
    }

    /// The process that the file names, held by descriptor, and what it was when it was found.
    pub fn process(&self) -> Result<(i32, Pidfd, RunningProcess), NoProcess> {
        let (pid, owner) = self.read()?;
        let dead = || NoProcess::Dead(self.path.clone(), pid);
        let pidfd = Pidfd::open(pid).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => dead(),
            _ => NoProcess::Refused(
                self.path.clone(),
                format!("cannot open process {pid}: {error}"),
            ),
        })?;
        let process = RunningProcess::read(pid).ok_or_else(dead)?;
        // The number may have gone to another process before it was opened: then the file has gone or changed as well,
        // if its writer tidies up. Where it does not, the process is at least whom the file names now.
        if self.read()? != (pid, owner) {
            return Err(self.refused("it changed while it was read".to_owned()));
        }
        let ours = rustix::process::geteuid().as_raw();
        if owner != 0 && owner != ours && !process.users.contains(&owner) {
            return Err(self.refused(format!(
                "it belongs to user {owner}, and process {pid} in it to another one"
            )));
        }
        Ok((pid, pidfd, process))
    }

    pub fn running(&self) -> Running {
        match self.process() {
            Ok(_) => Running::Yes,
            Err(error) if error.is_absence() => Running::No,
            Err(_) => Running::Unknown,
        }
    }

    /// A program that re-reads its files may write its PID file anew: for a moment there is none, or nothing in it.
    pub async fn wait_while_rewritten(&self) {
        for _ in 0..LOOKS {
            match self.read() {
                Err(NoProcess::Missing(_) | NoProcess::Empty(_)) => sleep(BETWEEN_LOOKS).await,
                _ => return,
            }
        }
    }

    /// The number in the file and the file's owner.
    fn read(&self) -> Result<(i32, u32), NoProcess> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
        // A FIFO would be waited for.
        let fd = open(&self.path, flags | OFlags::NONBLOCK, Mode::empty());
        let file = File::from(fd.map_err(|errno| match errno {
            rustix::io::Errno::NOENT => NoProcess::Missing(self.path.clone()),
            rustix::io::Errno::LOOP => self.refused("it is a symbolic link".to_owned()),
            errno => NoProcess::Unreadable(self.path.clone(), errno.into()),
        })?);
        let unreadable = |error| NoProcess::Unreadable(self.path.clone(), error);
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(self.refused("it is not a regular file".to_owned()));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(self.refused(
                "others than its owner may write to it; take that right from group and others"
                    .to_owned(),
            ));
        }
        let mut bytes = Vec::new();
        file.take(READ)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        Ok((self.number(&bytes)?, metadata.uid()))
    }

    fn number(&self, bytes: &[u8]) -> Result<i32, NoProcess> {
        let text = String::from_utf8_lossy(bytes);
        let Some(line) = text
            .lines()
            .map(str::trim)
            .next()
            .filter(|_| !text.trim().is_empty())
        else {
            return Err(NoProcess::Empty(self.path.clone()));
        };
        match line.parse::<i32>() {
            Ok(0 | 1) => {
                Err(self.refused(format!("it names process {line}, which is never signalled")))
            }
            Ok(pid) if i64::from(pid) == i64::from(std::process::id()) => {
                Err(self.refused("it names this very process".to_owned()))
            }
            Ok(pid) if pid > 1 => Ok(pid),
            _ => Err(self.refused("its first line is not the number of a process".to_owned())),
        }
    }

    fn refused(&self, why: String) -> NoProcess {
        NoProcess::Refused(self.path.clone(), why)
    }
}
