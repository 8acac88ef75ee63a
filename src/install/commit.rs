//! Steps (b) and (c) of the commit: what is there gets a second name, then the new files take its place.

use std::fs::File;
use std::path::Path;

use rustix::fs::{AtFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::attributes::{self, Along};
use super::directory::{Directory, Own, split};
use super::error::{InstallError, Kind, NotSwapped};
use super::file::{self, Regular};
use super::group::{Group, by_directory};
use super::staging::{create, random_name};
use super::{Kept, Placement, TargetKind, generation, in_place};

/// More directories than this are opened a second time for their fsync instead of being held: descriptors are few (1,024 by default).
const HELD: usize = 64;

/// The kept name of a target that was gone when it was to be kept: a link to nowhere with this text. Without it a missing kept name
/// would say "not yet renamed" after the swap.
const GONE: &str = "appconfigd: the target was gone";

/// Step (b).
pub(super) fn keep(root: Option<&Path>, placements: &[Placement]) -> Result<(), NotSwapped> {
    for group in by_directory(placements) {
        keep_group(root, &group).map_err(|error| group.failed(error))?;
    }
    Ok(())
}

fn keep_group(root: Option<&Path>, group: &Group<'_>) -> Result<(), InstallError> {
    let kept: Vec<(&str, &str, TargetKind)> = group
        .members
        .iter()
        .filter_map(|(_, placement)| match &placement.kept {
            // A directory that is exchanged for a link keeps itself.
            Kept::Absent | Kept::Exchange(_) => None,
            Kept::Name(kept) => {
                let (_, name) = split(placement.lies());
                Some((name, kept.as_str(), placement.site.kind))
            }
        })
        .collect();
    if kept.is_empty() {
        return Ok(());
    }
    let directory = Directory::open(root, group.spot)?;
    let (own, ()) = directory.in_own(|own| {
        for (name, kept, kind) in &kept {
            if keep_one(&directory, own, name, kept, *kind)?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    // Before any rename: a kept name that is missing after a crash proves that its target was not renamed. `.appconfigd/` is new
    // most of the time, since it goes when it is empty, so its own name is synced always.
    own.sync()?;
    directory.sync()
}

/// `None` if `.appconfigd/` was removed from under us.
fn keep_one(
    directory: &Directory,
    own: &Own,
    name: &str,
    kept: &str,
    kind: TargetKind,
) -> Result<Option<()>, InstallError> {
    if kind == TargetKind::InPlace {
        // A second name of the inode would get the new bytes as well.
        return match file::stat(directory.fd(), name, &directory.path_of(name))? {
            Some(_) => copy(directory, own, name, kept),
            None => mark_gone(directory, own, name, kept),
        };
    }
    match rustix::fs::linkat(directory.fd(), name, own.fd(), kept, AtFlags::empty()) {
        Ok(()) | Err(Errno::EXIST) => Ok(Some(())),
        Err(Errno::NOENT) => mark_gone(directory, own, name, kept),
        // Another's file under protected_hardlinks, too many links, a file system without links.
        Err(Errno::PERM | Errno::MLINK | Errno::NOTSUP | Errno::NOSYS) => match kind {
            TargetKind::Directory => generation::keep_copy(directory, own, name, kept),
            TargetKind::Rename | TargetKind::InPlace => copy(directory, own, name, kept),
        },
        Err(errno) => Err(refused(directory, name, kind, "keep", errno)),
    }
}

fn mark_gone(
    directory: &Directory,
    own: &Own,
    name: &str,
    kept: &str,
) -> Result<Option<()>, InstallError> {
    match rustix::fs::symlinkat(GONE, own.fd(), kept) {
        Ok(()) | Err(Errno::EXIST) => Ok(Some(())),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(InstallError::at("keep", directory.path_of(name))(errno)),
    }
}

/// Keeps a copy with all metadata. It gets the kept name when it is whole: the kept name's presence must mean that.
fn copy(
    directory: &Directory,
    own: &Own,
    name: &str,
    kept: &str,
) -> Result<Option<()>, InstallError> {
    if file::stat(own.fd(), kept, &own.path_of(kept))?.is_some() {
        return Ok(Some(()));
    }
    let path = directory.path_of(name);
    let Some(original) = Regular::open(directory, name)? else {
        // Gone in this very moment: the next round finds out.
        return Ok(None);
    };
    let temporary = random_name("copy");
    let Some(file) = create(own, &temporary, &path)? else {
        return Ok(None);
    };
    let copied = fill_copy(&original, &file, &path).and_then(|()| {
        rustix::fs::renameat(own.fd(), &temporary, own.fd(), kept)
            .map_err(InstallError::at("keep a copy of", &path))
    });
    if copied.is_err() {
        own.drop_name(&temporary);
    }
    copied.map(Some)
}

fn fill_copy(original: &Regular, mut file: &File, path: &Path) -> Result<(), InstallError> {
    let metadata = original.metadata()?;
    std::io::copy(&mut &original.file, &mut file)
        .map_err(InstallError::at("keep a copy of", path))?;
    // After the bytes: writing takes capabilities and set-id bits away.
    attributes::dress(
        file,
        path,
        &metadata,
        Some((&original.file, Along::ToSameBytes)),
    )?;
    attributes::confirm_mode(file, path, metadata.mode)?;
    rustix::fs::futimens(file, &times(&original.stat))
        .map_err(InstallError::at("set the times of a copy of", path))?;
    rustix::fs::fsync(file).map_err(InstallError::at("sync a copy of", path))
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the widths differ between machines"
)]
pub(super) fn times(stat: &rustix::fs::Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime as i64,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime as i64,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}

/// Whether a kept name stands for "the target was gone".
pub(super) fn stands_for_gone(own: &Own, kept: &str) -> bool {
    rustix::fs::readlinkat(own.fd(), kept, Vec::new())
        .is_ok_and(|text| text.as_bytes() == GONE.as_bytes())
}

/// Step (c).
pub(super) fn swap(root: Option<&Path>, placements: &[Placement]) -> Result<(), NotSwapped> {
    let groups = by_directory(placements);
    let mut held = Vec::new();
    // First every rename, then every fsync: the files change together as nearly as they can.
    for group in &groups {
        let open = || {
            let directory = Directory::open(root, group.spot)?;
            let own = directory.own()?;
            Ok((directory, own))
        };
        let (directory, own) = open().map_err(|error| group.failed(error))?;
        for (_, placement) in &group.members {
            swap_one(&directory, own.as_ref(), placement).map_err(|error| NotSwapped {
                targets: vec![placement.target.clone()],
                error,
            })?;
        }
        if held.len() < HELD {
            held.push(directory);
        }
    }
    for (directory, group) in held.iter().zip(&groups) {
        directory.sync().map_err(|error| group.failed(error))?;
    }
    for group in groups.iter().skip(held.len()) {
        let directory = Directory::open(root, group.spot);
        let synced = directory.and_then(|directory| directory.sync());
        synced.map_err(|error| group.failed(error))?;
    }
    Ok(())
}

fn swap_one(
    directory: &Directory,
    own: Option<&Own>,
    placement: &Placement,
) -> Result<(), InstallError> {
    let (_, name) = split(placement.lies());
    let kind = placement.site.kind;
    if kind == TargetKind::Directory {
        return generation::swap(directory, own, placement);
    }
    if kind == TargetKind::InPlace
        && let Some(own) = own
        && let Some(staged) =
            file::open(own.fd(), &placement.staged, own.path_of(&placement.staged))?
        && in_place::write_over(directory, name, &staged, &placement.metadata, None)?
    {
        return Ok(());
    }
    let renamed = match own {
        Some(own) => rustix::fs::renameat(own.fd(), &placement.staged, directory.fd(), name),
        None => Err(Errno::NOENT),
    };
    match renamed {
        Ok(()) => Ok(()),
        Err(Errno::NOENT) => match Regular::open(directory, name)? {
            // Renamed before a crash.
            Some(there) if there.digest()? == placement.digest => Ok(()),
            Some(_) | None => Err(InstallError::StagedGone {
                path: directory.path_of(name),
            }),
        },
        Err(errno) => Err(refused(directory, name, kind, "rename into", errno)),
    }
}

/// Why the kernel refused a link or a rename of a target: what lies there says more than the number.
pub(super) fn refused(
    directory: &Directory,
    name: &str,
    kind: TargetKind,
    step: &'static str,
    errno: Errno,
) -> InstallError {
    if kind == TargetKind::Directory {
        return generation::refused(directory, name, step, errno);
    }
    let path = directory.path_of(name);
    if matches!(errno, Errno::BUSY | Errno::XDEV | Errno::PERM)
        && let Err(error) = file::refuse_what_cannot_be_replaced(directory, name, kind)
    {
        return error;
    }
    if matches!(
        errno,
        Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::PERM
    ) && let Ok(Some(stat)) = file::stat(directory.fd(), name, &path)
        && Kind::of(stat.st_mode) != Kind::File
    {
        return InstallError::NotAFile {
            path,
            found: Kind::of(stat.st_mode),
        };
    }
    InstallError::at(step, path)(errno)
}
