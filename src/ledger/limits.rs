//! How much the ledger keeps, the same in memory and on disk.

use jiff::Timestamp;

/// The bounds of history and quarantine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Configurations in a profile's history; at least 1.
    pub per_profile: usize,
    /// Found files kept for a target.
    pub per_target: usize,
    /// Bytes of history in all: every configuration but the newest of its profile, and every found file.
    pub bytes: u64,
    /// Quarantined outcomes that a profile has part in.
    pub quarantine: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            per_profile: 10,
            per_target: 10,
            bytes: 64 * 1024 * 1024,
            quarantine: 32,
        }
    }
}

/// Something in history that may go when there is too much of it.
pub(super) struct Candidate<K> {
    pub at: Timestamp,
    pub size: u64,
    pub key: K,
}

impl Limits {
    /// What has to go so that `total` bytes fit again: the oldest first, ties in the order given.
    ///
    /// An eighth more than needed goes, so that a ledger at its bound does not look at everything on every change.
    pub(super) fn excess<K>(&self, mut candidates: Vec<Candidate<K>>, mut total: u64) -> Vec<K> {
        candidates.sort_by_key(|candidate| candidate.at);
        let wanted = self.bytes - self.bytes / 8;
        let mut going = Vec::new();
        for candidate in candidates {
            if total <= wanted {
                break;
            }
            total = total.saturating_sub(candidate.size);
            going.push(candidate.key);
        }
        going
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_whatever_they_are_and_no_more_than_make_room() {
        let limits = Limits {
            bytes: 80,
            ..Limits::default()
        };
        let candidates = |at: [i64; 4]| {
            let candidates = at.map(|at| Candidate {
                at: Timestamp::from_second(at).unwrap(),
                size: 20,
                key: at,
            });
            candidates.into()
        };
        assert_eq!(limits.excess(candidates([4, 1, 3, 2]), 100), [1, 2]);
        assert_eq!(limits.excess(candidates([2, 1, 4, 3]), 90), [1]);
        assert!(limits.excess(candidates([4, 1, 3, 2]), 70).is_empty());
    }
}
