//! The first configuration of a session of its own, for the commands that keep no session.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::screen::err;
use crate::clock::Clock;
use crate::poll::{Polled, Poller};
use crate::protocol::Configuration;
use crate::settings::Profile;
use crate::source::{Fault, FaultKind, Source};

/// When somebody before a terminal begins to wonder whether anything goes on.
const LONG: Duration = Duration::from_secs(2);

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

/// Waits, and says on standard error whose answer stays away, where that takes long. `patience`: when the caller gives up.
pub async fn said_when_long<T>(
    answer: impl Future<Output = T>,
    whose: &str,
    patience: Duration,
) -> T {
    let mut answer = pin!(answer);
    if let Ok(answer) = tokio::time::timeout(LONG, &mut answer).await {
        return answer;
    }
    let seconds = patience.as_secs();
    err!("note: no answer yet about {whose}; given up {seconds} s after it was asked for");
    answer.await
}
