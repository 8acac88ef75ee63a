//! One target of a plan: rendered, and compared with what lies on disk.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::content::{Input, Refused};
use crate::install::{Found, InstallError, Metadata, Site, Wanted};
use crate::ledger::Installed;
use crate::protocol::{Digest, Identity};
use crate::settings::Target;
use crate::words::with_causes;

use super::candidates::Candidate;
use super::drift::Rule;
use super::planning::Planner;
use super::{FileChange, Plan};

/// Why a target cannot be made.
pub(super) enum Trouble {
    /// The configurations do not fit: nothing changes until they, the template or the settings do.
    Refused(String),
    /// The host does not let us look: tried again later.
    Hindered(String),
    /// It is barred, and its next time is set.
    Delayed(String),
}

fn hindered(error: InstallError) -> Trouble {
    Trouble::Hindered(with_causes(&error))
}

impl Planner<'_> {
    /// Renders one target, compares it with the disk, and adds what is to be done.
    pub(super) fn target(
        &self,
        target: &Target,
        candidates: &BTreeMap<Identity, Candidate>,
        plan: &mut Plan,
    ) -> Result<(), Trouble> {
        let (bytes, declared) = self.render(target, candidates)?;
        let digest = Digest::of(&bytes);
        let known = self.state.installed.get(&target.path);
        let forced = self.forced.get(&target.path);
        let rule = Rule::new(target, known.filter(|_| forced.is_none()), self.scope);
        // What is taken up again is written as it was begun.
        let site = match forced {
            Some(begun) => Ok(Site {
                unsafe_path: begun.site.unsafe_path || target.unsafe_path,
                ..begun.site.clone()
            }),
            None => self.installer.site(&target.path),
        };
        let looked = site.and_then(|site| {
            let found = self.installer.look_at(&target.path, &site)?;
            Ok((site, found))
        });
        let (site, found) = match looked {
            Err(error) if rule.ignores(&error, digest) => {
                plan.sound.insert(target.path.clone());
                return Ok(());
            }
            looked => looked.map_err(hindered)?,
        };
        let (metadata, as_installed) = match declared {
            Some(metadata) => (metadata.clone(), metadata),
            None => (
                self.metadata(target, &rule, &found, digest)?,
                self.as_installed(target, known, &found, digest)?,
            ),
        };
        let parts = self.parts(target, &bytes, candidates);
        let same = known.filter(|known| known.digest == digest && known.metadata == metadata);
        let installed = Installed {
            digest,
            metadata: metadata.clone(),
            since: same.map_or(self.now, |known| known.since),
            parts: parts.clone(),
        };
        plan.sound.insert(target.path.clone());
        if let Some(drift) = rule.judge(&found, digest, &metadata, &as_installed) {
            let left = drift.left;
            plan.drifted.insert(target.path.clone(), drift);
            if left {
                return Ok(());
            }
        }
        let exchanged = matches!(found, Found::Directory { .. });
        let lies = match found {
            Found::File {
                digest: lies,
                metadata: has,
            } if lies == digest && forced.is_none() => {
                let right = same.is_some_and(|known| known.parts == parts);
                if has != metadata {
                    plan.repairs.insert(target.path.clone(), installed);
                } else if !right {
                    plan.adopted.insert(target.path.clone(), installed);
                }
                return Ok(());
            }
            Found::File { digest: lies, .. } | Found::Directory { digest: lies, .. } => Some(lies),
            Found::Absent => None,
        };
        let ours = lies.is_none_or(|lies| {
            known.is_some_and(|known| known.digest == lies)
                || forced.is_some_and(|begun| begun.digest == lies)
                || lies == digest
        });
        let foreign = match ours && !exchanged {
            true => None,
            false => {
                let read = self.installer.read_foreign(&target.path, &site, forced);
                read.map_err(hindered)?
            }
        };
        plan.changes.push(FileChange {
            target: target.path.clone(),
            site,
            bytes,
            digest,
            metadata,
            absent: lies.is_none(),
            exchanged,
            foreign,
            parts,
        });
        Ok(())
    }

    /// The target's bytes; of a directory target an archive, and the metadata of the directory, of which the archive says it all.
    fn render(
        &self,
        target: &Target,
        candidates: &BTreeMap<Identity, Candidate>,
    ) -> Result<(Bytes, Option<Metadata>), Trouble> {
        let inputs = self.inputs(target, candidates);
        let refused = |why: Refused| Trouble::Refused(why.reason);
        let Some(set) = target.file_set() else {
            let bytes = self.content.render(target, &inputs).map_err(refused)?;
            return Ok((bytes, None));
        };
        let files = self.content.render_files(set, &inputs).map_err(refused)?;
        let archive = self.installer.archive(target, set, files);
        let (archive, metadata) = archive.map_err(hindered)?;
        Ok((archive, Some(metadata)))
    }

    pub(super) fn inputs<'c>(
        &'c self,
        target: &Target,
        candidates: &'c BTreeMap<Identity, Candidate>,
    ) -> Vec<Input<'c>> {
        let profiles = target.from.iter();
        profiles
            .filter_map(|name| self.component.profiles.get(name))
            .map(|(profile, identity)| Input {
                profile,
                configuration: candidates
                    .get(identity)
                    .map(|candidate| &candidate.configuration),
            })
            .collect()
    }

    fn metadata(
        &self,
        target: &Target,
        rule: &Rule<'_>,
        found: &Found,
        digest: Digest,
    ) -> Result<Metadata, Trouble> {
        let wanted = rule.wanted(declared(target), found, digest);
        let metadata = self.installer.metadata(&target.path, &wanted, found);
        metadata.map_err(hindered)
    }

    /// What the target's file would have if nobody but us had changed it.
    fn as_installed(
        &self,
        target: &Target,
        known: Option<&Installed>,
        found: &Found,
        digest: Digest,
    ) -> Result<Metadata, Trouble> {
        let found = match known {
            Some(row) => &Found::File {
                digest,
                metadata: row.metadata.clone(),
            },
            None => found,
        };
        let metadata = self
            .installer
            .metadata(&target.path, &declared(target), found);
        metadata.map_err(hindered)
    }
}

fn declared(target: &Target) -> Wanted {
    Wanted {
        owner: target.owner.clone(),
        group: target.group.clone(),
        mode: target.mode,
        attributes: None,
        sensitive: target.sensitive,
    }
}
