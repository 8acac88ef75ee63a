//! In memory and on disk alike, and never more than the bounds.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::any::any_change;
use super::*;

const SMALL: Limits = Limits {
    per_profile: 3,
    per_target: 3,
    bytes: 150,
    quarantine: 2,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_reopened_ledger_equals_the_state_that_took_the_same_changes(
        commits in vec(vec(any_change(), 0..6), 0..14), reopened_after in 0usize..14,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = open_small(directory.path(), SMALL).ledger;
        let mut state = State::default();
        for (index, changes) in commits.iter().enumerate() {
            if index == reopened_after {
                drop(ledger);
                ledger = open_small(directory.path(), SMALL).ledger;
                prop_assert_eq!(&wait(ledger.load()).unwrap(), &state);
            }
            wait(ledger.commit(changes.clone())).unwrap();
            for change in changes {
                state.apply_within(change, &SMALL);
            }
        }
        prop_assert_eq!(&wait(ledger.load()).unwrap(), &state);
        prop_assert_eq!(&Ledger::read(directory.path()).unwrap().unwrap(), &state);
        drop(ledger);
        let opened = open_small(directory.path(), SMALL);
        prop_assert_eq!(opened.moved_aside, None);
        prop_assert_eq!(&wait(opened.ledger.load()).unwrap(), &state);
        drop(opened.ledger);

        prop_assert!(state.history_bytes <= SMALL.bytes);
        prop_assert_eq!(state.history_bytes, state.count_history_bytes());
        prop_assert!(state.history.values().all(|versions| (1..=3).contains(&versions.len())));

        let mut named = BTreeSet::new();
        named.extend(state.received.values().map(|version| version.digest));
        named.extend(state.accepted.values().map(|version| version.digest));
        named.extend(state.history.values().flatten().map(|version| version.digest));
        named.extend(state.found_files.iter().map(|file| file.digest));
        named.extend(state.held_profiles.values().map(|held| held.version.digest));
        named.extend(state.intents.values().flat_map(|intent| intent.profiles.values()).map(|version| version.digest));
        let database = raw(directory.path());
        let mut stored = database.prepare("SELECT digest FROM bodies").unwrap();
        let stored: BTreeSet<Digest> = stored
            .query_map([], |row| row.get::<_, String>(0)).unwrap()
            .map(|digest| digest.unwrap().parse().unwrap()).collect();
        prop_assert!(stored.is_subset(&named), "a body that nothing names stayed");
        let of_history = state.history.values().flatten().map(|version| version.digest)
            .chain(state.received.values().map(|version| version.digest))
            .chain(state.found_files.iter().map(|file| file.digest));
        for digest in of_history {
            prop_assert!(stored.contains(&digest), "a body that is named has gone");
        }
    }
}

#[test]
fn the_bounds_are_ten_configurations_sixty_four_mebibytes_and_thirty_two_outcomes() {
    let mut state = State::default();
    for number in 0..12 {
        state.apply(&received("a", &format!("{number}"), number));
        state.apply(&kept("/etc/x", &format!("found {number}"), number));
    }
    let first = state.history.values().next().unwrap();
    assert_eq!(first.len(), 10);
    assert_eq!(first.last().unwrap().digest, Digest::of(b"11"));
    assert_eq!(state.found_files.len(), 10);
    for number in 0..40 {
        state.apply(&Change::Quarantined(Quarantine {
            outcome: Default::default(),
            services: Digest::of(b""),
            profiles: [(identity("a"), Digest::of(b""))].into(),
            reason: number.to_string(),
            since: at(number),
        }));
    }
    assert_eq!(state.quarantine.len(), 32);
    assert_eq!(state.quarantine.last().unwrap().reason, "39");

    let large = "x".repeat(16 << 20);
    for number in 100..107 {
        state.apply(&received("b", &format!("{number}{large}"), number));
    }
    assert!(state.history_bytes <= 64 << 20);
    let of_b = &state.history[&identity("b")];
    assert!(of_b.len() >= 4, "no more goes than has to");
    assert_eq!(
        state.history[&identity("a")].len(),
        1,
        "the oldest go first, a profile's newest stays"
    );
}

#[test]
fn the_same_bytes_received_again_are_in_history_once() {
    let mut state = State::default();
    for (text, seconds) in [("1", 1), ("2", 2), ("1", 3), ("1", 4)] {
        state.apply(&received("a", text, seconds));
    }
    let history: Vec<_> = state.history[&identity("a")]
        .iter()
        .map(|version| (version.digest, version.since))
        .collect();
    assert_eq!(
        history,
        [(Digest::of(b"2"), at(2)), (Digest::of(b"1"), at(4))]
    );
}
