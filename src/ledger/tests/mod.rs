//! What the ledger promises, on real files.

mod any;
mod bounds;
mod damage;
mod keeping;
mod presence;
mod reading;
mod room;
mod runs;

use std::path::Path;

use jiff::Timestamp;

use super::limits::Limits;
use super::*;
use crate::install::Metadata;
use crate::protocol::{Configuration, Identity};
use crate::settings::TargetPath;

fn body_of(ledger: &Ledger, bytes: &[u8]) -> Option<Bytes> {
    let digest = Digest::of(bytes);
    wait(ledger.bodies(vec![digest])).unwrap().remove(&digest)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn identity(name: &str) -> Identity {
    Identity(name.into())
}

fn target(path: &str) -> TargetPath {
    TargetPath(path.into())
}

fn configuration(text: &str) -> Configuration {
    Configuration::new(Bytes::copy_from_slice(text.as_bytes()), None, None)
}

fn received(name: &str, text: &str, seconds: i64) -> Change {
    Change::Received {
        identity: identity(name),
        configuration: configuration(text),
        at: at(seconds),
    }
}

fn session(name: &str, token: &str) -> Change {
    Change::Session {
        identity: identity(name),
        session: Some(SavedSession {
            token: SavedToken(token.into()),
            issued_at: at(1),
            sent: false,
            interval: std::time::Duration::from_secs(60),
            fresh: true,
        }),
        poll: None,
    }
}

fn kept(path: &str, text: &str, seconds: i64) -> Change {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let file = FoundFile {
        target: target(path),
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
        metadata: Metadata {
            uid: 0,
            gid: 0,
            mode: 0o644,
            attributes: crate::install::Attributes::default(),
        },
        at: at(seconds),
        reason: "edited".to_owned(),
    };
    Change::FileKept { file, bytes }
}

fn open(directory: &Path) -> Ledger {
    let opened = Ledger::open(directory).unwrap();
    assert_eq!(opened.moved_aside, None);
    opened.ledger
}

fn open_small(directory: &Path, limits: Limits) -> Opened {
    Ledger::open_within(directory, limits, at(0)).unwrap()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(future)
}

fn raw(directory: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(directory.join("ledger.db")).unwrap()
}
