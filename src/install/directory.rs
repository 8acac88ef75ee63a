//! A target's directory, and `.appconfigd/` in it, as descriptors: a path is walked once, names are then relative to what was opened.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

use super::attributes;
use super::error::{InstallError, Kind};
use super::file;
use super::site::Spot;
use super::walk::{self, Stop};
use crate::settings::TargetPath;

/// Holds what is staged and kept. A hidden *name* beside the target would be loaded by programs that read `*` with dot files.
pub(super) const OWN: &str = ".appconfigd";

/// Others may remove the empty `.appconfigd/` between our `mkdir` and our first name in it; each round needs such a removal.
pub(super) const ROUNDS: usize = 100;

const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// The directory of one or more targets.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// `.appconfigd/` in a target's directory: a real directory, ours, 0700.
#[derive(Debug)]
pub(super) struct Own {
    fd: OwnedFd,
    path: PathBuf,
}

/// The text of the parent, and the name in it.
pub(super) fn split(target: &TargetPath) -> (&str, &str) {
    match target.location().rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some(parts) => parts,
        None => ("/", target.location()),
    }
}

/// Where a path of the settings really lies.
pub(super) fn rooted(root: Option<&Path>, path: &str) -> PathBuf {
    match root {
        Some(root) => root.join(path.trim_start_matches('/')),
        None => PathBuf::from(path),
    }
}

impl Directory {
    /// Opens the directory of what lies there. Below a root no link leads out of it.
    pub(super) fn open(root: Option<&Path>, spot: Spot<'_>) -> Result<Directory, InstallError> {
        let (parent, name) = split(spot.path);
        Directory::open_at(root, parent, name, spot.unsafe_path)
    }

    /// `parent` may hold `..` and links; `name` is for messages.
    pub(super) fn open_at(
        root: Option<&Path>,
        parent: &str,
        name: &str,
        unsafe_path: bool,
    ) -> Result<Directory, InstallError> {
        let directory = Directory::open_unjudged(root, parent, name)?;
        if unsafe_path || !walk::is_judged() {
            return Ok(directory);
        }
        // What the kernel has opened must be where the judged steps end.
        let opened = directory.stop()?;
        match walk::walk(root, parent)? == file::identity(&opened.stat) {
            true => Ok(directory),
            false => Err(InstallError::at("open the directory", directory.path)(
                Errno::AGAIN,
            )),
        }
    }

    fn open_unjudged(
        root: Option<&Path>,
        parent: &str,
        name: &str,
    ) -> Result<Directory, InstallError> {
        let path = rooted(root, parent);
        match open(root, parent, OPEN) {
            Ok(fd) => Ok(Directory { fd, path }),
            Err(errno @ (Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
                Err(InstallError::NoDirectory {
                    path: path.join(name),
                    directory: path,
                    source: Arc::new(errno.into()),
                })
            }
            Err(errno) => Err(InstallError::at("open the directory", path)(errno)),
        }
    }

    /// Like `open`; `None` where there is no such directory.
    pub(super) fn find(
        root: Option<&Path>,
        spot: Spot<'_>,
    ) -> Result<Option<Directory>, InstallError> {
        match Directory::open(root, spot) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.is(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// As a step of a way.
    pub(super) fn stop(&self) -> Result<Stop, InstallError> {
        let stat = rustix::fs::fstat(&self.fd).map_err(InstallError::at("look at", &self.path))?;
        let path = self.path.clone();
        Ok(Stop { path, stat })
    }

    /// For messages.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn sync(&self) -> Result<(), InstallError> {
        rustix::fs::fsync(&self.fd).map_err(InstallError::at("sync the directory", &self.path))
    }

    /// `.appconfigd/`, if it is there.
    pub(super) fn own(&self) -> Result<Option<Own>, InstallError> {
        let path = self.path_of(OWN);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = match retry_on_intr(|| rustix::fs::openat(&self.fd, OWN, flags, Mode::empty()))
        {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(InstallError::at("open", path)(errno)),
        };
        let stat = rustix::fs::fstat(&handle).map_err(InstallError::at("look at", &path))?;
        let found = Kind::of(stat.st_mode);
        if found != Kind::Directory {
            return Err(InstallError::Occupied { path, found });
        }
        let us = rustix::process::geteuid().as_raw();
        if stat.st_uid != us {
            return Err(InstallError::OtherOwner {
                path,
                owner: stat.st_uid,
                us,
            });
        }
        if stat.st_mode & 0o7777 != 0o700 {
            // Whatever the umask, a set-group-id parent or somebody's chmod made of it. Not by name: the name may be another's by now.
            let itself = format!("/proc/self/fd/{}", handle.as_raw_fd());
            rustix::fs::chmodat(CWD, itself, Mode::from_raw_mode(0o700), AtFlags::empty())
                .map_err(InstallError::at("set the mode of", &path))?;
        }
        let fd = retry_on_intr(|| rustix::fs::openat(&handle, ".", OPEN, Mode::empty()))
            .map_err(InstallError::at("open", &path));
        match fd {
            Ok(fd) => Ok(Some(Own { fd, path })),
            // Removed in between.
            Err(error) if error.is(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes `.appconfigd/` where it is missing and calls `work` with it, again when it was removed from under `work`, which says so
    /// by `None`.
    pub(super) fn in_own<T>(
        &self,
        mut work: impl FnMut(&Own) -> Result<Option<T>, InstallError>,
    ) -> Result<(Own, T), InstallError> {
        for _ in 0..ROUNDS {
            if let Some(own) = self.make_own()?
                && let Some(done) = work(&own)?
            {
                return Ok((own, done));
            }
        }
        Err(InstallError::at("make", self.path_of(OWN))(Errno::NOENT))
    }

    fn make_own(&self) -> Result<Option<Own>, InstallError> {
        if let Some(own) = self.own()? {
            return Ok(Some(own));
        }
        match rustix::fs::mkdirat(&self.fd, OWN, Mode::from_raw_mode(0o700)) {
            Ok(()) => {
                let own = self.own()?;
                if let Some(own) = &own {
                    attributes::clear_inherited(&own.fd, &own.path)?;
                }
                Ok(own)
            }
            Err(Errno::EXIST) => self.own(),
            Err(errno) => Err(InstallError::at("make", self.path_of(OWN))(errno)),
        }
    }

    /// Removes `.appconfigd/` if it is empty.
    pub(super) fn tidy(&self) {
        match rustix::fs::unlinkat(&self.fd, OWN, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => {}
            Err(errno) => {
                tracing::debug!(path = %self.path_of(OWN).display(), error = %errno, "cannot remove the staging directory");
            }
        }
    }

    /// Where the directory really is: links below a root are resolved as we resolved them.
    pub(super) fn real_path(&self) -> Option<PathBuf> {
        let fd = self.fd.as_raw_fd();
        std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()
    }
}

impl Own {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// For messages.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn sync(&self) -> Result<(), InstallError> {
        rustix::fs::fsync(&self.fd).map_err(InstallError::at("sync the directory", &self.path))
    }

    /// Removes a name if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<(), InstallError> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(InstallError::at("remove", self.path_of(name))(errno)),
        }
    }

    /// Removes a name whose loss of meaning is already certain: a failure is only worth a line, the sweep finds it later.
    pub(super) fn drop_name(&self, name: &str) {
        if let Err(error) = self.remove(name) {
            tracing::warn!(error = &error as &dyn std::error::Error, "a leftover stays");
        }
    }
}

/// Device and inode of a target's directory, if it is there; needs no permission to read it.
pub(super) fn identity_of_parent(root: Option<&Path>, target: &TargetPath) -> Option<(u64, u64)> {
    let (parent, _) = split(target);
    let fd = open(
        root,
        parent,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
    )
    .ok()?;
    rustix::fs::fstat(fd).ok().map(|stat| file::identity(&stat))
}

fn open(root: Option<&Path>, parent: &str, how: OFlags) -> rustix::io::Result<OwnedFd> {
    let Some(root) = root else {
        // Outside a root the administrator's own layout counts: directories may be links.
        return retry_on_intr(|| rustix::fs::openat(CWD, parent, how, Mode::empty()));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = retry_on_intr(|| rustix::fs::openat(CWD, root, flags, Mode::empty()))?;
    let below = match parent.trim_start_matches('/') {
        "" => ".",
        below => below,
    };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..ROUNDS {
        match rustix::fs::openat2(&root, below, how, Mode::empty(), resolve) {
            // A rename or mount anywhere on the machine during the walk: the kernel cannot vouch for it and asks for another try.
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
    Err(Errno::AGAIN)
}
