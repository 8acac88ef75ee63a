//! Orphans: processes whose parents have ended, given to us by the kernel because we are process 1 of the container or
//! have asked for them.
//!
//! `wait` for any child would take the status of our own commands away from whoever started them. The kernel keeps
//! children by thread, though: what is adopted becomes a child of the first thread of the process, what is started a
//! child of the thread that starts it. So the first thread starts nothing, and waits for its own children alone.

use std::io;

use nix::unistd::getpid;
use rustix::process::{WaitOptions, set_child_subreaper, wait};
use tokio::signal::unix::{SignalKind, signal};

/// Of wait(2): only children of the calling thread.
const OF_THIS_THREAD: WaitOptions = WaitOptions::from_bits_retain(0x2000_0000);

/// Does the work on the runtime's other threads, and reaps orphans on this one until it is done. For the first thread of
/// the process, as the whole of a `block_on`. `None` when the work has died of a panic.
///
/// # Errors
/// The kernel gives us no orphans, or SIGCHLD cannot be caught.
pub async fn adopting<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<Option<T>> {
    let mut ended = signal(SignalKind::child())?;
    if getpid().as_raw() != 1 {
        set_child_subreaper(rustix::process::Pid::from_raw(getpid().as_raw()))?;
    }
    let mut work = tokio::spawn(work);
    loop {
        reap();
        tokio::select! {
            done = &mut work => return Ok(done.ok()),
            _ = ended.recv() => {}
        }
    }
}

/// An error means that there is none.
fn reap() {
    while let Ok(Some((pid, _))) = wait(WaitOptions::NOHANG | OF_THIS_THREAD) {
        tracing::debug!(pid = pid.as_raw_nonzero().get(), "an orphan has ended");
    }
}
