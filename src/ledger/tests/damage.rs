//! Damage is moved aside, all else is not.

use std::os::unix::fs::FileExt;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A closed ledger with something in most tables.
fn filled(directory: &Path) {
    static ONE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let bytes = ONE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let ledger = open(directory.path());
        let mut changes = Vec::new();
        for number in 0..30i64 {
            let name = format!("profile {}", number % 7);
            let text = format!("{number} ").repeat(400);
            changes.push(received(&name, &text, number));
            changes.push(session(&name, "token"));
            changes.push(kept("/etc/x", &text, number));
        }
        wait(ledger.commit(changes)).unwrap();
        drop(ledger);
        std::fs::read(directory.path().join("ledger.db")).unwrap()
    });
    let file = std::fs::File::create(directory.join("ledger.db")).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}

fn overwrite(path: &Path, position: u64, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, position).unwrap();
}

fn reopened_empty(directory: &Path) {
    let opened = Ledger::open(directory).unwrap();
    let aside = opened
        .moved_aside
        .expect("the damaged ledger is moved aside");
    assert!(aside.exists());
    assert_eq!(wait(opened.ledger.load()).unwrap(), State::default());
    wait(opened.ledger.commit(vec![received("a", "one", 1)])).unwrap();
    drop(opened.ledger);
    assert_eq!(wait(open(directory).load()).unwrap().received.len(), 1);
}

#[test]
fn what_is_no_database_is_moved_aside() {
    for content in [
        "",
        "x",
        "this is a text and no database, and it is longer than a header is: 100 bytes, I believe, or more",
    ] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::File::create(directory.path().join("ledger.db"))
            .and_then(|file| file.write_all_at(content.as_bytes(), 0))
            .unwrap();
        reopened_empty(directory.path());
    }
}

#[test]
fn a_damaged_ledger_goes_with_its_log_and_a_second_one_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    for count in 1..=2 {
        let ledger = open_small(directory.path(), Limits::default()).ledger;
        wait(ledger.commit(vec![received("a", "one", 1)])).unwrap();
        let database = directory.path().join("ledger.db");
        let log = std::fs::read(directory.path().join("ledger.db-wal")).unwrap();
        drop(ledger);
        let file = std::fs::File::create(directory.path().join("ledger.db-wal")).unwrap();
        file.write_all_at(&log, 0).unwrap();
        overwrite(&database, 0, &[0xff; 4096]);
        let opened = open_small(directory.path(), Limits::default());
        let aside = opened.moved_aside.unwrap();
        assert!(super::super::directory::beside(&aside, "-wal").exists());
        let names = std::fs::read_dir(directory.path()).unwrap();
        let aside = names.filter(|name| {
            let name = name.as_ref().unwrap().file_name();
            let name = name.to_str().unwrap();
            name.contains(".damaged-") && !name.ends_with("-wal")
        });
        assert_eq!(aside.count(), count);
    }
}

#[test]
fn a_value_that_was_never_written_is_damage() {
    for statement in [
        "UPDATE received SET digest = 'sha256:12'",
        "UPDATE sessions SET issued_at = 'yesterday'",
        "UPDATE history SET size = -1",
        "PRAGMA user_version = 77",
        "PRAGMA user_version = 0",
        "DROP TABLE polls",
        "DELETE FROM meta",
    ] {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        raw(directory.path()).execute_batch(statement).unwrap();
        assert!(Ledger::read(directory.path()).is_err(), "{statement}");
        reopened_empty(directory.path());
    }
}

#[test]
fn wrong_bytes_of_a_body_are_an_error_while_running_and_moved_aside_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    raw(directory.path())
        .execute_batch("UPDATE bodies SET bytes = x'00'")
        .unwrap();
    let ledger = open(directory.path());
    let state = wait(ledger.load()).unwrap();
    let digest = state.received.values().next().unwrap().digest;
    let error = wait(ledger.bodies(vec![digest])).unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
    assert!(Ledger::read_body(directory.path(), digest).is_err());
    drop(ledger);
    reopened_empty(directory.path());
}

#[test]
fn an_unreadable_place_is_an_error_and_nothing_is_moved() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("ledger.db")).unwrap();
    let error = Ledger::open(directory.path()).unwrap_err();
    assert!(
        matches!(error, LedgerError::Io { .. } | LedgerError::Disk { .. }),
        "{error}"
    );
    assert!(directory.path().join("ledger.db").is_dir());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_damaged_the_ledger_opens_or_is_moved_aside(
        spots in vec((any::<prop::sample::Index>(), vec(any::<u8>(), 1..40), any::<bool>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        let path = directory.path().join("ledger.db");
        let length = path.metadata().unwrap().len() as usize;
        for (index, bytes, in_header) in &spots {
            let position = index.index(if *in_header { 200 } else { length });
            overwrite(&path, position as u64, bytes);
        }
        if let Some(cut) = cut {
            std::fs::OpenOptions::new().write(true).open(&path).unwrap()
                .set_len(cut.index(length) as u64).unwrap();
        }
        let _ = Ledger::read(directory.path());
        let opened = Ledger::open(directory.path()).unwrap();
        let state = wait(opened.ledger.load()).unwrap();
        let mut damaged = false;
        for version in state.received.values() {
            damaged |= wait(opened.ledger.bodies(vec![version.digest])).is_err();
        }
        for number in 0..20 {
            let name = format!("profile {}", number % 7);
            match wait(opened.ledger.commit(vec![received(&name, &number.to_string(), 100)])) {
                Ok(()) => {}
                Err(LedgerError::Damaged { .. }) => damaged = true,
                Err(error) => return Err(TestCaseError::fail(format!("{error:?}"))),
            }
        }
        prop_assert!(!(damaged && opened.moved_aside.is_some()), "the new one is whole");
        drop(opened);
        let again = Ledger::open(directory.path()).unwrap();
        prop_assert!(!damaged || again.moved_aside.is_some(), "damage that was met stays");
        drop(again);
        prop_assert!(Ledger::open(directory.path()).unwrap().moved_aside.is_none());
    }
}

#[test]
fn a_database_that_contradicts_itself_is_damaged_though_every_page_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let database = raw(directory.path());
    let check = crate::ledger::connection::check;
    database
        .execute_batch("CREATE TABLE facts (fact); INSERT INTO facts VALUES (NULL)")
        .unwrap();
    check(&database).unwrap();
    database
        .execute_batch(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = 'CREATE TABLE facts (fact NOT NULL)' WHERE name = 'facts'",
        )
        .unwrap();
    drop(database);
    check(&raw(directory.path())).unwrap_err();
}
