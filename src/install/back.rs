//! The way back: every target becomes what it was before the transaction.

use std::path::Path;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::commit::{refused, stands_for_gone};
use super::directory::{Directory, Own, split};
use super::error::{InstallError, Kind};
use super::file::{self, Regular, identity};
use super::group::{Group, by_directory};
use super::{Foreign, Kept, Placement, TargetKind, WentBack, generation, in_place};
use crate::protocol::Digest;
use crate::settings::TargetPath;

/// Puts every target back; one result a placement, in order.
pub(super) fn put_back(
    root: Option<&Path>,
    placements: &[Placement],
) -> Vec<Result<WentBack, InstallError>> {
    let mut results: Vec<(usize, Result<WentBack, InstallError>)> = Vec::new();
    for group in by_directory(placements) {
        match put_group_back(root, &group) {
            Ok(went) => results.extend(went),
            Err(error) => {
                results.extend(
                    group
                        .members
                        .iter()
                        .map(|(index, _)| (*index, Err(error.clone()))),
                );
            }
        }
    }
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

type Went = Vec<(usize, Result<WentBack, InstallError>)>;

/// An error is about all of them.
fn put_group_back(root: Option<&Path>, group: &Group<'_>) -> Result<Went, InstallError> {
    let members = group.members.iter();
    let Some(directory) = Directory::find(root, group.spot)? else {
        let without = |placement: &Placement| match placement.kept {
            Kept::Absent => WentBack::Restored,
            Kept::Name(_) | Kept::Exchange(_) => WentBack::Gone,
        };
        return Ok(members
            .map(|(index, placement)| (*index, Ok(without(placement))))
            .collect());
    };
    let own = directory.own()?;
    let went: Went = members
        .map(|(index, placement)| (*index, put_one_back(&directory, own.as_ref(), placement)))
        .collect();
    // Also when nothing was renamed now: an earlier call may have been interrupted before its fsync.
    directory.sync()?;
    if let Some(own) = &own {
        own.sync()?;
    }
    for ((_, went), (_, placement)) in went.iter().zip(&group.members) {
        if placement.site.kind == TargetKind::Directory && went.is_ok() {
            let (own, ()) = directory.in_own(|_| Ok(Some(())))?;
            generation::forget(&directory, &own, placement);
            directory.tidy();
        }
    }
    Ok(went)
}

fn put_one_back(
    directory: &Directory,
    own: Option<&Own>,
    placement: &Placement,
) -> Result<WentBack, InstallError> {
    let (_, name) = split(placement.lies());
    let kind = placement.site.kind;
    if let Kept::Exchange(kept) = &placement.kept {
        return generation::put_back_exchanged(directory, own, placement, kept);
    }
    match before(own, &placement.kept)? {
        Before::Nothing => {
            remove(directory, name, kind)?;
            Ok(WentBack::Restored)
        }
        // The staged file stays beside the kept one until both are released: a file that is a mount of its own may outlive them.
        Before::NotRenamed if kind == TargetKind::InPlace && !is_staged(own, placement)? => {
            Ok(WentBack::Gone)
        }
        Before::NotRenamed => {
            let there = file::stat(directory.fd(), name, &directory.path_of(name))?;
            Ok(there.map_or(WentBack::Gone, |_| WentBack::Restored))
        }
        Before::Gone(own, kept) => {
            remove(directory, name, kind)?;
            // The mark must not go before the file does.
            directory.sync()?;
            own.remove(kept)?;
            Ok(WentBack::Gone)
        }
        Before::Kept(own, kept)
            if kind == TargetKind::InPlace && write_back(directory, name, own, kept)? =>
        {
            // The kept name stays until it is released: without it nobody knows whether the target was written.
            Ok(WentBack::Restored)
        }
        Before::Kept(own, kept) => {
            if let Err(errno) = rustix::fs::renameat(own.fd(), kept, directory.fd(), name)
                && !is_right_already(directory, name, own, kept)
            {
                return Err(refused(directory, name, kind, "put back", errno));
            }
            // A rename of two names of one inode does nothing and leaves both.
            own.remove(kept)?;
            Ok(WentBack::Restored)
        }
    }
}

/// What the kept name proves.
enum Before<'a> {
    /// There was no target.
    Nothing,
    /// No kept name: the target was not renamed, or is already back.
    NotRenamed,
    /// The target had gone when it was to be kept.
    Gone(&'a Own, &'a str),
    /// The kept name holds it.
    Kept(&'a Own, &'a str),
}

fn before<'a>(own: Option<&'a Own>, kept: &'a Kept) -> Result<Before<'a>, InstallError> {
    let Kept::Name(kept) = kept else {
        return Ok(Before::Nothing);
    };
    let Some(own) = own else {
        return Ok(Before::NotRenamed);
    };
    let Some(stat) = file::stat(own.fd(), kept, &own.path_of(kept))? else {
        return Ok(Before::NotRenamed);
    };
    if Kind::of(stat.st_mode) == Kind::Symlink && stands_for_gone(own, kept) {
        return Ok(Before::Gone(own, kept));
    }
    Ok(Before::Kept(own, kept))
}

/// `false`: there is no file to write over.
fn write_back(
    directory: &Directory,
    name: &str,
    own: &Own,
    kept: &str,
) -> Result<bool, InstallError> {
    match file::open(own.fd(), kept, own.path_of(kept))? {
        Some(kept) => {
            let (metadata, stat) = (kept.metadata()?, kept.stat);
            in_place::write_over(directory, name, &kept, &metadata, Some(&stat))
        }
        None => Ok(false),
    }
}

fn is_staged(own: Option<&Own>, placement: &Placement) -> Result<bool, InstallError> {
    let Some(own) = own else {
        return Ok(false);
    };
    let staged = file::stat(own.fd(), &placement.staged, &own.path_of(&placement.staged))?;
    Ok(staged.is_some())
}

fn remove(directory: &Directory, name: &str, kind: TargetKind) -> Result<(), InstallError> {
    match rustix::fs::unlinkat(directory.fd(), name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(refused(directory, name, kind, "remove", errno)),
    }
}

/// A target that refuses every rename (immutable, a mount) was not replaced either, and a copy of it may have been kept.
fn is_right_already(directory: &Directory, name: &str, own: &Own, kept: &str) -> bool {
    let target = Regular::open(directory, name);
    let kept = file::open(own.fd(), kept, own.path_of(kept));
    let (Ok(Some(target)), Ok(Some(kept))) = (target, kept) else {
        return false;
    };
    let digests = (target.digest(), kept.digest());
    let metadata = (target.metadata(), kept.metadata());
    matches!(metadata, (Ok(left), Ok(right)) if left == right)
        && matches!(digests, (Ok(left), Ok(right)) if left == right)
}

/// The targets that are neither what was kept nor what was swapped in.
pub(super) fn foreign(
    root: Option<&Path>,
    placements: &[Placement],
) -> Result<Vec<Foreign>, InstallError> {
    let mut foreign = Vec::new();
    for group in by_directory(placements) {
        let Some(directory) = Directory::find(root, group.spot)? else {
            continue;
        };
        let own = directory.own()?;
        for (_, placement) in &group.members {
            foreign.extend(foreign_one(&directory, own.as_ref(), placement)?);
        }
    }
    Ok(foreign)
}

fn foreign_one(
    directory: &Directory,
    own: Option<&Own>,
    placement: &Placement,
) -> Result<Option<Foreign>, InstallError> {
    let (_, name) = split(placement.lies());
    let kept = match before(own, &placement.kept)? {
        // It will not be touched.
        Before::NotRenamed => return Ok(None),
        Before::Nothing | Before::Gone(..) => None,
        Before::Kept(own, kept) => {
            file::stat(own.fd(), kept, &own.path_of(kept))?.map(|stat| (own, kept, identity(&stat)))
        }
    };
    if placement.site.kind == TargetKind::Directory {
        let kept = kept.map(|(_, _, identity)| identity);
        return generation::foreign(directory, own, placement, kept);
    }
    let there = match Regular::open(directory, name) {
        Ok(Some(there)) => there,
        Ok(None) => return Ok(None),
        Err(error @ InstallError::NotAFile { .. }) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "going back replaces something that has no bytes to keep"
            );
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if kept.is_some_and(|(_, _, identity)| identity == there.identity()) {
        return Ok(None);
    }
    let Some(found) = read(there, &placement.target)? else {
        return Ok(None);
    };
    let digest = Digest::of(&found.bytes);
    if digest == placement.digest {
        return Ok(None);
    }
    if placement.site.kind == TargetKind::InPlace
        && let Some((own, kept, _)) = kept
        && in_place::is_half_written(own, placement, kept, &found.bytes)?
    {
        return Ok(None);
    }
    // A copy was kept where links are refused.
    if let Some((own, kept, _)) = kept
        && let Some(kept) = file::open(own.fd(), kept, own.path_of(kept))?
        && kept.digest()? == digest
    {
        return Ok(None);
    }
    Ok(Some(found))
}

/// Going back must not fail on a file that is too large to be kept in history.
fn read(there: Regular, target: &TargetPath) -> Result<Option<Foreign>, InstallError> {
    let metadata = there.metadata()?;
    match there.bytes() {
        Ok(bytes) => Ok(Some(Foreign {
            target: target.clone(),
            bytes: bytes.into(),
            metadata,
        })),
        Err(error @ InstallError::TooLarge { .. }) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "going back replaces a file without keeping its bytes"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
