//! What goes into a queue's machine and what comes out: events, actions, outcomes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::install::{Metadata, Placement, WentBack};
use crate::ledger::{Change, Installed, Refusal, ServiceRecord, State, Version};
use crate::protocol::Digest;
use crate::protocol::Identity;
use crate::service::{Running, Verdict};
use crate::settings::{ServiceName, TargetPath, WatchName};

use super::planning::{Pins, TurnedDown};
use super::{Deferral, Drift, FileChange, Order, Plan, Scope};

/// What can happen to a queue.
#[derive(Clone, Debug)]
pub enum Event {
    /// Something may have changed: a received version, the settings, a target.
    Wake(Scope),
    /// An operator's order, under the asker's number.
    Order(u64, Order),
    /// What files that are not ours look like; `None`: they could not be looked at.
    Watched(BTreeMap<WatchName, Option<Digest>>),
    /// Time has passed.
    Tick,
    /// No new work from now on; what has not reached the commit is given up.
    Stop,
    Planned(Box<Plan>),
    /// One result a metadata repair, in the order of the action.
    Repaired(Vec<(TargetPath, Installed, Result<(), String>)>),
    /// One result a change, in the order of the action.
    Staged(Vec<Result<Names, String>>),
    StagedChecked(BTreeMap<TargetPath, Verdict>),
    Baselined(BTreeMap<ServiceName, Baseline>),
    Committed(Result<(), String>),
    /// Of [`Action::Open`]: the commit's result, and whether the present files are kept.
    Opened(Result<(), String>, bool),
    /// Where it failed, or was not even begun, and why.
    Swapped(Result<(), (Vec<TargetPath>, String)>),
    Answered(Answers),
    /// One result a placement, in the order of the action.
    PutBack(Vec<Result<WentBack, String>>),
    /// The step's task ended without an answer (a panic).
    Broke(String),
}

/// What the task is to do. At most one action of an answer brings an event; it is the last.
#[derive(Clone, Debug)]
pub enum Action {
    Plan {
        /// No other step holds it: whatever a poll changes meanwhile makes a copy of it all.
        state: Arc<State>,
        scope: Scope,
        forced: BTreeMap<TargetPath, Placement>,
        barred: BTreeMap<TargetPath, String>,
        resumed: BTreeMap<Identity, Version>,
        turned_down: TurnedDown,
        pins: Pins,
        urgent: BTreeSet<Identity>,
    },
    Repair(BTreeMap<TargetPath, Installed>),
    Stage(Vec<FileChange>),
    /// Removes staged files; no event.
    Discard(Vec<(TargetPath, String)>),
    /// `validate_command` of each of these staged files.
    CheckStaged(Vec<(TargetPath, String)>),
    Baseline(BTreeSet<ServiceName>),
    /// On success the machine's own state has already taken the changes in when the event has been handled.
    Commit(Vec<Change>),
    /// As `Commit`, of an intent. Meanwhile the present files are kept: nothing is renamed before both are on disk.
    Open {
        changes: Vec<Change>,
        placements: Vec<Placement>,
    },
    /// Puts `undo` back, then keeps and renames `placements`.
    Swap {
        undo: Vec<Placement>,
        placements: Vec<Placement>,
        /// They are kept already.
        kept: bool,
    },
    Ask {
        step: Step,
        services: BTreeSet<ServiceName>,
        about: About,
    },
    PutBack(Vec<Placement>),
    /// Removes kept names; no event.
    Release(Vec<Placement>),
    /// An outcome for logs, status and metrics; no event.
    Say(Outcome),
}

/// What services are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Check,
    Notify,
    Probe,
    /// Told again after the files went back; a unit that ran before and does not now is started.
    NotifyBack,
    ProbeBack,
}

/// What commands and notifications are told about the transaction.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// When the files were put in place.
    pub since: jiff::Timestamp,
    pub targets: BTreeSet<TargetPath>,
    /// Of the profiles that the targets are made from.
    pub versions: BTreeMap<Identity, Version>,
    /// Those that counted before.
    pub previous: BTreeMap<Identity, Version>,
    /// Services that ran when the transaction began.
    pub ran: BTreeSet<ServiceName>,
}

/// Where a staged file is, and where the present one will be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub staged: String,
    pub kept: String,
}

/// How a service was before the swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    pub running: Running,
    /// A program of its check, command or reload that is not there.
    pub missing: Option<String>,
    /// One try of the probe, where there is one and the service runs.
    pub probe: Option<Result<(), String>>,
}

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub verdict: Verdict,
    /// It ran when the transaction began and does not run now.
    pub ended: bool,
}

/// The answers of one step.
pub type Answers = BTreeMap<ServiceName, Answer>;

/// What an operator hears: one an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Refused {
        profiles: BTreeSet<Identity>,
        refusal: Refusal,
    },
    /// Swapped and checked; notifications come next.
    Swapped {
        targets: BTreeSet<TargetPath>,
    },
    Installed {
        targets: BTreeSet<TargetPath>,
        profiles: BTreeMap<Identity, Version>,
        services: BTreeSet<ServiceName>,
    },
    /// Nothing on disk had to change.
    Accepted {
        profiles: BTreeMap<Identity, Version>,
    },
    /// The right bytes had somebody else's owner, group or mode.
    Repaired {
        target: TargetPath,
        found: Option<Metadata>,
    },
    /// Somebody else changed or removed the target: it is put back, or left alone as the settings say.
    Drifted {
        target: TargetPath,
        drift: Drift,
        /// The bytes that were found are in history.
        kept: bool,
    },
    Delayed {
        target: TargetPath,
        reason: String,
        retry_in: Duration,
    },
    GoingBack {
        targets: BTreeSet<TargetPath>,
        reason: String,
    },
    WentBack {
        targets: BTreeSet<TargetPath>,
        reason: String,
        quarantined: bool,
    },
    BackFailed {
        reason: String,
        retry_in: Duration,
    },
    /// Files that are not ours have changed: these services are told.
    WatchChanged {
        watch: WatchName,
        services: BTreeSet<ServiceName>,
    },
    Service {
        service: ServiceName,
        record: ServiceRecord,
        retry_in: Option<Duration>,
    },
    /// A newer version waits for a service's pace.
    Deferred {
        service: ServiceName,
        deferral: Deferral,
    },
    /// The ledger or a task failed; the queue goes on after a pause.
    Trouble {
        reason: String,
        retry_in: Duration,
    },
    TakenUp {
        intent: u64,
        attempts: u32,
    },
    /// An operator's order has been recorded, or cannot be carried out.
    Ordered {
        order: u64,
        /// What was ordered, in words.
        what: String,
        result: Result<(), String>,
    },
    /// The time of a hold is over.
    HoldEnded {
        what: String,
    },
}
