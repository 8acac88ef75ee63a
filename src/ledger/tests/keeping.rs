//! Opening, locking, committing.

use std::os::unix::fs::PermissionsExt;

use super::super::directory::Directory;
use super::super::store::Store;
use super::*;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_was_committed_is_there_after_a_restart_with_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = open(directory.path());
    wait(ledger.commit(vec![received("a", "one", 1), session("a", "secret")])).unwrap();
    let before = wait(ledger.load()).unwrap();
    drop(ledger);
    let ledger = open(directory.path());
    assert_eq!(wait(ledger.load()).unwrap(), before);
    assert_eq!(wait(ledger.load()).unwrap(), before);
    let body = body_of(&ledger, b"one");
    assert_eq!(body.as_deref(), Some(b"one".as_slice()));
    assert_eq!(body_of(&ledger, b"two"), None);
    assert!(!format!("{ledger:?} {before:?}").contains("secret"));
}

#[test]
fn the_directory_and_its_files_are_closed_to_others_but_parents_are_not() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("var/lib/appconfigd");
    let ledger = open(&directory);
    wait(ledger.commit(vec![received("a", "one", 1)])).unwrap();
    assert_eq!(mode(&directory), 0o700);
    assert_ne!(mode(directory.parent().unwrap()), 0o700);
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm", "lock"] {
        assert_eq!(mode(&directory.join(name)) & 0o177, 0, "{name}");
    }
    drop(ledger);
    std::fs::set_permissions(
        directory.join("ledger.db"),
        std::fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let _ledger = open(&directory);
    assert_eq!(mode(&directory.join("ledger.db")), 0o600);
}

#[test]
fn a_second_opener_is_told_who_holds_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = open(directory.path());
    let clone = ledger.clone();
    drop(ledger);
    match Ledger::open(directory.path()) {
        Err(LedgerError::Held { pid, .. }) => assert_eq!(pid, std::process::id()),
        other => panic!("{other:?}"),
    }
    drop(clone);
    open(directory.path());
}

#[test]
fn a_child_does_not_inherit_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = open(directory.path());
    let mut child = std::process::Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lock = directory.path().join("lock");
    for descriptor in std::fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap() {
        // Others come and go while the program starts; an inherited one would stay.
        let link = std::fs::read_link(descriptor.unwrap().path());
        assert_ne!(link.ok().as_ref(), Some(&lock));
    }
    drop(ledger);
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_newer_ledger_is_left_alone_and_its_writer_named() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let database = raw(directory.path());
    let newer = "UPDATE meta SET value = '9' WHERE key = 'schema';
         UPDATE meta SET value = '7.8.9' WHERE key = 'written_by'; PRAGMA user_version = 9; DROP TABLE polls";
    database.execute_batch(newer).unwrap();
    drop(database);
    let error = Ledger::open(directory.path()).unwrap_err();
    assert!(
        error.to_string().contains("written by appconfigd 7.8.9"),
        "{error}"
    );
    let error = Ledger::read(directory.path()).unwrap_err();
    assert!(
        matches!(
            error,
            LedgerError::Newer {
                found: 9,
                known: 3,
                ..
            }
        ),
        "{error}"
    );
    assert!(directory.path().join("ledger.db").exists());
}

#[test]
fn an_operators_own_table_is_no_fault() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    raw(directory.path())
        .execute_batch("CREATE TABLE notes (text); CREATE INDEX mine ON history (since)")
        .unwrap();
    open(directory.path());
}

#[test]
fn a_member_of_a_group_that_fails_takes_down_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let place = Directory::at(directory.path());
    let lock = Arc::new(place.lock().unwrap());
    let (mut store, _) = Store::open(&place, lock, Limits::default(), at(0)).unwrap();
    let impossible = Change::Accepted {
        identity: identity("b"),
        version: Some(Version {
            size: u64::MAX,
            ..Version::of(&configuration("x"), at(1))
        }),
    };
    let group = [
        vec![received("a", "one", 1)],
        vec![received("b", "two", 1), impossible],
        vec![received("c", "three", 1)],
    ];
    let outcomes = store.commit(&group);
    let good: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, true]);
    let state = store.load().unwrap();
    assert_eq!(state.received.len(), 2, "nothing of the one that failed");
    assert_eq!(store.body(Digest::of(b"two")).unwrap(), None);
    assert!(store.body(Digest::of(b"three")).unwrap().is_some());
}

#[test]
fn many_commits_at_once_all_count() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = open(directory.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..500 {
            let ledger = ledger.clone();
            tasks.spawn(async move {
                let name = format!("profile {number}");
                ledger
                    .commit(vec![received(&name, &name, number), session(&name, &name)])
                    .await
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
    });
    drop(ledger);
    assert_eq!(
        wait(open(directory.path()).load()).unwrap().sessions.len(),
        500
    );
}

#[test]
fn a_thread_that_has_ended_is_an_error_for_its_callers() {
    let directory = tempfile::tempdir().unwrap();
    let (requests, incoming) = channel();
    let place = Directory::at(directory.path());
    let lock = Arc::new(place.lock().unwrap());
    let ledger = Ledger {
        shared: Arc::new(Shared {
            directory: place,
            requests: Some(requests),
            thread: None,
            _lock: lock,
        }),
    };
    let thread = std::thread::spawn(move || {
        let _request: Request = incoming.recv().unwrap();
        std::panic::resume_unwind(Box::new("planted"));
    });
    assert!(matches!(wait(ledger.load()), Err(LedgerError::Ended)));
    assert!(thread.join().is_err());
    assert!(matches!(
        wait(ledger.commit(Vec::new())),
        Err(LedgerError::Ended)
    ));
}

#[test]
fn a_place_that_cannot_be_a_directory_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::File::create(&file).unwrap();
    let error = Ledger::open(&file.join("state")).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
    let error = Ledger::open(&file).unwrap_err();
    assert!(matches!(error, LedgerError::Io { .. }), "{error}");
}

/// The table of sessions as it was until version 2.
const SESSIONS_UNTIL_2: &str = "CREATE TABLE copy AS SELECT * FROM sessions; DROP TABLE sessions;
     CREATE TABLE sessions (identity TEXT NOT NULL PRIMARY KEY, token TEXT NOT NULL, issued_at TEXT NOT NULL, sent INTEGER NOT NULL, interval_seconds TEXT NOT NULL, fresh INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     INSERT INTO sessions SELECT * FROM copy; DROP TABLE copy;";

/// A ledger as an earlier version of the schema had it, and what it holds.
fn of_version(version: i64, directory: &Path, besides: &str) -> State {
    let ledger = open(directory);
    wait(ledger.commit(vec![received("a", "one", 1), session("a", "secret")])).unwrap();
    let held = wait(ledger.load()).unwrap();
    drop(ledger);
    let only_since_2 =
        "DROP TABLE notified; DROP TABLE waits; DROP TABLE retries; DROP TABLE installed_parts;
         DROP TABLE installed_attributes; DROP TABLE runs; DROP TABLE watch_changes;";
    let dropped = if version < 2 { only_since_2 } else { "" };
    let signed = format!(
        "UPDATE meta SET value = '{version}' WHERE key = 'schema'; PRAGMA user_version = {version};"
    );
    raw(directory)
        .execute_batch(&[SESSIONS_UNTIL_2, dropped, &signed, besides].concat())
        .unwrap();
    held
}

#[test]
fn a_ledger_of_an_earlier_version_is_read_as_it_is_and_taken_over_with_all_that_it_holds() {
    for version in [1, 2] {
        taken_over_from(version);
    }
}

fn taken_over_from(version: i64) {
    let directory = tempfile::tempdir().unwrap();
    let held = of_version(version, directory.path(), "");
    assert_eq!(Ledger::read(directory.path()).unwrap().unwrap(), held);
    let opened = Ledger::open(directory.path()).unwrap();
    assert_eq!(opened.moved_aside, None);
    assert_eq!(wait(opened.ledger.load()).unwrap(), held);
    let nginx = crate::settings::ServiceName::from("nginx");
    let notified = Change::Notified {
        service: nginx.clone(),
        at: at(7),
    };
    wait(opened.ledger.commit(vec![notified])).unwrap();
    drop(opened);
    let taken_over = Ledger::read(directory.path()).unwrap().unwrap();
    assert_eq!(taken_over.notified.get(&nginx), Some(&at(7)));
    assert_eq!(taken_over.sessions, held.sessions);
    let again = Ledger::open(directory.path()).unwrap();
    assert_eq!(again.moved_aside, None);
}

#[test]
fn a_ledger_of_version_1_that_lacks_one_of_its_tables_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    of_version(1, directory.path(), "DROP TABLE polls");
    assert!(
        Ledger::open(directory.path())
            .unwrap()
            .moved_aside
            .is_some()
    );
}

#[test]
fn a_version_that_comes_again_is_once_in_history_and_the_newest() {
    let directory = tempfile::tempdir().unwrap();
    let history = |texts: &[&str]| {
        let ledger = open(directory.path());
        for text in texts {
            wait(ledger.commit(vec![received("p", text, 1)])).unwrap();
        }
        drop(ledger);
        let state = wait(open(directory.path()).load()).unwrap();
        let versions = state.history[&identity("p")].iter();
        versions.map(|one| one.digest).collect::<Vec<_>>()
    };
    let digests = |texts: &[&str]| {
        let digests = texts.iter().map(|text| Digest::of(text.as_bytes()));
        digests.collect::<Vec<_>>()
    };
    assert_eq!(history(&["a", "b"]), digests(&["a", "b"]));
    assert_eq!(history(&["b"]), digests(&["a", "b"]));
    assert_eq!(history(&["a"]), digests(&["b", "a"]));
}
