//! What is counted as it happens. Lives as long as the process: a reload begins nothing anew.

use std::sync::Arc;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::daemon::status::word;
use crate::ledger::State;
use crate::poll::Polled;
use crate::settings::ProfileName;
use crate::transaction::Outcome;

/// From what a reload of a unit takes to what a `window` makes wait.
const SECONDS: [f64; 14] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 10_800.0, 86_400.0,
];

/// By one label, or two.
type Counts<const N: usize> = Family<[(&'static str, String); N], Counter>;

/// Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Counters {
    registry: Arc<Registry>,
    polls: Counts<2>,
    transactions: Counts<1>,
    notifications: Counts<2>,
    drifts: Counts<1>,
    change_to_notified: Histogram,
}

impl Counters {
    pub fn new() -> Counters {
        let mut registry = Registry::with_prefix("appconfigd");
        let (polls, transactions) = (Counts::default(), Counts::default());
        let (notifications, drifts) = (Counts::default(), Counts::default());
        let change_to_notified = Histogram::new(SECONDS);
        registry.register(
            "polls",
            "Polls of a profile, by what came of them",
            polls.clone(),
        );
        registry.register(
            "transactions",
            "Transactions, by what became of them",
            transactions.clone(),
        );
        registry.register(
            "notifications",
            "How a service stood after it was told, or could not be",
            notifications.clone(),
        );
        registry.register(
            "drifts",
            "How often a target was found changed or removed by somebody else",
            drifts.clone(),
        );
        registry.register_with_unit(
            "change_to_notified",
            "From the answer that brought a version until it is in place and its services have been told",
            Unit::Seconds,
            change_to_notified.clone(),
        );
        Counters {
            registry: Arc::new(registry),
            polls,
            transactions,
            notifications,
            drifts,
            change_to_notified,
        }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn polled(&self, profiles: &[ProfileName], polled: &Polled) {
        let result = match polled {
            Polled::Unchanged => "unchanged",
            Polled::Received { .. } => "configuration",
            Polled::TooEarly => "too_early",
            Polled::Failed(_) => "fault",
        };
        for profile in profiles {
            let labels = [
                ("profile", profile.to_string()),
                ("result", result.to_owned()),
            ];
            self.polls.get_or_create(&labels).inc();
        }
    }

    /// `state`: with what the outcome has changed.
    pub fn hear(&self, state: &State, outcome: &Outcome, now: Timestamp) {
        match outcome {
            Outcome::Refused { .. } => self.ended("refused"),
            Outcome::WentBack { .. } => self.ended("went_back"),
            Outcome::Installed { profiles, .. } => {
                self.ended("installed");
                for (identity, version) in profiles {
                    let received = state.received.get(identity);
                    // Otherwise it is an earlier version, which an operator wanted.
                    let received = received.filter(|newest| newest.digest == version.digest);
                    let took = received.map(|newest| now.duration_since(newest.since));
                    // A clock that was set meanwhile has measured nothing.
                    if let Some(took) = took.filter(|took| !took.is_negative()) {
                        self.change_to_notified.observe(took.as_secs_f64());
                    }
                }
            }
            Outcome::Service {
                service, record, ..
            } => {
                let result = word(&record.condition);
                let labels = [("service", service.to_string()), ("result", result)];
                self.notifications.get_or_create(&labels).inc();
            }
            Outcome::Drifted { target, .. } => {
                let labels = [("target", target.to_string())];
                self.drifts.get_or_create(&labels).inc();
            }
            _ => {}
        }
    }

    fn ended(&self, result: &str) {
        let labels = [("result", result.to_owned())];
        self.transactions.get_or_create(&labels).inc();
    }
}
