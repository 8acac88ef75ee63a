//! The pure machine of one queue: an event goes in, actions come out; no IO, `now` and randomness are arguments.
//!
//! One piece of work at a time: a transaction (forwards, or back), or telling services that still have to be told. What
//! arrives meanwhile is remembered in `dirty` and planned when the work is done, so that the candidate that waits is
//! always the newest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::Now;
use crate::install::Found;
use crate::ledger::{Change, Intent, State};
use crate::protocol::Identity;
use crate::settings::{ServiceName, TargetPath};

use super::action::{Action, Answers, Event, Outcome};
use super::component::is_open;
use super::holds::Expiries;
use super::orders::{Given, Orders};
use super::pace::{Deferred, Pacing};
use super::pauses::{Pausing, Rest};
use super::phase::{Draft, Later, Phase};
use super::planning::TurnedDown;
use super::watching::Sightings;
use super::{Component, Scope};

/// One queue's machine. See the module's text.
#[derive(Debug)]
pub struct Machine {
    pub(super) component: Arc<Component>,
    /// Shared with the plan that is being made; a change made meanwhile copies it.
    pub(super) state: Arc<State>,
    pub(super) phase: Phase,
    pub(super) dirty: Scope,
    /// Targets that could not be written, checked or whose services could not be asked.
    pub(super) barred: BTreeMap<TargetPath, Later>,
    /// Versions that a staged check turned down; forgotten with the process.
    pub(super) turned_down: TurnedDown,
    pub(super) services: BTreeMap<ServiceName, Pausing>,
    /// Services that are being told, since when.
    pub(super) asked: BTreeMap<ServiceName, Timestamp>,
    /// Services that are told of the daemon's start.
    pub(super) greeted: BTreeSet<ServiceName>,
    pub(super) deferred: Deferred,
    /// Profiles that an operator wants now, whatever the pace.
    pub(super) urgent: BTreeSet<Identity>,
    /// Of this event's draw, for pauses.
    pub(super) jitter: f64,
    pub(super) pacing: Pacing,
    pub(super) sightings: Sightings,
    /// The ledger or a task failed.
    pub(super) rest: Option<Rest>,
    pub(super) recover: VecDeque<u64>,
    pub(super) orders: Orders,
    /// The rollback that is under way, for its asker.
    pub(super) rolling: Option<Given>,
    /// When holds end: what the ledger says, and the steady time that it means.
    pub(super) expiries: Expiries,
    /// Interrupted transactions whose attempt this process has counted.
    pub(super) counted: BTreeSet<u64>,
    stopping: bool,
    pub(super) waiting: BTreeMap<TargetPath, String>,
    pub(super) left_out: BTreeMap<Identity, LeftOut>,
    /// Drift that is left alone and has been said.
    pub(super) reported: BTreeMap<TargetPath, Found>,
    pub(super) failures: u32,
    /// Services that do not know of what is installed; looked for when somebody asks, until the state has changed.
    pub(super) behind: OnceLock<BTreeSet<ServiceName>>,
}

/// Why a profile's newest version is not what counts, where it is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    Quarantined(String),
    Delayed(String),
}

impl Machine {
    /// `state` is what the ledger holds of this component. Open intents are taken up first, then everything is planned.
    /// `pacing`: what becomes of the pace of services, of what watches see, and of pauses that an earlier process has begun.
    pub fn new(component: Arc<Component>, state: State, pacing: Pacing) -> Machine {
        let open = state
            .intents
            .iter()
            .filter(|(_, intent)| is_open(intent))
            .map(|(id, _)| *id);
        Machine {
            recover: open.collect(),
            orders: Orders::new(),
            rolling: None,
            expiries: Expiries::default(),
            component,
            state: Arc::new(state),
            phase: Phase::Idle,
            dirty: Scope::All,
            barred: BTreeMap::new(),
            turned_down: BTreeMap::new(),
            services: BTreeMap::new(),
            asked: BTreeMap::new(),
            greeted: BTreeSet::new(),
            deferred: Deferred::default(),
            urgent: BTreeSet::new(),
            jitter: 0.0,
            pacing,
            sightings: Sightings::default(),
            rest: None,
            counted: BTreeSet::new(),
            stopping: false,
            waiting: BTreeMap::new(),
            left_out: BTreeMap::new(),
            reported: BTreeMap::new(),
            failures: 0,
            behind: OnceLock::new(),
        }
    }

    /// Takes in what somebody else has committed (a poll, an operator's command).
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Received {
                identity,
                configuration,
                ..
            } = change
            {
                let newest = configuration.digest();
                self.turned_down
                    .retain(|(one, digest), _| one != identity || *digest == newest);
                for path in self.component.fed_by([identity]) {
                    self.barred.remove(&path);
                }
                self.urgent.remove(identity);
                // Why the version before was left out says nothing about this one.
                self.left_out.remove(identity);
            }
        }
        self.take_in(changes);
    }

    /// Forgets what staged checks have turned down, targets that are barred and pauses of services: the next event tries again.
    pub fn retry(&mut self, identities: &BTreeSet<Identity>) {
        self.turned_down
            .retain(|(identity, _), _| !identities.contains(identity));
        self.urgent.extend(identities.iter().cloned());
        let targets = self.component.fed_by(identities);
        self.barred.retain(|path, _| !targets.contains(path));
        let mut services = self.component.dependents(&targets);
        services.extend(self.hurry_watches());
        self.services.retain(|name, _| !services.contains(name));
        self.dirty.add(Scope::Some {
            profiles: identities.clone(),
            targets,
        });
    }

    /// The machine's one door.
    pub fn on(&mut self, event: Event, now: Now, random: &mut fastrand::Rng) -> Vec<Action> {
        self.jitter = random.f64();
        match event {
            Event::Wake(scope) => {
                self.dirty.add(scope);
                self.next(now)
            }
            Event::Order(id, order) => self.order(id, order, now),
            Event::Watched(sightings) => self.watched(sightings, now),
            Event::Tick => self.tick(now),
            Event::Stop => {
                self.stopping = true;
                Vec::new()
            }
            Event::Broke(reason) => self.broke(reason, now, random),
            Event::Planned(plan) => self.planned(*plan, now, random),
            Event::Repaired(results) => self.repaired(results, now, random),
            Event::Staged(results) => self.staged(results, now, random),
            Event::StagedChecked(verdicts) => self.staged_checked(verdicts, now, random),
            Event::Baselined(baseline) => self.baselined(baseline, now, random),
            Event::Committed(result) => self.committed(result, now, random),
            Event::Opened(result, kept) => match std::mem::replace(&mut self.phase, Phase::Idle) {
                Phase::Opening(open, changes) => {
                    self.opened(open, changes, result, kept, now, random)
                }
                other => self.unexpected(other, "a transaction was opened"),
            },
            Event::Swapped(result) => self.swapped(result, now, random),
            Event::Answered(answers) => self.answered(answers, now, random),
            Event::PutBack(results) => self.went_back(results, now, random),
        }
    }

    /// What comes next when nothing is under way.
    pub(super) fn next(&mut self, now: Now) -> Vec<Action> {
        if !matches!(self.phase, Phase::Idle) || self.stopping {
            return Vec::new();
        }
        if self.rolling.is_some() {
            let mut actions = self.rolled_back(Err(
                "it came to nothing; `appconfigd status` shows how things are".to_owned(),
            ));
            actions.extend(self.next(now));
            return actions;
        }
        // An operator's order waits for what was interrupted, not for a pause.
        if self.recover.is_empty()
            && let Some(actions) = self.next_order(now)
        {
            return actions;
        }
        if let Some(rest) = &mut self.rest {
            if rest.until.is_some_and(|until| until > now.steady) {
                return Vec::new();
            }
            rest.until = None;
        }
        if let Some(id) = self.recover.front().copied() {
            let Some(intent) = self.state.intents.get(&id).cloned() else {
                self.recover.pop_front();
                return self.next(now);
            };
            return self.take_up(intent, now);
        }
        if let Some(actions) = self.end_holds(now) {
            return actions;
        }
        // Before a plan: its transaction may tell the same services.
        let actions = self.take_sightings();
        if !actions.is_empty() {
            return actions;
        }
        let due: BTreeSet<TargetPath> = self
            .barred
            .iter()
            .filter(|(_, retry)| retry.due <= now.steady)
            .map(|(path, _)| path.clone())
            .collect();
        if !due.is_empty() {
            self.dirty.add(Scope::Some {
                profiles: BTreeSet::new(),
                targets: due,
            });
        }
        self.end_waits(now);
        if !self.dirty.is_nothing() {
            let scope = std::mem::replace(&mut self.dirty, Scope::nothing());
            return self.plan(scope, None, now);
        }
        if let Some(actions) = self.greet() {
            return actions;
        }
        let actions = match self.let_go() {
            actions if actions.is_empty() => self.tell_pending(now),
            actions => actions,
        };
        if actions.is_empty() {
            self.rest = None;
        }
        actions
    }

    pub(super) fn plan(&mut self, scope: Scope, resumes: Option<Intent>, now: Now) -> Vec<Action> {
        let draft = Draft {
            scope: Some(scope),
            resumes,
            ..Draft::default()
        };
        self.plan_draft(draft, now)
    }

    pub(super) fn plan_draft(&mut self, draft: Draft, now: Now) -> Vec<Action> {
        let pins = draft.pins();
        let scope = draft.scope.clone().unwrap_or(Scope::All);
        let scope = self.with_waits(&draft, scope);
        let (resumes, rollback) = (draft.resumes, draft.rollback);
        let resumed = resumes
            .as_ref()
            .map(|intent| intent.profiles.clone())
            .unwrap_or_default();
        let placed = resumes.iter().flat_map(|intent| &intent.placements);
        let forced = placed
            .map(|placed| (placed.target.clone(), placed.clone()))
            .collect();
        let (due, later): (Vec<_>, Vec<_>) = self
            .barred
            .iter()
            .partition(|(_, retry)| retry.due <= now.steady);
        let tried = due.into_iter().map(|(path, _)| path.clone()).collect();
        let barred = later
            .into_iter()
            .map(|(path, retry)| (path.clone(), retry.reason.clone()))
            .collect();
        let turned_down = self.turned_down.clone();
        self.phase = Phase::Planning(Draft {
            scope: Some(scope.clone()),
            resumes,
            rollback,
            tried,
            ..Draft::default()
        });
        vec![Action::Plan {
            state: Arc::clone(&self.state),
            scope,
            forced,
            barred,
            resumed,
            turned_down,
            pins,
            urgent: self.urgent.clone(),
        }]
    }

    /// Gives a draft up and plans the same again; interrupted transactions stay taken up.
    pub(super) fn plan_again(&mut self, draft: Draft, now: Now) -> Vec<Action> {
        if self.stopping {
            return self.give_up(draft);
        }
        let mut actions = discard(&draft);
        actions.extend(self.plan_draft(draft, now));
        actions
    }

    /// Ends a draft because we stop: of an interrupted transaction the attempt does not count.
    pub(super) fn give_up(&mut self, draft: Draft) -> Vec<Action> {
        let mut actions = discard(&draft);
        let Some(mut intent) = draft.resumes else {
            self.phase = Phase::Idle;
            return actions;
        };
        intent.attempts = intent.attempts.saturating_sub(1);
        let changes = vec![Change::Intent(intent)];
        self.phase = Phase::Recording(Draft::default(), changes.clone());
        actions.push(Action::Commit(changes));
        actions
    }

    /// Work ended well: pauses are forgotten, the interrupted transaction (if it was one) is done with.
    pub(super) fn done(&mut self, intent: Option<u64>, now: Now) -> Vec<Action> {
        self.phase = Phase::Idle;
        self.rest = None;
        self.failures = 0;
        if self.dirty.is_nothing() {
            self.urgent.clear();
        }
        if let Some(id) = intent {
            self.recover.retain(|open| *open != id);
        }
        self.next(now)
    }

    fn tick(&mut self, now: Now) -> Vec<Action> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Blocked { until, then, .. } if until <= now.steady => self.again(*then),
            Phase::Idle => self.next(now),
            other => {
                self.phase = other;
                Vec::new()
            }
        }
    }

    /// The action of a phase that was blocked.
    fn again(&mut self, phase: Phase) -> Vec<Action> {
        let action = match &phase {
            Phase::Closing { changes, .. } | Phase::ClosingBack(_, changes) => {
                Action::Commit(changes.clone())
            }
            Phase::PuttingBack(back) => Action::PutBack(back.intent.placements.clone()),
            // Nothing else is ever blocked.
            _ => return Vec::new(),
        };
        self.phase = phase;
        vec![action]
    }

    fn committed(
        &mut self,
        result: Result<(), String>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Recording(draft, changes) => self.recorded(draft, changes, result, now, random),
            Phase::Opening(open, changes) => self.opened(open, changes, result, false, now, random),
            Phase::Closing {
                open,
                changes,
                standing,
            } => self.closed(open, changes, standing, result, now, random),
            Phase::Turning(back, changes) => self.turned(back, changes, result),
            Phase::ClosingBack(back, changes) => {
                self.closed_back(back, changes, result, now, random)
            }
            Phase::TakingUp(intent) => self.taken_up(intent, result, now, random),
            Phase::Ordering(given, changes) => self.obeyed(given, &changes, result, now, random),
            Phase::Telling(telling) => self.told(telling, result, now, random),
            other => self.unexpected(other, "a commit was confirmed"),
        }
    }

    fn answered(&mut self, answers: Answers, now: Now, random: &mut fastrand::Rng) -> Vec<Action> {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Checking(open) => self.checked(open, answers, now, random),
            Phase::Notifying(open) => self.notified(open, answers, now, random),
            Phase::Probing(open) => self.probed(open, answers, now, random),
            Phase::TellingBack(back) => self.told_back(back, answers, now),
            Phase::ProbingBack(back) => self.probed_back(back, answers, now),
            Phase::Telling(telling) => self.telling(telling, answers, now, random),
            other => self.unexpected(other, "services answered"),
        }
    }

    /// An event that does not fit is said, never fatal.
    pub(super) fn unexpected(&mut self, phase: Phase, what: &str) -> Vec<Action> {
        let reason = format!("an event does not fit the queue's phase: {what}");
        self.phase = phase;
        vec![Action::Say(Outcome::Trouble {
            reason,
            retry_in: Duration::ZERO,
        })]
    }

    pub(super) fn take_in(&mut self, changes: &[Change]) {
        for change in changes {
            // Of every poll, and nothing that a service could know of.
            if !matches!(change, Change::Session { .. }) {
                self.behind.take();
            }
            Arc::make_mut(&mut self.state).apply(change);
        }
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping
    }

    pub(super) fn mark(&mut self, scope: Scope) {
        self.dirty.add(scope);
    }
}

/// Removes what a draft has staged.
pub(super) fn discard(draft: &Draft) -> Vec<Action> {
    let staged = draft.plan.changes.iter().zip(&draft.names);
    let staged: Vec<_> = staged
        .map(|(change, names)| (change.lies().clone(), names.staged.clone()))
        .collect();
    match staged.is_empty() {
        true => Vec::new(),
        false => vec![Action::Discard(staged)],
    }
}
