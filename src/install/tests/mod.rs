//! Against real file systems: the one of the temporary directory, and tmpfs.

mod commit;
mod crash;
mod found;
mod generations;
mod generations_killed;
mod in_place;
mod killed;
mod leftovers;
mod link;
mod other_process;
mod parents;
mod race;
mod stage;
mod walk;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

/// A directory for targets, removed at the end.
struct Place {
    directory: TempDir,
    installer: Installer,
}

impl Place {
    fn new() -> Place {
        Place::on(&std::env::temp_dir())
    }

    fn tmpfs() -> Place {
        Place::on(Path::new("/dev/shm"))
    }

    fn on(parent: &Path) -> Place {
        Place {
            directory: TempDir::new_in(parent).unwrap(),
            installer: Installer::new(None),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn target(&self, name: &str) -> TargetPath {
        TargetPath::new(self.path(name).to_str().unwrap()).unwrap()
    }

    fn write(&self, name: &str, bytes: &str, mode: u32) -> TargetPath {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
        self.target(name)
    }

    /// Stages `bytes` as a transaction would.
    fn placement(&self, name: &str, bytes: &str, wanted: &Wanted) -> Placement {
        place(&self.installer, &self.target(name), bytes, wanted).unwrap()
    }

    /// Names in the directory, hidden ones too.
    fn names(&self) -> Vec<String> {
        names(self.directory.path())
    }
}

fn place(
    installer: &Installer,
    target: &TargetPath,
    bytes: &str,
    wanted: &Wanted,
) -> Result<Placement, InstallError> {
    let found = installer.look(target)?;
    let metadata = installer.metadata(target, wanted, &found)?;
    Ok(Placement {
        site: installer.site(target)?,
        staged: installer.stage(target, bytes.as_bytes(), &metadata)?,
        target: target.clone(),
        kept: match found {
            Found::Absent => Kept::Absent,
            Found::File { .. } | Found::Directory { .. } => Kept::Name(installer.kept_name()),
        },
        digest: Digest::of(bytes.as_bytes()),
        metadata,
    })
}

/// Stages, commits and releases.
fn install(
    installer: &Installer,
    target: &TargetPath,
    bytes: &str,
    wanted: &Wanted,
) -> Result<(), InstallError> {
    let placements = [place(installer, target, bytes, wanted)?];
    installer.keep(&placements).map_err(|failed| failed.error)?;
    installer.swap(&placements).map_err(|failed| failed.error)?;
    installer.release(&placements);
    Ok(())
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says so past the capture of a test's output.
fn skipped(why: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {why}").unwrap();
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty())
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

/// A POSIX ACL in the kernel's form: owner, a named user, group, mask, others.
fn acl(owner: u16, (user, user_bits): (u32, u16), group: u16, mask: u16, other: u16) -> Vec<u8> {
    let mut acl = 2u32.to_le_bytes().to_vec();
    let nobody = u32::MAX;
    for (tag, bits, id) in [
        (0x01u16, owner, nobody),
        (0x02, user_bits, user),
        (0x04, group, nobody),
        (0x10, mask, nobody),
        (0x20, other, nobody),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(bits.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    acl
}
