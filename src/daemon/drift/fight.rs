//! Two writers of one file: if both never give in, services would be told for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::settings::TargetPath;

/// More restorations of one target within [`SPAN`] than this are a fight with another writer.
const FIGHT: usize = 3;
const SPAN: Duration = Duration::from_secs(60);
/// How long the other writer is left alone then; each time that it has written again, twice as long.
const FIRST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct Fights {
    put_back: BTreeMap<TargetPath, Vec<Duration>>,
    fights: BTreeMap<TargetPath, Fight>,
}

#[derive(Debug)]
struct Fight {
    rest: Duration,
    /// Steady time until which the other writer is left alone.
    until: Duration,
}

impl Fights {
    /// The target has been put back. The steady time until which it is then left alone, if this is a fight.
    pub(super) fn put_back(&mut self, path: &TargetPath, now: Duration) -> Option<Duration> {
        let target_path = path.as_str();
        if let Some(fight) = self.fights.get_mut(path) {
            if now < fight.until {
                // A new version went over it: that is no round of the fight.
                return Some(fight.until);
            }
            fight.rest = (fight.rest * 2).min(LONGEST_REST);
            fight.until = now + fight.rest;
            tracing::debug!(target_path, "the other writer goes on");
            return Some(fight.until);
        }
        let times = self.put_back.entry(path.clone()).or_default();
        times.retain(|at| now.saturating_sub(*at) < SPAN);
        times.push(now);
        if times.len() <= FIGHT {
            return None;
        }
        self.put_back.remove(path);
        let (rest, until) = (FIRST_REST, now + FIRST_REST);
        self.fights.insert(path.clone(), Fight { rest, until });
        tracing::error!(
            target_path,
            "somebody else writes it again and again: it is put back less often from here on; \
             find the other writer, or let it be: `appconfigd hold {path}`"
        );
        Some(until)
    }

    /// The target was found as it should be: that ends a fight if the other writer was left alone until then.
    pub(super) fn is_right(&mut self, path: &TargetPath, now: Duration) {
        if self
            .fights
            .get(path)
            .is_some_and(|fight| fight.until <= now)
        {
            self.fights.remove(path);
            let target_path = path.as_str();
            tracing::info!(target_path, "the other writer has stopped");
        }
    }

    /// The target is not looked at before this steady time.
    pub(super) fn rest(&self, path: &TargetPath) -> Duration {
        let fight = self.fights.get(path);
        fight.map(|fight| fight.until).unwrap_or_default()
    }

    pub(super) fn reasons(&self) -> impl Iterator<Item = (TargetPath, String)> {
        self.fights.iter().map(|(path, fight)| {
            let seconds = fight.rest.as_secs();
            let reason = format!(
                "somebody else writes it again and again: it is put back every {seconds} s; \
                 find the other writer, or let it be: `appconfigd hold {path}`"
            );
            (path.clone(), reason)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_fourth_within_a_minute_is_a_fight_which_ends_when_the_other_stops() {
        let path = TargetPath::new("/a").unwrap();
        let mut fights = Fights::default();
        for at in [0, 30, 59] {
            assert_eq!(fights.put_back(&path, seconds(at)), None);
        }
        // The first is a minute ago by now.
        assert_eq!(fights.put_back(&path, seconds(60)), None);
        assert_eq!(fights.reasons().count(), 0);
        assert_eq!(fights.put_back(&path, seconds(61)), Some(seconds(91)));
        assert_eq!(fights.rest(&path), seconds(91));
        assert_eq!(fights.reasons().count(), 1);
        fights.is_right(&path, seconds(70));
        assert_eq!(fights.reasons().count(), 1, "too early to tell");
        assert_eq!(fights.put_back(&path, seconds(91)), Some(seconds(151)));
        fights.is_right(&path, seconds(151));
        assert_eq!(fights.reasons().count(), 0);
        assert_eq!(fights.put_back(&path, seconds(152)), None);
    }

    #[test]
    fn rests_grow_up_to_ten_minutes_and_other_targets_are_not_concerned() {
        let (path, other) = (
            TargetPath::new("/a").unwrap(),
            TargetPath::new("/b").unwrap(),
        );
        let mut fights = Fights::default();
        let mut now = seconds(0);
        for _ in 0..20 {
            now = fights.put_back(&path, now).unwrap_or(now);
        }
        let until = fights.put_back(&path, now).unwrap();
        assert_eq!(until - now, LONGEST_REST);
        assert_eq!(fights.rest(&other), Duration::ZERO);
        assert_eq!(fights.put_back(&other, now), None);
    }
}
