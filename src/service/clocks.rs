//! Both clocks of this host, and how far they can be held against each other.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Now;

/// The clocks when we began and now.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    pub began: Now,
    pub now: Now,
}

/// Wall clock against steady clock; more than this and the wall clock has been set.
const AGREE: SignedDuration = SignedDuration::from_millis(50);

impl Clocks {
    /// The wall clock has not been set since we began.
    pub fn agree(&self) -> bool {
        let (began, now) = (self.began, self.now);
        let steadily = SignedDuration::try_from(now.steady.saturating_sub(began.steady));
        let set_by = steadily.map(|steadily| now.wall.duration_since(began.wall) - steadily);
        set_by.is_ok_and(|by| by.abs() <= AGREE)
    }

    /// What the wall clock showed so long after boot, as far as we can know: not where it has been set since we began.
    pub fn wall_of(&self, since_boot: Duration) -> Option<Timestamp> {
        let ago = SignedDuration::try_from(self.now.steady).ok()?
            - SignedDuration::try_from(since_boot).ok()?;
        match self.agree() {
            true => self.now.wall.checked_sub(ago).ok(),
            false => None,
        }
    }
}
