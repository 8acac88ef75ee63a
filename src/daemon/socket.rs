//! Unix sockets that the daemon listens on.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, socket};
use nix::sys::stat::{Mode, fchmod};
use tokio::net::UnixListener;

/// Who may connect.
#[derive(Clone, Copy)]
pub(super) enum Open {
    /// Our own user (0600).
    ToUs,
    /// Whoever reaches the directory (0666).
    ToAll,
}

impl Open {
    fn mode(self) -> u32 {
        match self {
            Open::ToUs => 0o600,
            Open::ToAll => 0o666,
        }
    }
}

/// Makes the directory (0700) where it is missing, and the socket in it. A socket that nobody listens on any more is
/// replaced.
///
/// # Errors
/// Somebody listens there; the directory does not let us; the path is too long.
pub(super) fn listen(path: &Path, open: Open) -> io::Result<UnixListener> {
    make_directory(path)?;
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let reason = "another process listens there";
        return Err(io::Error::new(io::ErrorKind::AddrInUse, reason));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = named(path, open)?;
    // What a narrow umask has taken from ourselves.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(open.mode()))?;
    nix::sys::socket::listen(&socket, Backlog::MAXCONN)?;
    UnixListener::from_std(std::os::unix::net::UnixListener::from(socket))
}

/// A socket whose name is never open to more than it shall be, whatever the umask is.
fn named(path: &Path, open: Open) -> io::Result<OwnedFd> {
    let address = UnixAddr::new(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // The name gets the mode that the socket has when it is bound, less the umask.
    fchmod(&socket, Mode::from_bits_truncate(open.mode()))?;
    bind(socket.as_raw_fd(), &address)?;
    Ok(socket)
}

pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent().filter(|directory| !directory.exists()) else {
        return Ok(());
    };
    if let Some(above) = directory.parent() {
        std::fs::create_dir_all(above)?;
    }
    std::fs::DirBuilder::new().mode(0o700).create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_closed_to_others_from_the_moment_it_has_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let _socket = named(&path, Open::ToUs).unwrap();
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o177, 0, "{mode:o}");
    }
}
