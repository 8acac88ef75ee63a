//! Whose process it is: the file that it runs and the user as whom it does, against what the settings declare.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::User;

use super::running_process::RunningProcess;
use crate::process::Pidfd;
use crate::settings::{Principal, Whose};

/// What the kernel adds to the path of a file that has been removed or replaced while it runs.
const DELETED: &[u8] = b" (deleted)";

/// Why a process is not, or not known to be, the one that is meant. Texts go on after "process 17 …".
#[derive(Debug)]
pub enum Other {
    /// It is another one.
    Stranger(String),
    /// Nobody can tell.
    Unknown(String),
}

/// Why no process was found by its executable; texts are a verdict's.
#[derive(Debug)]
pub enum NotFound {
    Nobody(String),
    Undecided(String),
}

/// Whether the process is what the settings say.
pub fn check(whose: &Whose, pid: i32, process: &RunningProcess) -> Result<(), Other> {
    if let Some(user) = &whose.user {
        let uid = uid(user).map_err(Other::Unknown)?;
        if !process.users.contains(&uid) {
            let [real, effective] = process.users;
            let has = match real == effective {
                true => format!("user {real}"),
                false => format!("users {real} and {effective}"),
            };
            return Err(Other::Stranger(format!(
                "runs as {has}, not as {}",
                shown(user)
            )));
        }
    }
    let Some(file) = &whose.executable else {
        return Ok(());
    };
    let wanted = resolved(file);
    match executable(pid) {
        Ok(runs) if runs == wanted => Ok(()),
        Ok(runs) => Err(Other::Stranger(format!(
            "runs `{}`, not `{}`",
            runs.display(),
            wanted.display()
        ))),
        Err(error) => Err(Other::Unknown(format!(
            "does not show what it runs ({error}); run as root or as the user of that process"
        ))),
    }
}

/// The process that runs the file as the declared user, or as ours, and was not started by another one that does:
/// the master, not its workers. Exactly one, or the operator has to say which.
pub fn find(whose: &Whose) -> Result<(i32, Pidfd, RunningProcess), NotFound> {
    let Some(file) = &whose.executable else {
        return Err(NotFound::Undecided(
            "no `executable` is declared".to_owned(),
        ));
    };
    let user = match &whose.user {
        Some(user) => uid(user).map_err(NotFound::Undecided)?,
        None => rustix::process::geteuid().as_raw(),
    };
    let wanted = resolved(file);
    let shown = wanted.display();
    let (found, hidden) = all(&wanted, user).map_err(|error| {
        NotFound::Undecided(format!("cannot list the processes of this host: {error}"))
    })?;
    let started = |pid: i32| found.iter().any(|(other, _)| *other == pid);
    let mut heads = found.iter().filter(|(_, process)| !started(process.parent));
    let Some((pid, _)) = heads.next() else {
        return Err(match hidden {
            0 => NotFound::Nobody(format!(
                "nobody to signal yet: no process of user {user} runs `{shown}`"
            )),
            hidden => NotFound::Undecided(format!(
                "no process of user {user} is seen to run `{shown}`, and {hidden} of that name do not show what they run; run as root, or name a `pid_file` or `unit`"
            )),
        });
    };
    let others: Vec<String> = heads.map(|(pid, _)| pid.to_string()).collect();
    if !others.is_empty() {
        let others = others.join(", ");
        return Err(NotFound::Undecided(format!(
            "processes {pid}, {others} all run `{shown}` and none of them started the other; name one by `pid_file` or `unit`, or by its `user`"
        )));
    }
    let gone = || {
        NotFound::Nobody(format!(
            "nobody to signal yet: process {pid} has just ended"
        ))
    };
    let pidfd = Pidfd::open(*pid).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => gone(),
        _ => NotFound::Undecided(format!("cannot open process {pid}: {error}")),
    })?;
    // With the descriptor in hand: the number may have gone to another process in between.
    let process = RunningProcess::read(*pid).ok_or_else(gone)?;
    match executable(*pid) {
        Ok(runs) if runs == wanted && process.users.contains(&user) => Ok((*pid, pidfd, process)),
        _ => Err(gone()),
    }
}

/// All processes of this host (of this PID namespace, not of containers in it) that run the file as the user, and how
/// many of that user may do so and do not show it.
fn all(wanted: &Path, user: u32) -> io::Result<(Vec<(i32, RunningProcess)>, usize)> {
    let (mut found, mut hidden) = (Vec::new(), 0);
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let runs = executable(pid);
        let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        if i64::from(pid) == i64::from(std::process::id())
            || !runs.as_ref().map_or_else(denied, |runs| runs == wanted)
        {
            continue;
        }
        match RunningProcess::read(pid) {
            Some(process) if process.nested || !process.users.contains(&user) => {}
            Some(process) if runs.is_ok() => found.push((pid, process)),
            // Who does not show what it runs mostly still has the name of it.
            Some(_) => hidden += usize::from(is_called(pid, wanted)),
            None => {}
        }
    }
    Ok((found, hidden))
}

/// Whether the kernel's name of the process is that of the file, which it cuts after 15 bytes.
fn is_called(pid: i32, file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().as_bytes();
    let name = name.get(..15).unwrap_or(name);
    std::fs::read(format!("/proc/{pid}/comm"))
        .is_ok_and(|comm| comm.strip_suffix(b"\n").unwrap_or(&comm) == name)
}

/// The file that a process runs; also where it has been removed or replaced since.
fn executable(pid: i32) -> io::Result<PathBuf> {
    let link = std::fs::read_link(format!("/proc/{pid}/exe"))?;
    let bytes = link.as_os_str().as_bytes();
    Ok(match bytes.strip_suffix(DELETED) {
        Some(path) => PathBuf::from(OsStr::from_bytes(path)),
        None => link,
    })
}

/// The path that the kernel will show for a file: through all links. As written where it is not there.
fn resolved(file: &Path) -> PathBuf {
    std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}

fn uid(user: &Principal) -> Result<u32, String> {
    match user {
        Principal::Id(uid) => Ok(*uid),
        Principal::Name(name) => match User::from_name(name) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            Ok(None) => Err(format!(
                "this host has no user `{name}`; create it, or correct `user`"
            )),
            Err(error) => Err(format!("cannot look up the user `{name}`: {error}")),
        },
    }
}

fn shown(user: &Principal) -> String {
    match user {
        Principal::Id(uid) => format!("user {uid}"),
        Principal::Name(name) => format!("`{name}`"),
    }
}
