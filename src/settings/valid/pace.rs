//! When services may be notified of newer versions, as it holds.

use std::time::Duration;

use jiff::tz::TimeZone;

/// How long a newer version waits before it is put in place. Nothing here delays what must not wait: first files, a way
/// back, what was interrupted, an operator's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pace {
    pub settle: Option<Settle>,
    /// Between two notifications.
    pub min_interval: Option<Duration>,
    /// At most so much later, always the same on one host.
    pub splay: Option<Duration>,
    /// None: at any time.
    pub windows: Vec<Window>,
}

/// Until no newer version has come for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settle {
    pub quiet: Duration,
    /// From the first version that waits; at least `quiet`.
    pub at_most: Duration,
}

/// Open while the clocks of a zone show a time from `from` on and before `to`.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// On which it opens.
    pub days: Days,
    pub from: TimeOfDay,
    /// At or before `from`: on the next day.
    pub to: TimeOfDay,
    pub zone: TimeZone,
}

/// Days of the week: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(pub(crate) u8);

/// Minutes from midnight, at most 1440.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(pub(crate) u16);

impl Pace {
    /// Nothing ever waits.
    pub fn is_none(&self) -> bool {
        *self == Pace::default()
    }
}

impl Window {
    /// On a day without a change of the zone's clocks.
    pub fn length(&self) -> Duration {
        let (from, to) = (u64::from(self.from.0), u64::from(self.to.0));
        let minutes = match to > from {
            true => to - from,
            false => to + 1440 - from,
        };
        Duration::from_secs(minutes * 60)
    }
}

impl Days {
    pub const ALL: Days = Days(0b111_1111);

    /// From Monday, which is 0.
    pub fn has(self, day: i8) -> bool {
        (0..7).contains(&day) && self.0 & (1 << day) != 0
    }
}

impl TimeOfDay {
    pub fn minutes(self) -> u16 {
        self.0
    }
}
