//! What is left in `.appconfigd/` when nobody needs it any more.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::fs::Dir;

use super::directory::{Directory, Own, split};
use super::error::{InstallError, Kind};
use super::file;
use super::group::by_directory;
use super::site::{Site, Spot};
use super::{Placement, TargetKind, generation};
use crate::settings::TargetPath;

/// Removes the kept and staged names of these placements, then `.appconfigd/` where it is empty.
pub(super) fn release(
    root: Option<&Path>,
    placements: &[Placement],
    keep_previous: &dyn Fn(&TargetPath) -> u32,
) {
    for group in by_directory(placements) {
        // Generations lie beside it, whether it is there or not.
        let mut members = group.members.iter();
        let always = members.any(|(_, one)| one.site.kind == TargetKind::Directory);
        in_own(root, group.spot, always, |directory, own| {
            for (_, placement) in &group.members {
                if placement.site.kind == TargetKind::Directory {
                    let previous = keep_previous(&placement.target);
                    generation::release(directory, own, placement, previous);
                    continue;
                }
                own.drop_name(&placement.staged);
                if let Some(kept) = placement.kept.name() {
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
    in_own(root, spot, target.is_directory(), |directory, own| {
        match target.is_directory() {
            true => generation::discard(directory, own, split(target).1, staged),
            false => own.drop_name(staged),
        }
        Ok(())
    });
}

/// Removes every file and link that no live placement names, and generations that nobody needs.
pub(super) fn sweep(
    root: Option<&Path>,
    targets: &[(&TargetPath, Site)],
    live: &[Placement],
    keep_previous: &dyn Fn(&TargetPath) -> u32,
) {
    // Names are random: one that is live anywhere is live here.
    let live: BTreeSet<&str> = live
        .iter()
        .flat_map(|placement| [Some(placement.staged.as_str()), placement.kept.name()])
        .flatten()
        .collect();
    let generations = || {
        targets
            .iter()
            .filter(|(_, site)| site.kind == TargetKind::Directory)
    };
    for (target, site) in generations() {
        let spot = site.spot(target);
        in_own(root, spot, false, |directory, own| {
            generation::sweep_staged(directory, own, split(spot.path).1, &live);
            Ok(())
        });
    }
    let mut swept = BTreeSet::new();
    for (target, site) in targets {
        let spot = site.spot(target);
        if swept.insert(split(spot.path).0) {
            in_own(root, spot, false, |_, own| sweep_own(own, &live));
        }
    }
    for (target, site) in generations() {
        prune(root, target, site, keep_previous(target));
    }
}

fn prune(root: Option<&Path>, target: &TargetPath, site: &Site, keep_previous: u32) {
    let spot = site.spot(target);
    match Directory::find(root, spot) {
        Ok(Some(directory)) => generation::prune(&directory, split(spot.path).1, keep_previous),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "leftovers stay");
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
            Some(Kind::Directory) if generation::is_unfinished(&name) => {
                generation::remove_unfinished(own, &name);
            }
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

/// Nothing depends on the success: what stays is found by the next sweep, and a line says so. `always`: `.appconfigd/` is made where
/// it is missing.
fn in_own(
    root: Option<&Path>,
    spot: Spot<'_>,
    always: bool,
    work: impl FnOnce(&Directory, &Own) -> Result<(), InstallError>,
) {
    let done = Directory::find(root, spot).and_then(|directory| {
        let Some(directory) = directory else {
            return Ok(());
        };
        let own = match always {
            true => Some(directory.in_own(|_| Ok(Some(())))?.0),
            false => directory.own()?,
        };
        if let Some(own) = own {
            work(&directory, &own)?;
            directory.tidy();
        }
        Ok(())
    });
    if let Err(error) = done {
        tracing::warn!(error = &error as &dyn std::error::Error, "leftovers stay");
    }
}
