//! What is on disk, since when, why not the newer one, what is pending: one picture, live or from the ledger alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::install::{Found, Installer};
use crate::ledger::{ServiceCondition, State, Version};
use crate::protocol::Identity;
use crate::settings::{Profile, ProfileName, TargetPath};
use crate::source::FaultKind;
use crate::transaction::{Component, LeftOut, Machine};

/// One queue as it stands.
#[derive(Clone, Debug)]
pub struct QueueView {
    pub component: Arc<Component>,
    pub state: Arc<State>,
    pub waiting: BTreeMap<TargetPath, String>,
    pub left_out: BTreeMap<Identity, LeftOut>,
    /// Why the whole queue pauses.
    pub trouble: Option<String>,
    pub files_stand: bool,
    pub live: BTreeMap<Identity, ProfileLive>,
}

/// What only a running poller knows.
#[derive(Clone, Debug, Default)]
pub struct ProfileLive {
    pub fault: Option<(FaultKind, String, Timestamp)>,
    /// Until the next poll may be made; `None` while one is under way.
    pub due_in: Option<Duration>,
}

/// `status --json`, schema 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub schema: u32,
    pub daemon: Option<DaemonStatus>,
    pub state: Health,
    pub profiles: BTreeMap<ProfileName, ProfileStatus>,
    pub targets: BTreeMap<TargetPath, TargetStatus>,
    pub services: BTreeMap<String, ServiceStatus>,
    /// Not part of the contract's page.
    #[serde(skip)]
    pub notes: Notes,
}

/// What people are told of targets, beyond their states.
pub type Notes = BTreeMap<TargetPath, Vec<String>>;

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
    /// Not part of the contract's page: only profiles that may be absent feed it, and they are.
    #[serde(skip)]
    pub excused: bool,
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
            notes: Notes::new(),
        };
        for view in views {
            for (name, (profile, identity)) in &view.component.profiles {
                status
                    .profiles
                    .insert(name.clone(), view.profile(profile, identity, now));
            }
            for path in view.component.targets.keys() {
                let (target, reason) = view.target(path, installer);
                status.targets.insert(path.clone(), target);
                let notes: Vec<String> = reason.into_iter().chain(view.found(path)).collect();
                if !notes.is_empty() {
                    status.notes.insert(path.clone(), notes);
                }
            }
            let machine = Machine::new(Arc::clone(&view.component), State::clone(&view.state));
            let pending = machine.pending();
            for name in view.component.services.keys() {
                let service = view.service(name, pending.contains(name));
                status.services.insert(name.to_string(), service);
            }
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
        }) && self
            .targets
            .values()
            .all(|target| target.state == TargetCondition::InSync || target.excused)
            && self.services.values().all(|service| {
                matches!(
                    service.state,
                    ServiceCondition::Acknowledged | ServiceCondition::NotRunning
                )
            });
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
                TargetCondition::Waiting => target.excused,
                TargetCondition::Drifted | TargetCondition::Missing => false,
            })
            && services.all(|service| {
                matches!(
                    service.state,
                    ServiceCondition::Acknowledged | ServiceCondition::NotRunning
                )
            })
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
            ProfileCondition::Waiting => profile.received.is_some(),
            ProfileCondition::Unreachable => {
                profile.required
                    && !matches!(
                        profile.fault,
                        Some(FaultKind::Lost | FaultKind::Throttled) | None
                    )
            }
        }) || self.services.values().any(|service| match service.state {
            ServiceCondition::Failed => true,
            // Never told of anything: what keeps its files away is what counts.
            ServiceCondition::Pending => service.last_result.is_some(),
            ServiceCondition::Acknowledged | ServiceCondition::NotRunning => false,
        })
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

impl QueueView {
    fn profile(&self, profile: &Profile, identity: &Identity, now: Timestamp) -> ProfileStatus {
        let received = self.state.received.get(identity);
        let accepted = self.state.accepted.get(identity);
        let live = self.live.get(identity);
        let fault = live.and_then(|live| live.fault.as_ref());
        let (state, reason) = self.judge(identity, received, accepted, fault);
        let poll = self.state.polls.get(identity);
        let due = live
            .and_then(|live| live.due_in)
            .and_then(|due| SignedDuration::try_from(due).ok());
        ProfileStatus {
            state,
            installed: accepted.map(VersionStatus::of),
            received: received.map(VersionStatus::of),
            reason,
            last_poll: poll.map(|poll| poll.last),
            next_poll: due
                .and_then(|due| now.checked_add(due).ok())
                .or(poll.map(|poll| poll.next).filter(|_| live.is_none())),
            required: profile.required,
            fault: fault.map(|(kind, _, _)| *kind),
        }
    }

    fn judge(
        &self,
        identity: &Identity,
        received: Option<&Version>,
        accepted: Option<&Version>,
        fault: Option<&(FaultKind, String, Timestamp)>,
    ) -> (ProfileCondition, Option<String>) {
        let newest = received.map(|version| version.digest);
        let current = newest.is_some() && newest == accepted.map(|version| version.digest);
        let refusal = self.state.refusals.get(identity);
        if let Some(refusal) = refusal.filter(|refusal| Some(refusal.digest) == newest) {
            return (ProfileCondition::Refused, Some(refusal.reason.clone()));
        }
        let condemned = self
            .state
            .quarantine
            .iter()
            .rev()
            .find(|entry| newest.is_some() && entry.profiles.get(identity).copied() == newest);
        if let Some(entry) = condemned.filter(|_| !current) {
            return (ProfileCondition::Quarantined, Some(entry.reason.clone()));
        }
        if let Some(LeftOut::Quarantined(reason)) = self.left_out.get(identity) {
            return (ProfileCondition::Quarantined, Some(reason.clone()));
        }
        if let Some((_, reason, _)) = fault {
            return (ProfileCondition::Unreachable, Some(reason.clone()));
        }
        if let Some(LeftOut::Delayed(reason)) = self.left_out.get(identity) {
            return (ProfileCondition::Waiting, Some(reason.clone()));
        }
        if current {
            return (ProfileCondition::Current, None);
        }
        if newest.is_none() {
            return (
                ProfileCondition::Waiting,
                Some("not received yet".to_owned()),
            );
        }
        let fed = self.component.fed_by([identity]);
        let waiting = fed
            .iter()
            .find_map(|path| Some(format!("target `{path}`: {}", self.waiting.get(path)?)));
        (ProfileCondition::Waiting, waiting.or(self.trouble.clone()))
    }

    /// How a target stands, and why it is not as it should be.
    fn target(&self, path: &TargetPath, installer: &Installer) -> (TargetStatus, Option<String>) {
        let waiting = self.waiting.get(path).cloned();
        let Some(installed) = self.state.installed.get(path) else {
            let mut profiles = self.component.profiles.values();
            let feeders = self.component.feeders(path);
            let counts = |(profile, identity): &(Arc<Profile>, Identity)| {
                feeders.contains(identity)
                    && (profile.required || self.state.received.contains_key(identity))
            };
            let status = TargetStatus {
                state: TargetCondition::Waiting,
                digest: None,
                excused: !profiles.any(counts),
            };
            return (status, waiting);
        };
        let (state, reason) = match installer.look(path) {
            Ok(Found::Absent) => (TargetCondition::Missing, None),
            Ok(Found::File { digest, metadata }) => {
                match digest == installed.digest && metadata == installed.metadata {
                    true => (TargetCondition::InSync, None),
                    false => (TargetCondition::Drifted, None),
                }
            }
            Err(error) => (TargetCondition::Drifted, Some(error.to_string())),
        };
        let digest = Some(installed.digest.to_string());
        let status = TargetStatus {
            state,
            digest,
            excused: false,
        };
        (status, reason.or(waiting))
    }

    /// Files of others that were found in this target's place.
    fn found(&self, path: &TargetPath) -> impl Iterator<Item = String> {
        let found = self.state.found_files.iter();
        let found = found.filter(|file| file.target == *path);
        found.map(|file| {
            let (digest, size) = (file.digest, file.size);
            let at = file.at.round(jiff::Unit::Second).unwrap_or(file.at);
            format!(
                "a file that was not ours is kept in history: {digest}, {size} bytes, found at {at}"
            )
        })
    }

    fn service(&self, name: &crate::settings::ServiceName, pending: bool) -> ServiceStatus {
        let record = self.state.services.get(name);
        let state = match record.map(|record| record.condition) {
            Some(ServiceCondition::Failed) if pending => ServiceCondition::Failed,
            _ if pending => ServiceCondition::Pending,
            Some(ServiceCondition::NotRunning) => ServiceCondition::NotRunning,
            // Its files wait for their first version, and it has been told of nothing.
            None if !self.component.dependencies(name).is_empty() => ServiceCondition::Pending,
            _ => ServiceCondition::Acknowledged,
        };
        ServiceStatus {
            state,
            since: record.map(|record| record.since),
            last_result: record.map(|record| record.last_result.clone()),
        }
    }
}

impl VersionStatus {
    fn of(version: &Version) -> VersionStatus {
        VersionStatus {
            digest: version.digest.to_string(),
            label: version.label.clone(),
            since: version.since,
        }
    }
}
