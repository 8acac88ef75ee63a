//! When the members of one queue are polled: together where their times are equal or nearly so.

use std::time::Duration;

/// How long a tick waits for members whose time comes a little later.
const TOGETHER: Duration = Duration::from_millis(300);
/// The share of the interval that jitter adds at most.
const JITTER: f64 = 0.1;
/// Jitter never adds more: with the longest interval, 23 h, a token has to stay alive (24 h).
const GREATEST_JITTER: Duration = Duration::from_secs(30 * 60);

/// A member: the steady time before which it is not polled, and its interval.
pub type Member = (Duration, Duration);

/// When the members of one queue are polled next (steady time): those whose time has come by then.
///
/// It is the earliest member's time plus `jitter` (0.0..1.0, drawn per queue and tick) × 10 % of its interval, half an
/// hour at most; a member that may be polled at once (zero) gets no jitter. It waits for members whose time comes within
/// 300 ms after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    pub at: Duration,
    first: Member,
    /// Whoever comes later does not change it.
    limit: Duration,
}

impl Tick {
    /// `None` without members.
    pub fn of(members: impl Iterator<Item = Member> + Clone, jitter: f64) -> Option<Tick> {
        let first = members.clone().min()?;
        let (earliest, interval) = first;
        let extra = if earliest.is_zero() {
            Duration::ZERO
        } else {
            interval
                .min(GREATEST_JITTER * 10)
                .mul_f64(JITTER * jitter.clamp(0.0, 1.0))
        };
        let at = earliest.saturating_add(extra);
        let limit = at.saturating_add(TOGETHER);
        let mut tick = Tick { at, first, limit };
        members.for_each(|member| tick.wait_for(member));
        Some(tick)
    }

    /// The tick with one member more; `None`: that has to be worked out from all of them.
    pub fn with(mut self, member: Member) -> Option<Tick> {
        self.wait_for(member);
        (member >= self.first).then_some(self)
    }

    fn wait_for(&mut self, (earliest, _): Member) {
        if earliest <= self.limit {
            self.at = self.at.max(earliest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tick, and who is polled in it.
    fn tick(members: &[(Duration, Duration)], jitter: f64) -> Option<(Duration, Vec<usize>)> {
        let at = Tick::of(members.iter().copied(), jitter)?.at;
        let due = (0..members.len()).filter(|&index| members[index].0 <= at);
        Some((at, due.collect()))
    }

    proptest::proptest! {
        #[test]
        fn a_member_more_is_as_if_it_had_been_there(
            members in proptest::collection::vec((0_u64..2_000, 0_u64..4_000), 1..6),
            jitter in 0.0..1.0,
        ) {
            let millis = |(earliest, interval)| (Duration::from_millis(earliest), Duration::from_millis(interval));
            let members: Vec<Member> = members.into_iter().map(millis).collect();
            let (last, others) = members.split_last().unwrap();
            let all = Tick::of(members.iter().copied(), jitter);
            if let Some(tick) = Tick::of(others.iter().copied(), jitter)
                && let Some(with) = tick.with(*last)
            {
                proptest::prop_assert_eq!(Some(with), all);
            } else {
                proptest::prop_assert_eq!(all.unwrap().first, *last);
            }
        }
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn no_members_make_no_tick() {
        assert_eq!(tick(&[], 0.5), None);
    }

    #[test]
    fn jitter_only_adds_and_at_most_a_tenth() {
        assert_eq!(tick(&[(s(100), s(60))], 0.0), Some((s(100), vec![0])));
        assert_eq!(tick(&[(s(100), s(60))], 1.0), Some((s(106), vec![0])));
        assert_eq!(tick(&[(s(100), s(60))], 7.0), Some((s(106), vec![0])));
    }

    #[test]
    fn what_may_be_polled_at_once_is() {
        let members = [(Duration::ZERO, s(60)), (s(40), s(60))];
        assert_eq!(tick(&members, 0.9), Some((Duration::ZERO, vec![0])));
    }

    #[test]
    fn a_tick_waits_for_members_that_come_within_300_ms() {
        let members = [
            (s(10), s(60)),
            (s(10) + Duration::from_millis(300), s(60)),
            (s(10) + Duration::from_millis(301), s(60)),
        ];
        let at = s(10) + Duration::from_millis(300);
        assert_eq!(tick(&members, 0.0), Some((at, vec![0, 1])));
    }

    #[test]
    fn no_member_is_polled_before_its_time() {
        let members = [(s(100), s(60)), (s(105), s(60)), (s(107), s(60))];
        assert_eq!(tick(&members, 1.0), Some((s(106), vec![0, 1])));
    }

    #[test]
    fn jitter_never_outlives_a_token() {
        let interval = s(23 * 3600);
        let (tick, _) = tick(&[(interval, interval)], 1.0).expect("a member");
        assert_eq!(tick, interval + s(1800));
    }
}
