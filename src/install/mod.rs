//! The one recipe that writes a target. Nothing else writes to a target's directory.
//!
//! Blocking; callers run it on blocking threads.

mod archive;
mod attributes;
mod back;
mod commit;
mod directory;
mod error;
mod file;
mod file_set;
mod generation;
mod group;
mod in_place;
mod leftovers;
mod link;
mod parents;
mod principal;
mod site;
mod staging;
mod sweep;
mod tree;
mod untouched;
mod walk;
#[cfg(test)]
mod tests;

pub use attributes::Attributes;
pub use error::{InstallError, Kind, NotSwapped};
pub use site::{Site, TargetKind};
pub use tree::Tree;
pub use untouched::Untouched;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::directory::{Directory, OWN, rooted, split};
use self::file::Regular;
use self::leftovers::Leftovers;
use self::site::Spot;
use crate::protocol::Digest;
use crate::settings::{Parents, Principal, Settings, Symlink, Target, TargetPath};

/// Owner, group, permission bits and attributes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub uid: u32,
    pub gid: u32,
    /// At most 0o7777.
    pub mode: u32,
    /// Nobody declares them: those of the file that is there count, and what is put back gets those that it had.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
}

/// What the settings say about a target's metadata; `None`: that of the file which is there, else our own ids and 0644 (0600 if sensitive).
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub owner: Option<Principal>,
    pub group: Option<Principal>,
    pub mode: Option<u32>,
    pub attributes: Option<Attributes>,
    pub sensitive: bool,
}

/// What lies at a target's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Absent,
    /// A file; of a directory target a link, with the digest of what it leads to.
    File {
        digest: Digest,
        metadata: Metadata,
    },
    /// A directory where the link of a directory target is to be.
    Directory {
        digest: Digest,
        metadata: Metadata,
    },
}

/// A target's part in a transaction: enough to swap it and to put it back, also after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    pub target: TargetPath,
    #[serde(default)]
    pub site: Site,
    /// Name of the new file, or of the link to the new generation, inside `.appconfigd/` of the target's directory.
    pub staged: String,
    pub kept: Kept,
    /// Of the new bytes.
    pub digest: Digest,
    /// Of the new file.
    pub metadata: Metadata,
}

impl Placement {
    /// Where the target's file lies.
    pub fn lies(&self) -> &TargetPath {
        self.site.lies(&self.target)
    }

    fn spot(&self) -> Spot<'_> {
        self.site.spot(&self.target)
    }
}

/// Where the target that was there before the transaction is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kept {
    /// There was none.
    Absent,
    /// A name inside `.appconfigd/` of the target's directory.
    Name(String),
    /// A directory that is exchanged for the link which is staged under this name; it has this name itself from then on.
    Exchange(String),
}

impl Kept {
    /// The name inside `.appconfigd/`.
    pub fn name(&self) -> Option<&str> {
        match self {
            Kept::Absent => None,
            Kept::Name(name) | Kept::Exchange(name) => Some(name),
        }
    }
}

/// What going back found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WentBack {
    /// The target is what it was before the transaction.
    Restored,
    /// Target and kept name are both gone (a tmpfs after a reboot): the caller makes the target anew from `accepted`.
    Gone,
}

/// Bytes and metadata of a file that is about to be overwritten and is not ours; of a directory target the archive of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Foreign {
    pub target: TargetPath,
    pub bytes: Bytes,
    pub metadata: Metadata,
}

/// Never shows the bytes.
impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign")
            .field("target", &self.target)
            .field("bytes", &format_args!("{} bytes", self.bytes.len()))
            .field("metadata", &self.metadata)
            .finish()
    }
}

/// Writes targets below an optional alternate root.
#[derive(Clone, Debug)]
pub struct Installer {
    root: Option<PathBuf>,
    /// How targets are written; one that is not here is an ordinary one.
    targets: Arc<BTreeMap<TargetPath, Arc<Target>>>,
    leftovers: Arc<Leftovers>,
}

impl Installer {
    /// `root`: targets lie below it, and no link leads out of it.
    pub fn new(root: Option<PathBuf>) -> Installer {
        Installer {
            root,
            targets: Arc::default(),
            leftovers: Arc::default(),
        }
    }

    /// Writes the targets of these settings as they say.
    pub fn of(settings: &Settings) -> Installer {
        Installer {
            root: settings.root.clone(),
            targets: Arc::new(settings.targets.clone()),
            leftovers: Arc::default(),
        }
    }

    /// How the target is written under today's settings: to be asked once a transaction, and kept with its placement.
    pub fn site(&self, target: &TargetPath) -> Result<Site, InstallError> {
        let kind = |in_place| match (target.is_directory(), in_place) {
            (true, _) => TargetKind::Directory,
            (false, true) => TargetKind::InPlace,
            (false, false) => TargetKind::Rename,
        };
        let Some(declared) = self.targets.get(target) else {
            // A path that somebody has given by hand.
            return Ok(Site {
                kind: kind(false),
                unsafe_path: true,
                ..Site::default()
            });
        };
        Ok(Site {
            kind: kind(declared.in_place),
            leads_to: match declared.symlink {
                _ if target.is_directory() => None,
                Symlink::Refuse => None,
                Symlink::Follow => match link::follow(self.root(), target, declared.unsafe_path) {
                    // No directory, no link in it.
                    Err(error) if self.makes_the_directory(target, &error) => None,
                    end => end?,
                },
            },
            unsafe_path: declared.unsafe_path,
        })
    }

    /// Two targets with the same parent (device, inode) and name, if there are any. Parents that do not exist are compared as text.
    pub fn same_file(&self, targets: &BTreeSet<TargetPath>) -> Option<(TargetPath, TargetPath)> {
        let mut seen = BTreeMap::new();
        for target in targets {
            let lies = self.lies_now(target);
            let (_, name) = split(&lies);
            let name = name.to_owned();
            // As text no two targets are the same: they come in a set.
            let Some(parent) = directory::identity_of_parent(self.root(), &lies) else {
                continue;
            };
            if let Some(first) = seen.insert((parent, name), target) {
                return Some((first.clone(), target.clone()));
            }
        }
        None
    }

    /// What lies at the target's path. A symbolic link, a directory, a device are errors that name what was found; so is a directory
    /// of the target that does not exist. Reads the file in pieces.
    pub fn look(&self, target: &TargetPath) -> Result<Found, InstallError> {
        self.look_at(target, &self.site(target)?)
    }

    /// [`Installer::look`] where the site says that the target lies.
    pub fn look_at(&self, target: &TargetPath, site: &Site) -> Result<Found, InstallError> {
        if site.kind == TargetKind::Directory {
            return match self.look_at_directory(target, site) {
                Err(error) if self.makes_the_directory(target, &error) => Ok(Found::Absent),
                found => found,
            };
        }
        match self.open(target, site) {
            Err(error) if self.makes_the_directory(target, &error) => Ok(Found::Absent),
            Err(error) => Err(error),
            Ok(None) => Ok(Found::Absent),
            Ok(Some(file)) => Ok(Found::File {
                digest: file.digest()?,
                metadata: file.metadata()?,
            }),
        }
    }

    /// Bytes and metadata of the file at the target's path, `None` where there is none. A file over 64 MiB is an error.
    pub fn read(&self, target: &TargetPath) -> Result<Option<Foreign>, InstallError> {
        self.read_at(target, &self.site(target)?)
    }

    fn read_at(&self, target: &TargetPath, site: &Site) -> Result<Option<Foreign>, InstallError> {
        if site.kind == TargetKind::Directory {
            return self.read_directory(target, site);
        }
        let Some(file) = self.open(target, site)? else {
            return Ok(None);
        };
        Ok(Some(Foreign {
            target: target.clone(),
            bytes: file.bytes()?.into(),
            metadata: file.metadata()?,
        }))
    }

    /// Like `read`, for a file that is not what was installed: one that is too large to be kept is left out, and so is half of our own
    /// interrupted write.
    pub fn read_foreign(
        &self,
        target: &TargetPath,
        site: &Site,
        begun: Option<&Placement>,
    ) -> Result<Option<Foreign>, InstallError> {
        let read = match begun {
            Some(begun) if begun.site.kind == TargetKind::InPlace => self
                .foreign(std::slice::from_ref(begun))
                .map(|mut found| found.pop()),
            _ => self.read_at(target, site),
        };
        match read {
            // Replacing it is what the settings ask for all the same.
            Err(InstallError::TooLarge { .. }) => Ok(None),
            read => read,
        }
    }

    /// The metadata that the target shall have; looks up names in the system's user database.
    pub fn metadata(
        &self,
        target: &TargetPath,
        wanted: &Wanted,
        found: &Found,
    ) -> Result<Metadata, InstallError> {
        principal::metadata(&rooted(self.root(), target.location()), wanted, found)
    }

    /// Writes and syncs a new file in `.appconfigd/`, or a new generation and the link to it; the name there. ACL, `user.*` attributes and SELinux label are those of the file that
    /// is there. Missing directories are made where the settings say so, and stay. May be called from several threads at once, also for
    /// one directory.
    pub fn stage_at(
        &self,
        target: &TargetPath,
        site: &Site,
        bytes: &[u8],
        metadata: &Metadata,
    ) -> Result<String, InstallError> {
        let spot = site.spot(target);
        let (_, name) = split(spot.path);
        if let Some(parents) = self.parents(target) {
            parents::make(self.root(), spot, parents)?;
        }
        let directory = Directory::open(self.root(), spot)?;
        match site.kind {
            // The archive says it all.
            TargetKind::Directory => {
                generation::stage(&directory, name, &Bytes::copy_from_slice(bytes))
            }
            kind => {
                let staged = staging::random_name("new");
                staging::stage(&directory, name, &staged, bytes, metadata, kind)
                    .inspect_err(|_| self.remember_staged(spot.path, &staged))?;
                Ok(staged)
            }
        }
    }

    /// [`Installer::stage_at`] under today's settings.
    pub fn stage(
        &self,
        target: &TargetPath,
        bytes: &[u8],
        metadata: &Metadata,
    ) -> Result<String, InstallError> {
        self.stage_at(target, &self.site(target)?, bytes, metadata)
    }

    /// The whole path of the staged file or generation, for `validate_command`; below a root with links resolved as we resolve them.
    pub fn staged_path(&self, target: &TargetPath, staged: &str) -> PathBuf {
        let lies = self.lies_now(target);
        let (parent, name) = split(&lies);
        let real = self.root().and_then(|root| {
            let spot = Spot {
                path: &lies,
                unsafe_path: true,
            };
            let directory = Directory::open(Some(root), spot).ok()?;
            directory.real_path()
        });
        let directory = real.unwrap_or_else(|| rooted(self.root(), parent));
        let generation = match target.is_directory() {
            true => generation::of_staged(name, staged),
            false => None,
        };
        match generation {
            Some(generation) => directory.join(generation),
            None => directory.join(OWN).join(staged),
        }
    }

    /// Where the target's file lies now: a link at its path that is followed leads elsewhere, other links are not resolved.
    pub fn place(&self, target: &TargetPath) -> PathBuf {
        rooted(self.root(), self.lies_now(target).location())
    }

    /// A fresh random name for a kept file.
    pub fn kept_name(&self) -> String {
        staging::random_name("old")
    }

    /// Step (b): links every present target to its kept name (one that is written in place: keeps a copy) and syncs. Kept names that exist already stay as they are. A target that
    /// has gone in the meantime leaves a mark under its kept name, and [`Installer::put_back`] answers [`WentBack::Gone`] for it.
    pub fn keep(&self, placements: &[Placement]) -> Result<(), NotSwapped> {
        commit::keep(self.root(), &self.as_trusted(placements))
    }

    /// Step (c): renames every staged file over its target, or writes it in place, and syncs each directory once. A staged name that is gone while its
    /// target has the new digest counts as renamed. After an error some targets may be renamed: [`Installer::put_back`] knows which.
    pub fn swap(&self, placements: &[Placement]) -> Result<(), NotSwapped> {
        commit::swap(self.root(), &self.as_trusted(placements))
    }

    /// Sets owner, group and mode on the target's file itself, without touching its bytes. Synced.
    pub fn repair_metadata(
        &self,
        target: &TargetPath,
        metadata: &Metadata,
    ) -> Result<(), InstallError> {
        let path = rooted(self.root(), target.location());
        let Some(Regular { file, .. }) = self.open(target, &self.site(target)?)? else {
            return Err(InstallError::at("repair the metadata of", path)(
                rustix::io::Errno::NOENT,
            ));
        };
        attributes::set_owner(&file, &path, metadata)?;
        attributes::set_mode(&file, &path, metadata.mode)?;
        attributes::confirm_mode(&file, &path, metadata.mode)?;
        rustix::fs::fsync(&file).map_err(InstallError::at("sync", path))
    }

    /// Targets that are by now neither the kept file nor the new one: to be kept in history before `put_back`. What has no bytes (a
    /// link, a directory) or more than 64 MiB of them is left out with a line in the log.
    pub fn foreign(&self, placements: &[Placement]) -> Result<Vec<Foreign>, InstallError> {
        back::foreign(self.root(), &self.as_trusted(placements))
    }

    /// Puts every target back; goes on after a failure and returns one result a placement, in order. May be called again.
    pub fn put_back(&self, placements: &[Placement]) -> Vec<Result<WentBack, InstallError>> {
        back::put_back(self.root(), &self.as_trusted(placements))
    }

    /// Removes everything in `.appconfigd/` of these targets' directories that no placement names, and generations that nobody needs.
    /// Never while something is staged
    /// that is in no placement yet.
    pub fn sweep(&self, targets: &BTreeSet<TargetPath>, live: &[Placement]) {
        let mut sites = Vec::new();
        for target in targets {
            match self.site(target) {
                Ok(site) => sites.push((target, site)),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "leftovers stay");
                }
            }
        }
        for (target, site) in &sites {
            let made = self.parents(target).is_some();
            if made && let Err(error) = parents::sweep(self.root(), site.spot(target)) {
                tracing::warn!(error = &error as &dyn std::error::Error, "leftovers stay");
            }
        }
        let previous = |target: &TargetPath| self.keep_previous(target);
        sweep::sweep(self.root(), &sites, live, &previous);
    }

    /// An operator may declare a way safe while a transaction waits for that.
    fn as_trusted(&self, placements: &[Placement]) -> Vec<Placement> {
        let mut placements = placements.to_vec();
        for placement in &mut placements {
            let declared = self.targets.get(&placement.target);
            placement.site.unsafe_path |= declared.is_some_and(|target| target.unsafe_path);
        }
        placements
    }

    /// The alternate root.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// All targets of the settings.
    pub fn targets(&self) -> impl Iterator<Item = &TargetPath> {
        self.targets.keys()
    }

    fn open(&self, target: &TargetPath, site: &Site) -> Result<Option<Regular>, InstallError> {
        let spot = site.spot(target);
        let (_, name) = split(spot.path);
        Regular::open(&Directory::open(self.root(), spot)?, name)
    }

    fn declared(&self, target: &TargetPath) -> Option<&Target> {
        self.targets.get(target).map(Arc::as_ref)
    }

    fn parents(&self, target: &TargetPath) -> Option<&Parents> {
        self.declared(target)?.parents.as_ref()
    }

    fn makes_the_directory(&self, target: &TargetPath, error: &InstallError) -> bool {
        let is_missing = matches!(error, InstallError::NoDirectory { .. });
        is_missing && error.is(rustix::io::Errno::NOENT) && self.parents(target).is_some()
    }

    /// Where the target lies at this moment, or would if its links could be followed.
    pub fn lies_now(&self, target: &TargetPath) -> TargetPath {
        self.site(target)
            .map_or_else(|_| target.clone(), |site| site.lies(target).clone())
    }
}
