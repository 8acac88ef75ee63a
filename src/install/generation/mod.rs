//! Directory targets: a link at the target's path, and generations `.NAME.appconfigd.N` beside it, one of which it leads to.
//! A generation never changes; a new version is a new one, and one rename of the link makes it live.
//!
//! A generation is needed as long as a link leads to it: the target itself, or a staged or kept name in `.appconfigd/`.

mod filling;
mod reading;
mod removal;
mod swap;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat, StatxAttributes, StatxFlags};
use rustix::io::{Errno, retry_on_intr};

use super::directory::{Directory, OWN};
use super::error::{InstallError, Kind};
use super::file;
use super::staging::random_name;
use crate::protocol::Digest;

pub(super) use filling::stage;
pub(super) use reading::{look, read};
pub(super) use removal::{
    discard, forget, is_unfinished, prune, release, remove_unfinished, sweep_staged,
};
pub(super) use swap::{foreign, keep_copy, put_back_exchanged, swap};

/// What a staged link's name begins with; its generation's number follows.
const STAGED: &str = "generation";

/// Levels of directories; more than any program's configuration has, and less than the stack.
const DEEPEST: usize = 64;

/// The text of a link to a generation, and the generation's name beside it.
fn text_of(name: &str, number: u64) -> String {
    format!(".{name}{OWN}.{number}")
}

/// The number in the name of a generation of `name`.
fn number_in(name: &str, text: &str) -> Option<u64> {
    let number = text.strip_prefix('.')?.strip_prefix(name)?;
    let number = number.strip_prefix(OWN)?.strip_prefix('.')?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = number.parse().ok().filter(|_| plain)?;
    // One spelling each.
    (text == text_of(name, parsed)).then_some(parsed)
}

/// Says whose it is: the link's text goes when a directory is exchanged for it.
fn staged_name(name: &str, number: u64) -> String {
    let mark = mark_of(name);
    random_name(&format!("{STAGED}-{number}-{mark}"))
}

fn mark_of(name: &str) -> String {
    Digest::of(name.as_bytes()).hex().chars().take(16).collect()
}

/// Whether something was staged under this name for the target `name`.
fn is_staged_for(name: &str, staged: &str) -> bool {
    let rest = staged
        .strip_prefix(STAGED)
        .and_then(|rest| rest.strip_prefix('-'));
    let mark = rest.and_then(|rest| rest.split('-').nth(1));
    mark == Some(&mark_of(name)) && number_of(staged).is_some()
}

/// The number of the generation that was staged under this name.
fn number_of(staged: &str) -> Option<u64> {
    let (number, _) = staged
        .strip_prefix(STAGED)?
        .strip_prefix('-')?
        .split_once('-')?;
    number.parse().ok()
}

/// The name, beside the target, of the generation that was staged under this name.
pub(super) fn of_staged(name: &str, staged: &str) -> Option<String> {
    number_of(staged).map(|number| text_of(name, number))
}

/// What lies at a directory target's path.
enum Present {
    Absent,
    /// A link with its text.
    Link(OsString, Stat),
    /// A directory that is no generation.
    Directory,
}

impl Present {
    /// Whatever is neither a link nor a directory is an error that says what it is.
    fn at(directory: &Directory, name: &str) -> Result<Present, InstallError> {
        let path = directory.path_of(name);
        let Some(stat) = file::stat(directory.fd(), name, &path)? else {
            return Ok(Present::Absent);
        };
        match Kind::of(stat.st_mode) {
            Kind::Directory => Ok(Present::Directory),
            Kind::Symlink => match rustix::fs::readlinkat(directory.fd(), name, Vec::new()) {
                Ok(text) => Ok(Present::Link(OsString::from_vec(text.into_bytes()), stat)),
                Err(Errno::NOENT) => Ok(Present::Absent),
                Err(errno) => Err(InstallError::at("read the link", path)(errno)),
            },
            found => Err(InstallError::NotADirectory { path, found }),
        }
    }

    /// The name of the generation that it leads to.
    fn generation(&self, name: &str) -> Option<&str> {
        match self {
            Present::Link(text, _) => text.to_str().filter(|text| number_in(name, text).is_some()),
            Present::Absent | Present::Directory => None,
        }
    }

    /// The number of that generation.
    fn number(&self, name: &str) -> Option<u64> {
        number_in(name, self.generation(name)?)
    }
}

/// Opens a directory itself, not one that a link leads to; `None` where there is none.
fn open(
    at: impl std::os::fd::AsFd,
    name: &std::ffi::OsStr,
    path: &std::path::Path,
) -> Result<Option<OwnedFd>, InstallError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match retry_on_intr(|| rustix::fs::openat(&at, name, flags, Mode::empty())) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(InstallError::at("open the directory", path)(errno)),
    }
}

/// The names in a directory, in byte order.
fn names(
    fd: impl std::os::fd::AsFd,
    path: &std::path::Path,
) -> Result<Vec<OsString>, InstallError> {
    let failed = |errno: Errno| InstallError::at("list", path)(errno);
    let mut names = Vec::new();
    for entry in Dir::read_from(fd).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

/// The numbers of the generations that are there.
fn numbers(directory: &Directory, name: &str) -> Result<Vec<u64>, InstallError> {
    let names = names(directory.fd(), &directory.path_of(""))?;
    let numbers = names
        .iter()
        .filter_map(|text| number_in(name, text.to_str()?));
    Ok(numbers.collect())
}

fn is_mount(at: impl std::os::fd::AsFd, name: &std::ffi::OsStr) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::statx(at, name, flags, StatxFlags::TYPE)
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Why the kernel refused the link or the rename of a directory target.
pub(super) fn refused(
    directory: &Directory,
    name: &str,
    step: &'static str,
    errno: Errno,
) -> InstallError {
    let path = directory.path_of(name);
    match (errno, Present::at(directory, name)) {
        (_, Err(error @ InstallError::NotADirectory { .. })) => error,
        (Errno::BUSY | Errno::XDEV, Ok(Present::Directory))
            if is_mount(directory.fd(), name.as_ref()) =>
        {
            InstallError::MountedDirectory { path }
        }
        (Errno::XDEV | Errno::INVAL | Errno::NOSYS, Ok(Present::Directory)) => {
            InstallError::NoExchange { path }
        }
        (
            Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::PERM,
            Ok(Present::Directory),
        ) => InstallError::RealDirectory { path },
        _ => InstallError::at(step, path)(errno),
    }
}

/// Refuses, before anything is staged, what the swap would refuse after the intent is on disk.
pub(super) fn refuse_what_cannot_be_replaced(
    directory: &Directory,
    name: &str,
) -> Result<(), InstallError> {
    let path = directory.path_of(name);
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let Ok(found) = rustix::fs::statx(directory.fd(), name, flags, StatxFlags::TYPE) else {
        return Ok(());
    };
    let attributes = found.stx_attributes;
    if attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Err(InstallError::MountedDirectory { path });
    }
    if attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND) {
        return Err(InstallError::Immutable { path });
    }
    Ok(())
}
