//! One queue: the task that owns a component's machine and pollers.
//!
//! It never blocks on a step: polls, the transaction's step, messages and time are awaited together, so that the newest
//! version is always known while a transaction runs. A panic in a poll or a step is an event.

mod drifting;
mod orders;
mod polling;
mod waiting;
mod watching;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, Semaphore, mpsc, oneshot};
use tokio::task::{self, JoinHandle, JoinSet};

use crate::ledger::Change;
use crate::poll::{Member, Poller, Tick};
use crate::protocol::Identity;
use crate::settings::{OnDrift, ProfileName};
use crate::source::{FaultKind, Source};
use crate::transaction::{Action, Event, Hands, Machine, Order, Outcome, Scope};
use crate::words::with_causes;

pub use orders::Obeyed;
use orders::Ordered;
use polling::{Answer, Saving};
use waiting::Waiter;

use super::drift::DriftWatch;
use super::metrics::Counters;
use super::report;
use super::view::QueueView;
use super::watches::Sightings;

/// A step that outlived its queue has this long to come to its end.
const AFTER_PANIC: Duration = Duration::from_secs(10);

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
    /// Carries an operator's order out, waits until everything has settled or the steady time has come. `None`: it
    /// concerns nothing of this queue.
    Order {
        order: Order,
        until: Duration,
        reply: oneshot::Sender<Option<Obeyed>>,
    },
    /// What files that are not ours look like.
    Watched(Sightings),
    /// No new transaction; the queue ends when the running one has ended.
    Stop,
    /// The queue ends at once, and leaves the running transaction to recovery. Answered when that is recorded.
    Leave(oneshot::Sender<()>),
}

/// Whoever writes to a queue, and the queue itself. Boxed: a channel keeps room for dozens, in every queue.
pub type Letters = mpsc::UnboundedSender<Box<Message>>;
type Inbox = mpsc::UnboundedReceiver<Box<Message>>;

/// A queue's post box and its end.
pub struct QueueHandle {
    pub messages: Letters,
    pub task: JoinHandle<()>,
}

/// What all queues share.
#[derive(Clone)]
pub struct Shared {
    pub source: Source,
    /// One for each call to the service.
    pub permits: Arc<Semaphore>,
    /// Woken when there is something new to see.
    pub news: Arc<Notify>,
    pub counters: Counters,
}

/// Starts a queue. Should its task ever die of a panic, another takes over from what the ledger holds: one defect must
/// not leave targets and services alone until somebody restarts the process.
pub fn start(machine: Machine, hands: Hands, shared: Shared) -> QueueHandle {
    let (messages, inbox) = mpsc::unbounded_channel();
    let keeper = Keeper {
        messages: messages.downgrade(),
        inbox: Arc::new(Mutex::new(inbox)),
        shared,
    };
    QueueHandle {
        messages,
        task: tokio::spawn(keeper.keep(Box::new(machine), Arc::new(hands))),
    }
}

/// Looks after a queue's task. There are as many as queues, so that what is large lies behind a pointer: a future keeps
/// room for everything that it has ever held.
struct Keeper {
    messages: mpsc::WeakUnboundedSender<Box<Message>>,
    /// Who holds it reads it; a task that dies lets go of it.
    inbox: Arc<Mutex<Inbox>>,
    shared: Shared,
}

impl Keeper {
    async fn keep(self, mut machine: Box<Machine>, mut hands: Arc<Hands>) {
        loop {
            // Ends with the queue; the next one has to be told anew.
            let _watching = watching::start(&hands, &self.messages);
            let queue = Queue::new(machine, Arc::clone(&hands), self.shared.clone());
            let queue = Box::new(queue);
            let inbox = Arc::clone(&self.inbox).lock_owned().await;
            match tokio::spawn(queue.run(inbox)).await {
                Ok(()) => return,
                Err(error) if error.is_cancelled() => return,
                Err(error) => {
                    tracing::error!(reason = %error, "a queue ended unexpectedly; it goes on in 10 s from what the ledger holds");
                }
            }
            machine = Box::pin(take_over(Arc::make_mut(&mut hands))).await;
        }
    }
}

/// What the ledger holds of a queue that has died, once it can be read.
async fn take_over(hands: &mut Hands) -> Box<Machine> {
    let state = loop {
        tokio::time::sleep(AFTER_PANIC).await;
        match hands.ledger.load().await {
            Ok(state) => break state,
            Err(error) => tracing::error!(reason = %error, "the ledger cannot be read"),
        }
    };
    let component = hands.component.with_intents(&state.intents);
    hands.component = Arc::new(component);
    let part = hands.component.state(&state);
    let component = Arc::clone(&hands.component);
    Box::new(Machine::new(component, part, hands.pacing.clone()))
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

struct Queue {
    machine: Machine,
    hands: Arc<Hands>,
    shared: Shared,
    slots: BTreeMap<Identity, Box<Slot>>,
    polls: JoinSet<Answer>,
    /// Whose poll each running task is.
    polled: HashMap<task::Id, Identity>,
    step: Option<JoinHandle<Option<Event>>>,
    /// News of the running tick, and the steady time at which they are planned without the stragglers.
    gathered: Scope,
    gather_until: Option<Duration>,
    /// Polls that were answered, and whose answers the ledger is taking.
    saving: Saving,
    jitter: f64,
    /// The next tick; outer `None`: it has to be looked for. Of ten thousand profiles that is a long look, and the queue
    /// wakes often.
    tick: Option<Option<Tick>>,
    random: fastrand::Rng,
    waiters: Vec<Waiter>,
    drift: DriftWatch,
    orders: Vec<Ordered>,
    stopping: bool,
    /// Who waits for this queue to leave everything as it is.
    left: Option<oneshot::Sender<()>>,
    polling: bool,
    /// What `files_stand` said last: a change is news.
    stood: bool,
}

impl Queue {
    fn new(machine: Box<Machine>, hands: Arc<Hands>, shared: Shared) -> Queue {
        let machine = *machine;
        let mut slots: BTreeMap<Identity, Box<Slot>> = BTreeMap::new();
        let component = Arc::clone(machine.component());
        for (name, (profile, identity)) in &component.profiles {
            if let Some(slot) = slots.get_mut(identity) {
                slot.names.push(name.clone());
                continue;
            }
            let poller = polling::poller(profile, identity, &machine, &hands, &shared);
            let slot = Slot {
                poller: Some(Box::new(poller)),
                names: vec![name.clone()],
                unsaved: Vec::new(),
                fault: None,
                pause: Duration::ZERO,
            };
            slots.insert(identity.clone(), Box::new(slot));
        }
        let mut random = fastrand::Rng::new();
        let watched = component.targets.iter();
        let watched = watched.filter(|(_, target)| target.on_drift != OnDrift::Ignore);
        let drift = DriftWatch::new(
            hands.installer.clone(),
            watched.map(|(path, _)| path.clone()),
            hands.clock.now().steady,
        );
        Queue {
            machine,
            hands,
            shared,
            slots,
            polls: JoinSet::new(),
            polled: HashMap::new(),
            step: None,
            gathered: Scope::nothing(),
            gather_until: None,
            saving: Saving::default(),
            jitter: random.f64(),
            tick: None,
            random,
            waiters: Vec::new(),
            drift,
            orders: Vec::new(),
            stopping: false,
            left: None,
            polling: false,
            stood: false,
        }
    }

    async fn run(mut self: Box<Self>, mut inbox: OwnedMutexGuard<Inbox>) {
        let first = self.on(Event::Tick);
        self.act(first);
        let mut deserted = false;
        loop {
            if let Some(left) = self.left.take() {
                self.leave().await;
                let _ = left.send(());
                return;
            }
            // The files come first: interrupted transactions and the last known good, before any network.
            self.polling |= self.machine.files_stand() || self.machine.is_idle();
            self.judge_drift();
            self.settle();
            if self.stopping && self.step.is_none() && self.polls.is_empty() {
                return;
            }
            if self.stood != self.machine.files_stand() {
                self.stood = !self.stood;
                self.shared.news.notify_one();
            }
            let wake = self.wake();
            tokio::select! {
                message = inbox.recv(), if !deserted => match message {
                    Some(message) => self.message(*message),
                    // Nobody can ask any more: only what is under way is waited for.
                    None => {
                        self.stop();
                        deserted = true;
                    }
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
                Some(answer) = self.polls.join_next_with_id() => {
                    self.joined(answer);
                    self.drift.awake(self.steady());
                }
                noticed = self.drift.next() => self.noticed(noticed),
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
                self.drift.hear(&outcome, self.steady());
                report::say(self.machine.component(), &outcome);
                let now = self.hands.clock.now().wall;
                self.shared
                    .counters
                    .hear(self.machine.state(), &outcome, now);
                if let Outcome::Ordered { order, result, .. } = outcome {
                    self.ordered(order, result);
                }
            }
        }
        if to_do.is_empty() {
            return;
        }
        let hands = Arc::clone(&self.hands);
        // Work that brings no event (removing what was staged or kept) may still be under way: one after the other.
        let before = self.step.take();
        self.step = Some(tokio::spawn(async move {
            if let Some(Err(error)) = wait(before).await {
                tracing::error!(reason = %error, "a step ended unexpectedly");
            }
            let mut event = None;
            for action in to_do {
                event = Hands::clone(&hands).perform(action).await;
            }
            event
        }));
    }

    /// How long until something is due; `None`: nothing is.
    fn wake(&mut self) -> Option<Duration> {
        let now = self.steady();
        // Nothing new begins in a queue that ends: its polls are all that it waits for.
        let free = self.step.is_none() && !self.stopping;
        let machine = free.then(|| self.machine.next_tick()).flatten();
        let poll = self.next_poll();
        let waiters = self.waiters.iter().map(|waiter| waiter.until);
        let orders = self.orders.iter().map(|order| order.until);
        let times = machine
            .into_iter()
            .chain(orders)
            .chain(poll)
            .chain(self.gather_until)
            .chain(
                self.drift
                    .due()
                    .filter(|_| !self.is_busy() && !self.stopping),
            )
            .chain(waiters);
        times.min().map(|at| at.saturating_sub(now))
    }

    fn time(&mut self) {
        let now = self.steady();
        self.gathering(now);
        if self.next_poll().is_some_and(|at| at <= now) {
            let due = self.due_polls();
            self.jitter = self.random.f64();
            self.tick = None;
            for identity in due {
                self.poll(&identity);
            }
        }
        if self.step.is_none() {
            let actions = self.on(Event::Tick);
            self.act(actions);
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

    /// Nothing of ours goes on after this but the step that is under way, and nobody hears what it brings.
    async fn leave(&self) {
        let Some(change) = self.machine.cut_short() else {
            return;
        };
        if let Err(error) = self.hands.ledger.commit(vec![change]).await {
            tracing::warn!(reason = %with_causes(&error), "the interrupted attempt counts");
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        let actions = self.on(Event::Stop);
        self.act(actions);
    }
}

impl Slot {
    /// `None`: it is being polled.
    fn member(&self) -> Option<Member> {
        let poller = self.poller.as_ref()?;
        Some(match self.unsaved.is_empty() {
            true => (poller.earliest().max(self.pause), poller.interval()),
            // No call is made, the ledger is only asked once more.
            false => (self.pause, Duration::ZERO),
        })
    }

    pub(super) fn names(&self) -> &[ProfileName] {
        &self.names
    }
}

async fn ended(step: &mut Option<JoinHandle<Option<Event>>>) -> Option<Event> {
    match step {
        None => std::future::pending().await,
        Some(task) => match task.await {
            Ok(event) => event,
            // Only the end of the whole program cancels: what is under way is left to recovery, not turned back.
            Err(error) if error.is_cancelled() => std::future::pending().await,
            Err(error) => Some(Event::Broke(error.to_string())),
        },
    }
}

async fn wait<T>(task: Option<JoinHandle<T>>) -> Option<Result<T, task::JoinError>> {
    match task {
        None => None,
        Some(task) => Some(task.await),
    }
}

async fn sleep(duration: Option<Duration>) {
    match duration {
        None => std::future::pending().await,
        Some(duration) => tokio::time::sleep(duration).await,
    }
}

impl report::Named for BTreeMap<Identity, Box<Slot>> {
    fn names_of(&self, identity: &Identity) -> &[ProfileName] {
        self.get(identity)
            .map(|slot| slot.names())
            .unwrap_or_default()
    }
}
