//! What a child's environment is and which file its program is.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::Surroundings;
use super::account::{Account, SETPRIV};
use crate::settings::Command;

/// Why no program was found; travels inside an `io::Error`.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    #[error("cannot find the program `{0}` in PATH; install it, or name it by its absolute path")]
    InPath(String),
    #[error("cannot find the program `{}`; install it, or correct the command", .0.display())]
    AtPath(PathBuf),
    #[error(
        "cannot find `{0}` in PATH, by which {1}; install it (Debian and Fedora have it in {2})"
    )]
    Tool(String, &'static str, &'static str),
    #[error("cannot execute `{}`: it is not an executable file; set its mode, or correct the command", .0.display())]
    NotExecutable(PathBuf),
}

/// Handed on from our own environment. NOTIFY_SOCKET, credentials and all else stay here.
const ALLOWED: [&str; 9] = [
    "PATH", "HOME", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "SHELL", "TMPDIR",
];

/// Where our own environment has no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A child's whole environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that hands variables of ours to children"
)]
pub fn environment(
    surroundings: &Surroundings,
    account: Option<&Account>,
) -> BTreeMap<OsString, OsString> {
    let more = |name: &str| {
        let mut declared = surroundings.options.environment.iter();
        declared.any(|other| other == name)
    };
    let mut all = BTreeMap::from([("PATH".into(), PATH.into())]);
    // The only place of this module that reads the process's environment.
    all.extend(std::env::vars_os().filter(|(name, _)| {
        name.to_str()
            .is_some_and(|name| ALLOWED.contains(&name) || name.starts_with("LC_") || more(name))
    }));
    all.extend(account.into_iter().flat_map(Account::variables));
    for (name, value) in &surroundings.variables {
        all.insert(name.into(), value.into());
    }
    all
}

/// Where a child starts.
pub fn directory(surroundings: &Surroundings) -> &Path {
    match surroundings.directory.as_os_str().is_empty() {
        true => Path::new("/"),
        false => &surroundings.directory,
    }
}

/// What the command starts, as it is written.
pub fn name(command: &Command) -> &str {
    match command {
        Command::Argv(argv) => argv.first().map(String::as_str).unwrap_or_default(),
        Command::Shell(_) => "/bin/sh",
    }
}

/// The file that execvp would run in these surroundings.
pub fn program(name: &str, surroundings: &Surroundings) -> io::Result<PathBuf> {
    let directory = directory(surroundings);
    if name.contains('/') {
        let path = directory.join(name);
        return match executable(&path) {
            Some(true) => Ok(path),
            Some(false) => Err(denied(path)),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                NotFound::AtPath(path),
            )),
        };
    }
    let environment = environment(surroundings, None);
    let path = environment.get(OsStr::new("PATH")).map(OsString::as_os_str);
    let mut there = None;
    for place in path
        .unwrap_or_default()
        .as_bytes()
        .split(|byte| *byte == b':')
    {
        // An empty part is the working directory, and a relative one starts there.
        let candidate = directory.join(OsStr::from_bytes(place)).join(name);
        match executable(&candidate) {
            Some(true) if !name.is_empty() => return Ok(candidate),
            Some(false) if !name.is_empty() => there = there.or(Some(candidate)),
            _ => {}
        }
    }
    Err(there.map_or_else(
        || io::Error::new(io::ErrorKind::NotFound, NotFound::InPath(name.to_owned())),
        denied,
    ))
}

/// A program of the system that an option needs.
pub fn tool(name: &str, work: &'static str, surroundings: &Surroundings) -> io::Result<PathBuf> {
    let package = match name {
        SETPRIV => "util-linux",
        _ => "systemd",
    };
    program(name, surroundings).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(
            io::ErrorKind::NotFound,
            NotFound::Tool(name.to_owned(), work, package),
        ),
        _ => error,
    })
}

/// Whether the path is a file that we may execute; `None` where there is nothing.
fn executable(path: &Path) -> Option<bool> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(metadata.is_file() && access(path, Access::EXEC_OK).is_ok())
}

fn denied(path: PathBuf) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        NotFound::NotExecutable(path),
    )
}
