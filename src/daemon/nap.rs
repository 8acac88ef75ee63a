//! Whether the machine has slept: timers do not count that time, and what came due meanwhile is late already.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::clock::Clock;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(15);
/// Less is no sleep, or does not matter.
const SLEPT: Duration = Duration::from_secs(2);

/// Compares the clock that counts suspend with the one that timers run by.
pub(super) struct Naps {
    clock: Clock,
    looks: Interval,
    since: Instant,
    /// What `clock` read at `since`, and all naps that were noticed, together.
    steady: Duration,
}

impl Naps {
    /// Needs a Tokio runtime with time.
    pub(super) fn new(clock: Clock) -> Naps {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Naps {
            steady: clock.now().steady,
            clock,
            looks,
            since: Instant::now(),
        }
    }

    /// Until the machine has woken from a nap; how long that was. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> Duration {
        loop {
            self.looks.tick().await;
            if let Some(napped) = self.look() {
                return napped;
            }
        }
    }

    /// Whether it has slept since the last look.
    pub(super) fn look(&mut self) -> Option<Duration> {
        self.napped(self.since.elapsed())
    }

    /// `timers`: what they have counted since the beginning.
    fn napped(&mut self, timers: Duration) -> Option<Duration> {
        let awake = self.steady.saturating_add(timers);
        let napped = self.clock.now().steady.saturating_sub(awake);
        if napped < SLEPT {
            return None;
        }
        self.steady = self.steady.saturating_add(napped);
        Some(napped)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use jiff::Timestamp;

    use super::*;
    use crate::clock::Now;

    #[tokio::test]
    async fn a_nap_is_noticed_once_and_time_that_passes_awake_is_none() {
        let passed = Arc::new(AtomicU64::new(1000));
        let seconds = Arc::clone(&passed);
        let clock = Clock::of(move || Now {
            wall: Timestamp::UNIX_EPOCH,
            steady: Duration::from_secs(seconds.load(Ordering::SeqCst)),
        });
        let mut naps = Naps::new(clock);
        let mut timers = Duration::ZERO;
        // Seconds awake, seconds asleep.
        for (awake, asleep) in [(600, 0), (15, 3600), (600, 1), (0, 28_800), (15, 0)] {
            timers += Duration::from_secs(awake);
            passed.fetch_add(awake + asleep, Ordering::SeqCst);
            let napped = naps.napped(timers).map_or(0, |napped| napped.as_secs());
            match asleep {
                0 | 1 => assert_eq!(napped, 0),
                // With what was too short before.
                asleep => assert!((asleep..=asleep + 1).contains(&napped), "{napped}"),
            }
        }
    }
}
