//! Files that are removed or replaced under a running program.

use std::fs;

use super::*;

/// A ledger with something in it, and something more that only its log holds.
fn filled(directory: &Path) -> Ledger {
    let ledger = open(directory);
    wait(ledger.commit(vec![received("a", "one", 1), session("a", "secret")])).unwrap();
    ledger
}

/// What a program that was started now would find.
fn found(directory: &Path) -> State {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    wait(open(copy.path()).load()).unwrap()
}

#[test]
fn whatever_is_removed_under_us_the_next_commit_is_on_disk_with_all_before_it() {
    let gone: [&[&str]; 6] = [
        &["ledger.db"],
        &["ledger.db-wal"],
        &["ledger.db-shm"],
        &["ledger.db-wal", "ledger.db-shm"],
        &["ledger.db", "ledger.db-wal", "ledger.db-shm", "lock"],
        &["lock"],
    ];
    for names in gone {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let ledger = filled(&state);
        for name in names {
            fs::remove_file(state.join(name)).unwrap();
        }
        wait(ledger.commit(vec![received("a", "two", 2)])).unwrap();
        wait(ledger.commit(vec![received("b", "three", 3)])).unwrap();
        let known = wait(ledger.load()).unwrap();
        assert_eq!(known.history[&identity("a")].len(), 2, "{names:?}");
        assert_eq!(found(&state), known, "{names:?}");
        let body = body_of(&ledger, b"one");
        assert_eq!(body.as_deref(), Some(b"one".as_slice()));
        let held = Ledger::open(&state).unwrap_err();
        assert!(matches!(held, LedgerError::Held { .. }), "{names:?}");
        drop(ledger);
        assert_eq!(wait(open(&state).load()).unwrap(), known);
    }
}

#[test]
fn a_removed_state_directory_is_made_again_closed_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("var/state");
    let ledger = filled(&state);
    fs::remove_dir_all(directory.path().join("var")).unwrap();
    wait(ledger.commit(vec![received("a", "two", 2)])).unwrap();
    assert_eq!(found(&state), wait(ledger.load()).unwrap());
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("ledger.db")), 0o600);
}

#[test]
fn to_a_ledger_that_somebody_else_has_put_there_nothing_is_written_until_ours_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let ledger = filled(&state);
    let (ours, aside) = (state.join("ledger.db"), directory.path().join("aside"));
    fs::rename(&ours, &aside).unwrap();
    fs::write(&ours, "restored from a backup").unwrap();
    for _ in 0..2 {
        let error = wait(ledger.commit(vec![received("a", "two", 2)])).unwrap_err();
        assert!(matches!(error, LedgerError::Replaced { .. }), "{error:?}");
    }
    assert_eq!(fs::read_to_string(&ours).unwrap(), "restored from a backup");
    fs::rename(&aside, &ours).unwrap();
    wait(ledger.commit(vec![received("a", "two", 2)])).unwrap();
    assert_eq!(found(&state), wait(ledger.load()).unwrap());
}

#[test]
fn while_another_process_has_a_directory_that_was_made_anew_nothing_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let ledger = filled(&state);
    fs::remove_dir_all(&state).unwrap();
    let other = open(&state);
    wait(other.commit(vec![received("z", "other", 2)])).unwrap();
    let error = wait(ledger.commit(vec![received("a", "two", 2)])).unwrap_err();
    assert!(matches!(error, LedgerError::Held { .. }), "{error:?}");
    assert_eq!(found(&state), wait(other.load()).unwrap());
}

#[test]
fn where_there_is_no_room_to_write_it_anew_it_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let ledger = filled(&state);
    fs::remove_dir_all(&state).unwrap();
    // No room: a file is in the way.
    fs::write(&state, "").unwrap();
    wait(ledger.commit(vec![received("a", "two", 2)])).unwrap_err();
    fs::remove_file(&state).unwrap();
    wait(ledger.commit(vec![received("a", "two", 2)])).unwrap();
    assert_eq!(found(&state), wait(ledger.load()).unwrap());
}
