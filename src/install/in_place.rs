//! Writing over a file: the inode stays, for mounts of single files and for programs that watch inodes.

use std::fs::File;
use std::io::Seek;

use rustix::fs::{FallocateFlags, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::attributes;
use super::commit::times;
use super::directory::{Directory, Own};
use super::error::InstallError;
use super::file::{self, Regular};
use super::{Metadata, Placement};

/// Gives the file `name` the bytes of `new` and this metadata, and syncs it. Equal bytes and metadata are not touched. `false`: there
/// is no such file. An error may leave it half written; the same call finishes it.
pub(super) fn write_over(
    directory: &Directory,
    name: &str,
    new: &Regular,
    metadata: &Metadata,
    times_of: Option<&Stat>,
) -> Result<bool, InstallError> {
    let Some(there) = Regular::open(directory, name)? else {
        return Ok(false);
    };
    let path = directory.path_of(name);
    if there.digest()? == new.digest()? {
        dress(&there.file, &there, metadata)?;
        // Equal bytes may be those of an earlier call that was interrupted before its fsync.
        rustix::fs::fsync(&there.file).map_err(InstallError::at("sync", path))?;
        return Ok(true);
    }
    let flags =
        OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = retry_on_intr(|| rustix::fs::openat(directory.fd(), name, flags, Mode::empty()))
        .map_err(InstallError::at("write in place to", &path))?;
    let mut file = File::from(fd);
    let stat = rustix::fs::fstat(&file).map_err(InstallError::at("look at", &path))?;
    if file::identity(&stat) != there.identity() {
        return Err(InstallError::at("write in place to", path)(Errno::STALE));
    }
    let failed = |error: std::io::Error| InstallError::at("write in place to", &path)(error);
    let length = new.stat.st_size.try_into().unwrap_or_default();
    reserve(&file, length).map_err(|errno| failed(errno.into()))?;
    // The new bytes must not be read by those who may read the old ones only, and the other way round.
    let narrow = there.stat.st_mode & metadata.mode & 0o777;
    attributes::set_mode(&file, &path, narrow)?;
    attributes::set_owner(&file, &path, metadata)?;
    (&new.file).rewind().map_err(failed)?;
    let written = std::io::copy(&mut &new.file, &mut file).map_err(failed)?;
    // Not before: a file that is cut first is empty after a crash, and in between.
    rustix::fs::ftruncate(&file, written).map_err(|errno| failed(errno.into()))?;
    metadata.attributes.give(&file, &path)?;
    attributes::set_mode(&file, &path, metadata.mode)?;
    attributes::confirm_mode(&file, &path, metadata.mode)?;
    if let Some(stat) = times_of {
        rustix::fs::futimens(&file, &times(stat))
            .map_err(InstallError::at("set the times of", &path))?;
    }
    rustix::fs::fsync(&file).map_err(InstallError::at("sync", path))?;
    Ok(true)
}

fn dress(file: &File, there: &Regular, metadata: &Metadata) -> Result<(), InstallError> {
    if there.metadata()? == *metadata {
        return Ok(());
    }
    attributes::set_owner(file, &there.path, metadata)?;
    metadata.attributes.give(file, &there.path)?;
    attributes::set_mode(file, &there.path, metadata.mode)?;
    attributes::confirm_mode(file, &there.path, metadata.mode)
}

/// Finds out that the disk is full before a byte is overwritten, where the file system can say so.
fn reserve(file: &File, length: u64) -> rustix::io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, length) {
        Err(errno @ (Errno::NOSPC | Errno::DQUOT)) => Err(errno),
        _ => Ok(()),
    }
}

/// Whether `found` is our own interrupted write: at every place the byte that was there, or the one that was to come.
pub(super) fn is_half_written(
    own: &Own,
    placement: &Placement,
    kept: &str,
    found: &[u8],
) -> Result<bool, InstallError> {
    let read = |name: &str| -> Result<Option<Vec<u8>>, InstallError> {
        match file::open(own.fd(), name, own.path_of(name))? {
            Some(file) => file.bytes().map(Some),
            None => Ok(None),
        }
    };
    let (Some(old), Some(new)) = (read(kept)?, read(&placement.staged)?) else {
        return Ok(false);
    };
    if found.len() < old.len().min(new.len()) || found.len() > old.len().max(new.len()) {
        return Ok(false);
    }
    Ok(found.iter().enumerate().all(|(index, byte)| {
        let (old, new) = (old.get(index), new.get(index));
        // Blocks that were allocated and not written before a loss of power read as zero.
        old == Some(byte) || new == Some(byte) || (old.is_none() && *byte == 0)
    }))
}
