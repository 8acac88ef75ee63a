//! Owner, mode, ACL, extended attributes and security label of a file, set on its descriptor.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

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
}

/// Gives `file` its owner and group, ACL and attributes of `like`, and at last its mode: setting an ACL changes the group bits, and
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
    if name == ACCESS_ACL.as_bytes() {
        return Some("copy the ACL to");
    }
    if name == LABEL.as_bytes() {
        return Some("copy the security label to");
    }
    if name.starts_with(b"user.") {
        return Some("copy the attributes to");
    }
    match along {
        Along::ToNewBytes => None,
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
