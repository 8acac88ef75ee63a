//! The page that Prometheus reads: how all stands at this moment, then what was counted.

use std::fmt;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::encoding::text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;

use super::counters::Counters;
use crate::daemon::status::{
    Health, ProfileCondition, ProfileStatus, ServiceStatus, Status, TargetCondition, word,
};
use crate::ledger::ServiceCondition;

type Seconds = Gauge<f64, AtomicU64>;

const HEALTH: [Health; 3] = [Health::Healthy, Health::Degraded, Health::Failed];
const PROFILES: [ProfileCondition; 6] = [
    ProfileCondition::Current,
    ProfileCondition::Refused,
    ProfileCondition::Held,
    ProfileCondition::Quarantined,
    ProfileCondition::Unreachable,
    ProfileCondition::Waiting,
];
const TARGETS: [TargetCondition; 4] = [
    TargetCondition::InSync,
    TargetCondition::Drifted,
    TargetCondition::Missing,
    TargetCondition::Waiting,
];
const SERVICES: [ServiceCondition; 5] = [
    ServiceCondition::Acknowledged,
    ServiceCondition::Pending,
    ServiceCondition::Nobody,
    ServiceCondition::Failed,
    ServiceCondition::NotRunning,
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
        let started = Seconds::default();
        started.set(seconds(daemon.started_at));
        let help = "When the daemon started, since 1970";
        registry.register_with_unit("start_time", help, Unit::Seconds, started);
    }
    let health: Family<[(&str, String); 1], Gauge> = Family::default();
    for state in HEALTH {
        let gauge = health.get_or_create(&[("state", word(&state))]);
        gauge.set(i64::from(state == status.state));
    }
    registry.register("health", "1 for the state of everything together", health);
    let profiles = status.profiles.iter();
    let states = profiles.map(|(name, profile)| (name.as_str(), profile.state));
    standing_of(&mut registry, "profile", &PROFILES, states);
    let targets = status.targets.iter();
    let states = targets.map(|(path, target)| (path.as_str(), target.state));
    standing_of(&mut registry, "target", &TARGETS, states);
    let services = status.services.iter();
    let states = services.map(|(name, service)| (name.as_str(), condition(service)));
    standing_of(&mut registry, "service", &SERVICES, states);
    let time = |profile: &ProfileStatus| profile.received.as_ref().map(|version| version.since);
    let help = "When the newest version came, since 1970";
    times(&mut registry, "profile_received_time", help, status, time);
    let time = |profile: &ProfileStatus| profile.installed.as_ref().map(|version| version.since);
    let help = "Since when the version counts that the files are made from, since 1970";
    times(&mut registry, "profile_installed_time", help, status, time);
    let time = |profile: &ProfileStatus| profile.last_poll;
    let help = "When the service last answered, since 1970";
    times(&mut registry, "profile_last_poll_time", help, status, time);
    registry
}

/// A series for each thing and state: 1 for the state that it is in, 0 for the others.
fn standing_of<'a, S: PartialEq + Copy + Serialize>(
    registry: &mut Registry,
    label: &'static str,
    all: &[S],
    things: impl Iterator<Item = (&'a str, S)>,
) {
    let family: Family<[(&str, String); 2], Gauge> = Family::default();
    for (name, is) in things {
        for state in all {
            let labels = [(label, name.to_owned()), ("state", word(state))];
            family.get_or_create(&labels).set(i64::from(*state == is));
        }
    }
    let help = format!("1 for the state of a {label}");
    registry.register(format!("{label}_state"), help, family);
}

fn times(
    registry: &mut Registry,
    name: &str,
    help: &str,
    status: &Status,
    time: impl Fn(&ProfileStatus) -> Option<Timestamp>,
) {
    let family: Family<[(&str, String); 1], Seconds> = Family::default();
    for (profile, about) in &status.profiles {
        if let Some(time) = time(about) {
            let labels = [("profile", profile.to_string())];
            family.get_or_create(&labels).set(seconds(time));
        }
    }
    registry.register_with_unit(name, help, Unit::Seconds, family);
}

/// The status says no more than pending of a service that nobody is there for.
fn condition(service: &ServiceStatus) -> ServiceCondition {
    match service.nobody {
        true => ServiceCondition::Nobody,
        false => service.state,
    }
}

fn seconds(time: Timestamp) -> f64 {
    time.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}
