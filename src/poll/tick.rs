//! When the members of one queue are polled: together where their times are equal or nearly so.

use std::time::Duration;

/// How long a tick waits for members whose time comes a little later.
const TOGETHER: Duration = Duration::from_millis(300);
/// The share of the interval that jitter adds at most.
const JITTER: f64 = 0.1;
/// Jitter never adds more: with the longest interval, 23 h, a token has to stay alive (24 h).
const GREATEST_JITTER: Duration = Duration::from_secs(30 * 60);

/// When to poll the members of one queue next: `(steady time, members)`.
///
/// Each member is `(earliest, interval)`; `jitter` (0.0..1.0) is drawn per queue and tick. The tick is the earliest
/// member's time plus `jitter` × 10 % of its interval, half an hour at most; a member that may be polled at once (zero)
/// gets no jitter. Members whose time has come by then, or comes within 300 ms after it, are polled in it, and the tick
/// waits for them. `None` without members.
pub fn next_tick(members: &[(Duration, Duration)], jitter: f64) -> Option<(Duration, Vec<usize>)> {
    let (earliest, interval) = members.iter().min().copied()?;
    let extra = if earliest.is_zero() {
        Duration::ZERO
    } else {
        interval
            .min(GREATEST_JITTER * 10)
            .mul_f64(JITTER * jitter.clamp(0.0, 1.0))
    };
    let limit = earliest.saturating_add(extra).saturating_add(TOGETHER);
    let due: Vec<usize> = (0..members.len())
        .filter(|&index| {
            members
                .get(index)
                .is_some_and(|(earliest, _)| *earliest <= limit)
        })
        .collect();
    let last = due
        .iter()
        .filter_map(|&index| members.get(index))
        .map(|(earliest, _)| *earliest)
        .max();
    let tick = earliest.saturating_add(extra).max(last.unwrap_or(earliest));
    Some((tick, due))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn no_members_make_no_tick() {
        assert_eq!(next_tick(&[], 0.5), None);
    }

    #[test]
    fn jitter_only_adds_and_at_most_a_tenth() {
        assert_eq!(next_tick(&[(s(100), s(60))], 0.0), Some((s(100), vec![0])));
        assert_eq!(next_tick(&[(s(100), s(60))], 1.0), Some((s(106), vec![0])));
        assert_eq!(next_tick(&[(s(100), s(60))], 7.0), Some((s(106), vec![0])));
    }

    #[test]
    fn what_may_be_polled_at_once_is() {
        let members = [(Duration::ZERO, s(60)), (s(40), s(60))];
        assert_eq!(next_tick(&members, 0.9), Some((Duration::ZERO, vec![0])));
    }

    #[test]
    fn a_tick_waits_for_members_that_come_within_300_ms() {
        let members = [
            (s(10), s(60)),
            (s(10) + Duration::from_millis(300), s(60)),
            (s(10) + Duration::from_millis(301), s(60)),
        ];
        let tick = s(10) + Duration::from_millis(300);
        assert_eq!(next_tick(&members, 0.0), Some((tick, vec![0, 1])));
    }

    #[test]
    fn no_member_is_polled_before_its_time() {
        let members = [(s(100), s(60)), (s(105), s(60)), (s(107), s(60))];
        assert_eq!(next_tick(&members, 1.0), Some((s(106), vec![0, 1])));
    }

    #[test]
    fn jitter_never_outlives_a_token() {
        let interval = s(23 * 3600);
        let (tick, _) = next_tick(&[(interval, interval)], 1.0).expect("a member");
        assert_eq!(tick, interval + s(1800));
    }
}
