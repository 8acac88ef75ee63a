//! New files before the swap, and their names.

use std::fs::File;
use std::io::Write;
use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::rand::GetRandomFlags;

use super::attributes::{self, Along, Attributes};
use super::directory::{Directory, Own};
use super::error::InstallError;
use super::file::{self, Regular};
use super::{Metadata, TargetKind};

/// Writes and syncs a new file for the target `name` under the name `staged` in `.appconfigd/`.
pub(super) fn stage(
    directory: &Directory,
    name: &str,
    staged: &str,
    bytes: &[u8],
    metadata: &Metadata,
    kind: TargetKind,
) -> Result<(), InstallError> {
    file::refuse_what_cannot_be_replaced(directory, name, kind)?;
    let like = Regular::open(directory, name)?;
    let path = directory.path_of(name);
    let like = match &like {
        None => None,
        Some(like) => {
            // What somebody else has put there has attributes of its own.
            let along = match Attributes::of(&like.file, &path)? == metadata.attributes {
                true => Along::ToNewBytes,
                false => Along::Label,
            };
            Some((&like.file, along))
        }
    };
    let (own, file) = directory
        .in_own(|own| create(own, staged, &path))
        // A full disk may have room for the directory and none for the file.
        .inspect_err(|_| directory.tidy())?;
    let filled = fill(&file, &path, bytes, metadata, like);
    if let Err(error) = filled {
        // After a failed fsync the kernel may call lost pages clean: this file is never synced again, it goes.
        own.drop_name(staged);
        directory.tidy();
        return Err(error);
    }
    Ok(())
}

/// A new empty file that only we may open; `None` if `.appconfigd/` was removed from under us.
pub(super) fn create(own: &Own, name: &str, path: &Path) -> Result<Option<File>, InstallError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match retry_on_intr(|| rustix::fs::openat(own.fd(), name, flags, Mode::from_raw_mode(0o600))) {
        Ok(fd) => Ok(Some(File::from(fd))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(InstallError::at("stage the new version of", path)(errno)),
    }
}

/// 128 random bits: nobody else's name, ever.
pub(super) fn random_name(prefix: &str) -> String {
    let mut bytes = [MaybeUninit::uninit(); 16];
    let number = match rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok((random, [])) => random
            .iter()
            .fold(0, |number: u128, byte| (number << 8) | u128::from(*byte)),
        // Not seen on Linux for 16 bytes. Names must be unique, not secret: `.appconfigd/` is closed to others, and files are made with O_EXCL.
        Ok(_) | Err(_) => fastrand::u128(..),
    };
    format!("{prefix}-{number:032x}")
}

fn fill(
    mut file: &File,
    path: &Path,
    bytes: &[u8],
    metadata: &Metadata,
    like: Option<(&File, Along)>,
) -> Result<(), InstallError> {
    attributes::dress(file, path, metadata, like)?;
    file.write_all(bytes)
        .map_err(InstallError::at("write the new version of", path))?;
    attributes::confirm_mode(file, path, metadata.mode)?;
    rustix::fs::fsync(file).map_err(InstallError::at("sync the new version of", path))
}
