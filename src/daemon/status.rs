//! What is on disk, since when, why not the newer one, what is pending: one picture, live or from the ledger alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::install::Installer;
use crate::ledger::{ServiceCondition, State, Version};
use crate::settings::{ProfileName, TargetPath};
use crate::source::FaultKind;
use crate::transaction::{Machine, Pacing};

use super::advice;
use super::view::QueueView;

/// `status --json`, schema 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub schema: u32,
    pub daemon: Option<DaemonStatus>,
    pub state: Health,
    pub profiles: BTreeMap<ProfileName, ProfileStatus>,
    pub targets: BTreeMap<TargetPath, TargetStatus>,
    pub services: BTreeMap<String, ServiceStatus>,
    /// None from a daemon that knows of none yet.
    #[serde(default)]
    pub watches: BTreeMap<String, WatchStatus>,
    /// Not part of the contract's page.
    #[serde(skip)]
    pub notes: Notes,
}

/// What people are told beyond states and reasons.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Notes {
    pub profiles: BTreeMap<ProfileName, String>,
    pub targets: BTreeMap<TargetPath, Vec<String>>,
    #[serde(default)]
    pub services: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DaemonStatus {
    pub pid: u32,
    pub version: String,
    pub started_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Healthy,
    Degraded,
    Failed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProfileStatus {
    pub state: ProfileCondition,
    pub installed: Option<VersionStatus>,
    pub received: Option<VersionStatus>,
    pub reason: Option<String>,
    pub last_poll: Option<Timestamp>,
    pub next_poll: Option<Timestamp>,
    /// Not part of the contract's page; `once` decides by it.
    #[serde(skip)]
    pub required: bool,
    #[serde(skip)]
    pub fault: Option<FaultKind>,
    /// It waits, and for nothing but a required profile that has not been received.
    #[serde(skip)]
    pub waits_for_another: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileCondition {
    Current,
    Refused,
    Held,
    Quarantined,
    Unreachable,
    Waiting,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VersionStatus {
    pub digest: String,
    pub label: Option<String>,
    pub since: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TargetStatus {
    pub state: TargetCondition,
    pub digest: Option<String>,
    /// Not part of the contract's page: only profiles that may be absent feed it, and they are; or its drift is ignored.
    #[serde(skip)]
    pub excused: bool,
    /// An operator holds it: it is not written.
    #[serde(skip)]
    pub held: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetCondition {
    InSync,
    Drifted,
    Missing,
    Waiting,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub state: ServiceCondition,
    pub since: Option<Timestamp>,
    pub last_result: Option<String>,
    /// When it is told again, if it is; in the past: as soon as a daemon runs.
    pub next_attempt: Option<Timestamp>,
    /// Not part of the contract's page: pending, because nobody runs who could be told.
    #[serde(skip)]
    pub nobody: bool,
    /// Not part of the contract's page: told of nothing, because its files are not there yet. How these stand decides.
    #[serde(skip)]
    pub waits: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WatchStatus {
    /// When its files were last seen to have changed.
    pub changed: Option<Timestamp>,
    /// Services that have not acknowledged.
    pub pending: Vec<String>,
}

/// The word that the JSON has for a state: `in_sync`.
pub fn word(state: &impl Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}

/// The same for people: `in sync`.
pub fn spoken(state: &impl Serialize) -> String {
    word(state).replace('_', " ")
}

impl Status {
    /// Looks at every target: blocking.
    pub fn of(
        views: &[QueueView],
        installer: &Installer,
        daemon: Option<DaemonStatus>,
        now: Timestamp,
    ) -> Status {
        let mut status = Status {
            schema: 1,
            daemon,
            state: Health::Healthy,
            profiles: BTreeMap::new(),
            targets: BTreeMap::new(),
            services: BTreeMap::new(),
            watches: BTreeMap::new(),
            notes: Notes::default(),
        };
        let runs = status.daemon.is_some();
        for view in views {
            for (name, (profile, identity)) in &view.component.profiles {
                let profile = view.profile(profile, identity, now);
                let remedy = view.remedy(name, identity, profile.state);
                let remedy = remedy.or_else(|| advice::of_profile(name, &profile, runs));
                let notes = &mut status.notes.profiles;
                notes.extend(remedy.map(|remedy| (name.clone(), remedy)));
                status.profiles.insert(name.clone(), profile);
            }
            for path in view.component.targets.keys() {
                let (target, reason) = view.target(path, installer);
                let mut notes: Vec<String> = reason
                    .into_iter()
                    .chain(view.hold(path))
                    .chain(view.found(path))
                    .collect();
                let on_drift = view.on_drift(path);
                notes.extend(advice::of_target(path, &target, on_drift, &notes));
                status.targets.insert(path.clone(), target);
                if !notes.is_empty() {
                    status.notes.targets.insert(path.clone(), notes);
                }
            }
            let machine = Machine::new(
                Arc::clone(&view.component),
                State::clone(&view.state),
                Pacing::Ignored,
            );
            let pending = machine.pending();
            for name in view.component.services.keys() {
                let service = view.service(name, pending.contains(name));
                let step = advice::of_service(&service);
                let notes = &mut status.notes.services;
                notes.extend(step.map(|step| (name.to_string(), step)));
                status.services.insert(name.to_string(), service);
            }
            let watches = view.component.watches.values();
            let watches = watches.map(|watch| (watch.name.to_string(), view.watch(watch)));
            status.watches.extend(watches);
        }
        status.state = status.health();
        status
    }

    fn health(&self) -> Health {
        let nothing = |profile: &ProfileStatus| profile.required && profile.installed.is_none();
        let failed = self.profiles.values().any(nothing)
            || self
                .services
                .values()
                .any(|service| service.state == ServiceCondition::Failed);
        let well = self.profiles.values().all(|profile| {
            // A profile that may be absent and is absent is as it should be.
            profile.state == ProfileCondition::Current || (!profile.required && profile.absent())
        }) && self.targets.values().all(|target| {
            !target.held && (target.state == TargetCondition::InSync || target.excused)
        }) && self
            .services
            .values()
            .all(|service| service.waits || service.knows());
        match (failed, well) {
            (true, _) => Health::Failed,
            (false, true) => Health::Healthy,
            (false, false) => Health::Degraded,
        }
    }

    /// Every required profile is installed as offered, and nothing is pending but services that do not run.
    pub fn is_settled(&self) -> bool {
        let mut profiles = self.profiles.values().filter(|profile| profile.required);
        let mut services = self.services.values();
        let mut targets = self.targets.values();
        profiles.all(|profile| profile.state == ProfileCondition::Current)
            && targets.all(|target| match target.state {
                TargetCondition::InSync => true,
                TargetCondition::Waiting | TargetCondition::Drifted | TargetCondition::Missing => {
                    target.excused
                }
            })
            && services.all(|service| service.nobody || service.waits || service.knows())
    }

    /// A required profile could not be reached.
    pub fn is_unreachable(&self) -> bool {
        self.profiles.values().any(|profile| {
            profile.required
                && matches!(profile.fault, Some(FaultKind::Lost | FaultKind::Throttled))
        })
    }

    /// Something was turned down, or is not where it should be for a reason that is not the network.
    pub fn is_refused(&self) -> bool {
        self.profiles.values().any(|profile| match profile.state {
            ProfileCondition::Refused | ProfileCondition::Quarantined | ProfileCondition::Held => {
                true
            }
            ProfileCondition::Current => false,
            ProfileCondition::Waiting => profile.received.is_some() && !profile.waits_for_another,
            ProfileCondition::Unreachable => {
                profile.required
                    && !matches!(
                        profile.fault,
                        Some(FaultKind::Lost | FaultKind::Throttled) | None
                    )
            }
        }) || self
            .services
            .values()
            .any(|service| !service.nobody && !service.waits && !service.knows())
    }
}

impl ServiceStatus {
    /// Told, or nobody there to tell, or its files are not there yet.
    pub(super) fn is_well(&self) -> bool {
        self.waits || self.knows()
    }

    fn knows(&self) -> bool {
        match self.state {
            ServiceCondition::Acknowledged | ServiceCondition::NotRunning => true,
            ServiceCondition::Pending | ServiceCondition::Nobody | ServiceCondition::Failed => {
                false
            }
        }
    }
}

impl ProfileStatus {
    fn absent(&self) -> bool {
        self.received.is_none()
            && matches!(self.fault, None | Some(FaultKind::NotFound))
            && matches!(
                self.state,
                ProfileCondition::Waiting | ProfileCondition::Unreachable
            )
    }
}

impl VersionStatus {
    pub(super) fn of(version: &Version) -> VersionStatus {
        VersionStatus {
            digest: version.digest.to_string(),
            label: version.label.clone(),
            since: version.since,
        }
    }
}
