//! Whether a way to a directory can be bent by somebody without privileges.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::error::{InstallError, Kind};
use super::file::identity;

/// As many as the kernel follows.
const MOST_LINKS: usize = 40;

const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where a step begins or ends, for messages.
pub(super) struct Stop {
    pub path: PathBuf,
    pub stat: Stat,
}

/// Whoever owns what a step begins at decides where it ends. Root may lead anywhere, others to what is their own: otherwise they could
/// lead us to any file of the machine.
pub(super) fn step(from: &Stop, to: &Stop) -> Result<(), InstallError> {
    if from.stat.st_uid == 0 || from.stat.st_uid == to.stat.st_uid {
        return Ok(());
    }
    Err(InstallError::UnsafePath {
        path: to.path.clone(),
        owner: to.stat.st_uid,
        from: from.path.clone(),
        from_owner: from.stat.st_uid,
    })
}

/// Steps are judged as root only: everybody else has no power to be borrowed.
pub(super) fn is_judged() -> bool {
    rustix::process::geteuid().is_root()
}

/// Goes the way from `root` (or `/`) to the directory `parent` step by step, by descriptors, links being steps too. Device and inode of
/// where it ends: that a directory opened elsewhere is the same one is for the caller to see.
pub(super) fn walk(root: Option<&Path>, parent: &str) -> Result<(u64, u64), InstallError> {
    let begin = root.unwrap_or(Path::new("/"));
    let top = retry_on_intr(|| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, begin, flags, Mode::empty())
    })
    .map_err(InstallError::at("open the directory", begin))?;
    let top_stat = rustix::fs::fstat(&top).map_err(InstallError::at("look at", begin))?;
    let mut here = again(&top, begin)?;
    let mut is_top = true;
    let mut path = begin.to_path_buf();
    let mut last = Stop {
        path: path.clone(),
        stat: top_stat,
    };
    let mut links = 0;
    let mut to_come = parts(OsStr::new(parent));
    while let Some(part) = to_come.pop_front() {
        if part == ".." && is_top {
            continue;
        }
        let fd = retry_on_intr(|| rustix::fs::openat(&here, &part, LOOK, Mode::empty()))
            .map_err(InstallError::at("open the directory", path.join(&part)))?;
        path.push(&part);
        let stat = rustix::fs::fstat(&fd).map_err(InstallError::at("look at", &path))?;
        let next = Stop {
            path: path.clone(),
            stat,
        };
        step(&last, &next)?;
        last = next;
        match Kind::of(stat.st_mode) {
            Kind::Symlink => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(InstallError::at("open the directory", path)(Errno::LOOP));
                }
                let text = rustix::fs::readlinkat(&fd, "", Vec::new())
                    .map_err(InstallError::at("open the directory", &path))?;
                let text = OsString::from_vec(text.into_bytes());
                path.pop();
                if text.as_bytes().first() == Some(&b'/') {
                    here = again(&top, begin)?;
                    is_top = true;
                    path = begin.to_path_buf();
                }
                for part in parts(&text).into_iter().rev() {
                    to_come.push_front(part);
                }
            }
            Kind::Directory => {
                is_top = identity(&stat) == identity(&top_stat);
                here = fd;
            }
            _ => return Err(InstallError::at("open the directory", path)(Errno::NOTDIR)),
        }
    }
    let stat = rustix::fs::fstat(&here).map_err(InstallError::at("look at", path))?;
    Ok(identity(&stat))
}

fn again(top: impl AsFd, path: &Path) -> Result<OwnedFd, InstallError> {
    rustix::io::fcntl_dupfd_cloexec(top, 0).map_err(InstallError::at("open the directory", path))
}

fn parts(path: &OsStr) -> VecDeque<OsString> {
    path.as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(|part| OsStr::from_bytes(part).to_owned())
        .collect()
}
