//! Directory targets as the installer sees them: what shall be in one, and what is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::directory::{Directory, rooted, split};
use super::error::InstallError;
use super::generation;
use super::tree::Tree;
use super::{Foreign, Found, Installer, Metadata, Site, Wanted};
use crate::settings::{FileSet, Principal, Target, TargetPath};

/// The mode of a directory where nothing was said.
const MODE: u32 = 0o755;

/// Generations that stay where the settings no longer say how many.
const KEEP_PREVIOUS: u32 = 1;

impl Installer {
    /// The archive of a directory target with these files, and the metadata of the directory itself. Looks up names in the system's
    /// user database. Nothing is taken over from what is there: owner and group are ours where the settings do not say.
    pub fn archive(
        &self,
        target: &Target,
        set: &FileSet,
        files: BTreeMap<String, Bytes>,
    ) -> Result<(Bytes, Metadata), InstallError> {
        let path = rooted(self.root(), target.path.location());
        let wanted = Wanted {
            owner: target.owner.clone(),
            group: target.group.clone(),
            mode: Some(target.mode.unwrap_or(MODE)),
            attributes: None,
            sensitive: false,
        };
        let whole = super::principal::metadata(&path, &wanted, &Found::Absent)?;
        let mut entries = Vec::with_capacity(files.len());
        for (name, bytes) in files {
            let Some(file) = set.files.get(&name) else {
                continue;
            };
            let wanted = Wanted {
                owner: Some(file.owner.clone().unwrap_or(Principal::Id(whole.uid))),
                group: Some(file.group.clone().unwrap_or(Principal::Id(whole.gid))),
                mode: file.mode,
                attributes: None,
                sensitive: file.sensitive,
            };
            let metadata = super::principal::metadata(&path.join(&name), &wanted, &Found::Absent)?;
            entries.push((PathBuf::from(name), metadata, bytes));
        }
        Ok((Tree::of(whole.clone(), entries).pack().into(), whole))
    }

    pub(super) fn look_at_directory(
        &self,
        target: &TargetPath,
        site: &Site,
    ) -> Result<Found, InstallError> {
        let spot = site.spot(target);
        let (_, name) = split(spot.path);
        let found = generation::look(&Directory::open(self.root(), spot)?, name)?;
        let Some(found) = found else {
            return Ok(Found::Absent);
        };
        let (digest, metadata) = (found.archive, found.metadata);
        if !found.is_real {
            return Ok(Found::File { digest, metadata });
        }
        let set = self.declared(target).and_then(Target::file_set);
        match set.is_some_and(|set| set.adopt) {
            true => Ok(Found::Directory { digest, metadata }),
            false => Err(InstallError::RealDirectory {
                path: rooted(self.root(), target.location()),
            }),
        }
    }

    pub(super) fn read_directory(
        &self,
        target: &TargetPath,
        site: &Site,
    ) -> Result<Option<Foreign>, InstallError> {
        let spot = site.spot(target);
        let (_, name) = split(spot.path);
        let found = generation::read(&Directory::open(self.root(), spot)?, name)?;
        Ok(found.map(|found| Foreign {
            target: target.clone(),
            bytes: found.archive.into(),
            metadata: found.metadata,
        }))
    }

    pub(super) fn keep_previous(&self, target: &TargetPath) -> u32 {
        let set = self.declared(target).and_then(Target::file_set);
        set.map_or(KEEP_PREVIOUS, |set| set.keep_previous)
    }
}

impl Tree {
    /// The bytes of the file with this path in it.
    pub fn file(&self, path: &Path) -> Option<&Bytes> {
        self.files()
            .find(|(name, _)| *name == path)
            .map(|(_, bytes)| bytes)
    }
}
