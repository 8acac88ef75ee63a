//! When a newer version may be put in place: `settle`, `splay`, `min_interval`, `window`. Pure: time is an argument.

mod keeping;
mod window;

pub(super) use keeping::Deferred;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::second_of;
use crate::protocol::{Digest, Identity};
use crate::settings::{Service, ServiceName, TargetPath};

/// What tells this host from others: its machine id, else its name. Nothing but digests of it is ever used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host(String);

/// What becomes of the pace of services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pacing {
    /// Somebody wants everything now.
    #[default]
    Ignored,
    /// A plan says what would wait, and what would change all the same.
    Told(Host),
    Kept(Host),
}

/// What a service's pace keeps waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferral {
    /// The first moment at which this service may be notified.
    pub until: Timestamp,
    /// In words, with the time and the setting.
    pub reason: String,
    pub profiles: BTreeSet<Identity>,
    pub targets: BTreeSet<TargetPath>,
}

/// A newer version that a service would be notified of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn<'a> {
    pub service: &'a Service,
    /// When it was notified last.
    pub notified: Option<Timestamp>,
    /// When the first version came that could not be put in place yet.
    pub since: Timestamp,
    /// When the newest came.
    pub came: Timestamp,
}

impl Host {
    pub fn new(name: &str) -> Host {
        Host(name.to_owned())
    }

    /// This host's share of a service's `splay`: the same at any time.
    fn share(&self, service: &ServiceName, splay: Duration) -> Duration {
        let digest = Digest::of(format!("{}\n{service}", self.0).as_bytes());
        let mut number = [0; 8];
        for (to, from) in number.iter_mut().zip(digest.as_bytes()) {
            *to = *from;
        }
        // 53 bits are what a float holds.
        let share = (u64::from_be_bytes(number) >> 11) as f64 / (1u64 << 53) as f64;
        splay.mul_f64(share)
    }
}

impl Turn<'_> {
    /// The first moment from `now` on at which the service may be notified, and the setting that it waits for. A time in
    /// the future counts as passed.
    pub fn comes(&self, host: &Host, now: Timestamp) -> (Timestamp, &'static str) {
        let pace = &self.service.pace;
        let share = pace
            .splay
            .map(|splay| host.share(&self.service.name, splay));
        let since = self.since.min(now);
        let mut turn = (now, "");
        let mut not_before = |time: Timestamp, key: &'static str| {
            if time > turn.0 {
                turn = (time, key);
            }
        };
        let mut ready = since;
        if let Some(settle) = pace.settle {
            let quiet = later(self.came.min(now), settle.quiet);
            ready = quiet.min(later(since, settle.at_most)).max(since);
            not_before(ready, "settle");
        }
        if let Some(share) = share {
            not_before(later(ready, share), "splay");
        }
        let notified = self.notified.filter(|notified| *notified <= now);
        if let (Some(notified), Some(interval)) = (notified, pace.min_interval) {
            not_before(later(notified, interval), "min_interval");
        }
        let (earliest, _) = turn;
        let windows = pace.windows.iter();
        let opens = windows.filter_map(|one| one.first_moment(earliest, share.unwrap_or_default()));
        if let Some(opens) = opens.min()
            && opens > earliest
        {
            turn = (opens, "window");
        }
        turn
    }
}

impl Deferral {
    pub(super) fn words(service: &ServiceName, until: Timestamp, key: &str) -> String {
        let until = second_of(until);
        format!(
            "waits until {until}: `{key}` of service `{service}`; `appconfigd retry` does not wait"
        )
    }
}

/// A time that cannot be told lies after all others.
fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;
    use crate::settings::{Days, OnFailure, Pace, Settle, TimeOfDay, Window};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn paced(pace: Pace) -> Service {
        Service {
            pace,
            ..crate::transaction::tests::world::service("web", OnFailure::Rollback)
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn comes(
        pace: Pace,
        notified: Option<i64>,
        since: i64,
        came: i64,
        now: i64,
    ) -> (i64, &'static str) {
        let service = paced(pace);
        let turn = Turn {
            service: &service,
            notified: notified.map(at),
            since: at(since),
            came: at(came),
        };
        let (time, key) = turn.comes(&Host::new("one"), at(now));
        (time.as_second() - 1_800_000_000, key)
    }

    #[test]
    fn a_settling_version_waits_until_no_newer_has_come_for_a_while_and_not_for_ever() {
        let pace = || Pace {
            settle: Some(Settle {
                quiet: seconds(10),
                at_most: seconds(25),
            }),
            ..Pace::default()
        };
        assert_eq!(comes(pace(), None, 0, 0, 0), (10, "settle"));
        assert_eq!(comes(pace(), None, 0, 8, 9), (18, "settle"));
        assert_eq!(comes(pace(), None, 0, 22, 23), (25, "settle"));
        assert_eq!(comes(pace(), None, 0, 22, 25), (25, ""));
        assert_eq!(comes(pace(), None, 0, 0, 10), (10, ""));
    }

    #[test]
    fn the_least_interval_is_counted_from_the_last_notification() {
        let pace = || Pace {
            min_interval: Some(seconds(300)),
            ..Pace::default()
        };
        assert_eq!(comes(pace(), None, 0, 0, 0), (0, ""));
        assert_eq!(comes(pace(), Some(-100), 0, 0, 0), (200, "min_interval"));
        assert_eq!(comes(pace(), Some(-300), 0, 0, 0), (0, ""));
        // Clocks have been set back: it counts as passed.
        assert_eq!(comes(pace(), Some(50), 0, 0, 0), (0, ""));
    }

    #[test]
    fn a_share_of_the_splay_is_the_hosts_own_stays_the_same_and_is_counted_from_the_first_version()
    {
        let shares: BTreeSet<Duration> = (0..50)
            .map(|host| Host::new(&format!("host {host}")).share(&"web".into(), seconds(600)))
            .collect();
        assert_eq!(shares.len(), 50);
        assert!(shares.iter().all(|share| *share < seconds(600)));
        assert!(shares.first().unwrap() < &seconds(60) && shares.last().unwrap() > &seconds(540));
        let host = Host::new("one");
        let web = host.share(&"web".into(), seconds(600));
        assert_eq!(web, host.share(&"web".into(), seconds(600)));
        assert_ne!(web, host.share(&"app".into(), seconds(600)));
        let pace = || Pace {
            splay: Some(seconds(600)),
            ..Pace::default()
        };
        let (first, key) = comes(pace(), None, 0, 0, 0);
        assert_eq!((first, key), (web.as_secs() as i64, "splay"));
        // A newer one does not begin anew.
        assert_eq!(comes(pace(), None, 0, first - 1, first - 1).0, first);
    }

    fn nightly() -> Vec<Window> {
        vec![Window {
            days: Days::ALL,
            from: TimeOfDay(2 * 60),
            to: TimeOfDay(4 * 60),
            zone: TimeZone::UTC,
        }]
    }

    #[test]
    fn in_a_window_all_hosts_come_at_their_own_time() {
        let service = paced(Pace {
            splay: Some(seconds(3600)),
            windows: nightly(),
            ..Pace::default()
        });
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let opens: Timestamp = "2026-11-24T02:00:00Z".parse().unwrap();
        let turn = Turn {
            service: &service,
            notified: None,
            since: now,
            came: now,
        };
        let comes: BTreeSet<Timestamp> = (0..20)
            .map(|host| turn.comes(&Host::new(&format!("host {host}")), now).0)
            .collect();
        assert_eq!(comes.len(), 20);
        let first_hour = opens..later(opens, seconds(3600));
        assert!(
            comes.iter().all(|one| first_hour.contains(one)),
            "{comes:?}"
        );
    }

    proptest! {
        #[test]
        fn a_turn_comes_in_the_end_and_has_come_when_it_is_there(
            settle in proptest::option::of((1u64..100, 0u64..300)),
            interval in proptest::option::of(1u64..100_000),
            splay in proptest::option::of(1u64..7_000),
            window in any::<bool>(),
            notified in proptest::option::of(-100_000i64..100_000),
            since in -100_000i64..=0, age in 0i64..100_000,
        ) {
            let service = paced(Pace {
                settle: settle.map(|(quiet, more)| Settle { quiet: seconds(quiet), at_most: seconds(quiet + more) }),
                min_interval: interval.map(seconds),
                splay: splay.map(seconds),
                windows: if window { nightly() } else { Vec::new() },
            });
            let host = Host::new("one");
            let turn = Turn {
                service: &service,
                notified: notified.map(at),
                since: at(since),
                came: at((since + age).min(0)),
            };
            let (time, key) = turn.comes(&host, at(0));
            prop_assert!(time >= at(0));
            prop_assert_eq!(key.is_empty(), time == at(0));
            prop_assert!(time <= at(400_000), "{}", time);
            // A time that lay in the future then may lie in the past by now.
            if notified.is_none_or(|notified| notified <= 0) {
                prop_assert_eq!(turn.comes(&host, time), (time, ""));
            }
        }
    }
}
