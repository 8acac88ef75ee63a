//! Calendar times with a zone: from when to when a window is open.
//!
//! It is open while the zone's clocks show a time in it. Where clocks go forward, what they skip is not in the window;
//! where they go back, the first time counts and the window is open for as long as ever.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::AmbiguousOffset;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::settings::{TimeOfDay, Window};

/// So many days are looked at: a window that a change of the clocks swallows opens a week later.
const DAYS: usize = 22;

impl Window {
    /// The first moment from `at` on at which it is open and has been for `offset`; `None` only where time ends.
    pub(super) fn first_moment(&self, at: Timestamp, offset: Duration) -> Option<Timestamp> {
        let offset = SignedDuration::try_from(offset).ok()?;
        // Yesterday's may still be open.
        let mut day = self.zone.to_datetime(at).date().yesterday().ok()?;
        for _ in 0..DAYS {
            if self.days.has(day.weekday().to_monday_zero_offset())
                && let Some((opens, closes)) = self.on(day)
                && let Ok(first) = opens.checked_add(offset)
            {
                let moment = first.max(at);
                if moment < closes {
                    return Some(moment);
                }
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    fn on(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        let opens = self.instant(moment(day, self.from)?)?;
        let last = match self.to > self.from {
            true => day,
            false => day.tomorrow().ok()?,
        };
        Some((opens, self.instant(moment(last, self.to)?)?))
    }

    /// When the clocks first show this time; one that they skip is the moment at which they skip it.
    fn instant(&self, shown: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(shown);
        let skipped = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
        let instant = ambiguous.compatible().ok()?;
        if !skipped {
            return Some(instant);
        }
        let after = instant.checked_add(1.nanosecond()).ok()?;
        let change = self.zone.preceding(after).next()?;
        Some(change.timestamp())
    }
}

fn moment(day: Date, time: TimeOfDay) -> Option<DateTime> {
    let minutes = i8::try_from(time.minutes() % 60).ok()?;
    match i8::try_from(time.minutes() / 60).ok()? {
        24 => Some(day.tomorrow().ok()?.at(0, 0, 0, 0)),
        hours => Some(day.at(hours, minutes, 0, 0)),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;
    use crate::settings::Days;

    const HOUR: u16 = 60;

    fn window(days: u8, from: u16, to: u16, zone: &str) -> Window {
        Window {
            days: Days(days),
            from: TimeOfDay(from),
            to: TimeOfDay(to),
            zone: TimeZone::get(zone).unwrap(),
        }
    }

    fn opens(window: &Window, at: &str) -> String {
        let at: Timestamp = at.parse().unwrap();
        window.first_moment(at, Duration::ZERO).unwrap().to_string()
    }

    #[test]
    fn it_opens_by_the_clocks_of_its_zone() {
        let night = window(0b111_1111, 2 * HOUR, 4 * HOUR, "Europe/Berlin");
        for (at, opens_at) in [
            ("2026-11-23T12:00:00Z", "2026-11-24T01:00:00Z"),
            ("2026-11-24T00:59:59.999Z", "2026-11-24T01:00:00Z"),
            ("2026-11-24T01:00:00Z", "2026-11-24T01:00:00Z"),
            ("2026-11-24T02:59:59.999Z", "2026-11-24T02:59:59.999Z"),
            ("2026-11-24T03:00:00Z", "2026-11-25T01:00:00Z"),
            // In summer an hour earlier.
            ("2026-07-01T12:00:00Z", "2026-07-02T00:00:00Z"),
        ] {
            assert_eq!(opens(&night, at), opens_at, "{at}");
        }
    }

    #[test]
    fn its_days_are_those_on_which_it_opens() {
        // Friday night into Saturday; 2026-11-27 is a Friday.
        let friday = window(0b001_0000, 22 * HOUR, 4 * HOUR, "UTC");
        for (at, opens_at) in [
            ("2026-11-23T00:00:00Z", "2026-11-27T22:00:00Z"),
            ("2026-11-28T03:59:00Z", "2026-11-28T03:59:00Z"),
            ("2026-11-28T04:00:00Z", "2026-12-04T22:00:00Z"),
        ] {
            assert_eq!(opens(&friday, at), opens_at, "{at}");
        }
        let sunday = window(0b100_0000, 0, 24 * HOUR, "UTC");
        assert_eq!(
            opens(&sunday, "2026-11-28T23:59:59Z"),
            "2026-11-29T00:00:00Z"
        );
        assert_eq!(
            opens(&sunday, "2026-11-29T23:59:59Z"),
            "2026-11-29T23:59:59Z"
        );
        assert_eq!(
            opens(&sunday, "2026-11-30T00:00:00Z"),
            "2026-12-06T00:00:00Z"
        );
    }

    #[test]
    fn where_clocks_go_forward_it_opens_with_the_change_or_not_at_all() {
        // In Berlin 02:00 becomes 03:00 on 2027-03-28, at 01:00 UTC.
        let at = "2027-03-27T12:00:00Z";
        for (from, to, opens_at) in [
            (2 * HOUR + 30, 4 * HOUR, "2027-03-28T01:00:00Z"),
            (2 * HOUR, 2 * HOUR + 30, "2027-03-29T00:00:00Z"),
            (2 * HOUR, 3 * HOUR, "2027-03-29T00:00:00Z"),
            (HOUR, 2 * HOUR + 30, "2027-03-28T00:00:00Z"),
        ] {
            let window = window(0b111_1111, from, to, "Europe/Berlin");
            assert_eq!(opens(&window, at), opens_at, "{from} to {to}");
        }
        // What ends in the gap ends with the change.
        let evening = window(0b111_1111, HOUR, 2 * HOUR + 30, "Europe/Berlin");
        assert_eq!(
            opens(&evening, "2027-03-28T01:00:00Z"),
            "2027-03-28T23:00:00Z"
        );
    }

    #[test]
    fn where_clocks_go_back_it_opens_once() {
        // In Berlin 03:00 becomes 02:00 on 2026-10-25, at 01:00 UTC.
        let short = window(0b111_1111, 2 * HOUR, 2 * HOUR + 30, "Europe/Berlin");
        assert_eq!(
            opens(&short, "2026-10-24T12:00:00Z"),
            "2026-10-25T00:00:00Z"
        );
        assert_eq!(
            opens(&short, "2026-10-25T00:30:00Z"),
            "2026-10-26T01:00:00Z"
        );
        // One around the change is open all the time.
        let long = window(0b111_1111, 2 * HOUR, 4 * HOUR, "Europe/Berlin");
        for at in [
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T02:59:59Z",
        ] {
            assert_eq!(opens(&long, at), at);
        }
        assert_eq!(opens(&long, "2026-10-25T03:00:00Z"), "2026-10-26T01:00:00Z");
    }

    #[test]
    fn a_host_comes_later_in_every_window_by_the_same_time() {
        let night = window(0b111_1111, 2 * HOUR, 4 * HOUR, "UTC");
        let from = |at: &str| {
            let at = at.parse().unwrap();
            night
                .first_moment(at, Duration::from_secs(600))
                .unwrap()
                .to_string()
        };
        assert_eq!(from("2026-11-23T12:00:00Z"), "2026-11-24T02:10:00Z");
        assert_eq!(from("2026-11-24T02:05:00Z"), "2026-11-24T02:10:00Z");
        assert_eq!(from("2026-11-24T03:30:00Z"), "2026-11-24T03:30:00Z");
    }

    proptest! {
        #[test]
        fn what_it_answers_is_open_comes_within_three_weeks_and_answers_itself(
            days in 1u8..128, from in 0u16..1440, to in 1u16..=1440,
            at in 1_600_000_000i64..2_000_000_000,
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"]),
        ) {
            prop_assume!(from != to);
            let window = window(days, from, to, zone);
            let at = Timestamp::from_second(at).unwrap();
            let opens = window.first_moment(at, Duration::ZERO).unwrap();
            prop_assert!(opens >= at);
            prop_assert!(opens.duration_since(at) <= SignedDuration::from_hours(24 * 21));
            prop_assert_eq!(window.first_moment(opens, Duration::ZERO), Some(opens));
        }
    }
}
