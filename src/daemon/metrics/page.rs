//! The page that Prometheus reads: how all stands at this moment, then what was counted.

use std::fmt;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::counters::Counters;
use crate::daemon::status::{Health, ProfileCondition, Status, TargetCondition};
use crate::ledger::ServiceCondition;

type Seconds<L> = Family<L, Gauge<f64, AtomicU64>>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Stated {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfProfile {
    profile: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProfileState {
    profile: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TargetState {
    target: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ServiceState {
    service: String,
    state: &'static str,
}

const HEALTH: [(Health, &str); 3] = [
    (Health::Healthy, "healthy"),
    (Health::Degraded, "degraded"),
    (Health::Failed, "failed"),
];
const PROFILES: [(ProfileCondition, &str); 6] = [
    (ProfileCondition::Current, "current"),
    (ProfileCondition::Refused, "refused"),
    (ProfileCondition::Held, "held"),
    (ProfileCondition::Quarantined, "quarantined"),
    (ProfileCondition::Unreachable, "unreachable"),
    (ProfileCondition::Waiting, "waiting"),
];
const TARGETS: [(TargetCondition, &str); 4] = [
    (TargetCondition::InSync, "in_sync"),
    (TargetCondition::Drifted, "drifted"),
    (TargetCondition::Missing, "missing"),
    (TargetCondition::Waiting, "waiting"),
];
const SERVICES: [(ServiceCondition, &str); 5] = [
    (ServiceCondition::Acknowledged, "acknowledged"),
    (ServiceCondition::Pending, "pending"),
    (ServiceCondition::Nobody, "nobody"),
    (ServiceCondition::Failed, "failed"),
    (ServiceCondition::NotRunning, "not_running"),
];

/// OpenMetrics text.
pub(super) fn page(status: &Status, counters: &Counters) -> Result<String, fmt::Error> {
    let mut text = String::new();
    text::encode_registry(&mut text, &standing(status))?;
    text::encode_registry(&mut text, counters.registry())?;
    text::encode_eof(&mut text)?;
    Ok(text)
}

fn standing(status: &Status) -> Registry {
    let mut registry = Registry::with_prefix("appconfigd");
    if let Some(daemon) = &status.daemon {
        let labels = [("version", daemon.version.clone())];
        registry.register("build", "The program that runs", Info::new(labels));
        let started: Gauge<f64, AtomicU64> = Gauge::default();
        started.set(seconds(daemon.started_at));
        let help = "When the daemon started, since 1970";
        registry.register_with_unit("start_time", help, Unit::Seconds, started);
    }
    let health: Family<Stated, Gauge> = Family::default();
    one_of(&HEALTH, status.state, |state, is| {
        health.get_or_create(&Stated { state }).set(is);
    });
    registry.register("health", "1 for the state of everything together", health);
    profiles(&mut registry, status);
    let targets: Family<TargetState, Gauge> = Family::default();
    for (path, target) in &status.targets {
        one_of(&TARGETS, target.state, |state, is| {
            let target = path.as_str().to_owned();
            targets
                .get_or_create(&TargetState { target, state })
                .set(is);
        });
    }
    registry.register("target_state", "1 for the state of a target", targets);
    let services: Family<ServiceState, Gauge> = Family::default();
    for (name, service) in &status.services {
        let state = match service.nobody {
            true => ServiceCondition::Nobody,
            false => service.state,
        };
        one_of(&SERVICES, state, |state, is| {
            let service = name.clone();
            services
                .get_or_create(&ServiceState { service, state })
                .set(is);
        });
    }
    registry.register("service_state", "1 for the state of a service", services);
    registry
}

fn profiles(registry: &mut Registry, status: &Status) {
    let states: Family<ProfileState, Gauge> = Family::default();
    let (received, installed, polled): (Seconds<OfProfile>, Seconds<OfProfile>, Seconds<_>) =
        Default::default();
    for (name, profile) in &status.profiles {
        one_of(&PROFILES, profile.state, |state, is| {
            let profile = name.as_str().to_owned();
            states
                .get_or_create(&ProfileState { profile, state })
                .set(is);
        });
        let times = [
            (&received, profile.received.as_ref().map(|one| one.since)),
            (&installed, profile.installed.as_ref().map(|one| one.since)),
            (&polled, profile.last_poll),
        ];
        for (family, time) in times {
            if let Some(time) = time {
                let profile = name.as_str().to_owned();
                family
                    .get_or_create(&OfProfile { profile })
                    .set(seconds(time));
            }
        }
    }
    registry.register("profile_state", "1 for the state of a profile", states);
    for (name, help, family) in [
        (
            "profile_received_time",
            "When the newest version came, since 1970",
            received,
        ),
        (
            "profile_installed_time",
            "Since when the version counts that the files are made from, since 1970",
            installed,
        ),
        (
            "profile_last_poll_time",
            "When the service last answered, since 1970",
            polled,
        ),
    ] {
        registry.register_with_unit(name, help, Unit::Seconds, family);
    }
}

/// 1 for the state that it is, 0 for the others.
fn one_of<S: PartialEq + Copy>(
    states: &[(S, &'static str)],
    is: S,
    mut set: impl FnMut(&'static str, i64),
) {
    for (state, name) in states {
        set(name, i64::from(*state == is));
    }
}

fn seconds(time: Timestamp) -> f64 {
    time.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}
