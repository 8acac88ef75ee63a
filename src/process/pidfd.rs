//! A process by descriptor: its number cannot be given to another one behind our back.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One process, alive or dead, whatever its number means by now. Needs Linux 5.3.
#[derive(Debug)]
pub struct Pidfd(AsyncFd<OwnedFd>);

impl Pidfd {
    /// The process that has this number now; `NotFound` where there is none.
    pub fn open(pid: i32) -> io::Result<Pidfd> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        let fd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| match errno {
            rustix::io::Errno::SRCH => io::ErrorKind::NotFound.into(),
            errno => io::Error::from(errno),
        })?;
        Ok(Pidfd(watch(fd)?))
    }

    /// Until the process has ended; it may still be a zombie.
    pub async fn ended(&self) {
        // An error can only mean that the runtime ends: then nothing is awaited any more.
        if self.0.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// `NotFound` where the process is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        pidfd_send_signal(self.0.get_ref(), signal).map_err(|errno| match errno {
            rustix::io::Errno::SRCH => io::ErrorKind::NotFound.into(),
            errno => errno.into(),
        })
    }
}

#[expect(
    deprecated,
    reason = "an `OwnedFd` keeps its descriptor open, which is all that the newer, unsafe constructor asks for"
)]
fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}
