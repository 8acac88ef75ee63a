//! What is counted as it happens. Lives as long as the process: a reload begins nothing anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::ledger::{ServiceCondition, State};
use crate::poll::Polled;
use crate::protocol::Identity;
use crate::settings::ProfileName;
use crate::transaction::{Component, Outcome};

/// From what a reload of a unit takes to what a `window` makes wait.
const SECONDS: [f64; 14] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 10_800.0, 86_400.0,
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Polling {
    profile: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Telling {
    service: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfTarget {
    target: String,
}

/// Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Counters {
    registry: Arc<Registry>,
    polls: Family<Polling, Counter>,
    transactions: Family<Ended, Counter>,
    notifications: Family<Telling, Counter>,
    drifts: Family<OfTarget, Counter>,
    change_to_notified: Histogram,
}

impl Counters {
    pub fn new() -> Counters {
        let mut registry = Registry::with_prefix("appconfigd");
        let counters = Counters {
            polls: Family::default(),
            transactions: Family::default(),
            notifications: Family::default(),
            drifts: Family::default(),
            change_to_notified: Histogram::new(SECONDS),
            registry: Arc::default(),
        };
        registry.register(
            "polls",
            "Calls of GetLatestConfiguration for a profile, by what came of them",
            counters.polls.clone(),
        );
        registry.register(
            "transactions",
            "Versions, alone or together, by what became of them",
            counters.transactions.clone(),
        );
        registry.register(
            "notifications",
            "How a service stood after it was told, or could not be",
            counters.notifications.clone(),
        );
        registry.register(
            "drifts",
            "How often a target was found changed or removed by somebody else",
            counters.drifts.clone(),
        );
        registry.register_with_unit(
            "change_to_notified",
            "From the answer that brought a version until it is in place and its services have been told",
            Unit::Seconds,
            counters.change_to_notified.clone(),
        );
        Counters {
            registry: Arc::new(registry),
            ..counters
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
            let profile = profile.as_str().to_owned();
            let labels = Polling { profile, result };
            self.polls.get_or_create(&labels).inc();
        }
    }

    /// `state`: with what the outcome has changed.
    pub fn hear(&self, component: &Component, state: &State, outcome: &Outcome, now: Timestamp) {
        match outcome {
            Outcome::Refused { .. } => self.ended("refused"),
            Outcome::WentBack { .. } => self.ended("went_back"),
            Outcome::Installed { profiles, .. } => {
                self.ended("installed");
                let news = profiles.keys().collect::<BTreeSet<&Identity>>();
                for received in news.into_iter().filter_map(|one| state.received.get(one)) {
                    let installed = profiles.values().any(|one| one.digest == received.digest);
                    let took = now.duration_since(received.since).as_secs_f64();
                    // Another one is on its way, or the clock was set meanwhile.
                    if installed && took >= 0.0 {
                        self.change_to_notified.observe(took);
                    }
                }
            }
            Outcome::Service {
                service, record, ..
            } if component.services.contains_key(service) => {
                let result = match record.condition {
                    ServiceCondition::Acknowledged => "acknowledged",
                    ServiceCondition::Pending => "pending",
                    ServiceCondition::Nobody => "nobody",
                    ServiceCondition::Failed => "failed",
                    ServiceCondition::NotRunning => "not_running",
                };
                let service = service.as_str().to_owned();
                let labels = Telling { service, result };
                self.notifications.get_or_create(&labels).inc();
            }
            Outcome::Drifted { target, .. } => {
                let target = target.as_str().to_owned();
                self.drifts.get_or_create(&OfTarget { target }).inc();
            }
            _ => {}
        }
    }

    fn ended(&self, result: &'static str) {
        self.transactions.get_or_create(&Ended { result }).inc();
    }
}
