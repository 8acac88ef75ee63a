//! As whom a child runs.

use std::ffi::OsString;
use std::io;

use nix::unistd::{Group, Uid, User};

use super::StartError;
use crate::settings::{CommandOptions, Principal};

/// User and groups of a child that are not ours.
#[derive(Debug)]
pub struct Account {
    user: Option<User>,
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None` where the child runs as we do.
    pub fn of(options: &CommandOptions) -> io::Result<Option<Account>> {
        let ours = rustix::process::geteuid().as_raw();
        let our_group = rustix::process::getegid().as_raw();
        let user = options.user.as_ref().map(user).transpose()?;
        let (uid, user) = match user {
            Some((uid, user)) => (uid, user),
            None => (ours, None),
        };
        let gid = match (&options.group, &user) {
            (Some(wanted), _) => group(wanted)?,
            (None, Some(user)) => user.gid.as_raw(),
            (None, None) if uid == ours => our_group,
            (None, None) => {
                return Err(problem(format!(
                    "user {uid} has no entry on this host, and so no group; add `group`"
                )));
            }
        };
        if (uid, gid) == (ours, our_group) {
            return Ok(None);
        }
        if ours != 0 {
            return Err(problem(format!(
                "only root can run a command as user {uid} and group {gid}; run appconfigd as root, or remove `user` and `group`"
            )));
        }
        Ok(Some(Account { user, uid, gid }))
    }

    /// The words before a command line that make it run so: setpriv(1) becomes the program, in the same process.
    ///
    /// Its exit status 127 is that it could not. All that our own capabilities would leave to another user is dropped.
    pub fn words(&self) -> Vec<String> {
        let groups = match &self.user {
            Some(_) => "--init-groups",
            None => "--clear-groups",
        };
        vec![
            SETPRIV.to_owned(),
            format!("--reuid={}", self.uid),
            format!("--regid={}", self.gid),
            groups.to_owned(),
            "--inh-caps=-all".to_owned(),
            "--".to_owned(),
        ]
    }

    /// As systemd writes them for a unit.
    pub fn ids(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    /// What belongs to the user in an environment.
    pub fn variables(&self) -> Vec<(OsString, OsString)> {
        let Some(user) = &self.user else {
            return Vec::new();
        };
        vec![
            ("HOME".into(), user.dir.clone().into()),
            ("SHELL".into(), user.shell.clone().into()),
            ("USER".into(), user.name.clone().into()),
            ("LOGNAME".into(), user.name.clone().into()),
        ]
    }
}

/// Part of util-linux; that of busybox knows no groups.
pub const SETPRIV: &str = "setpriv";

fn user(wanted: &Principal) -> io::Result<(u32, Option<User>)> {
    match wanted {
        Principal::Id(uid) => Ok((*uid, User::from_uid(Uid::from_raw(*uid))?)),
        Principal::Name(name) => match User::from_name(name)? {
            Some(user) => Ok((user.uid.as_raw(), Some(user))),
            None => Err(problem(format!(
                "this host has no user `{name}`; create it, or correct `user`"
            ))),
        },
    }
}

fn group(wanted: &Principal) -> io::Result<u32> {
    match wanted {
        Principal::Id(gid) => Ok(*gid),
        Principal::Name(name) => match Group::from_name(name)? {
            Some(group) => Ok(group.gid.as_raw()),
            None => Err(problem(format!(
                "this host has no group `{name}`; create it, or correct `group`"
            ))),
        },
    }
}

fn problem(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, StartError::Account(text))
}
