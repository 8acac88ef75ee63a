//! The program that `exec` keeps: started, told, started again, ended within its time; and the orphans that it leaves.

mod environment;
mod keeper;
mod last;
mod orphans;
mod running;
mod signals;
mod terminal;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, oneshot, watch};

use crate::settings;

pub use last::Last;
pub use orphans::adopting;
pub use signals::{forward, keep_from_stopping_us};

use keeper::{Keeper, Order};

/// What the child is and how it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub command: settings::Command,
    pub rules: settings::Child,
    /// Where its variables are; below the alternate root already.
    pub environment: Option<PathBuf>,
    /// Its files go back when it ends by them: then it is not started again before they have.
    pub goes_back: bool,
}

/// How it is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its files do not stand yet.
    Unborn,
    /// `number`: the how-manieth start this is. While it is published the process has not been reaped.
    Running {
        pid: i32,
        number: u64,
    },
    /// Between two starts.
    Down,
    /// Running or not, it is not going to be started again.
    Ending,
    Over(Last),
}

/// What somebody finds who wants to notify the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Unborn,
    Running {
        pid: i32,
        number: u64,
        /// It has the variables that it would be started with now.
        up_to_date: bool,
        /// It was started when its files were what they are.
        has_read: bool,
    },
    Down,
    Ending,
}

/// What became of a start, or of the time after a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It has run for its `min_uptime`.
    Up,
    /// It has not, and why.
    Fell(String),
    /// Nobody knows: it is being ended.
    Ending,
}

/// The way to the child. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Child {
    orders: mpsc::UnboundedSender<Order>,
    state: watch::Receiver<State>,
    changes: Arc<AtomicU64>,
}

impl Child {
    /// A child that has not been started. Needs a Tokio runtime with IO and time; dropping all ways to it kills it.
    pub fn new(definition: Definition) -> Child {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (publish, state) = watch::channel(State::Unborn);
        let changes = Arc::new(AtomicU64::new(0));
        tokio::spawn(Keeper::new(definition, publish, Arc::clone(&changes)).run(inbox));
        Child {
            orders,
            state,
            changes,
        }
    }

    /// Files of its have just been replaced, or seen to be others. Counted and not timed: clocks can be set.
    pub fn files_changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts from its next start; rules and limits at once.
    pub fn define(&self, definition: Definition) {
        self.order(Order::Define(Box::new(definition)));
    }

    /// Its files stand: the first start. Nothing if there was one.
    pub fn start(&self) {
        self.order(Order::Start);
    }

    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Somebody is about to notify it. If it ends before [`Child::judged`] it is not started again by its rules, for its
    /// files are going back.
    pub async fn begin(&self) -> Seen {
        self.ask(Order::Begin).await.unwrap_or(Seen::Ending)
    }

    /// Ends it if it runs and starts it, at once; the answer comes after `min_uptime`.
    pub async fn restart(&self) -> Told {
        self.ask(Order::Restart).await.unwrap_or(Told::Ending)
    }

    /// Whether it runs for `min_uptime` from now.
    pub async fn stays_up(&self) -> Told {
        self.ask(Order::Watch).await.unwrap_or(Told::Ending)
    }

    /// Whether what was begun last found it running with other files. Its first start is nobody's to judge: there is
    /// nothing before it that was well.
    pub async fn was_there(&self) -> bool {
        self.ask(Order::WasThere).await.unwrap_or(true)
    }

    /// What was begun is over.
    pub fn judged(&self) {
        self.order(Order::Judged);
    }

    /// A signal that somebody sent us.
    pub fn tell(&self, signal: Signal) {
        self.order(Order::Tell(signal));
    }

    /// It is told to end by this signal, or by `kill_signal` in place of TERM; killed after `kill_timeout`; and not
    /// started again.
    pub fn end(&self, signal: Signal) {
        self.order(Order::End(signal));
    }

    /// Until it is not going to be started again.
    pub async fn ending(&self) {
        self.until(|state| matches!(state, State::Ending | State::Over(_)))
            .await;
    }

    /// Until it has ended for good.
    pub async fn over(&self) -> Last {
        match self.until(|state| matches!(state, State::Over(_))).await {
            Some(State::Over(last)) => last,
            _ => Last::Lost,
        }
    }

    async fn until(&self, fact: impl FnMut(&State) -> bool) -> Option<State> {
        let mut state = self.state.clone();
        state.wait_for(fact).await.ok().map(|state| *state)
    }

    fn order(&self, order: Order) {
        // An error means that the keeper has died of a panic: then `over` says so.
        let _ = self.orders.send(order);
    }

    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.order(order(reply));
        answer.await.ok()
    }
}

/// Until the child, if there is one, is not going to be started again.
pub async fn ending(child: Option<&Child>) {
    match child {
        Some(child) => child.ending().await,
        None => std::future::pending().await,
    }
}
