//! The only place that reads clocks; everything else is told what time it is.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// One reading of both clocks.
///
/// `wall` may jump in either direction and is what the ledger and screens hold; `steady` never goes back, counts
/// suspend (CLOCK_BOOTTIME), starts at boot, and is what pauses and time limits inside one process are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub wall: Timestamp,
    pub steady: Duration,
}

/// A source of time that is handed down from the entry functions.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Now + Send + Sync>);

impl Clock {
    /// The machine's clocks.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clocks"
    )]
    pub fn system() -> Clock {
        Clock(Arc::new(|| Now {
            wall: Timestamp::now(),
            steady: clock_gettime(ClockId::CLOCK_BOOTTIME)
                .map(Duration::from)
                .unwrap_or_default(),
        }))
    }

    /// A clock of the caller's, for tests and for the embedded server's `--controls`.
    pub fn of(read: impl Fn() -> Now + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(read))
    }

    pub fn now(&self) -> Now {
        (self.0)()
    }
}

/// The second that a time lies in, for screens. Rounded up it would show times that have not come yet.
pub fn second_of(time: Timestamp) -> Timestamp {
    let parts = time.as_nanosecond().rem_euclid(1_000_000_000);
    Timestamp::from_nanosecond(time.as_nanosecond() - parts).unwrap_or(time)
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_never_shows_a_time_that_has_not_come() {
        for (time, second) in [
            ("2026-11-23T07:27:57.999Z", "2026-11-23T07:27:57Z"),
            ("2026-11-23T07:27:57Z", "2026-11-23T07:27:57Z"),
            ("1969-12-31T23:59:58.5Z", "1969-12-31T23:59:58Z"),
        ] {
            let time: Timestamp = time.parse().unwrap();
            assert_eq!(second_of(time).to_string(), second);
        }
        assert_eq!(second_of(Timestamp::MIN), Timestamp::MIN);
    }
}
