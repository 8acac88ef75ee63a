//! Versions, notifications, owners and modes as a plan writes them.

use nix::unistd::{Gid, Group, Uid, User};

use crate::install::Metadata;
use crate::ledger::Version;
use crate::settings::{Notify, OnChange, Service, SignalTarget};

pub fn named(version: &Version) -> String {
    let label = version.label.as_deref();
    let label = label.map_or(String::new(), |label| format!(" ({label})"));
    format!("version {}{label}", version.digest.short())
}

pub fn how(service: &Service) -> String {
    match &service.notify {
        Notify::Reload { unit, verb } => format!("{} {unit}", verb.word()),
        Notify::Signal { signal, to, .. } => match to {
            SignalTarget::PidFile(file) => {
                format!("SIG{} to the process of {}", signal.name, file.display())
            }
            SignalTarget::Unit(unit) => format!("SIG{} to {unit}", signal.name),
            SignalTarget::Executable(file) => {
                format!(
                    "SIG{} to the process that runs {}",
                    signal.name,
                    file.display()
                )
            }
        },
        Notify::Http(call) => call.shown(),
        Notify::Command(_) => "its command".to_owned(),
        Notify::Child(child) => match &child.on_change {
            OnChange::Restart => "restart of the child".to_owned(),
            OnChange::Signal(signal) => format!("SIG{} to the child", signal.name),
        },
    }
}

pub fn differences(has: &Metadata, wanted: &Metadata) -> String {
    let mut parts = Vec::new();
    if has.uid != wanted.uid {
        parts.push(format!("owner {} -> {}", owner(has), owner(wanted)));
    }
    if has.gid != wanted.gid {
        parts.push(format!("group {} -> {}", group(has), group(wanted)));
    }
    if has.mode != wanted.mode {
        parts.push(format!("mode {:04o} -> {:04o}", has.mode, wanted.mode));
    }
    if has.attributes != wanted.attributes {
        parts.push("the ACL and attributes that it had".to_owned());
    }
    parts.join(", ")
}

pub fn full(metadata: &Metadata) -> String {
    format!(
        "owner {}, group {}, mode {:04o}",
        owner(metadata),
        group(metadata),
        metadata.mode
    )
}

/// The name on this host, else the number.
fn owner(metadata: &Metadata) -> String {
    let found = User::from_uid(Uid::from_raw(metadata.uid));
    let name = found.ok().flatten().map(|user| user.name);
    name.unwrap_or_else(|| metadata.uid.to_string())
}

fn group(metadata: &Metadata) -> String {
    let found = Group::from_gid(Gid::from_raw(metadata.gid));
    let name = found.ok().flatten().map(|group| group.name);
    name.unwrap_or_else(|| metadata.gid.to_string())
}
