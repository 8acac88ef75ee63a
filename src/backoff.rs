//! Pauses between attempts: exponential, jittered, bounded.

use std::time::Duration;

/// The bounds of a series of pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first pause.
    pub first: Duration,
    /// No pause is longer than this.
    pub ceiling: Duration,
}

impl Backoff {
    /// The pause after the `failures`-th failure in a row (1 or more) of a service that others ask as well.
    ///
    /// Full jitter: evenly drawn between nothing and the bound, which doubles from `first` to `ceiling`, so that a fleet that
    /// failed together does not come back together. Never less than half of `first`: no attempt follows at once.
    /// `random` is evenly distributed in 0.0..1.0.
    pub fn pause(&self, failures: u32, random: f64) -> Duration {
        let drawn = self.bound(failures).mul_f64(random.clamp(0.0, 1.0));
        drawn.max(self.first / 2)
    }

    /// The same of something on this host: evenly drawn between half of the bound and the bound, so that pauses grow.
    pub fn growing_pause(&self, failures: u32, random: f64) -> Duration {
        let share = 0.5 + 0.5 * random.clamp(0.0, 1.0);
        self.bound(failures).mul_f64(share)
    }

    fn bound(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        self.first.saturating_mul(1 << doublings).min(self.ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: Backoff = Backoff {
        first: Duration::from_secs(2),
        ceiling: Duration::from_secs(300),
    };

    #[test]
    fn pauses_are_drawn_from_all_of_a_bound_that_doubles_to_its_ceiling() {
        let drawn = |failures, random| SECONDS.pause(failures, random).as_secs_f64();
        let greatest = [1, 2, 3, 8, 9, 1_000].map(|failures| drawn(failures, 1.0));
        assert_eq!(greatest, [2.0, 4.0, 8.0, 256.0, 300.0, 300.0]);
        assert_eq!(drawn(9, 0.1), 30.0);
        assert_eq!(drawn(9, 0.0), 1.0, "no attempt follows at once");
        let growing = [1, 2, 3, 9].map(|failures| SECONDS.growing_pause(failures, 0.0));
        assert_eq!(growing.map(|pause| pause.as_secs()), [1, 2, 4, 150]);
    }
}
