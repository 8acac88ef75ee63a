//! What a file wears: owner, group, mode, ACL and attributes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::Once;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::skip::skip;

const ACL: &str = "system.posix_acl_access";

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dress {
    pub owner: (u32, u32),
    pub mode: u32,
    /// By name: ACLs and `user.*`.
    pub attributes: BTreeMap<String, Vec<u8>>,
}

impl Dress {
    /// Of a file without ACL and attributes.
    pub fn plain(owner: (u32, u32), mode: u32) -> Dress {
        Dress {
            owner,
            mode,
            attributes: BTreeMap::new(),
        }
    }

    /// Of what is there itself, not of what a link leads to.
    pub fn of(path: &Path) -> std::io::Result<Dress> {
        let found = fs::symlink_metadata(path)?;
        let mut names = vec![0; 4096];
        let length = match rustix::fs::llistxattr(path, &mut names) {
            Ok(length) => length,
            Err(Errno::NOTSUP) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let names = names[..length].split(|byte| *byte == 0);
        let names = names.filter_map(|name| std::str::from_utf8(name).ok());
        let mut attributes = BTreeMap::new();
        for name in names {
            if name.starts_with("user.") || name.starts_with("system.posix_acl") {
                let mut value = vec![0; 4096];
                let length = rustix::fs::lgetxattr(path, name, &mut value)?;
                attributes.insert(name.to_owned(), value[..length].to_vec());
            }
        }
        Ok(Dress {
            owner: (found.uid(), found.gid()),
            mode: found.mode() & 0o7777,
            attributes,
        })
    }

    pub fn put_on(&self, path: &Path) {
        if nix::unistd::geteuid().is_root() {
            chown(path, Some(self.owner.0), Some(self.owner.1)).unwrap();
        }
        for (name, value) in &self.attributes {
            rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
        }
        fs::set_permissions(path, PermissionsExt::from_mode(self.mode)).unwrap();
    }
}

/// Sets an attribute, where there are any.
pub fn note(path: &Path) {
    set(path, "user.note", b"kept");
}

/// Lets another user read it, where there are ACLs.
pub fn share(path: &Path) {
    const NOBODY: u32 = u32::MAX;
    // Tag, permissions, who: the owner, user 4321, the group, the mask, all others.
    let entries = [
        (1_u16, 6_u16, NOBODY),
        (2, 4, 4321),
        (4, 0, NOBODY),
        (16, 4, NOBODY),
        (32, 4, NOBODY),
    ];
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, who) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(who.to_le_bytes());
    }
    set(path, ACL, &acl);
}

fn set(path: &Path, name: &str, value: &[u8]) {
    static SAID: Once = Once::new();
    if rustix::fs::setxattr(path, name, value, XattrFlags::empty()).is_err() {
        SAID.call_once(|| skip("no ACLs and attributes on this file system: crashes without them"));
    }
}
