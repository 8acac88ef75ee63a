//! What the process is told by signal.

use tokio::signal::unix::{SignalKind, signal};

/// Those that are ours.
pub(super) struct Signals(Option<Caught>);

struct Caught {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

pub(super) enum Sent {
    Stop,
    Reload,
}

impl Signals {
    pub(super) fn catch(ours: bool) -> std::io::Result<Signals> {
        if !ours {
            return Ok(Signals(None));
        }
        Ok(Signals(Some(Caught {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })))
    }

    pub(super) async fn next(&mut self) -> Sent {
        let Some(caught) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = caught.terminate.recv() => Sent::Stop,
            _ = caught.interrupt.recv() => Sent::Stop,
            _ = caught.hangup.recv() => Sent::Reload,
        }
    }
}
