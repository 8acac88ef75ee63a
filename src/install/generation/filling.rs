//! A new generation: made and synced in `.appconfigd/`, where nobody sees it, then moved beside the target.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

use super::removal::{UNFINISHED, remove_tree};
use super::{
    Present, numbers, open, refuse_what_cannot_be_replaced, refused, staged_name, text_of,
};
use crate::install::attributes::{self, Along};
use crate::install::directory::{Directory, Own};
use crate::install::error::{InstallError, Kind};
use crate::install::staging::random_name;
use crate::install::tree::{Entry, Tree, What};

/// Others take numbers only by hand.
const TRIES: u64 = 1_000;

/// Writes and syncs a new generation; the name, in `.appconfigd/`, of the link that leads to it. ACL, `user.*` attributes and label
/// of its files and directories are those of what has the same path in the directory that is there.
pub(in crate::install) fn stage(
    directory: &Directory,
    name: &str,
    archive: &Bytes,
) -> Result<String, InstallError> {
    refuse_what_cannot_be_replaced(directory, name)?;
    let path = directory.path_of(name);
    let failed = |errno: Errno| InstallError::at("stage the new version of", &path)(errno);
    let tree = Tree::unpack(archive).ok_or_else(|| failed(Errno::INVAL))?;
    let present = Present::at(directory, name)?;
    let like = match (&present, present.generation(name)) {
        (_, Some(generation)) => open(directory.fd(), OsStr::new(generation), &path)?,
        (Present::Directory, _) => open(directory.fd(), OsStr::new(name), &path)?,
        _ => None,
    };
    let unready = random_name(UNFINISHED);
    let (own, ()) = directory
        .in_own(
            |own| match rustix::fs::mkdirat(own.fd(), &unready, Mode::from_raw_mode(0o700)) {
                Ok(()) => Ok(Some(())),
                Err(Errno::NOENT) => Ok(None),
                Err(errno) => Err(failed(errno)),
            },
        )
        .inspect_err(|_| directory.tidy())?;
    let staged = fill(&own, &unready, &tree, like.as_ref(), &path).and_then(|root| {
        // A directory that is adopted gets the number before the one of the new generation.
        let gap = u64::from(matches!(present, Present::Directory));
        let last = numbers(directory, name)?.into_iter().max();
        let first = last
            .map_or(1, |last| last.saturating_add(1))
            .saturating_add(gap);
        let staged = set_beside(directory, &own, name, &unready, first)?;
        let dressed = finish(&root, &tree, like.as_ref(), &path)
            .and_then(|()| own.sync())
            .and_then(|()| directory.sync());
        if let Err(error) = dressed {
            super::discard(directory, &own, name, &staged);
            return Err(error);
        }
        Ok(staged)
    });
    if staged.is_err() {
        if let Err(error) = remove_tree(own.fd(), OsStr::new(&unready), &own.path_of(&unready)) {
            tracing::warn!(error = &error as &dyn std::error::Error, "a leftover stays");
        }
        directory.tidy();
    }
    staged
}

/// Moves the generation to the first free number, behind a link that says that it is needed.
fn set_beside(
    directory: &Directory,
    own: &Own,
    name: &str,
    unready: &str,
    first: u64,
) -> Result<String, InstallError> {
    let failed = |errno| refused(directory, name, "stage the new version of", errno);
    for number in first..first.saturating_add(TRIES) {
        let (staged, text) = (staged_name(name, number), text_of(name, number));
        rustix::fs::symlinkat(&text, own.fd(), &staged).map_err(failed)?;
        let flags = RenameFlags::NOREPLACE;
        let moved = match rustix::fs::renameat_with(own.fd(), unready, directory.fd(), &text, flags)
        {
            // A file system that does not know the flag; a directory that is not empty is not replaced.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::renameat(own.fd(), unready, directory.fd(), &text)
            }
            done => done,
        };
        match moved {
            Ok(()) => return Ok(staged),
            Err(errno) => {
                own.drop_name(&staged);
                if !matches!(errno, Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) {
                    return Err(failed(errno));
                }
            }
        }
    }
    Err(failed(Errno::EXIST))
}

/// Makes everything in the directory `unready`, which nobody else can enter; its descriptor.
fn fill(
    own: &Own,
    unready: &str,
    tree: &Tree,
    like: Option<&OwnedFd>,
    path: &Path,
) -> Result<OwnedFd, InstallError> {
    let failed = |errno: Errno| InstallError::at("stage the new version of", path)(errno);
    let root = open(own.fd(), OsStr::new(unready), path)?.ok_or_else(|| failed(Errno::NOENT))?;
    let inside = || {
        tree.entries
            .iter()
            .filter(|(at, _)| !at.as_os_str().is_empty())
    };
    for (at, entry) in inside() {
        let path = path.join(at);
        match &entry.what {
            What::Directory => rustix::fs::mkdirat(&root, at, Mode::from_raw_mode(0o700))
                .map_err(InstallError::at("make the directory", path))?,
            What::File(bytes) => write(&root, at, entry, bytes, like, &path)?,
            What::Link(_) | What::Other => return Err(failed(Errno::INVAL)),
        }
    }
    // After what is in them: a mode may forbid to make anything there.
    for (at, entry) in inside().rev() {
        if entry.what == What::Directory {
            let path = path.join(at);
            let made = open(&root, at.as_os_str(), &path)?;
            let made = made.ok_or_else(|| failed(Errno::NOENT))?;
            dress(
                &File::from(made),
                entry,
                counterpart(like, at, &path)?,
                &path,
            )?;
        }
    }
    Ok(root)
}

/// The directory itself, after it was moved: to move a directory one must be allowed to write to it.
fn finish(
    root: &OwnedFd,
    tree: &Tree,
    like: Option<&OwnedFd>,
    path: &Path,
) -> Result<(), InstallError> {
    let Some(entry) = tree.entries.get(Path::new("")) else {
        return Ok(());
    };
    let root = rustix::io::fcntl_dupfd_cloexec(root, 0)
        .map_err(InstallError::at("stage the new version of", path))?;
    dress(
        &File::from(root),
        entry,
        counterpart(like, Path::new(""), path)?,
        path,
    )
}

fn write(
    root: &OwnedFd,
    at: &Path,
    entry: &Entry,
    bytes: &Bytes,
    like: Option<&OwnedFd>,
    path: &Path,
) -> Result<(), InstallError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600);
    let fd = retry_on_intr(|| rustix::fs::openat(root, at, flags, mode))
        .map_err(InstallError::at("stage the new version of", path))?;
    let mut file = File::from(fd);
    file.write_all(bytes)
        .map_err(InstallError::at("write the new version of", path))?;
    dress(&file, entry, counterpart(like, at, path)?, path)
}

fn dress(made: &File, entry: &Entry, like: Option<File>, path: &Path) -> Result<(), InstallError> {
    let kind = |file: &File| match rustix::fs::fstat(file) {
        Ok(stat) => Ok(Kind::of(stat.st_mode)),
        Err(errno) => Err(InstallError::at("look at", path)(errno)),
    };
    let like = match like {
        Some(like) if kind(&like)? == kind(made)? => Some(like),
        Some(_) | None => None,
    };
    if entry.what == What::Directory {
        attributes::clear_inherited(made, path)?;
    }
    let like = like.as_ref().map(|like| (like, Along::ToNewBytes));
    attributes::dress(made, path, &entry.metadata, like)?;
    attributes::confirm_mode(made, path, entry.metadata.mode)?;
    rustix::fs::fsync(made).map_err(InstallError::at("sync the new version of", path))
}

/// What has this path in the directory that is there; it may be anybody's, so no link leads us out of it.
fn counterpart(
    like: Option<&OwnedFd>,
    at: &Path,
    path: &Path,
) -> Result<Option<File>, InstallError> {
    let Some(like) = like else {
        return Ok(None);
    };
    match open_counterpart(like, at) {
        // Nothing that could be ours.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
        Err(errno) => Err(InstallError::at("copy the attributes to", path)(errno)),
        Ok(found) => Ok(found),
    }
}

fn open_counterpart(like: &OwnedFd, at: &Path) -> rustix::io::Result<Option<File>> {
    let at = if at.as_os_str().is_empty() {
        Path::new(".")
    } else {
        at
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // First a look: merely opening a device can do something.
    let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(like.as_fd(), at, look, Mode::empty(), resolve)?;
    let stat = rustix::fs::statat(&found, "", AtFlags::EMPTY_PATH)?;
    if !matches!(Kind::of(stat.st_mode), Kind::File | Kind::Directory) {
        return Ok(None);
    }
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::openat2(like.as_fd(), at, flags, Mode::empty(), resolve) {
        // A file that its mode lets nobody read keeps being replaced.
        Err(Errno::ACCESS) if stat.st_mode & 0o444 == 0 => Ok(None),
        opened => Ok(Some(File::from(opened?))),
    }
}
