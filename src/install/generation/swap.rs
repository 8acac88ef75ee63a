//! The commit of a directory target and its way back.

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::{Present, number_in, of_staged, read, refused, removal};
use crate::install::directory::{Directory, Own, split};
use crate::install::error::InstallError;
use crate::install::file;
use crate::install::{Foreign, Kept, Placement, WentBack};
use crate::protocol::Digest;

/// Keeps a link where links of links are refused: another one with its text.
pub(in crate::install) fn keep_copy(
    directory: &Directory,
    own: &Own,
    name: &str,
    kept: &str,
) -> Result<Option<()>, InstallError> {
    let path = directory.path_of(name);
    let Present::Link(text, _) = Present::at(directory, name)? else {
        return Err(refused(directory, name, "keep", Errno::PERM));
    };
    match rustix::fs::symlinkat(text.as_os_str(), own.fd(), kept) {
        Ok(()) | Err(Errno::EXIST) => Ok(Some(())),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(InstallError::at("keep a copy of", path)(errno)),
    }
}

/// Makes the staged generation live.
pub(in crate::install) fn swap(
    directory: &Directory,
    own: Option<&Own>,
    placement: &Placement,
) -> Result<(), InstallError> {
    let (_, name) = split(placement.lies());
    let done = match (own, &placement.kept) {
        (None, _) => Err(Errno::NOENT),
        (Some(own), Kept::Exchange(kept)) if !is_exchanged(own, name, kept)? => {
            return exchange(directory, own, name, kept, placement);
        }
        (Some(_), Kept::Absent) if is_live(directory, name, placement)? => Ok(()),
        (Some(own), Kept::Absent) => replace(directory, own, name, &placement.staged)?,
        (Some(own), _) => rustix::fs::renameat(own.fd(), &placement.staged, directory.fd(), name),
    };
    match done {
        Ok(()) => Ok(()),
        // Renamed before a crash.
        Err(Errno::NOENT) if is_live(directory, name, placement)? => Ok(()),
        Err(Errno::NOENT) => Err(InstallError::StagedGone {
            path: directory.path_of(name),
        }),
        Err(errno) => Err(refused(directory, name, "rename into", errno)),
    }
}

/// Renames the link over a name at which nothing was when the transaction began. What is there by now an interrupted attempt has made:
/// its link gets the staged name, so that its generation goes with it.
fn replace(
    directory: &Directory,
    own: &Own,
    name: &str,
    staged: &str,
) -> Result<rustix::io::Result<()>, InstallError> {
    let rename = || rustix::fs::renameat(own.fd(), staged, directory.fd(), name);
    if Present::at(directory, name)?.number(name).is_none() {
        return Ok(rename());
    }
    let flags = RenameFlags::EXCHANGE;
    let exchanged = rustix::fs::renameat_with(own.fd(), staged, directory.fd(), name, flags);
    Ok(match exchanged {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOENT) => rename(),
        done => done,
    })
}

/// Puts the staged link in the place of the directory, and the directory under the kept name.
fn exchange(
    directory: &Directory,
    own: &Own,
    name: &str,
    kept: &str,
    placement: &Placement,
) -> Result<(), InstallError> {
    let path = directory.path_of(name);
    if placement.staged != kept {
        // An earlier attempt has not come to the exchange; the kept name stays the same for all of them.
        let before = staged_under(own, name, kept);
        match rustix::fs::renameat(own.fd(), &placement.staged, own.fd(), kept) {
            Ok(()) => {}
            Err(Errno::NOENT) if before.is_some() => {}
            Err(Errno::NOENT) if is_live(directory, name, placement)? => return Ok(()),
            Err(Errno::NOENT) => return Err(InstallError::StagedGone { path }),
            Err(errno) => return Err(InstallError::at("rename into", path)(errno)),
        }
        if let Some(abandoned) = before {
            removal::drop_generation(directory, own, name, abandoned);
        }
    }
    let flags = RenameFlags::EXCHANGE;
    let done = match rustix::fs::renameat_with(own.fd(), kept, directory.fd(), name, flags) {
        // The directory has gone meanwhile, or the link has been renamed already.
        Err(Errno::NOENT) => rustix::fs::renameat(own.fd(), kept, directory.fd(), name),
        done => done,
    };
    match done {
        Ok(()) => own.sync(),
        Err(Errno::NOENT) if is_live(directory, name, placement)? => Ok(()),
        Err(Errno::NOENT) => Err(InstallError::StagedGone { path }),
        Err(errno) => Err(refused(directory, name, "exchange", errno)),
    }
}

/// The target's link leads to the placement's generation.
fn is_live(directory: &Directory, name: &str, placement: &Placement) -> Result<bool, InstallError> {
    let present = Present::at(directory, name)?;
    let ours = of_staged(name, &placement.staged);
    Ok(ours.is_some() && present.generation(name) == ours.as_deref())
}

/// The number of the generation that a link under the kept name leads to: one that was staged, and not exchanged.
fn staged_under(own: &Own, name: &str, kept: &str) -> Option<u64> {
    let text = rustix::fs::readlinkat(own.fd(), kept, Vec::new()).ok()?;
    number_in(name, text.to_str().ok()?)
}

/// What lay at the target's path is under the kept name.
fn is_exchanged(own: &Own, name: &str, kept: &str) -> Result<bool, InstallError> {
    let there = file::stat(own.fd(), kept, &own.path_of(kept))?;
    Ok(there.is_some() && staged_under(own, name, kept).is_none())
}

/// Puts a directory back that was exchanged for the link. May be called again.
pub(in crate::install) fn put_back_exchanged(
    directory: &Directory,
    own: Option<&Own>,
    placement: &Placement,
    kept: &str,
) -> Result<WentBack, InstallError> {
    let (_, name) = split(placement.lies());
    let path = directory.path_of(name);
    let there = file::stat(directory.fd(), name, &path)?;
    let Some(own) = own.filter(|own| matches!(file::stat(own.fd(), kept, &path), Ok(Some(_))))
    else {
        // Neither the link nor what was exchanged for it: the directory had gone before the exchange, or both went with a tmpfs.
        if !is_live(directory, name, placement)? {
            return Ok(there.map_or(WentBack::Gone, |_| WentBack::Restored));
        }
        return match rustix::fs::unlinkat(directory.fd(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(WentBack::Gone),
            Err(errno) => Err(refused(directory, name, "remove", errno)),
        };
    };
    if !is_exchanged(own, name, kept)? {
        return Ok(there.map_or(WentBack::Gone, |_| WentBack::Restored));
    }
    let failed = |errno| refused(directory, name, "put back", errno);
    let present = Present::at(directory, name)?;
    let flags = RenameFlags::EXCHANGE;
    let done = match &present {
        Present::Absent => rustix::fs::renameat(own.fd(), kept, directory.fd(), name),
        Present::Link(..) if present.number(name).is_some() => {
            rustix::fs::renameat_with(own.fd(), kept, directory.fd(), name, flags)
        }
        // Under the kept name it would be taken for what is to come back.
        Present::Link(..) => {
            rustix::fs::unlinkat(directory.fd(), name, AtFlags::empty()).map_err(failed)?;
            rustix::fs::renameat(own.fd(), kept, directory.fd(), name)
        }
        Present::Directory => return Err(InstallError::RealDirectory { path }),
    };
    done.map_err(failed)?;
    Ok(WentBack::Restored)
}

/// What lies there, if it is neither the new version nor what was there before.
pub(in crate::install) fn foreign(
    directory: &Directory,
    own: Option<&Own>,
    placement: &Placement,
    kept_link: Option<(u64, u64)>,
) -> Result<Option<Foreign>, InstallError> {
    let (_, name) = split(placement.lies());
    if let Kept::Exchange(kept) = &placement.kept {
        let exchanged = match own {
            Some(own) => is_exchanged(own, name, kept)?,
            None => false,
        };
        if !exchanged {
            return Ok(None);
        }
    }
    let there = file::stat(directory.fd(), name, &directory.path_of(name))?;
    if there.is_some_and(|there| Some(file::identity(&there)) == kept_link) {
        return Ok(None);
    }
    let found = match read(directory, name) {
        Ok(Some(found)) if !found.is_real => found,
        // A directory is not replaced by going back.
        Ok(_) => return Ok(None),
        Err(error @ (InstallError::TooLarge { .. } | InstallError::NotADirectory { .. })) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "going back replaces something without keeping it"
            );
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if Digest::of(&found.archive) == placement.digest {
        return Ok(None);
    }
    Ok(Some(Foreign {
        target: placement.target.clone(),
        bytes: found.archive.into(),
        metadata: found.metadata,
    }))
}
