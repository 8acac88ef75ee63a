//! What lies at a name: a regular file, opened without following or waiting, or nothing.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Mode, OFlags, Stat, StatxAttributes, StatxFlags};
use rustix::io::{Errno, retry_on_intr};
use sha2::{Digest as _, Sha256};

use super::attributes::Attributes;
use super::directory::Directory;
use super::error::{InstallError, Kind};
use super::{Metadata, TargetKind};
use crate::protocol::Digest;

/// The largest file whose bytes are read into memory to be kept: the whole history's budget.
pub(super) const READ_LIMIT: u64 = 64 << 20;

/// A regular file that was there when it was opened.
pub(super) struct Regular {
    pub file: File,
    pub path: PathBuf,
    pub stat: Stat,
}

impl Regular {
    /// Opens the target `name`; anything but a regular file is an error that says what it is.
    pub(super) fn open(directory: &Directory, name: &str) -> Result<Option<Regular>, InstallError> {
        open(directory.fd(), name, directory.path_of(name))
    }

    pub(super) fn metadata(&self) -> Result<Metadata, InstallError> {
        Ok(Metadata {
            uid: self.stat.st_uid,
            gid: self.stat.st_gid,
            mode: self.stat.st_mode & 0o7777,
            attributes: Attributes::of(&self.file, &self.path)?,
        })
    }

    /// Device and inode.
    pub(super) fn identity(&self) -> (u64, u64) {
        identity(&self.stat)
    }

    /// Reads the file from where it stands, in pieces.
    pub(super) fn digest(&self) -> Result<Digest, InstallError> {
        let mut sha = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match (&self.file).read(&mut buffer) {
                Ok(0) => return Ok(Digest::from_bytes(sha.finalize().into())),
                Ok(read) => sha.update(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(InstallError::at("read", &self.path)(error)),
            }
        }
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>, InstallError> {
        let mut bytes = Vec::new();
        (&self.file)
            .take(READ_LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(InstallError::at("read", &self.path))?;
        if bytes.len() as u64 > READ_LIMIT {
            return Err(InstallError::TooLarge {
                path: self.path.clone(),
                limit: READ_LIMIT,
            });
        }
        Ok(bytes)
    }
}

pub(super) fn identity(stat: &Stat) -> (u64, u64) {
    #[allow(
        clippy::unnecessary_cast,
        reason = "the width differs between machines"
    )]
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// What a name is now, links not followed.
pub(super) fn stat(
    at: impl std::os::fd::AsFd,
    name: &str,
    path: &Path,
) -> Result<Option<Stat>, InstallError> {
    match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(InstallError::at("look at", path)(errno)),
    }
}

/// Opens a regular file for reading.
pub(super) fn open(
    at: impl std::os::fd::AsFd,
    name: &str,
    path: PathBuf,
) -> Result<Option<Regular>, InstallError> {
    let at = at.as_fd();
    // First a look: merely opening a device can do something.
    let Some(before) = stat(at, name, &path)? else {
        return Ok(None);
    };
    refuse_other_kinds(&before, &path)?;
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = match retry_on_intr(|| rustix::fs::openat(at, name, flags, Mode::empty())) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => {
            let found = Kind::Symlink;
            return Err(InstallError::NotAFile { path, found });
        }
        Err(errno) => return Err(InstallError::at("open", path)(errno)),
    };
    let stat = rustix::fs::fstat(&fd).map_err(InstallError::at("look at", &path))?;
    refuse_other_kinds(&stat, &path)?;
    let file = File::from(fd);
    Ok(Some(Regular { file, path, stat }))
}

/// Refuses, before anything is staged, what the rename or the write would refuse after the intent is on disk.
pub(super) fn refuse_what_cannot_be_replaced(
    directory: &Directory,
    name: &str,
    kind: TargetKind,
) -> Result<(), InstallError> {
    // A kernel or sandbox without statx finds out at the rename.
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let Ok(statx) = rustix::fs::statx(directory.fd(), name, flags, StatxFlags::TYPE) else {
        return Ok(());
    };
    let attributes = statx.stx_attributes;
    if kind == TargetKind::Rename
        && attributes.contains(StatxAttributes::MOUNT_ROOT)
        && Kind::of(statx.stx_mode.into()) == Kind::File
    {
        let path = directory.path_of(name);
        return Err(InstallError::Mounted { path });
    }
    if attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND) {
        let path = directory.path_of(name);
        return Err(InstallError::Immutable { path });
    }
    if kind == TargetKind::InPlace && Kind::of(statx.stx_mode.into()) == Kind::File {
        // Not by opening it: programs that watch the inode would take the close for a write.
        return rustix::fs::accessat(directory.fd(), name, Access::WRITE_OK, AtFlags::EACCESS)
            .map_err(InstallError::at(
                "write in place to",
                directory.path_of(name),
            ));
    }
    Ok(())
}

fn refuse_other_kinds(stat: &Stat, path: &Path) -> Result<(), InstallError> {
    match Kind::of(stat.st_mode) {
        Kind::File => Ok(()),
        found => Err(InstallError::NotAFile {
            path: path.into(),
            found,
        }),
    }
}
