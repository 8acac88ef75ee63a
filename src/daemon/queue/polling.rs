//! A queue's polls: when the next tick is, what a poll's task does, what its answer means.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::{self, JoinError};

use crate::ledger::{Change, Ledger, Poll, SavedSession, State, Version};
use crate::poll::{Member, Polled, Poller, Tick};
use crate::protocol::{Digest, Identity};
use crate::settings::Profile;
use crate::source::FaultKind;
use crate::transaction::{Hands, Machine, Scope};
use crate::words::with_causes;

use super::waiting::is_passing;
use super::{Queue, Shared, report};

/// A tick's answers are planned without the rest when none has come for so long.
const STRAGGLERS: Duration = Duration::from_millis(300);
/// Between attempts to put into the ledger what a poll brought.
const LEDGER_PAUSE: Duration = Duration::from_secs(5);
/// Before a profile whose poll died is polled again.
const AFTER_PANIC: Duration = Duration::from_secs(60);

/// How many polls wait for the ledger only. It is no straggler who does: without the ledger nothing is swapped either.
#[derive(Clone, Default)]
pub(super) struct Saving(Arc<AtomicUsize>);

/// One of them, until it is dropped.
struct Waits(Saving);

impl Saving {
    fn one(&self) -> Waits {
        self.0.fetch_add(1, Ordering::Relaxed);
        Waits(self.clone())
    }

    fn is_under_way(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a poll's task brings back.
pub(super) struct Answer {
    identity: Identity,
    poller: Box<Poller>,
    polled: Option<Polled>,
    changes: Vec<Change>,
    saved: Result<(), String>,
}

impl Queue {
    /// When the next tick of this queue's profiles is.
    pub(super) fn next_poll(&mut self) -> Option<Duration> {
        if self.stopping || !self.polling {
            return None;
        }
        if self.tick.is_none() {
            let members = self.at_home().map(|(_, member)| member);
            self.tick = Some(Tick::of(members, self.jitter));
        }
        self.tick.flatten().map(|tick| tick.at)
    }

    /// Whose tick that is.
    pub(super) fn due_polls(&mut self) -> Vec<Identity> {
        let Some(tick) = self.next_poll() else {
            return Vec::new();
        };
        let due = self
            .at_home()
            .filter(|(_, (earliest, _))| *earliest <= tick);
        due.map(|(identity, _)| identity.clone()).collect()
    }

    /// Profiles that are not being polled: when each may be, and how often it is.
    fn at_home(&self) -> impl Iterator<Item = (&Identity, Member)> + Clone {
        let slots = self.slots.iter();
        slots.filter_map(|(identity, slot)| Some((identity, slot.member()?)))
    }

    pub(super) fn poll(&mut self, identity: &Identity) {
        let Some(slot) = self.slots.get_mut(identity) else {
            return;
        };
        let Some(mut poller) = slot.poller.take() else {
            return;
        };
        self.tick = None;
        let mut changes = std::mem::take(&mut slot.unsaved);
        let identity_of_task = identity.clone();
        let identity = identity.clone();
        let known = Known::of(&identity, self.machine.state());
        let (ledger, clock, permits) = (
            self.hands.ledger.clone(),
            self.hands.clock.clone(),
            Arc::clone(&self.shared.permits),
        );
        let saving = self.saving.clone();
        // Of a thousand profiles that are due at once most wait for their turn, and what a poll needs is made when it
        // begins: a task has room for all that it ever holds.
        let polling = async move {
            if !changes.is_empty() {
                let _waits = saving.one();
                let saved = save(&ledger, &changes).await;
                return Answer {
                    identity,
                    poller,
                    polled: None,
                    changes,
                    saved,
                };
            }
            let Ok(turn) = permits.acquire().await else {
                // The daemon ends: what has not begun does not begin.
                return Answer {
                    identity,
                    poller,
                    polled: Some(Polled::TooEarly),
                    changes,
                    saved: Ok(()),
                };
            };
            let answer = Box::pin(poller.poll()).await;
            drop(turn);
            let _waits = saving.one();
            changes = changes_of(&identity, &answer, &poller, &known, clock.now().wall);
            let saved = save(&ledger, &changes).await;
            Answer {
                identity,
                poller,
                polled: Some(answer),
                changes,
                saved,
            }
        };
        let task = self.polls.spawn(polling);
        self.polled.insert(task.id(), identity_of_task);
    }

    /// Plans what has come without the stragglers, when none has come for so long.
    pub(super) fn gathering(&mut self, now: Duration) {
        let waited = |queue: &Queue| queue.gather_until.is_some_and(|at| at <= now);
        if !waited(self) {
            return;
        }
        // Those that came while this queue had no turn. Each begins the wait anew.
        while let Some(joined) = self.polls.try_join_next_with_id() {
            self.joined(joined);
        }
        if !waited(self) {
            return;
        }
        if self.saving.is_under_way() {
            self.gather_until = Some(now + STRAGGLERS);
        } else {
            self.plan_gathered();
        }
    }

    pub(super) fn joined(&mut self, joined: Result<(task::Id, Answer), JoinError>) {
        match joined {
            Ok((id, answer)) => {
                self.polled.remove(&id);
                self.answered(answer);
            }
            // The whole program ends.
            Err(error) if error.is_cancelled() => {}
            Err(error) => {
                if let Some(identity) = self.polled.remove(&error.id()) {
                    self.poll_broke(&identity, &error.to_string());
                }
            }
        }
        if self.polls.is_empty() {
            self.plan_gathered();
        } else if !self.gathered.is_nothing() {
            self.gather_until = Some(self.steady() + STRAGGLERS);
        }
    }

    fn answered(&mut self, answer: Answer) {
        let now = self.hands.clock.now();
        let Answer {
            identity,
            poller,
            polled,
            changes,
            saved,
        } = answer;
        let Some(slot) = self.slots.get_mut(&identity) else {
            return;
        };
        slot.poller = Some(poller);
        if let Some(polled) = &polled {
            self.shared.counters.polled(&slot.names, polled);
        }
        let mut settled = true;
        match polled {
            Some(Polled::Failed(fault)) => {
                self.shared.news.notify_one();
                report::fault(
                    &slot.names,
                    &fault,
                    slot.fault.as_ref().map(|(_, text, _)| text.as_str()),
                );
                let since = slot.fault.as_ref().map_or(now.wall, |(_, _, since)| *since);
                settled = !is_passing(fault.kind);
                slot.fault = Some((fault.kind, fault.message, since));
            }
            Some(Polled::Unchanged | Polled::Received { .. }) => {
                if let Some((_, _, since)) = slot.fault.take() {
                    self.shared.news.notify_one();
                    report::reached(&slot.names, since);
                }
            }
            Some(Polled::TooEarly) => {}
            // Only what the ledger could not take is tried again without a call.
            None if saved.is_ok() => slot.fault = None,
            None => {}
        }
        match saved {
            Ok(()) => {
                slot.pause = Duration::ZERO;
                let news = changes.iter().any(|change| {
                    matches!(
                        change,
                        Change::Received { .. } | Change::QuarantineLifted { .. }
                    )
                });
                self.machine.apply(&changes);
                if news {
                    report::received(&self.slots, &identity, self.machine.state());
                    self.gathered.add(Scope::profile(identity.clone()));
                }
            }
            Err(reason) => {
                tracing::error!(
                    event = "trouble",
                    reason,
                    profiles = report::join(&slot.names),
                    "the ledger cannot take what a poll brought; tried again in 5 s"
                );
                let since = slot.fault.as_ref().map_or(now.wall, |(_, _, since)| *since);
                slot.fault = Some((FaultKind::Operator, reason, since));
                slot.unsaved = changes;
                slot.pause = now.steady + LEDGER_PAUSE;
                settled = false;
            }
        }
        let slot = self.slots.get(&identity);
        self.tick = match (self.tick, slot.and_then(|slot| slot.member())) {
            (Some(Some(tick)), Some(member)) => tick.with(member).map(Some),
            _ => None,
        };
        for waiter in &mut self.waiters {
            if settled || !waiter.again {
                waiter.identities.remove(&identity);
            }
        }
    }

    /// A poll's task died with its poller: the profile goes on from what the ledger holds.
    fn poll_broke(&mut self, identity: &Identity, reason: &str) {
        let Some(slot) = self.slots.get_mut(identity) else {
            return;
        };
        self.tick = None;
        let profiles = report::join(&slot.names);
        tracing::error!(
            profiles,
            reason,
            "a poll ended unexpectedly; its profile goes on from the saved session"
        );
        let component = Arc::clone(self.machine.component());
        let profile = component
            .profiles
            .values()
            .find_map(|(profile, other)| (other == identity).then_some(profile));
        if let Some(profile) = profile {
            let poller = poller(profile, identity, &self.machine, &self.hands, &self.shared);
            slot.poller = Some(Box::new(poller));
        }
        slot.pause = self.hands.clock.now().steady + AFTER_PANIC;
        for waiter in &mut self.waiters {
            waiter.identities.remove(identity);
        }
    }
}

async fn save(ledger: &Ledger, changes: &[Change]) -> Result<(), String> {
    if changes.is_empty() {
        return Ok(());
    }
    let committed = ledger.commit(changes.to_vec()).await;
    committed.map_err(|error| with_causes(&error))
}

/// A poller that goes on from what the ledger holds.
pub(super) fn poller(
    profile: &Arc<Profile>,
    identity: &Identity,
    machine: &Machine,
    hands: &Hands,
    shared: &Shared,
) -> Poller {
    Poller::new(
        Arc::clone(profile),
        shared.source.clone(),
        hands.clock.clone(),
        machine.state().sessions.get(identity).cloned(),
        machine.state().polls.get(identity).copied(),
    )
}

/// What the ledger holds of a profile when its poll begins. Not all that it holds: a change made meanwhile would copy it.
struct Known {
    session: (Option<SavedSession>, Option<Poll>),
    received: Option<Version>,
    /// Digests that are part of a quarantined outcome.
    condemned: Vec<Digest>,
}

impl Known {
    fn of(identity: &Identity, state: &State) -> Known {
        let condemned = state.quarantine.iter();
        let condemned = condemned.filter_map(|entry| entry.profiles.get(identity));
        Known {
            session: (
                state.sessions.get(identity).cloned(),
                state.polls.get(identity).copied(),
            ),
            received: state.received.get(identity).cloned(),
            condemned: condemned.copied().collect(),
        }
    }
}

/// What a poll's answer changes in the ledger: never a token without the configuration that came with it.
fn changes_of(
    identity: &Identity,
    answer: &Polled,
    poller: &Poller,
    known: &Known,
    now: Timestamp,
) -> Vec<Change> {
    let saved = poller.saved();
    let mut changes = Vec::new();
    if known.session != saved {
        let (session, poll) = saved;
        changes.push(Change::Session {
            identity: identity.clone(),
            session,
            poll,
        });
    }
    let Polled::Received {
        configuration,
        again,
    } = answer
    else {
        return changes;
    };
    let same = known.received.as_ref();
    let same = same.filter(|version| version.digest == configuration.digest());
    let had = same.is_some_and(|version| {
        version.label.as_deref() == configuration.label()
            && version.content_type.as_deref() == configuration.content_type()
    });
    if !had {
        let (identity, configuration) = (identity.clone(), configuration.clone());
        changes.push(Change::Received {
            identity,
            configuration,
            at: now,
        });
    }
    // The same bytes again in a living session were deployed again: somebody wants them tried again. Bytes that had gone
    // away and come back may be a rollout that goes to and fro.
    if *again && same.is_some() && known.condemned.contains(&configuration.digest()) {
        changes.push(Change::QuarantineLifted {
            identity: identity.clone(),
        });
    }
    changes
}
