//! What settings need of a unit: directories, groups, capabilities, units to manage.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};
use tokio::runtime::Runtime;

use super::Sandbox;
use super::sandbox::show;
use crate::daemon::{Ground, Reach, reach};
use crate::settings::{
    Listen, Notify, Principal, ReloadVerb, ServiceName, Settings, SignalTarget, Symlink, Target,
    TargetPath, Watch, WatchName,
};

/// Something that a unit may forbid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A directory, with all that is below it.
    Write(PathBuf),
    /// A directory, as other programs see it.
    See(PathBuf),
    Group(String),
    Capability(&'static str),
    /// Modes with the bits that take another user or group.
    SetId,
    Manage {
        unit: String,
        verb: &'static str,
    },
}

/// Whose need it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// The socket of metrics.
    Metrics,
    Target(TargetPath),
    Service(ServiceName),
    /// With a service that it notifies.
    Watch(WatchName, ServiceName),
}

/// A need that the unit does not meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    pub need: Need,
    pub of: Of,
    /// What in the settings asks for it.
    pub why: String,
    /// The setting of the unit that stands against it.
    pub against: String,
}

/// What the settings need on this host and the unit forbids, in order and each once.
pub fn wanted(settings: &Settings, sandbox: &Sandbox, runtime: &Runtime) -> Vec<Wanted> {
    let mut needs = Vec::new();
    for target in settings.targets.values() {
        let of = Of::Target(target.path.clone());
        of_target(settings, target, sandbox, &mut |need, why| {
            needs.push((need, of.clone(), why));
        });
    }
    for service in settings.services.values() {
        let of = Of::Service(service.name.clone());
        of_notification(settings, &service.notify, sandbox, runtime, &mut |need| {
            needs.push((need, of.clone(), words(&service.notify)));
        });
    }
    for watch in settings.watches.values() {
        let Some(service) = watch.notify.first() else {
            continue;
        };
        let of = Of::Watch(watch.name.clone(), service.clone());
        of_watch(settings, watch, sandbox, &mut |need, why| {
            needs.push((need, of.clone(), why));
        });
    }
    if let Some(Listen::Socket(path)) = &settings.metrics {
        let path = settings.rooted(&path.to_string_lossy());
        in_directory_of(&path, sandbox, &mut |need, why| {
            needs.push((need, Of::Metrics, why));
        });
    }
    let mut wanted: Vec<Wanted> = needs
        .into_iter()
        .filter_map(|(need, of, why)| {
            let against = sandbox.against(&need)?;
            Some(Wanted {
                need,
                of,
                why,
                against,
            })
        })
        .collect();
    wanted.sort();
    wanted.dedup();
    wanted
}

fn of_target(
    settings: &Settings,
    target: &Target,
    sandbox: &Sandbox,
    need: &mut impl FnMut(Need, String),
) {
    let path = settings.rooted(target.path.location());
    in_directory_of(&path, sandbox, need);
    if target.symlink == Symlink::Follow
        && let Ok(file) = std::fs::canonicalize(&path)
        && let Some(directory) = file.parent()
    {
        need(Need::Write(directory.to_owned()), String::new());
    }

    let set = target.file_set();
    let files = || set.into_iter().flat_map(|set| set.files.values());
    let parents = target.parents.as_ref();
    let mut foreign = false;
    let owners = [
        target.owner.as_ref(),
        parents.and_then(|parents| parents.owner.as_ref()),
    ];
    for owner in owners
        .into_iter()
        .flatten()
        .chain(files().filter_map(|file| file.owner.as_ref()))
    {
        if uid(owner).is_none_or(|uid| sandbox.uid() != Some(uid)) {
            foreign = true;
            chown(need, &format!("owner {}", shown(owner)));
        }
    }
    let there = std::fs::symlink_metadata(&path).ok();
    if target.owner.is_none()
        && let Some(there) = there.filter(std::fs::Metadata::is_file)
        && sandbox.uid() != Some(Uid::from_raw(there.uid()))
    {
        foreign = true;
        chown(need, &format!("it belongs to user {}", there.uid()));
    }
    let mode = target
        .mode
        .unwrap_or(if target.sensitive { 0o600 } else { 0o644 });
    if foreign && mode & 0o004 == 0 {
        let why = format!("reads a file of another user with mode {mode:04o}");
        need(Need::Capability("CAP_DAC_READ_SEARCH"), why);
    }
    let groups = [
        target.group.as_ref(),
        parents.and_then(|parents| parents.group.as_ref()),
    ];
    let groups = groups
        .into_iter()
        .flatten()
        .chain(files().filter_map(|file| file.group.as_ref()));
    // Who may give files away may give them to any group.
    for group in groups.filter(|_| !foreign) {
        let member = gid(group).is_some_and(|gid| sandbox.is_in(gid));
        if !member {
            let why = format!("group {}", shown(group));
            need(Need::Group(shown(group)), why);
        }
    }
    let modes = [target.mode, parents.and_then(|parents| parents.mode)];
    let modes = modes
        .into_iter()
        .chain(files().map(|file| file.mode))
        .flatten();
    for mode in modes.filter(|mode| mode & 0o6000 != 0) {
        need(Need::SetId, format!("mode {mode:04o}"));
    }
}

/// A name is made, replaced or removed.
fn in_directory_of(path: &Path, sandbox: &Sandbox, need: &mut impl FnMut(Need, String)) {
    let directory = real(path.parent().unwrap_or(Path::new("/")));
    if !may_write(&directory, sandbox) {
        let why = format!(
            "`{}` may not write to `{}`",
            sandbox.user(),
            directory.display()
        );
        need(Need::Capability("CAP_DAC_OVERRIDE"), why);
    }
    need(Need::Write(directory), String::new());
}

/// Once a file is given away, its mode is set and it is linked by somebody who is not its owner.
fn chown(need: &mut impl FnMut(Need, String), why: &str) {
    for capability in ["CAP_CHOWN", "CAP_FOWNER", "CAP_FSETID"] {
        need(Need::Capability(capability), why.to_owned());
    }
}

fn of_notification(
    settings: &Settings,
    notify: &Notify,
    sandbox: &Sandbox,
    runtime: &Runtime,
    need: &mut impl FnMut(Need),
) {
    match notify {
        Notify::Reload { unit, verb } => {
            // Back to the version before, a unit that died is started again.
            for verb in [polkit_verb(*verb), "start", "reset-failed"] {
                need(Need::Manage {
                    unit: unit.clone(),
                    verb,
                });
            }
        }
        Notify::Signal { to, .. } => {
            let pid = match to {
                SignalTarget::Unit(unit) => main_pid(runtime, unit),
                SignalTarget::PidFile(path) => {
                    let path = settings.rooted(&path.display().to_string());
                    need(Need::See(real(path.parent().unwrap_or(Path::new("/")))));
                    pid_in(&path)
                }
                // Which of them will run is not known yet.
                SignalTarget::Executable(_) => None,
            };
            let owner = pid.and_then(|pid| std::fs::metadata(format!("/proc/{pid}")).ok());
            let owner = owner.map(|owner| Uid::from_raw(owner.uid()));
            if owner.is_none() || owner != sandbox.uid() {
                need(Need::Capability("CAP_KILL"));
            }
        }
        Notify::Http(call) => {
            if let Some(socket) = &call.unix_socket {
                let path = settings.rooted(&socket.display().to_string());
                need(Need::See(real(path.parent().unwrap_or(Path::new("/")))));
            }
        }
        // The child of `exec` is its own.
        Notify::Command(_) | Notify::Child(_) => {}
    }
}

/// What is there now; as far as we may look ourselves.
fn of_watch(
    settings: &Settings,
    watch: &Watch,
    sandbox: &Sandbox,
    need: &mut impl FnMut(Need, String),
) {
    let ground = Ground {
        root: settings.root.clone(),
        ours: settings.targets.keys().cloned().collect(),
    };
    let Ok(Reach { files, directories }) = reach(watch, &ground) else {
        return;
    };
    let parents = files.iter().filter_map(|file| file.parent());
    let seen: BTreeSet<&Path> = parents
        .chain(directories.iter().map(PathBuf::as_path))
        .collect();
    for directory in &seen {
        need(Need::See(real(directory)), String::new());
    }
    let ways = seen.iter().flat_map(|directory| directory.ancestors());
    let ways: BTreeSet<&Path> = ways.collect();
    let shut = ways
        .into_iter()
        .find(|way| !may(way, 0o1, sandbox))
        .or_else(|| {
            let mut read = directories.iter().chain(&files).map(PathBuf::as_path);
            read.find(|path| !may(path, 0o4, sandbox))
        });
    if let Some(shut) = shut {
        let why = format!("`{}` may not read `{}`", sandbox.user(), shut.display());
        need(Need::Capability("CAP_DAC_READ_SEARCH"), why);
    }
}

fn words(notify: &Notify) -> String {
    match notify {
        Notify::Reload { unit, .. } => format!("manages the unit `{unit}`"),
        Notify::Signal { to, .. } => match to {
            SignalTarget::Unit(unit) => format!("signals the unit `{unit}`"),
            SignalTarget::PidFile(path) => format!("signals the process in `{}`", path.display()),
            SignalTarget::Executable(path) => format!("signals what runs `{}`", path.display()),
        },
        Notify::Http(call) => format!("sends {}", call.shown()),
        Notify::Command(_) | Notify::Child(_) => String::new(),
    }
}

/// systemd's name of the verb for polkit.
fn polkit_verb(verb: ReloadVerb) -> &'static str {
    match verb {
        ReloadVerb::Reload => "reload",
        ReloadVerb::Restart => "restart",
        ReloadVerb::ReloadOrRestart => "reload-or-restart",
        ReloadVerb::TryRestart => "try-restart",
        ReloadVerb::TryReloadOrRestart => "reload-or-try-restart",
        ReloadVerb::Start => "start",
    }
}

/// Protections are by real path; what is not there yet is taken as it is written.
fn real(directory: &Path) -> PathBuf {
    std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned())
}

fn may_write(directory: &Path, sandbox: &Sandbox) -> bool {
    may(directory, 0o3, sandbox)
}

/// As far as owner, group and mode say; a path that is not there, or has an ACL, is not judged. `wanted`: the bits of
/// others that stand for it.
fn may(path: &Path, wanted: u32, sandbox: &Sandbox) -> bool {
    let Ok(found) = std::fs::metadata(path) else {
        return true;
    };
    let acl = rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0; 1024]);
    if acl.is_ok() {
        return true;
    }
    let bits = if sandbox.uid() == Some(Uid::from_raw(found.uid())) {
        found.mode() >> 6
    } else if sandbox.is_in(Gid::from_raw(found.gid())) {
        found.mode() >> 3
    } else {
        found.mode()
    };
    bits & wanted == wanted
}

fn main_pid(runtime: &Runtime, unit: &str) -> Option<i32> {
    let shown = show(runtime, unit, "MainPID")?;
    shown.get("MainPID")?.parse().ok().filter(|pid| *pid > 0)
}

fn pid_in(path: &Path) -> Option<i32> {
    // A FIFO would be waited for.
    let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    let text = is_file.then(|| std::fs::read_to_string(path).ok())??;
    text.lines().next()?.trim().parse().ok()
}

fn uid(principal: &Principal) -> Option<Uid> {
    match principal {
        Principal::Id(number) => Some(Uid::from_raw(*number)),
        Principal::Name(name) => User::from_name(name).ok()?.map(|user| user.uid),
    }
}

fn gid(principal: &Principal) -> Option<Gid> {
    match principal {
        Principal::Id(number) => Some(Gid::from_raw(*number)),
        Principal::Name(name) => Group::from_name(name).ok()?.map(|group| group.gid),
    }
}

fn shown(principal: &Principal) -> String {
    match principal {
        Principal::Id(number) => number.to_string(),
        Principal::Name(name) => name.clone(),
    }
}
