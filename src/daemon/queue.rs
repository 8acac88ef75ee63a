//! One queue: the task that owns a component's machine and pollers.
//!
//! It never blocks on a step: polls, the transaction's step, messages and time are awaited together, so that the newest
//! version is always known while a transaction runs. A panic in a poll or a step is an event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::ledger::Change;
use crate::poll::{Polled, Poller, next_tick};
use crate::protocol::Identity;
use crate::settings::ProfileName;
use crate::source::{FaultKind, Source};
use crate::transaction::{Action, Event, Hands, Machine, Scope};

use super::report;
use super::status::{ProfileLive, QueueView};

/// A tick's answers are planned without the rest when none has come for so long.
const STRAGGLERS: Duration = Duration::from_millis(300);

/// What a queue is asked.
pub enum Message {
    /// Answered when the queue has gone round its loop: it is alive.
    Ping(oneshot::Sender<()>),
    View(oneshot::Sender<QueueView>),
    /// Polls what is due of these profiles (`None`: all), waits until everything has settled or the steady time has come.
    Settle {
        profiles: Option<BTreeSet<ProfileName>>,
        until: Duration,
        again: bool,
        reply: oneshot::Sender<QueueView>,
    },
    /// No new transaction; the queue ends when the running one has ended.
    Stop,
}

/// A queue's post box and its end.
pub struct QueueHandle {
    pub messages: mpsc::UnboundedSender<Message>,
    pub task: JoinHandle<()>,
}

/// What all queues share.
pub struct Shared {
    pub source: Source,
    /// One for each call to the service.
    pub permits: Arc<Semaphore>,
    /// Woken when there is something new to see.
    pub news: Arc<Notify>,
}

/// Starts a queue.
pub fn start(machine: Machine, hands: Hands, shared: Shared) -> QueueHandle {
    let (messages, inbox) = mpsc::unbounded_channel();
    let queue = Queue::new(machine, hands, shared);
    QueueHandle {
        messages,
        task: tokio::spawn(queue.run(inbox)),
    }
}

/// A profile's poller while it is at home, and what its last poll said.
struct Slot {
    poller: Option<Box<Poller>>,
    names: Vec<ProfileName>,
    /// Answers that the ledger could not take yet.
    unsaved: Vec<Change>,
    fault: Option<(FaultKind, String, Timestamp)>,
    /// Steady time before which a failed commit is not tried again.
    pause: Duration,
}

/// What a poll's task brings back.
struct Answer {
    identity: Identity,
    poller: Box<Poller>,
    polled: Option<Polled>,
    changes: Vec<Change>,
    saved: Result<(), String>,
}

struct Waiter {
    /// Still to be polled with an answer.
    identities: BTreeSet<Identity>,
    until: Duration,
    /// Lost and throttled answers are asked again until then.
    again: bool,
    reply: oneshot::Sender<QueueView>,
}

struct Queue {
    machine: Machine,
    hands: Hands,
    shared: Shared,
    slots: BTreeMap<Identity, Slot>,
    polls: JoinSet<Answer>,
    step: Option<JoinHandle<Option<Event>>>,
    /// News of the running tick, and the steady time at which they are planned without the stragglers.
    gathered: Scope,
    gather_until: Option<Duration>,
    jitter: f64,
    random: fastrand::Rng,
    waiters: Vec<Waiter>,
    stopping: bool,
    polling: bool,
    /// What `files_stand` said last: a change is news.
    stood: bool,
}

impl Queue {
    fn new(machine: Machine, hands: Hands, shared: Shared) -> Queue {
        let mut slots: BTreeMap<Identity, Slot> = BTreeMap::new();
        let component = Arc::clone(machine.component());
        for (name, (profile, identity)) in &component.profiles {
            if let Some(slot) = slots.get_mut(identity) {
                slot.names.push(name.clone());
                continue;
            }
            let saved = machine.state().sessions.get(identity).cloned();
            let poll = machine.state().polls.get(identity).copied();
            let poller = Poller::new(
                Arc::clone(profile),
                shared.source.clone(),
                hands.clock.clone(),
                saved,
                poll,
            );
            let slot = Slot {
                poller: Some(Box::new(poller)),
                names: vec![name.clone()],
                unsaved: Vec::new(),
                fault: None,
                pause: Duration::ZERO,
            };
            slots.insert(identity.clone(), slot);
        }
        let mut random = fastrand::Rng::new();
        Queue {
            machine,
            hands,
            shared,
            slots,
            polls: JoinSet::new(),
            step: None,
            gathered: Scope::nothing(),
            gather_until: None,
            jitter: random.f64(),
            random,
            waiters: Vec::new(),
            stopping: false,
            polling: false,
            stood: false,
        }
    }

    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) {
        let first = self.on(Event::Tick);
        self.act(first);
        loop {
            self.settle();
            if self.stopping && self.step.is_none() && self.polls.is_empty() {
                return;
            }
            // The files come first: interrupted transactions and the last known good, before any network.
            self.polling |= self.machine.files_stand() || self.machine.is_idle();
            if self.stood != self.machine.files_stand() {
                self.stood = !self.stood;
                self.shared.news.notify_one();
            }
            let wake = self.wake();
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.message(message),
                    None => self.stop(),
                },
                ended = ended(&mut self.step), if self.step.is_some() => {
                    self.step = None;
                    if let Some(event) = ended {
                        let actions = self.on(event);
                        self.act(actions);
                    } else {
                        let actions = self.on(Event::Tick);
                        self.act(actions);
                    }
                }
                Some(answer) = self.polls.join_next() => self.answered(answer),
                () = sleep(wake), if wake.is_some() => self.time(),
            }
        }
    }

    fn steady(&self) -> Duration {
        self.hands.clock.now().steady
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        self.machine
            .on(event, self.hands.clock.now(), &mut self.random)
    }

    /// Says what is to be said and starts the rest as one task, in order.
    fn act(&mut self, actions: Vec<Action>) {
        let (said, to_do): (Vec<_>, Vec<_>) = actions
            .into_iter()
            .partition(|action| matches!(action, Action::Say(_)));
        if !said.is_empty() {
            self.shared.news.notify_one();
        }
        for action in said {
            if let Action::Say(outcome) = action {
                report::say(self.machine.component(), &outcome);
            }
        }
        if to_do.is_empty() {
            return;
        }
        let hands = self.hands.clone();
        let state = Arc::clone(self.machine.state());
        self.step = Some(tokio::spawn(async move {
            let mut event = None;
            for action in to_do {
                event = hands.clone().perform(action, Arc::clone(&state)).await;
            }
            event
        }));
    }

    /// How long until something is due; `None`: nothing is.
    fn wake(&self) -> Option<Duration> {
        let now = self.steady();
        let machine = self
            .step
            .is_none()
            .then(|| self.machine.next_tick())
            .flatten();
        let poll = self.next_poll().map(|(at, _)| at);
        let waiters = self.waiters.iter().map(|waiter| waiter.until);
        let times = machine
            .into_iter()
            .chain(poll)
            .chain(self.gather_until)
            .chain(waiters);
        times.min().map(|at| at.saturating_sub(now))
    }

    /// The next tick of this queue's profiles: when, and whose.
    fn next_poll(&self) -> Option<(Duration, Vec<Identity>)> {
        if self.stopping || !self.polling {
            return None;
        }
        let mut identities = Vec::new();
        let mut members = Vec::new();
        for (identity, slot) in &self.slots {
            if let Some(poller) = &slot.poller {
                identities.push(identity.clone());
                members.push((poller.earliest().max(slot.pause), poller.interval()));
            }
        }
        let (at, chosen) = next_tick(&members, self.jitter)?;
        let chosen = chosen
            .into_iter()
            .filter_map(|index| identities.get(index).cloned());
        Some((at, chosen.collect()))
    }

    fn time(&mut self) {
        let now = self.steady();
        if self.gather_until.is_some_and(|at| at <= now) {
            self.plan_gathered();
        }
        if let Some((at, identities)) = self.next_poll()
            && at <= now
        {
            self.jitter = self.random.f64();
            for identity in identities {
                self.poll(&identity);
            }
        }
        if self.step.is_none() {
            let actions = self.on(Event::Tick);
            self.act(actions);
        }
    }

    fn poll(&mut self, identity: &Identity) {
        let Some(slot) = self.slots.get_mut(identity) else {
            return;
        };
        let Some(mut poller) = slot.poller.take() else {
            return;
        };
        let mut changes = std::mem::take(&mut slot.unsaved);
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
                // A closed semaphore cannot be: nobody closes it.
                let _permit = permits.acquire().await.ok();
                let answer = poller.poll().await;
                changes = changes_of(&identity, &answer, &poller, &state, clock.now().wall);
                polled = Some(answer);
            }
            let saved = match changes.is_empty() {
                true => Ok(()),
                false => ledger
                    .commit(changes.clone())
                    .await
                    .map_err(|error| error.to_string()),
            };
            Answer {
                identity,
                poller,
                polled,
                changes,
                saved,
            }
        });
        self.polls.spawn(polling);
    }

    fn answered(&mut self, joined: Result<Answer, tokio::task::JoinError>) {
        let answer = match joined {
            Ok(answer) => answer,
            Err(error) => return self.poll_broke(&error.to_string()),
        };
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
                settled = !matches!(
                    fault.kind,
                    FaultKind::Lost | FaultKind::Throttled | FaultKind::TokenRefused
                );
                slot.fault = Some((fault.kind, fault.message, since));
            }
            Some(Polled::Unchanged | Polled::Received { .. }) => {
                if slot.fault.take().is_some() {
                    self.shared.news.notify_one();
                    report::reached(&slot.names);
                }
            }
            Some(Polled::TooEarly) | None => {}
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
                    reason,
                    "the ledger cannot take what a poll brought; tried again in 5 s"
                );
                slot.unsaved = changes;
                slot.pause = now.steady + Duration::from_secs(5);
                settled = false;
            }
        }
        for waiter in &mut self.waiters {
            if settled || !waiter.again {
                waiter.identities.remove(&identity);
            }
        }
        if self.polls.is_empty() {
            self.plan_gathered();
        } else if !self.gathered.is_nothing() {
            self.gather_until = Some(now.steady + STRAGGLERS);
        }
    }

    /// A poll's task died with its poller: the profile goes on from what the ledger holds.
    fn poll_broke(&mut self, reason: &str) {
        tracing::error!(
            reason,
            "a poll ended unexpectedly; its profile goes on from the saved session"
        );
        let running: BTreeSet<Identity> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.poller.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        // Which of them died is not known: while others run, their slots stay empty; the last one brings all back.
        if !self.polls.is_empty() {
            return;
        }
        let component = Arc::clone(self.machine.component());
        for (profile, identity) in component.profiles.values() {
            let Some(slot) = self
                .slots
                .get_mut(identity)
                .filter(|_| running.contains(identity))
            else {
                continue;
            };
            let saved = self.machine.state().sessions.get(identity).cloned();
            let poll = self.machine.state().polls.get(identity).copied();
            let (source, clock) = (self.shared.source.clone(), self.hands.clock.clone());
            let poller = Poller::new(Arc::clone(profile), source, clock, saved, poll);
            slot.poller = Some(Box::new(poller));
            slot.pause = self.hands.clock.now().steady + Duration::from_secs(60);
        }
    }

    fn plan_gathered(&mut self) {
        self.gather_until = None;
        if self.gathered.is_nothing() {
            return;
        }
        let scope = std::mem::replace(&mut self.gathered, Scope::nothing());
        let actions = self.on(Event::Wake(scope));
        self.act(actions);
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Ping(reply) => {
                let _ = reply.send(());
            }
            Message::View(reply) => {
                let _ = reply.send(self.view());
            }
            Message::Settle {
                profiles,
                until,
                again,
                reply,
            } => {
                let now = self.steady();
                let wanted = |slot: &Slot| {
                    profiles
                        .as_ref()
                        .is_none_or(|names| slot.names.iter().any(|name| names.contains(name)))
                };
                let due: BTreeSet<Identity> = self
                    .slots
                    .iter()
                    .filter(|(_, slot)| wanted(slot))
                    .filter(|(_, slot)| {
                        slot.poller
                            .as_ref()
                            .is_none_or(|poller| poller.earliest() <= now)
                    })
                    .map(|(identity, _)| identity.clone())
                    .collect();
                // Asked for by hand: no jitter for what is due already.
                if self.polling {
                    for identity in &due {
                        self.poll(identity);
                    }
                }
                self.waiters.push(Waiter {
                    identities: due,
                    until,
                    again,
                    reply,
                });
            }
            Message::Stop => self.stop(),
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        let actions = self.on(Event::Stop);
        self.act(actions);
    }

    /// Answers those who wait for everything to have settled, or whose time is up.
    fn settle(&mut self) {
        if self.waiters.is_empty() {
            return;
        }
        let now = self.steady();
        let quiet = self.step.is_none()
            && self.gathered.is_nothing()
            && self.polling
            && self.machine.is_idle()
            && (self.machine.files_stand() || self.machine.trouble().is_some());
        let mut waiting = Vec::new();
        for waiter in std::mem::take(&mut self.waiters) {
            if (quiet && waiter.identities.is_empty()) || waiter.until <= now || self.stopping {
                let _ = waiter.reply.send(self.view());
            } else {
                waiting.push(waiter);
            }
        }
        self.waiters = waiting;
    }

    fn view(&self) -> QueueView {
        let live = self.slots.iter().map(|(identity, slot)| {
            let live = ProfileLive {
                fault: slot.fault.clone(),
                due_in: slot
                    .poller
                    .as_ref()
                    .map(|poller| poller.earliest().saturating_sub(self.steady())),
            };
            (identity.clone(), live)
        });
        QueueView {
            component: Arc::clone(self.machine.component()),
            state: Arc::clone(self.machine.state()),
            waiting: self.machine.waiting().clone(),
            left_out: self.machine.left_out().clone(),
            trouble: self.machine.trouble().map(str::to_owned),
            files_stand: self.machine.files_stand(),
            live: live.collect(),
        }
    }
}

impl Slot {
    pub(super) fn names(&self) -> &[ProfileName] {
        &self.names
    }
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
    let known = state.received.get(identity).is_some_and(|version| {
        version.digest == configuration.digest()
            && version.label.as_deref() == configuration.label()
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
    // The same bytes again in a living session were deployed again: somebody wants them tried again.
    if *again && state.quarantine.iter().any(condemned) {
        changes.push(Change::QuarantineLifted {
            identity: identity.clone(),
        });
    }
    changes
}

async fn ended(step: &mut Option<JoinHandle<Option<Event>>>) -> Option<Event> {
    match step {
        None => std::future::pending().await,
        Some(task) => match task.await {
            Ok(event) => event,
            Err(error) => Some(Event::Broke(error.to_string())),
        },
    }
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        None => std::future::pending().await,
        Some(duration) => tokio::time::sleep(duration).await,
    }
}

impl report::Named for BTreeMap<Identity, Slot> {
    fn names_of(&self, identity: &Identity) -> &[ProfileName] {
        self.get(identity).map(Slot::names).unwrap_or_default()
    }
}
