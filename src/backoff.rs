//! Pauses between attempts: exponential, with jitter, bounded.

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
    /// The pause after the `failures`-th failure in a row (1 or more).
    ///
    /// Evenly drawn between half of the bound and the bound, where the bound doubles from `first` to `ceiling`.
    /// `random` is evenly distributed in 0.0..1.0.
    pub fn pause(&self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let bound = self.first.saturating_mul(1 << doublings).min(self.ceiling);
        bound.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }
}
