//! PID files: a number in a file is a claim, and is believed only as far as whoever can write it is.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::unistd::{Uid, User};
use rustix::fs::{Mode, OFlags, fstat, fstatfs, open, openat};
use tokio::time::sleep;

use super::Running;
use super::clocks::Clocks;
use super::running_process::{HIDDEN, RunningProcess};
use super::whose::{self, Other};
use crate::process::Pidfd;
use crate::settings::Whose;

/// A PID file, which may be missing.
#[derive(Clone, Debug)]
pub struct PidFile {
    path: PathBuf,
    whose: Whose,
    clocks: Clocks,
}

/// What is read of the file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Claim {
    pid: i32,
    owner: u32,
    written: Timestamp,
    /// On a file system that is empty after a boot.
    in_memory: bool,
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
    #[error("nobody to signal yet: process {1} of `{path}` {2}", path = .0.display())]
    Stranger(PathBuf, i32, String),
    #[error("cannot read the PID file `{path}`: {1}", path = .0.display())]
    Unreadable(PathBuf, io::Error),
    #[error("cannot use the PID file `{path}`: {1}", path = .0.display())]
    Refused(PathBuf, String),
}

impl NoProcess {
    /// Nobody runs, as far as the file says. Otherwise the file cannot be believed.
    pub fn is_absence(&self) -> bool {
        match self {
            NoProcess::Missing(_) | NoProcess::Dead(..) => true,
            NoProcess::Empty(_) | NoProcess::Stranger(..) => true,
            NoProcess::Unreadable(..) | NoProcess::Refused(..) => false,
        }
    }
}

/// How often and at what distance a file is looked at that is being written anew.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Bytes of the file that are read; some programs write more lines after the number.
const READ: u64 = 4096;
/// A process that started by more than this after its number was written is not the one that was meant: two coarse
/// clocks are compared, and small steps of one of them are nothing unusual.
const YOUNGER: SignedDuration = SignedDuration::from_secs(2);
/// The kernel's numbers for tmpfs and ramfs (statfs(2)).
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

impl PidFile {
    pub fn new(path: PathBuf, whose: Whose, clocks: Clocks) -> PidFile {
        PidFile {
            path,
            whose,
            clocks,
        }
    }

    /// The process that the file names, held by descriptor, and what it was when it was found.
    pub fn process(&self) -> Result<(i32, Pidfd, RunningProcess), NoProcess> {
        let claim = self.read()?;
        let Claim { pid, owner, .. } = claim;
        let dead = || NoProcess::Dead(self.path.clone(), pid);
        let pidfd = Pidfd::open(pid).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => dead(),
            _ => NoProcess::Refused(
                self.path.clone(),
                format!("cannot open process {pid}: {error}"),
            ),
        })?;
        let process = match RunningProcess::read(pid) {
            Some(process) => process,
            None if RunningProcess::is_hidden(pid) => {
                return Err(self.refused(format!("process {pid} runs, but {HIDDEN}")));
            }
            None => return Err(dead()),
        };
        // The number may have gone to another process before it was opened: then the file has gone or changed as well,
        // if its writer tidies up. Where it does not, the process is at least whom the file names now.
        if self.read()? != claim {
            return Err(self.refused("it changed while it was read".to_owned()));
        }
        let ours = rustix::process::geteuid().as_raw();
        if owner != 0 && owner != ours && !process.users.contains(&owner) {
            return Err(self.refused(format!(
                "it belongs to user {owner}, and process {pid} in it to another one"
            )));
        }
        match whose::check(&self.whose, pid, &process) {
            Ok(()) => {}
            Err(Other::Stranger(why)) => {
                return Err(NoProcess::Stranger(self.path.clone(), pid, why));
            }
            Err(Other::Unknown(why)) => return Err(self.refused(format!("process {pid} {why}"))),
        }
        // Who runs the declared file is whom the operator means, however clocks have been set meanwhile.
        if self.whose.executable.is_none() && claim.is_older_than(&process, &self.clocks) {
            return Err(self.refused(format!(
                "process {pid} in it started after it was written: the number has gone to another process, or the clock was set; `executable` beside `pid_file` tells"
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

    /// What the file says, if nobody but its owner can have written it.
    fn read(&self) -> Result<Claim, NoProcess> {
        let directory = self.directory()?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
        let name = self.path.file_name().unwrap_or_default();
        // A FIFO would be waited for.
        let fd = openat(&directory, name, flags | OFlags::NONBLOCK, Mode::empty());
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
        if metadata.nlink() > 1 {
            return Err(self.refused(
                "it is one file with several names: it may be another program's".to_owned(),
            ));
        }
        let kind = fstatfs(&file).map_err(|errno| unreadable(errno.into()))?;
        let mut bytes = Vec::new();
        file.take(READ)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        let written = Timestamp::new(metadata.mtime(), metadata.mtime_nsec() as i32);
        Ok(Claim {
            pid: self.number(&bytes)?,
            owner: metadata.uid(),
            written: written.unwrap_or_default(),
            in_memory: u64::try_from(kind.f_type).is_ok_and(|kind| IN_MEMORY.contains(&kind)),
        })
    }

    /// The file's directory, in which nobody else may put another file in its place.
    fn directory(&self) -> Result<OwnedFd, NoProcess> {
        let path = self.path.parent().unwrap_or(Path::new("/"));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let unreadable = |errno: rustix::io::Errno| match errno {
            rustix::io::Errno::NOENT => NoProcess::Missing(self.path.clone()),
            errno => NoProcess::Unreadable(self.path.clone(), errno.into()),
        };
        let directory = open(path, flags, Mode::empty()).map_err(unreadable)?;
        let found = fstat(&directory).map_err(unreadable)?;
        let sticky = found.st_mode & 0o1000 != 0;
        // A group that is its owner's own is no group of others: PostgreSQL's directory is made so.
        let group = found.st_mode & 0o020 != 0
            && !User::from_uid(Uid::from_raw(found.st_uid))
                .is_ok_and(|user| user.is_some_and(|user| user.gid.as_raw() == found.st_gid));
        if !sticky && (group || found.st_mode & 0o002 != 0) {
            let shown = path.display();
            return Err(self.refused(format!(
                "others than the owner of `{shown}` may write in there; take that right from group and others"
            )));
        }
        Ok(directory)
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

impl Claim {
    /// The process started when its number stood in the file already: it has been given the number of another one.
    fn is_older_than(&self, process: &RunningProcess, clocks: &Clocks) -> bool {
        let Some(started) = clocks.wall_of(process.started) else {
            return false;
        };
        // What lies in memory was written after the boot: then it is the clock that has been set since.
        let set = self.in_memory && clocks.wall_of(Duration::ZERO) > Some(self.written);
        !set && started.duration_since(self.written) > YOUNGER
    }
}
