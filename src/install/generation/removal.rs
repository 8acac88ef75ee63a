//! Generations that nobody needs any more.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};

use super::{
    DEEPEST, Present, is_mount, is_staged_for, names, number_in, number_of, numbers, open, text_of,
};
use crate::install::directory::{Directory, Own, split};
use crate::install::error::{InstallError, Kind};
use crate::install::file;
use crate::install::staging::random_name;
use crate::install::{Kept, Placement};

/// What the name of a directory in `.appconfigd/` begins with that is not ready yet.
pub(super) const UNFINISHED: &str = "tree";

/// What the name of one begins with that is on its way out.
const GONE: &str = "gone";

/// A directory in `.appconfigd/` that a crash has left, half made or half removed.
pub(in crate::install) fn is_unfinished(name: &str) -> bool {
    [UNFINISHED, GONE].iter().any(|prefix| {
        let random = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('-'));
        random.is_some_and(|random| {
            random.len() == 32 && random.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    })
}

/// Removes one of those.
pub(in crate::install) fn remove_unfinished(own: &Own, name: &str) {
    say(remove_tree(own.fd(), OsStr::new(name), &own.path_of(name)));
}

/// Removes a generation to which no link leads.
pub(super) fn drop_generation(directory: &Directory, own: &Own, name: &str, number: u64) {
    let done = || -> Result<(), InstallError> {
        let live = Present::at(directory, name)?.number(name);
        if live == Some(number) || needed(own, name)?.contains(&number) {
            return Ok(());
        }
        remove(directory, name, number)
    };
    say(done());
}

/// Removes kept and staged names of a placement that is over, its generation if it is not the one that is live, and generations
/// beyond `keep_previous`. A directory that was taken over becomes a previous generation.
pub(in crate::install) fn release(
    directory: &Directory,
    own: &Own,
    placement: &Placement,
    keep_previous: u32,
) {
    let (_, name) = split(placement.lies());
    let first = match &placement.kept {
        Kept::Absent => None,
        Kept::Name(kept) => {
            let before = rustix::fs::readlinkat(own.fd(), kept, Vec::new()).ok();
            own.drop_name(kept);
            before.and_then(|text| number_in(name, text.to_str().ok()?)?.checked_add(1))
        }
        // Once it has become a generation there is nothing in between any more.
        Kept::Exchange(kept) => match file::stat(own.fd(), kept, &own.path_of(kept)) {
            Ok(Some(_)) => number_of(kept),
            Ok(None) | Err(_) => None,
        },
    };
    // What interrupted attempts have made: nobody wants to have it kept as a previous generation.
    if let (Some(first), Some(after)) = (first, number_of(&placement.staged)) {
        let there = numbers(directory, name).unwrap_or_default().into_iter();
        there
            .filter(|number| (first..after).contains(number))
            .for_each(|number| drop_generation(directory, own, name, number));
    }
    if let Kept::Exchange(kept) = &placement.kept
        && let Err(error) = retire(directory, own, name, kept)
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the directory that was taken over stays"
        );
    }
    discard(directory, own, name, &placement.staged);
    // A newer one may be live by now, and this one a previous generation that stays.
    if matches!(Present::at(directory, name), Ok(there) if there.number(name).is_none())
        && let Some(number) = number_of(&placement.staged)
    {
        drop_generation(directory, own, name, number);
    }
    prune(directory, name, keep_previous);
}

/// After the way back: drops what was staged, and its generation. A crash later than that finds nothing that only its intent explains.
pub(in crate::install) fn forget(directory: &Directory, own: &Own, placement: &Placement) {
    let (_, name) = split(placement.lies());
    if let Kept::Exchange(kept) = &placement.kept {
        discard(directory, own, name, kept);
    }
    discard(directory, own, name, &placement.staged);
    if let Some(number) = number_of(&placement.staged) {
        drop_generation(directory, own, name, number);
    }
}

/// What was staged and is in no transaction any more: a link is dropped with its generation, which was never live; a directory that was
/// exchanged, in a transaction that ended well before it could become a generation, becomes one now.
pub(in crate::install) fn sweep_staged(
    directory: &Directory,
    own: &Own,
    name: &str,
    live: &BTreeSet<&str>,
) {
    let done = || -> Result<(), InstallError> {
        let has_generation = Present::at(directory, name)?.number(name).is_some();
        for staged in names(own.fd(), &own.path_of(""))? {
            let Some(staged) = staged.to_str() else {
                continue;
            };
            if !is_staged_for(name, staged) || live.contains(staged) {
                continue;
            }
            match open(own.fd(), OsStr::new(staged), &own.path_of(staged))? {
                None => discard(directory, own, name, staged),
                Some(_) if has_generation => retire(directory, own, name, staged)?,
                Some(_) => {}
            }
        }
        Ok(())
    };
    say(done());
}

/// Drops a staged link and the generation that it led to, unless other links lead there. A directory that was exchanged for the link is
/// the operator's, and stays. May be called again at any time: numbers of generations that are gone may be others' by then.
pub(in crate::install) fn discard(directory: &Directory, own: &Own, name: &str, link: &str) {
    let Ok(text) = rustix::fs::readlinkat(own.fd(), link, Vec::new()) else {
        return;
    };
    own.drop_name(link);
    if let Some(number) = text.to_str().ok().and_then(|text| number_in(name, text)) {
        drop_generation(directory, own, name, number);
    }
}

/// What was exchanged for the link: a directory becomes a generation, a link goes.
fn retire(directory: &Directory, own: &Own, name: &str, kept: &str) -> Result<(), InstallError> {
    let path = own.path_of(kept);
    let Some(stat) = file::stat(own.fd(), kept, &path)? else {
        return Ok(());
    };
    if Kind::of(stat.st_mode) != Kind::Directory {
        discard(directory, own, name, kept);
        own.drop_name(kept);
        return Ok(());
    }
    let below = Present::at(directory, name)?.number(name).unwrap_or(0);
    for number in (0..below).rev() {
        let (text, flags) = (text_of(name, number), RenameFlags::NOREPLACE);
        match rustix::fs::renameat_with(own.fd(), kept, directory.fd(), &text, flags) {
            Ok(()) => return directory.sync(),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(InstallError::at("move", path)(errno)),
        }
    }
    Err(InstallError::at("move", path)(Errno::EXIST))
}

/// Removes all generations but the live one, those that a link in `.appconfigd/` leads to, and so many before the live one. Where
/// none is live nothing is removed: nobody knows what is still wanted.
pub(in crate::install) fn prune(directory: &Directory, name: &str, keep_previous: u32) {
    let done = || -> Result<(), InstallError> {
        let Some(live) = Present::at(directory, name)?.number(name) else {
            return Ok(());
        };
        let needed = match directory.own()? {
            Some(own) => needed(&own, name)?,
            None => BTreeSet::new(),
        };
        let mut numbers = numbers(directory, name)?;
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        let mut kept = 0;
        for number in numbers {
            if number == live || needed.contains(&number) {
                continue;
            }
            if number < live && kept < keep_previous {
                kept += 1;
                continue;
            }
            remove(directory, name, number)?;
        }
        Ok(())
    };
    say(done());
}

/// The generations that links in `.appconfigd/` lead to.
fn needed(own: &Own, name: &str) -> Result<BTreeSet<u64>, InstallError> {
    let names = names(own.fd(), &own.path_of(""))?;
    let texts = names
        .iter()
        .filter_map(|link| rustix::fs::readlinkat(own.fd(), link, Vec::new()).ok());
    let numbers = texts.filter_map(|text| number_in(name, text.to_str().ok()?));
    Ok(numbers.collect())
}

/// Out of sight first: what lies beside a target is always whole.
fn remove(directory: &Directory, name: &str, number: u64) -> Result<(), InstallError> {
    let text = text_of(name, number);
    let path = directory.path_of(&text);
    if open(directory.fd(), OsStr::new(&text), &path)?.is_none() {
        return Ok(());
    }
    writable(directory.fd(), OsStr::new(&text));
    let gone = random_name(GONE);
    let (own, ()) = directory.in_own(|own| {
        match rustix::fs::renameat(directory.fd(), &text, own.fd(), &gone) {
            Ok(()) => Ok(Some(())),
            Err(Errno::NOENT) if own_is_gone(own) => Ok(None),
            Err(errno) => Err(InstallError::at("remove", &path)(errno)),
        }
    })?;
    let removed = remove_tree(own.fd(), OsStr::new(&gone), &path);
    directory.tidy();
    removed
}

fn own_is_gone(own: &Own) -> bool {
    rustix::fs::fstat(own.fd()).is_ok_and(|stat| stat.st_nlink == 0)
}

/// Removes a directory with all that is in it, and nothing that is mounted in it.
pub(super) fn remove_tree(
    at: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
) -> Result<(), InstallError> {
    remove_below(at, name, path, 0)
}

fn remove_below(
    at: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
    depth: usize,
) -> Result<(), InstallError> {
    if depth > DEEPEST {
        return Err(InstallError::TooDeep { path: path.into() });
    }
    if is_mount(at, name) {
        return Err(InstallError::MountedDirectory { path: path.into() });
    }
    writable(at, name);
    if let Some(fd) = open(at, name, path)? {
        for inside in names(&fd, path)? {
            let path = path.join(&inside);
            match rustix::fs::unlinkat(&fd, &inside, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    remove_below(fd.as_fd(), &inside, &path, depth + 1)?;
                }
                Err(errno) => return Err(InstallError::at("remove", path)(errno)),
            }
        }
    }
    match rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(InstallError::at("remove", path)(errno)),
    }
}

/// Without privileges, a mode that we were told to set may forbid us to empty the directory. What cannot be done is found out later.
fn writable(at: BorrowedFd<'_>, name: &OsStr) {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if let Ok(fd) = retry_on_intr(|| rustix::fs::openat(at, name, flags, Mode::empty())) {
        let itself = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let _ = rustix::fs::chmodat(CWD, itself, Mode::from_raw_mode(0o700), AtFlags::empty());
    }
}

/// Nothing depends on the success: what stays is found by the next sweep, and a line says so.
fn say(done: Result<(), InstallError>) {
    if let Err(error) = done {
        tracing::warn!(error = &error as &dyn std::error::Error, "a leftover stays");
    }
}
