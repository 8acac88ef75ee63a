//! Who shall own a target: the settings' word, else that of the file which is there, else ours.

use std::io;
use std::path::Path;

use nix::unistd::{Group, User};

use super::attributes::Attributes;
use super::error::InstallError;
use super::{Found, Metadata, Wanted};
use crate::settings::Principal;

/// The metadata of a new file where nothing was said.
const MODE: u32 = 0o644;
const SENSITIVE_MODE: u32 = 0o600;

/// The metadata that the target shall have. `path` is for messages.
pub(super) fn metadata(
    path: &Path,
    wanted: &Wanted,
    found: &Found,
) -> Result<Metadata, InstallError> {
    let otherwise = match found {
        Found::File { metadata, .. } | Found::Directory { metadata, .. } => metadata.clone(),
        Found::Absent => Metadata {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            mode: if wanted.sensitive {
                SENSITIVE_MODE
            } else {
                MODE
            },
            attributes: Attributes::default(),
        },
    };
    Ok(Metadata {
        uid: match &wanted.owner {
            None => otherwise.uid,
            Some(Principal::Id(uid)) => *uid,
            Some(Principal::Name(name)) => user(path, name)?,
        },
        gid: match &wanted.group {
            None => otherwise.gid,
            Some(Principal::Id(gid)) => *gid,
            Some(Principal::Name(name)) => group(path, name)?,
        },
        mode: wanted.mode.unwrap_or(otherwise.mode) & 0o7777,
        attributes: wanted.attributes.clone().unwrap_or(otherwise.attributes),
    })
}

fn user(path: &Path, name: &str) -> Result<u32, InstallError> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(InstallError::NoUser {
            path: path.into(),
            name: name.into(),
        }),
        Err(errno) => Err(InstallError::at("look up the owner of", path)(
            io::Error::from(errno),
        )),
    }
}

fn group(path: &Path, name: &str) -> Result<u32, InstallError> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(InstallError::NoGroup {
            path: path.into(),
            name: name.into(),
        }),
        Err(errno) => Err(InstallError::at("look up the group of", path)(
            io::Error::from(errno),
        )),
    }
}
