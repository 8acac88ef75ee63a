use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use appconfigd::install::Metadata;
use appconfigd::ledger::{
    Change, FoundFile, Hold, Installed, Ledger, LedgerError, Opened, Quarantine, Refusal,
    SavedSession, SavedToken, ServiceCondition, ServiceRecord, State, Version,
};
use appconfigd::protocol::{Configuration, Digest, Identity};
use appconfigd::settings::{ServiceName, TargetPath};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::runtime::Runtime;

use super::exchange::runtime;
use super::in_time;

thread_local! {
    static RUNTIME: Runtime = runtime();
}

/// Damage to a ledger, a line each: `write AT HEX`, `fill AT LENGTH HEX`, `copy FROM TO LENGTH`, `cut LENGTH`,
/// `replace HEX HEX` for every occurrence; those
/// behind a line `log` are done to the log, which is there only then. Opening it does not panic and comes to an end: the
/// ledger opens as it is, or it is moved aside as it was found (but for its header) and an empty one begun, or it is said to be a newer
/// program's. What is read holds what its types promise; no body has other bytes than its digest says; damage that is
/// met later is called damage, and moved aside at the next start, and then a new ledger works.
///
/// A row whose value is damaged so that it is still a value is not told from a sound one: rows have no checksum.
pub fn hold(bytes: &[u8]) {
    in_time("opening", || RUNTIME.with(|runtime| held(runtime, bytes)));
}

fn held(runtime: &Runtime, script: &[u8]) {
    let (mut database, mut log) = sound().clone();
    let with_log = damage(&String::from_utf8_lossy(script), &mut database, &mut log);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger.db");
    std::fs::write(&path, &database).expect("a file");
    if with_log {
        std::fs::write(directory.path().join("ledger.db-wal"), &log).expect("a file");
    }
    // Writes nothing, whatever it finds.
    if let Ok(Some(state)) = Ledger::read(directory.path()) {
        consistent(&state);
    }
    assert!(
        std::fs::read(&path).is_ok_and(|now| now == database),
        "reading has written"
    );

    let Some(Opened {
        ledger,
        moved_aside,
    }) = open(directory.path())
    else {
        assert!(
            std::fs::read(&path).is_ok_and(|now| now == database),
            "not ours, but written"
        );
        return;
    };
    let state = runtime
        .block_on(ledger.load())
        .expect("what was opened is read");
    consistent(&state);
    if let Some(aside) = &moved_aside {
        assert_eq!(state, State::default(), "a new ledger with old rows");
        // But for the header, for a file that is in no log's mode is put into it before it is looked through.
        let moved = std::fs::read(aside).expect("it was moved there");
        let behind = |bytes: &[u8]| bytes.get(100..).map(<[u8]>::to_vec);
        assert!(
            behind(&moved) == behind(&database),
            "moved aside, and changed"
        );
    }
    let mut damaged = !bodies_are_right(runtime, &ledger, &state);
    damaged |= !commits(runtime, &ledger);
    assert!(
        !(damaged && moved_aside.is_some()),
        "the new one is damaged"
    );
    drop(ledger);

    let again = open(directory.path()).expect("it was ours before");
    assert!(
        !damaged || again.moved_aside.is_some(),
        "damage that was met stays"
    );
    let state = runtime
        .block_on(again.ledger.load())
        .expect("what was opened is read");
    consistent(&state);
    assert!(commits(runtime, &again.ledger) || again.moved_aside.is_none());
}

/// `None`: a newer program's.
fn open(directory: &Path) -> Option<Opened> {
    match Ledger::open(directory) {
        Ok(opened) => Some(opened),
        Err(LedgerError::Newer { .. }) => None,
        Err(error) => panic!("the disk is in order, but: {error:?}"),
    }
}

/// What the types of a state promise and their fields cannot.
fn consistent(state: &State) {
    let mut targets: Vec<&TargetPath> = state.installed.keys().collect();
    targets.extend(
        state
            .acknowledged
            .values()
            .flat_map(|targets| targets.keys()),
    );
    targets.extend(state.held_targets.keys());
    targets.extend(state.found_files.iter().map(|file| &file.target));
    targets.extend(state.quarantine.iter().flat_map(|one| one.outcome.keys()));
    for intent in state.intents.values() {
        targets.extend(intent.placements.iter().map(|placement| &placement.target));
        targets.extend(intent.before.installed.keys());
    }
    for target in targets {
        let sound = TargetPath::new(target.as_str());
        assert_eq!(sound.as_ref(), Some(target), "no target's path");
    }
    let names = state.services.keys().chain(state.acknowledged.keys());
    for name in names {
        assert!(!name.as_str().is_empty(), "a service without a name");
    }
}

/// Whether no body is damaged; one with other bytes than its digest says is no answer at all.
fn bodies_are_right(runtime: &Runtime, ledger: &Ledger, state: &State) -> bool {
    let versions = state.received.values().chain(state.accepted.values());
    let versions = versions.chain(state.history.values().flatten());
    let digests = versions.map(|version| version.digest);
    let found = state.found_files.iter().map(|file| file.digest);
    let mut right = true;
    for digest in digests.chain(found) {
        match runtime.block_on(ledger.bodies(vec![digest])) {
            Ok(bodies) => {
                let right = bodies
                    .iter()
                    .all(|(digest, body)| Digest::of(body) == *digest);
                assert!(right, "other bytes");
            }
            Err(LedgerError::Damaged { .. }) => right = false,
            Err(error) => panic!("the disk is in order, but: {error:?}"),
        }
    }
    right
}

/// Whether it takes what it is given.
fn commits(runtime: &Runtime, ledger: &Ledger) -> bool {
    (0..8).all(|number| {
        let changes = vec![received(number % 7, &format!("new {number}"), 1_000)];
        match runtime.block_on(ledger.commit(changes)) {
            Ok(()) => true,
            Err(LedgerError::Damaged { .. }) => false,
            Err(error) => panic!("the disk is in order, but: {error:?}"),
        }
    })
}

/// Does to the files what the lines say; whether there is a log. A line that says nothing is left out.
fn damage(script: &str, database: &mut Vec<u8>, log: &mut Vec<u8>) -> bool {
    let mut file = database;
    let mut log = Some(log);
    for line in script.lines().take(64) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| words.get(index).and_then(|word| word.parse::<usize>().ok());
        let hex = |index: usize| words.get(index).and_then(|word| hex(word));
        match (words.first().copied(), number(1)) {
            (Some("log"), _) => {
                if let Some(log) = log.take() {
                    file = log;
                }
            }
            (Some("write"), Some(at)) => write(file, at, &hex(2).unwrap_or_default()),
            (Some("fill"), Some(at)) => {
                let byte = hex(3).and_then(|bytes| bytes.first().copied());
                let length = number(2).unwrap_or(1).min(file.len());
                write(file, at, &vec![byte.unwrap_or_default(); length]);
            }
            (Some("copy"), Some(from)) => {
                let from = from.min(file.len());
                let until = from.saturating_add(number(3).unwrap_or(1)).min(file.len());
                let bytes = file[from..until].to_vec();
                write(file, number(2).unwrap_or_default(), &bytes);
            }
            (Some("cut"), Some(length)) => file.truncate(length),
            (Some("replace"), _) => {
                replace(
                    file,
                    &hex(1).unwrap_or_default(),
                    &hex(2).unwrap_or_default(),
                );
            }
            _ => {}
        }
    }
    log.is_none()
}

/// Never beyond the end.
fn write(file: &mut [u8], at: usize, bytes: &[u8]) {
    for (old, new) in file.iter_mut().skip(at).zip(bytes) {
        *old = *new;
    }
}

/// Every occurrence gets the new bytes over its first ones.
fn replace(file: &mut [u8], old: &[u8], new: &[u8]) {
    if old.is_empty() {
        return;
    }
    let starts = (0..file.len()).filter(|at| file[*at..].starts_with(old));
    for at in starts.collect::<Vec<_>>() {
        write(file, at, new);
    }
}

fn hex(word: &str) -> Option<Vec<u8>> {
    let digits = word.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

/// A ledger with something in most tables, and its log with more.
fn sound() -> &'static (Vec<u8>, Vec<u8>) {
    static ONE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    ONE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let runtime = runtime();
        let commit = |changes| {
            let opened = open(directory.path()).expect("a new ledger");
            runtime
                .block_on(opened.ledger.commit(changes))
                .expect("a commit");
            opened.ledger
        };
        let read = |name: &str| std::fs::read(directory.path().join(name)).expect("a file");
        drop(commit((0..21).flat_map(rows).collect()));
        let database = read("ledger.db");
        let ledger = commit((3..9).flat_map(rows).collect());
        let log = read("ledger.db-wal");
        drop(ledger);
        (database, log)
    })
}

fn rows(number: i64) -> Vec<Change> {
    let name = number % 7;
    let at = at(number);
    let text = format!("{number} ").repeat(200);
    let bytes = Bytes::from(text.clone());
    let digest = Digest::of(&bytes);
    let target = TargetPath::new(&format!("/etc/shop/{name}.conf")).expect("a path");
    let service = ServiceName::from(format!("service {name}").as_str());
    let metadata = Metadata {
        uid: 0,
        gid: 33,
        mode: 0o640,
        attributes: appconfigd::install::Attributes::default(),
    };
    let version = Version {
        digest,
        label: Some(format!("v{number}")),
        content_type: Some("application/json".to_owned()),
        size: bytes.len() as u64,
        since: at,
    };
    let session = SavedSession {
        token: SavedToken(format!("token {number}").into()),
        issued_at: at,
        sent: false,
        interval: Duration::from_secs(60),
        fresh: true,
    };
    let file = FoundFile {
        target: target.clone(),
        digest,
        size: bytes.len() as u64,
        metadata: metadata.clone(),
        at,
        reason: "edited".to_owned(),
    };
    let quarantine = Quarantine {
        outcome: [(target.clone(), digest)].into(),
        services: digest,
        profiles: [(identity(name), digest)].into(),
        reason: "the check said no".to_owned(),
        since: at,
    };
    let refusal = Refusal {
        digest,
        reason: "too large".to_owned(),
        since: at,
    };
    let record = ServiceRecord {
        condition: ServiceCondition::Acknowledged,
        since: at,
        last_result: "reloaded".to_owned(),
    };
    vec![
        Change::Session {
            identity: identity(name),
            session: Some(session),
            poll: None,
        },
        received(name, &text, number),
        Change::Accepted {
            identity: identity(name),
            version: Some(version),
        },
        Change::Refused {
            identity: identity(name),
            refusal: Some(refusal),
        },
        Change::Installed {
            target: target.clone(),
            installed: Some(Installed {
                digest,
                metadata: metadata.clone(),
                since: at,
                parts: Default::default(),
            }),
        },
        Change::Acknowledged {
            service: service.clone(),
            target: target.clone(),
            digest: Some(digest),
        },
        Change::Service {
            service,
            record: Some(record),
        },
        Change::Quarantined(quarantine),
        Change::TargetHeld {
            target,
            hold: Some(Hold {
                since: at,
                until: None,
            }),
        },
        Change::FileKept { file, bytes },
    ]
}

fn received(name: i64, text: &str, seconds: i64) -> Change {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    Change::Received {
        identity: identity(name),
        configuration: Configuration::new(bytes, None, None),
        at: at(seconds),
    }
}

fn identity(name: i64) -> Identity {
    Identity(format!("local=\"/srv\" configuration_profile=\"profile {name}\"").into())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}
