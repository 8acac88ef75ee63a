//! What is left in `.appconfigd/` when nobody needs it any more.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::fs::Dir;

use super::directory::{Directory, Own, split};
use super::error::{InstallError, Kind};
use super::file;
use super::group::by_directory;
use super::site::{Site, Spot};
use super::{Kept, Placement};
use crate::settings::TargetPath;

/// Removes the kept and staged names of these placements, then `.appconfigd/` where it is empty.
pub(super) fn release(root: Option<&Path>, placements: &[Placement]) {
    for group in by_directory(placements) {
        in_own(root, group.spot, |own| {
            for (_, placement) in &group.members {
                own.drop_name(&placement.staged);
                if let Kept::Name(kept) = &placement.kept {
                    own.drop_name(kept);
                }
            }
            Ok(())
        });
    }
}

/// Removes a staged file, then `.appconfigd/` if it is empty.
pub(super) fn discard(root: Option<&Path>, target: &TargetPath, staged: &str) {
    // The name is nobody else's, wherever the way leads.
    let spot = Spot {
        path: target,
        unsafe_path: true,
    };
    in_own(root, spot, |own| {
        own.drop_name(staged);
        Ok(())
    });
}

/// Removes every file and link that no live placement names.
pub(super) fn sweep(root: Option<&Path>, targets: &[(&TargetPath, Site)], live: &[Placement]) {
    // Names are random: one that is live anywhere is live here.
    let live: BTreeSet<&str> = live
        .iter()
        .flat_map(|placement| {
            let kept = match &placement.kept {
                Kept::Absent => None,
                Kept::Name(kept) => Some(kept.as_str()),
            };
            [Some(placement.staged.as_str()), kept]
        })
        .flatten()
        .collect();
    let mut swept = BTreeSet::new();
    for (target, site) in targets {
        let spot = site.spot(target);
        if swept.insert(split(spot.path).0) {
            in_own(root, spot, |own| sweep_own(own, &live));
        }
    }
}

fn sweep_own(own: &Own, live: &BTreeSet<&str>) -> Result<(), InstallError> {
    for name in names(own)? {
        if live.contains(name.as_str()) {
            continue;
        }
        let path = own.path_of(&name);
        match file::stat(own.fd(), &name, &path)?.map(|stat| Kind::of(stat.st_mode)) {
            Some(Kind::File | Kind::Symlink) => own.drop_name(&name),
            Some(found) => {
                tracing::warn!(path = %path.display(), %found, "not ours, left alone: `.appconfigd` is reserved, remove it");
            }
            None => {}
        }
    }
    Ok(())
}

/// All names; one that is not UTF-8 is not ours.
pub(super) fn names(own: &Own) -> Result<Vec<String>, InstallError> {
    let failed = |errno| InstallError::at("list", own.path_of(""))(errno);
    let mut names = Vec::new();
    for entry in Dir::read_from(own.fd()).map_err(failed)? {
        match entry.map_err(failed)?.file_name().to_str() {
            Ok("." | "..") => {}
            Ok(name) => names.push(name.to_owned()),
            Err(_) => {
                tracing::warn!(path = %own.path_of("").display(), "a name that is not ours, left alone: `.appconfigd` is reserved");
            }
        }
    }
    Ok(names)
}

/// Nothing depends on the success: what stays is found by the next sweep, and a line says so.
fn in_own(
    root: Option<&Path>,
    spot: Spot<'_>,
    work: impl FnOnce(&Own) -> Result<(), InstallError>,
) {
    let done = Directory::find(root, spot).and_then(|directory| {
        let Some(directory) = directory else {
            return Ok(());
        };
        if let Some(own) = directory.own()? {
            work(&own)?;
            directory.tidy();
        }
        Ok(())
    });
    if let Err(error) = done {
        tracing::warn!(error = &error as &dyn std::error::Error, "leftovers stay");
    }
}
