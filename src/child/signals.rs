//! Signals that are sent to us and meant for the child.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{SignalKind, signal};

use super::Child;

/// The child decides what they mean. Real-time signals are not among them.
const FORWARDED: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGALRM,
    Signal::SIGPWR,
];
/// Forwarded as well, and the child has to end by them.
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];

/// From here on signals go to the child.
///
/// # Errors
/// A signal cannot be caught.
pub fn forward(child: &Child) -> io::Result<()> {
    for known in FORWARDED.into_iter().chain(ENDING) {
        let mut caught = signal(SignalKind::from_raw(known as i32))?;
        let child = child.clone();
        tokio::spawn(async move {
            while caught.recv().await.is_some() {
                tracing::debug!(signal = known.as_str(), "forwarding");
                match ENDING.contains(&known) {
                    true => child.end(known),
                    false => child.tell(known),
                }
            }
        });
    }
    Ok(())
}

/// While the child has the terminal we write to it and give it back from the background. For the first thread, before
/// there are others: they do as it does.
///
/// # Errors
/// The kernel does not take the mask.
pub fn keep_from_stopping_us() -> io::Result<()> {
    let mut stopping = SigSet::empty();
    stopping.add(Signal::SIGTTOU);
    stopping.add(Signal::SIGTTIN);
    Ok(stopping.thread_block()?)
}
