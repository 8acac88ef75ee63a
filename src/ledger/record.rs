//! What the ledger holds, and the changes to it. `State::apply` does in memory what a commit does on disk.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::install::{Metadata, Placement};
use crate::protocol::{Configuration, Digest, Identity};
use crate::settings::{ServiceName, TargetPath, WatchName};

use super::table::Table;

/// A configuration without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub digest: Digest,
    pub label: Option<String>,
    pub content_type: Option<String>,
    /// Bytes.
    pub size: u64,
    pub since: Timestamp,
}

/// A token: a secret by our rules, never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SavedToken(pub Arc<str>);

impl fmt::Debug for SavedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SavedToken(…)")
    }
}

/// A session as it outlives a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSession {
    pub token: SavedToken,
    /// When the service answered with this token: it lives 24 h from then.
    pub issued_at: Timestamp,
    /// The token has been sent once already and its answer was lost.
    pub sent: bool,
    /// As answered.
    pub interval: Duration,
    /// No call has brought an answer yet: the first may be made at once.
    pub fresh: bool,
}

/// Why `received` was turned down before a swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub digest: Digest,
    pub reason: String,
    pub since: Timestamp,
}

/// What the ledger says lies at a target's path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    pub digest: Digest,
    pub metadata: Metadata,
    pub since: Timestamp,
    /// Of services that depend on parts of it: the digest of those parts.
    #[serde(default)]
    pub parts: BTreeMap<ServiceName, Digest>,
}

impl Installed {
    /// What of it this service knows when it knows of it.
    pub fn known_to(&self, service: &ServiceName) -> Digest {
        let part = self.parts.get(service).copied();
        part.unwrap_or(self.digest)
    }
}

/// A service that has not acknowledged what it was told: when it is told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in a row; at least 1.
    pub failures: u32,
    /// From the end of the first attempt to the end of the last, times in which nobody tried left out.
    pub trying: Duration,
    /// When the last attempt ended.
    pub last: Timestamp,
    /// From then to the next.
    pub pause: Duration,
    /// Of the service as it was: with another definition it is tried at once.
    pub definition: Digest,
}

/// The last that is known of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    pub condition: ServiceCondition,
    pub since: Timestamp,
    /// One line.
    pub last_result: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceCondition {
    Acknowledged,
    Pending,
    /// Pending, because nobody runs who could be told.
    Nobody,
    Failed,
    NotRunning,
}

/// An obligation that is on disk before the first rename.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Unique; never used again.
    pub id: u64,
    pub direction: Direction,
    /// 1 and more; 4 goes back.
    pub attempts: u32,
    pub opened_at: Timestamp,
    /// Per profile what it installs.
    pub profiles: BTreeMap<Identity, Version>,
    pub placements: Vec<Placement>,
    pub services: BTreeMap<ServiceName, IntentService>,
    /// What was accepted and installed when the transaction began: what going back restores.
    pub before: Before,
    /// A rollback: these profiles get these versions, and are held when the transaction ends well.
    #[serde(default)]
    pub holds: BTreeMap<Identity, HeldProfile>,
}

/// The ledger's rows of an intent's profiles and targets as they were when it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    pub accepted: BTreeMap<Identity, Option<Version>>,
    pub installed: BTreeMap<TargetPath, Option<Installed>>,
    /// Of the profiles that the intent holds.
    #[serde(default)]
    pub held: BTreeMap<Identity, Option<HeldProfile>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Forward,
    /// The files are to be what they were. `reason` for screens.
    Back {
        reason: String,
    },
    /// Closed forwards, but a service has not answered yet: the kept names stay so that a rejection can still go back.
    Standing,
}

/// A service's part in an intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct IntentService {
    /// Per target of the transaction what it had acknowledged when that began; a target that is missing here had no row.
    pub acknowledged: BTreeMap<TargetPath, Option<Digest>>,
    /// It ran when the transaction began.
    pub ran: bool,
    /// It was, or after a crash may have been, told of the new files.
    pub notified: bool,
    /// Its probe failed before the files were swapped: that it fails afterwards says nothing.
    #[serde(default)]
    pub failing: bool,
    /// Nothing that it depends on has changed: it checks the files and is not told.
    #[serde(default)]
    pub spared: bool,
}

/// An outcome that failed here after the swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Per changed target the digest it got.
    pub outcome: BTreeMap<TargetPath, Digest>,
    /// Of the services' definitions: another definition is another outcome.
    pub services: Digest,
    /// The profiles that brought it, with what each had.
    pub profiles: BTreeMap<Identity, Digest>,
    pub reason: String,
    pub since: Timestamp,
}

/// Since when something is held by an operator, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub since: Timestamp,
    /// `None`: until it is released.
    pub until: Option<Timestamp>,
}

/// A profile that counts with this version, whatever is received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldProfile {
    pub version: Version,
    pub hold: Hold,
}

/// A file that was there and was replaced or removed, or a configuration: what `history` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundFile {
    pub target: TargetPath,
    pub digest: Digest,
    /// Bytes. Digest and size are taken from the bytes when the file is kept.
    pub size: u64,
    pub metadata: Metadata,
    pub at: Timestamp,
    /// One line: why it was kept.
    pub reason: String,
}

/// A command that was run, and the end of what it wrote: what `history` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRun {
    pub whose: RunFor,
    /// A word: `check`, `notify`, `probe` or `validate`.
    pub what: String,
    /// When it had ended.
    pub at: Timestamp,
    /// One line.
    pub command: String,
    /// How it ended, in words.
    pub outcome: String,
    /// At most 4 KiB, the last of it; control characters escaped.
    pub output: String,
}

/// Whom a command belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunFor {
    Service(ServiceName),
    /// Its `validate_command`.
    Target(TargetPath),
}

/// Everything but bodies and what commands wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub sessions: Table<Identity, SavedSession>,
    /// When the profile was last polled with an answer, and when it is due again.
    pub polls: Table<Identity, Poll>,
    pub received: Table<Identity, Version>,
    pub accepted: Table<Identity, Version>,
    pub refusals: Table<Identity, Refusal>,
    pub installed: Table<TargetPath, Installed>,
    /// `None`: unknown, which is pending.
    pub acknowledged: Table<ServiceName, BTreeMap<TargetPath, Option<Digest>>>,
    /// The state of watched files that services were told of. `None`: unknown, which is pending.
    pub watched: Table<ServiceName, BTreeMap<WatchName, Option<Digest>>>,
    /// When watched files were last seen to have changed.
    pub watch_changes: Table<WatchName, Timestamp>,
    pub services: Table<ServiceName, ServiceRecord>,
    /// When it was last notified, whatever came of it.
    pub notified: Table<ServiceName, Timestamp>,
    /// Since when a newer version waits for the service's pace.
    pub waits: Table<ServiceName, Timestamp>,
    pub retries: Table<ServiceName, Retry>,
    pub intents: Table<u64, Intent>,
    pub quarantine: Vec<Quarantine>,
    pub held_profiles: Table<Identity, HeldProfile>,
    /// Paths that are not written.
    pub held_targets: Table<TargetPath, Hold>,
    /// Newest last, at most 10 a target; the same file found again moves to the end.
    pub found_files: Vec<FoundFile>,
    /// Configurations that were received, newest last, at most 10 a profile; the same bytes received again move to the end.
    pub history: Table<Identity, Vec<Version>>,
    /// Bytes of history: found files, and configurations except the newest of each profile. Bounded to 64 MiB, the oldest go.
    pub history_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    pub last: Timestamp,
    pub next: Timestamp,
}

/// One change. Several make one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The session and its poll times, each `None` if it is gone. Renewed sessions alone are committed NORMAL.
    Session {
        identity: Identity,
        session: Option<SavedSession>,
        poll: Option<Poll>,
    },
    /// What a poll brought: becomes `received` and the newest of the history.
    Received {
        identity: Identity,
        configuration: Configuration,
        at: Timestamp,
    },
    /// `None`: what was accepted last has been taken back, and there was nothing before it.
    Accepted {
        identity: Identity,
        version: Option<Version>,
    },
    Refused {
        identity: Identity,
        refusal: Option<Refusal>,
    },
    Installed {
        target: TargetPath,
        installed: Option<Installed>,
    },
    /// `digest: None` is unknown.
    Acknowledged {
        service: ServiceName,
        target: TargetPath,
        digest: Option<Digest>,
    },
    /// The pair has no row any more.
    AcknowledgementDropped {
        service: ServiceName,
        target: TargetPath,
    },
    /// `digest: None` is unknown.
    WatchAcknowledged {
        service: ServiceName,
        watch: WatchName,
        digest: Option<Digest>,
    },
    /// Another state of a watch was seen.
    WatchChanged {
        watch: WatchName,
        at: Timestamp,
    },
    /// The pair has no row any more; with the last one of a watch it is forgotten when that changed.
    WatchDropped {
        service: ServiceName,
        watch: WatchName,
    },
    Service {
        service: ServiceName,
        record: Option<ServiceRecord>,
    },
    /// It was told of files at this time.
    Notified {
        service: ServiceName,
        at: Timestamp,
    },
    /// Since when its pace keeps a newer version waiting; `None`: nothing waits.
    Waits {
        service: ServiceName,
        since: Option<Timestamp>,
    },
    /// `None`: nothing is tried again.
    Retried {
        service: ServiceName,
        retry: Option<Retry>,
    },
    /// Writes or replaces the intent with this id.
    Intent(Intent),
    IntentClosed {
        id: u64,
    },
    /// Keeps the newest 32 a profile.
    Quarantined(Quarantine),
    /// Lifts every quarantine that this profile has part in.
    QuarantineLifted {
        identity: Identity,
    },
    /// `None`: released.
    ProfileHeld {
        identity: Identity,
        held: Option<HeldProfile>,
    },
    TargetHeld {
        target: TargetPath,
        hold: Option<Hold>,
    },
    /// Everything that is known of a profile which no settings name any more goes, its history among it.
    ProfileForgotten {
        identity: Identity,
    },
    /// Everything that is known of a path which no settings name any more goes, files kept in history among it.
    TargetForgotten {
        target: TargetPath,
    },
    /// Keeps the newest 5 of every service or target and each of its errands; nothing in the state changes.
    Ran(CommandRun),
    /// Bytes that go to history.
    FileKept {
        file: FoundFile,
        bytes: Bytes,
    },
}
