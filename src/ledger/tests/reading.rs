//! Without the lock, beside a writer, after one, after a crash of one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;

use super::*;

/// Every name with what would show that it was touched.
fn picture(directory: &Path) -> BTreeMap<OsString, (u64, i64, i64)> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let found = entry.metadata().unwrap();
            (
                entry.file_name(),
                (found.size(), found.mtime_nsec(), found.mtime()),
            )
        })
        .collect()
}

/// The files as a crash would leave them.
fn copy_of(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        std::fs::copy(directory.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

#[test]
fn where_there_is_no_ledger_there_is_nothing_to_read_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(Ledger::read(directory.path()).unwrap(), None);
    assert_eq!(Ledger::read(&directory.path().join("none")).unwrap(), None);
    assert_eq!(
        Ledger::read_body(directory.path(), Digest::of(b"")).unwrap(),
        None
    );
    assert!(picture(directory.path()).is_empty());
}

#[test]
fn beside_an_open_ledger_the_last_commit_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = open(directory.path());
    for number in 0..30 {
        let text = number.to_string();
        wait(ledger.commit(vec![received("a", &text, number)])).unwrap();
        let state = Ledger::read(directory.path()).unwrap().unwrap();
        assert_eq!(state, wait(ledger.load()).unwrap());
        let digest = Digest::of(text.as_bytes());
        assert_eq!(
            Ledger::read_body(directory.path(), digest)
                .unwrap()
                .unwrap(),
            text
        );
    }
}

#[test]
fn after_an_orderly_end_reading_touches_nothing() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("a ?%#ä directory");
    let ledger = open(&directory);
    wait(ledger.commit(vec![received("a", "one", 1)])).unwrap();
    drop(ledger);
    let before = picture(&directory);
    assert!(!before.contains_key(&OsString::from("ledger.db-wal")));
    let state = Ledger::read(&directory).unwrap().unwrap();
    assert_eq!(state.received.len(), 1);
    assert_eq!(picture(&directory), before);
}

#[test]
fn after_a_crash_the_log_counts_and_reading_touches_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = open(directory.path());
    wait(ledger.commit(vec![received("a", "one", 1)])).unwrap();
    let crashed = copy_of(directory.path());
    let before = picture(crashed.path());
    let state = Ledger::read(crashed.path()).unwrap().unwrap();
    assert_eq!(state, wait(ledger.load()).unwrap());
    assert_eq!(picture(crashed.path()), before);
    assert_eq!(wait(open(crashed.path()).load()).unwrap(), state);
}

/// Where the reading half finds the ledger.
const DIRECTORY: &str = "LEDGER_TEST_DIRECTORY";

#[test]
fn reading_all_the_time_while_a_daemon_comes_and_goes_sees_whole_commits_only() {
    let directory = tempfile::tempdir().unwrap();
    // A process of its own: SQLite shares the log's index between the connections of one process.
    let half = "ledger::tests::reading::the_reading_half";
    let mut reader = std::process::Command::new(std::env::current_exe().unwrap())
        .args([half, "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    for number in 0..40 {
        let ledger = open(directory.path());
        let version = Version::of(&configuration(&number.to_string()), at(number));
        let accepted = Change::Accepted {
            identity: identity("a"),
            version: Some(version),
        };
        wait(ledger.commit(vec![received("a", &number.to_string(), number), accepted])).unwrap();
    }
    std::fs::File::create(directory.path().join("done")).unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(reader.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert!(reader.wait().unwrap().success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "the second process of the test above"]
fn the_reading_half() {
    let directory = std::path::PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let done = directory.join("done");
    let mut read = 0;
    while read == 0 || !done.exists() {
        // Too many ends and starts in one reading are an error; half a commit never is an answer.
        if let Ok(Some(state)) = Ledger::read(&directory) {
            assert_eq!(state.received, state.accepted);
            read += 1;
        }
    }
}
