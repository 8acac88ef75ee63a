//! Owner, mode, ACL, extended attributes and security label of a file, set on its descriptor.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Metadata;
use super::error::InstallError;

const ACCESS_ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";
const LABEL: &str = "security.selinux";

/// The kernel's XATTR_LIST_MAX and XATTR_SIZE_MAX.
const GREATEST: usize = 64 << 10;

/// Which attributes go along.
#[derive(Clone, Copy)]
pub(super) enum Along {
    /// To a new version: ACL, `user.*` and the SELinux label. Others (capabilities, IMA hashes) belong to the old bytes.
    ToNewBytes,
    /// To a copy of the same bytes.
    ToSameBytes,
    /// To a version that has attributes of its own: the SELinux label.
    Label,
}

/// ACL and `user.*` attributes of a file. Cheap to clone; values are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes(Arc<BTreeMap<String, Vec<u8>>>);

impl Attributes {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of an open file. None where they cannot be held: over 64 KiB in all, a name that is no text, a file system without them.
    ///
    /// # Errors
    /// The kernel does not give them: a file must not lose them in silence because a disk failed for a moment.
    pub(super) fn of(file: &File, path: &Path) -> Result<Attributes, InstallError> {
        match Attributes::read(file) {
            Ok(held) => Ok(held.unwrap_or_default()),
            Err(errno) => Err(InstallError::at("read the attributes of", path)(errno)),
        }
    }

    fn read(file: &File) -> rustix::io::Result<Option<Attributes>> {
        let names = match sized(|buffer| rustix::fs::flistxattr(file, buffer)) {
            Ok(names) => names,
            Err(Errno::NOTSUP) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let mut held = BTreeMap::new();
        let mut size = 0;
        for name in names.split(|byte| *byte == 0).filter(|name| is_held(name)) {
            let value = match sized(|buffer| rustix::fs::fgetxattr(file, name, buffer)) {
                Ok(value) => value,
                // Taken off since it was listed.
                Err(Errno::NODATA) => continue,
                Err(errno) => return Err(errno),
            };
            size += name.len() + value.len();
            let Ok(name) = String::from_utf8(name.to_vec()) else {
                return Ok(None);
            };
            if size > GREATEST {
                return Ok(None);
            }
            held.insert(name, value);
        }
        Ok(Some(Attributes(Arc::new(held))))
    }

    /// Makes those of the file exactly these. The mode is to be set after it: an ACL changes the group bits.
    pub(super) fn give(&self, file: &File, path: &Path) -> Result<(), InstallError> {
        let has = Attributes::of(file, path)?;
        if has == *self {
            return Ok(());
        }
        for name in has.0.keys().filter(|name| !self.0.contains_key(*name)) {
            match rustix::fs::fremovexattr(file, name.as_str()) {
                Ok(()) | Err(Errno::NODATA) => {}
                Err(errno) => {
                    return Err(InstallError::at("take the attributes from", path)(errno));
                }
            }
        }
        for (name, value) in self.0.iter() {
            if has.0.get(name) != Some(value) {
                rustix::fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty())
                    .map_err(InstallError::at("give the attributes to", path))?;
            }
        }
        Ok(())
    }
}

fn is_held(name: &[u8]) -> bool {
    name == ACCESS_ACL.as_bytes() || name.starts_with(b"user.")
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|(name, value)| (name, BASE64.encode(value))),
        )
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Attributes, D::Error> {
        let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
        let decoded = texts.into_iter().map(|(name, value)| {
            let value = BASE64.decode(value).map_err(D::Error::custom)?;
            Ok((name, value))
        });
        Ok(Attributes(Arc::new(decoded.collect::<Result<_, _>>()?)))
    }
}

/// Gives `file` its owner and group, ACL and attributes of `like` or of `metadata`, and at last its mode: setting an ACL changes the group bits, and
/// setting the mode after it sets the ACL's mask; changing the owner clears set-id bits.
pub(super) fn dress(
    file: &File,
    path: &Path,
    metadata: &Metadata,
    like: Option<(&File, Along)>,
) -> Result<(), InstallError> {
    set_owner(file, path, metadata)?;
    clear_inherited_acl(file, ACCESS_ACL, path)?;
    if let Some((like, along)) = like {
        copy_attributes(like, file, along, path)?;
    }
    if !matches!(like, Some((_, Along::ToNewBytes | Along::ToSameBytes))) {
        metadata.attributes.give(file, path)?;
    }
    set_mode(file, path, metadata.mode)
}

/// Owner and group, where they differ: without privileges a needless fchown would be refused.
pub(super) fn set_owner(file: &File, path: &Path, metadata: &Metadata) -> Result<(), InstallError> {
    let stat = rustix::fs::fstat(file).map_err(InstallError::at("look at", path))?;
    let uid = (stat.st_uid != metadata.uid).then(|| Uid::from_raw(metadata.uid));
    let gid = (stat.st_gid != metadata.gid).then(|| Gid::from_raw(metadata.gid));
    if uid.is_none() && gid.is_none() {
        return Ok(());
    }
    rustix::fs::fchown(file, uid, gid).map_err(InstallError::at("set owner and group of", path))
}

pub(super) fn set_mode(file: &File, path: &Path, mode: u32) -> Result<(), InstallError> {
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777))
        .map_err(InstallError::at("set the mode of", path))
}

/// Writing clears set-id bits, and fchmod drops a set-group-id bit in silence, for those who have no capability: sets the mode again
/// where it was lost, and makes sure of it.
pub(super) fn confirm_mode(file: &File, path: &Path, mode: u32) -> Result<(), InstallError> {
    if mode & 0o7000 == 0 {
        return Ok(());
    }
    for set_again in [true, false] {
        let stat = rustix::fs::fstat(file).map_err(InstallError::at("look at", path))?;
        if stat.st_mode & 0o7777 == mode {
            break;
        }
        if !set_again {
            return Err(InstallError::ModeRefused {
                path: path.into(),
                mode,
            });
        }
        set_mode(file, path, mode)?;
    }
    Ok(())
}

/// Takes off the ACLs that a new directory got from a default ACL of its parent.
pub(super) fn clear_inherited(directory: impl AsFd, path: &Path) -> Result<(), InstallError> {
    clear_inherited_acl(&directory, DEFAULT_ACL, path)?;
    clear_inherited_acl(&directory, ACCESS_ACL, path)
}

fn clear_inherited_acl(fd: impl AsFd, acl: &str, path: &Path) -> Result<(), InstallError> {
    match rustix::fs::fremovexattr(fd, acl) {
        Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        Err(errno) => Err(InstallError::at("clear the inherited ACL of", path)(errno)),
    }
}

fn copy_attributes(from: &File, to: &File, along: Along, path: &Path) -> Result<(), InstallError> {
    let names = match sized(|buffer| rustix::fs::flistxattr(from, buffer)) {
        Ok(names) => names,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(errno) => {
            return Err(InstallError::at("list the attributes to copy to", path)(
                errno,
            ));
        }
    };
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let Some(step) = copied(name, along) else {
            continue;
        };
        let value = match sized(|buffer| rustix::fs::fgetxattr(from, name, buffer)) {
            Ok(value) => value,
            // Taken off since it was listed.
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(InstallError::at(step, path)(errno)),
        };
        // A label is often the same by inheritance, and then needs no privilege.
        let same = sized(|buffer| rustix::fs::fgetxattr(to, name, buffer))
            .is_ok_and(|there| there == value);
        if !same {
            rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty())
                .map_err(InstallError::at(step, path))?;
        }
    }
    Ok(())
}

/// Whether the attribute goes along: the step, for messages.
fn copied(name: &[u8], along: Along) -> Option<&'static str> {
    if name == LABEL.as_bytes() {
        return Some("copy the security label to");
    }
    if matches!(along, Along::Label) {
        return None;
    }
    if name == ACCESS_ACL.as_bytes() {
        return Some("copy the ACL to");
    }
    if name.starts_with(b"user.") {
        return Some("copy the attributes to");
    }
    match along {
        Along::ToNewBytes | Along::Label => None,
        // The kernel writes these two itself, over bytes and metadata.
        Along::ToSameBytes if name == b"security.ima" || name == b"security.evm" => None,
        Along::ToSameBytes => (name.starts_with(b"security.") || name.starts_with(b"trusted."))
            .then_some("copy the attributes to"),
    }
}

/// Calls with a small buffer, then with the greatest that the kernel uses.
fn sized(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1 << 10];
    let length = match call(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer = vec![0; GREATEST];
            call(&mut buffer)?
        }
        done => done?,
    };
    buffer.truncate(length);
    Ok(buffer)
}
