//! What a queue's machine can be in the middle of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::install::Placement;
use crate::ledger::{Change, HeldProfile, Intent, Quarantine};
use crate::protocol::Identity;
use crate::service::Verdict;
use crate::settings::{ServiceName, TargetPath};

use super::action::{Baseline, Names, Step};
use super::orders::Given;
use super::planning::{Pin, Pins};
use super::telling::Telling;
use super::{Plan, Scope};

/// What the queue is doing.
#[derive(Debug)]
pub(super) enum Phase {
    Idle,
    Planning(Draft),
    Repairing(Draft),
    /// A commit without a swap.
    Recording(Draft, Vec<Change>),
    Staging(Draft),
    CheckingStaged(Draft),
    Baselining(Draft),
    Opening(Open, Vec<Change>),
    Swapping(Open),
    Checking(Open),
    Notifying(Open),
    Probing(Open),
    Closing {
        open: Open,
        changes: Vec<Change>,
        standing: bool,
    },
    Turning(Back, Vec<Change>),
    PuttingBack(Back),
    TellingBack(Back),
    ProbingBack(Back),
    ClosingBack(Back, Vec<Change>),
    /// Counts an attempt before an interrupted transaction is taken up again.
    TakingUp(Intent),
    /// Recording what an operator has ordered, under its number.
    Ordering(Given, Vec<Change>),
    /// Telling services outside a transaction.
    Telling(Telling),
    /// A commit that failed after the swap, or a way back that is blocked: the same is tried again at this steady time.
    Blocked {
        until: Duration,
        reason: String,
        then: Box<Phase>,
    },
}

/// A transaction before its commit.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub scope: Option<Scope>,
    pub plan: Plan,
    /// Targets that were barred, and that the plan was free to try again.
    pub tried: BTreeSet<TargetPath>,
    pub names: Vec<Names>,
    pub baseline: BTreeMap<ServiceName, Baseline>,
    pub recorded: Vec<Change>,
    /// The interrupted transaction that this one takes up again.
    pub resumes: Option<Intent>,
    /// What an operator's rollback installs, and holds when it ends well.
    pub rollback: Option<Rollback>,
}

/// A version that a profile is to have from now on.
#[derive(Clone, Debug)]
pub(super) struct Rollback {
    pub identity: Identity,
    pub held: HeldProfile,
    pub force: bool,
}

impl Draft {
    /// Of what came by itself: nothing that was interrupted, nothing that an operator has asked for by name.
    pub fn is_ordinary(&self) -> bool {
        self.resumes.is_none() && self.rollback.is_none()
    }

    /// The holds that come with a good end.
    pub fn holds(&self) -> BTreeMap<Identity, HeldProfile> {
        let resumed = self.resumes.iter().flat_map(|intent| intent.holds.clone());
        let ordered = self.rollback.iter();
        let ordered = ordered.map(|one| (one.identity.clone(), one.held.clone()));
        // What cannot be installed any more is not held either.
        resumed
            .chain(ordered)
            .filter(|(identity, _)| !self.plan.unpinned.contains_key(identity))
            .collect()
    }

    /// What the plan must take. What an interrupted rollback installs was judged when it began.
    pub fn pins(&self) -> Pins {
        let forced = |identity: &Identity| match &self.rollback {
            Some(one) if one.identity == *identity => one.force,
            _ => true,
        };
        let holds = self.holds().into_iter();
        holds
            .map(|(identity, held)| {
                let force = forced(&identity);
                let version = held.version;
                (identity, Pin { version, force })
            })
            .collect()
    }
}

/// A transaction after its commit, forwards.
#[derive(Debug)]
pub(super) struct Open {
    pub intent: Intent,
    pub plan: Plan,
    pub undo: Vec<Placement>,
    /// The last verdict of each service, with what it was asked.
    pub verdicts: BTreeMap<ServiceName, (Step, Verdict)>,
    /// What the interrupted transaction had staged: this one has staged anew.
    pub leftover: Vec<(TargetPath, String)>,
    /// Of earlier intents that the end of this one closes: their kept names go.
    pub superseded: Vec<Placement>,
}

/// A transaction on its way back.
#[derive(Debug)]
pub(super) struct Back {
    pub intent: Intent,
    pub reason: String,
    /// Not yet in the ledger: the turn could not be committed.
    pub quarantine: Option<Quarantine>,
    pub quarantined: bool,
    /// Targets of which nothing is left to put back: they are made anew from what is accepted.
    pub gone: BTreeSet<TargetPath>,
    pub verdicts: BTreeMap<ServiceName, (Step, Verdict)>,
    pub failures: u32,
}

/// Something that is tried again later.
#[derive(Clone, Debug)]
pub(super) struct Later {
    pub reason: String,
    pub failures: u32,
    pub due: Duration,
}
