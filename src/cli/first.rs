//! The first configuration of a session of its own, for the commands that keep no session.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::poll::{Polled, Poller};
use crate::protocol::Configuration;
use crate::settings::Profile;
use crate::source::{Fault, FaultKind, Source};

/// Why no configuration came.
#[derive(Debug)]
pub enum Miss {
    /// The service has the profile, and what it delivers has no bytes.
    Empty,
    /// Asking again would bring the same answer.
    Fault(Fault),
}

/// Opens a session and asks until a configuration comes, together with the interval that the service answered. Faults
/// that may pass are tried again with backoff, without an end, so the caller sets a limit; `missed` hears of each. The
/// session is dropped.
pub async fn first_configuration(
    profile: Arc<Profile>,
    source: Source,
    clock: Clock,
    mut missed: impl FnMut(Fault),
) -> Result<(Configuration, Duration), Miss> {
    let mut poller = Poller::new(profile, source, clock.clone(), None, None);
    loop {
        match poller.poll().await {
            Polled::Received { configuration, .. } => {
                return Ok((configuration, poller.interval()));
            }
            Polled::Unchanged => return Err(Miss::Empty),
            Polled::TooEarly => {}
            Polled::Failed(fault) => match fault.kind {
                FaultKind::NotFound | FaultKind::Operator => return Err(Miss::Fault(fault)),
                FaultKind::Lost
                | FaultKind::Throttled
                | FaultKind::TooEarly
                | FaultKind::TokenRefused => missed(fault),
            },
        }
        let pause = poller.earliest().saturating_sub(clock.now().steady);
        tokio::time::sleep(pause).await;
    }
}
