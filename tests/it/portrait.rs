//! Everything about a file that must come back: bytes, inode, owner, mode, ACL, attributes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use crate::skip::skip;
use crate::world::metadata;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portrait {
    pub text: String,
    pub inode: u64,
    pub dress: Dress,
}

/// What a new version takes over from the file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dress {
    /// Owner, group and permission bits.
    pub metadata: (u32, u32, u32),
    /// By name: ACL, `user.*` and all others that can be seen. As `getfattr` shows them.
    pub attributes: String,
}

impl Portrait {
    pub fn of(path: &Path) -> Portrait {
        Portrait {
            text: fs::read_to_string(path).unwrap(),
            inode: fs::metadata(path).unwrap().ino(),
            dress: Dress::of(path),
        }
    }
}

impl Dress {
    pub fn of(path: &Path) -> Dress {
        let asked = Command::new("getfattr")
            .args(["--absolute-names", "-d", "-m", "-"])
            .arg(path)
            .output();
        let attributes = asked.map(|output| String::from_utf8(output.stdout).unwrap());
        Dress {
            metadata: metadata(path),
            attributes: attributes.unwrap_or_default(),
        }
    }
}

/// Gives the file an owner and a mode that no default has, and attributes where the machine has them.
pub fn adorn(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(1234), Some(2345)).unwrap();
    } else {
        skip("not root: the owner that comes back is our own");
    }
    fs::set_permissions(path, PermissionsExt::from_mode(0o604)).unwrap();
    attribute(path, "note", "kept");
    acl(path, "u:4321:r");
}

/// Sets `user.NAME`; false, and a skip, where that does not work.
pub fn attribute(path: &Path, name: &str, value: &str) -> bool {
    let name = format!("user.{name}");
    changed(path, &["setfattr", "-n", &name, "-v", value])
}

/// Adds an entry to the file's ACL; false, and a skip, where that does not work.
pub fn acl(path: &Path, entry: &str) -> bool {
    changed(path, &["setfacl", "-m", entry])
}

fn changed(path: &Path, command: &[&str]) -> bool {
    let done = Command::new(command[0])
        .args(&command[1..])
        .arg(path)
        .stderr(Stdio::null())
        .status();
    let works = done.is_ok_and(|status| status.success());
    if !works {
        skip(&format!("`{}` does not work here", command[0]));
    }
    works
}
