//! Directories on the way to a target, made where the settings ask for them.

use std::path::Path;

use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};

use super::directory::{Directory, Own};
use super::error::InstallError;
use super::file;
use super::site::Spot;
use super::staging::random_name;
use super::sweep::names;
use super::{Found, Metadata, Wanted, attributes, principal};
use crate::settings::Parents;

const MODE: u32 = 0o755;

/// How the name of a directory begins that has not got its own yet.
const UNREADY: &str = "dir-";

/// Makes the directories of the target that are missing, each synced with the directory that it lies in. What is there is left as it is.
pub(super) fn make(
    root: Option<&Path>,
    spot: Spot<'_>,
    parents: &Parents,
) -> Result<(), InstallError> {
    match Directory::open(root, spot) {
        Err(error) if error.is(Errno::NOENT) => {}
        Ok(_) => return Ok(()),
        Err(error) => return Err(error),
    }
    for (parent, name) in steps(spot.path.location()) {
        let directory = Directory::open_at(root, parent, name, spot.unsafe_path)?;
        let lies = directory.path_of(name);
        if file::stat(directory.fd(), name, &lies)?.is_some() {
            continue;
        }
        let wanted = Wanted {
            owner: parents.owner.clone(),
            group: parents.group.clone(),
            mode: Some(parents.mode.unwrap_or(MODE)),
            attributes: None,
            sensitive: false,
        };
        let metadata = principal::metadata(&lies, &wanted, &Found::Absent)?;
        let made = make_one(&directory, name, &metadata);
        directory.tidy();
        made?;
    }
    Ok(())
}

/// Removes what a crash has left of a directory that did not get its name yet. Never while one is being made.
pub(super) fn sweep(root: Option<&Path>, spot: Spot<'_>) -> Result<(), InstallError> {
    for (parent, name) in steps(spot.path.location()) {
        let directory = match Directory::open_at(root, parent, name, spot.unsafe_path) {
            Err(error) if error.is(Errno::NOENT) => return Ok(()),
            directory => directory?,
        };
        let Some(own) = directory.own()? else {
            continue;
        };
        let unready = names(&own)?.into_iter();
        for name in unready.filter(|name| name.starts_with(UNREADY)) {
            // One with something in it is not what we left.
            let _ = rustix::fs::unlinkat(own.fd(), &name, rustix::fs::AtFlags::REMOVEDIR);
        }
        directory.tidy();
    }
    Ok(())
}

/// Each directory on the way to a path, the uppermost first: the one that it lies in, and its name.
fn steps(path: &str) -> impl Iterator<Item = (&str, &str)> {
    let slashes = path.match_indices('/').map(|(at, _)| at);
    slashes.filter(|at| *at > 0).filter_map(|end| {
        let (parent, name) = path.get(..end)?.rsplit_once('/')?;
        Some((if parent.is_empty() { "/" } else { parent }, name))
    })
}

/// Under another name until it has its owner and mode: after a crash nobody would give them to a directory that is there.
fn make_one(directory: &Directory, name: &str, metadata: &Metadata) -> Result<(), InstallError> {
    let lies = directory.path_of(name);
    let unready = random_name(UNREADY.trim_end_matches('-'));
    let (own, ()) = directory.in_own(|own| {
        match rustix::fs::mkdirat(own.fd(), &unready, Mode::from_raw_mode(0o700)) {
            Ok(()) => Ok(Some(())),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(InstallError::at("make the directory", &lies)(errno)),
        }
    })?;
    let done = dress_and_rename(directory, &own, &unready, name, metadata);
    if done.is_err() {
        let _ = rustix::fs::unlinkat(own.fd(), &unready, rustix::fs::AtFlags::REMOVEDIR);
    }
    done
}

fn dress_and_rename(
    directory: &Directory,
    own: &Own,
    unready: &str,
    name: &str,
    metadata: &Metadata,
) -> Result<(), InstallError> {
    let lies = directory.path_of(name);
    let failed = |errno: Errno| InstallError::at("make the directory", &lies)(errno);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = retry_on_intr(|| rustix::fs::openat(own.fd(), unready, flags, Mode::empty()))
        .map_err(failed)?;
    let made = std::fs::File::from(fd);
    // The access ACL that it got from a default ACL would go beyond the mode that was declared.
    attributes::clear_inherited(&made, &lies)?;
    attributes::set_owner(&made, &lies, metadata)?;
    attributes::set_mode(&made, &lies, metadata.mode)?;
    attributes::confirm_mode(&made, &lies, metadata.mode)?;
    rustix::fs::fsync(&made).map_err(failed)?;
    let flags = RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(own.fd(), unready, directory.fd(), name, flags) {
        Ok(()) => {}
        // Somebody else has made it meanwhile.
        Err(Errno::EXIST) => {
            let _ = rustix::fs::unlinkat(own.fd(), unready, rustix::fs::AtFlags::REMOVEDIR);
        }
        // A file system that does not know the flag; an empty directory may be replaced.
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::renameat(own.fd(), unready, directory.fd(), name).map_err(failed)?;
        }
        Err(errno) => return Err(failed(errno)),
    }
    directory.sync()
}
