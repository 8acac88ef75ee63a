//! A queue's polls: when the next tick is, what a poll's task does, what its answer means.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::{self, JoinError};

use crate::ledger::Change;
use crate::poll::{Polled, Poller, next_tick};
use crate::protocol::Identity;
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

/// What a poll's task brings back.
pub(super) struct Answer {
    identity: Identity,
    poller: Box<Poller>,
    polled: Option<Polled>,
    changes: Vec<Change>,
    saved: Result<(), String>,
}

impl Queue {
    /// The next tick of this queue's profiles: when, and whose.
    pub(super) fn next_poll(&self) -> Option<(Duration, Vec<Identity>)> {
        if self.stopping || !self.polling {
            return None;
        }
        let mut identities = Vec::new();
        let mut members = Vec::new();
        for (identity, slot) in &self.slots {
            if let Some(poller) = &slot.poller {
                identities.push(identity.clone());
                members.push(match slot.unsaved.is_empty() {
                    true => (poller.earliest().max(slot.pause), poller.interval()),
                    // No call is made, the ledger is only asked once more.
                    false => (slot.pause, Duration::ZERO),
                });
            }
        }
        let (at, chosen) = next_tick(&members, self.jitter)?;
        let chosen = chosen
            .into_iter()
            .filter_map(|index| identities.get(index).cloned());
        Some((at, chosen.collect()))
    }

    pub(super) fn poll(&mut self, identity: &Identity) {
        let Some(slot) = self.slots.get_mut(identity) else {
            return;
        };
        let Some(mut poller) = slot.poller.take() else {
            return;
        };
        let mut changes = std::mem::take(&mut slot.unsaved);
        let identity_of_task = identity.clone();
        let identity = identity.clone();
        let state = Arc::clone(self.machine.state());
        let (ledger, clock, permits) = (
            self.hands.ledger.clone(),
            self.hands.clock.clone(),
            Arc::clone(&self.shared.permits),
        );
        let polling = Box::pin(async move {
            let mut polled = None;
            if changes.is_empty() {
                let Ok(_permit) = permits.acquire().await else {
                    // The daemon ends: what has not begun does not begin.
                    return Answer {
                        identity,
                        poller,
                        polled: Some(Polled::TooEarly),
                        changes,
                        saved: Ok(()),
                    };
                };
                let answer = poller.poll().await;
                changes = changes_of(&identity, &answer, &poller, &state, clock.now().wall);
                polled = Some(answer);
            }
            let saved = match changes.is_empty() {
                true => Ok(()),
                false => ledger
                    .commit(changes.clone())
                    .await
                    .map_err(|error| with_causes(&error)),
            };
            Answer {
                identity,
                poller,
                polled,
                changes,
                saved,
            }
        });
        let task = self.polls.spawn(polling);
        self.polled.insert(task.id(), identity_of_task);
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

/// What a poll's answer changes in the ledger: never a token without the configuration that came with it.
fn changes_of(
    identity: &Identity,
    answer: &Polled,
    poller: &Poller,
    state: &crate::ledger::State,
    now: Timestamp,
) -> Vec<Change> {
    let (session, poll) = poller.saved();
    let mut changes = Vec::new();
    if state.sessions.get(identity) != session.as_ref()
        || state.polls.get(identity) != poll.as_ref()
    {
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
    let same = state
        .received
        .get(identity)
        .filter(|version| version.digest == configuration.digest());
    let known = same.is_some_and(|version| {
        version.label.as_deref() == configuration.label()
            && version.content_type.as_deref() == configuration.content_type()
    });
    if !known {
        let (identity, configuration) = (identity.clone(), configuration.clone());
        changes.push(Change::Received {
            identity,
            configuration,
            at: now,
        });
    }
    let condemned = |entry: &crate::ledger::Quarantine| {
        entry.profiles.get(identity) == Some(&configuration.digest())
    };
    // The same bytes again in a living session were deployed again: somebody wants them tried again. Bytes that had gone
    // away and come back may be a rollout that goes to and fro.
    if *again && same.is_some() && state.quarantine.iter().any(condemned) {
        changes.push(Change::QuarantineLifted {
            identity: identity.clone(),
        });
    }
    changes
}
