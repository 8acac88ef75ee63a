//! How one queue stands, in the words of the status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::second_of;
use crate::install::{Found, Installer};
use crate::ledger::{Quarantine, Refusal, ServiceCondition, State, Version};
use crate::protocol::Identity;
use crate::settings::{OnDrift, Profile, ProfileName, ServiceName, TargetPath, Watch};
use crate::source::FaultKind;
use crate::transaction::{Component, LeftOut};

use super::status::{
    ProfileCondition, ProfileStatus, ServiceStatus, TargetCondition, TargetStatus, VersionStatus,
    WatchStatus,
};

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

impl QueueView {
    pub(super) fn profile(
        &self,
        profile: &Profile,
        identity: &Identity,
        now: Timestamp,
    ) -> ProfileStatus {
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
            waits_for_another: self.waits_for_another(identity),
        }
    }

    fn waits_for_another(&self, identity: &Identity) -> bool {
        let fed = self.component.fed_by([identity]);
        let mut feeders = fed.iter().flat_map(|path| self.component.feeders(path));
        let required = |one: &Identity| {
            let mut profiles = self.component.profiles.values();
            profiles.any(|(profile, other)| other == one && profile.required)
        };
        feeders.any(|one| !self.state.received.contains_key(&one) && required(&one))
    }

    fn judge(
        &self,
        identity: &Identity,
        received: Option<&Version>,
        accepted: Option<&Version>,
        fault: Option<&(FaultKind, String, Timestamp)>,
    ) -> (ProfileCondition, Option<String>) {
        if let Some(held) = self.state.held_profiles.get(identity) {
            return (ProfileCondition::Held, Some(self.held_at(identity, held)));
        }
        let newest = received.map(|version| version.digest);
        let current = newest.is_some() && newest == accepted.map(|version| version.digest);
        if let Some(refusal) = self.refusal(identity) {
            return (ProfileCondition::Refused, Some(refusal.reason.clone()));
        }
        if let Some(entry) = self.condemned(identity).filter(|_| !current) {
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
            let reason = match self.state.sessions.contains_key(identity) {
                true => {
                    "the service has answered, but with nothing; deploy a version that is not empty"
                }
                false => "not received yet",
            };
            return (ProfileCondition::Waiting, Some(reason.to_owned()));
        }
        if let Some(path) = self.held_target_of(identity) {
            let reason = format!("target `{path}` is held; next: `appconfigd release {path}`");
            return (ProfileCondition::Held, Some(reason));
        }
        let fed = self.component.fed_by([identity]);
        let waiting = fed
            .iter()
            .find_map(|path| Some(format!("target `{path}`: {}", self.waiting.get(path)?)));
        let reason = waiting.or(self.trouble.clone());
        (ProfileCondition::Waiting, reason.or(self.paced(&fed)))
    }

    /// What the ledger says of a version that waits for the pace of a service, where no daemon says until when.
    fn paced(&self, fed: &BTreeSet<TargetPath>) -> Option<String> {
        let services = self.component.dependents(fed);
        let mut waits = services.iter().filter_map(|name| {
            let since = second_of(*self.state.waits.get(name)?);
            Some(format!(
                "waits since {since} for the pace of service `{name}`"
            ))
        });
        waits.next()
    }

    /// Of the version that was received last.
    fn refusal(&self, identity: &Identity) -> Option<&Refusal> {
        let newest = self.state.received.get(identity)?.digest;
        let refusal = self.state.refusals.get(identity);
        refusal.filter(|refusal| refusal.digest == newest)
    }

    /// The youngest entry of the quarantine that holds the version that was received last.
    fn condemned(&self, identity: &Identity) -> Option<&Quarantine> {
        let newest = self.state.received.get(identity)?.digest;
        let mut entries = self.state.quarantine.iter().rev();
        entries.find(|entry| entry.profiles.get(identity) == Some(&newest))
    }

    /// Since when a version that was received is not installed, and what changes that.
    pub(super) fn remedy(
        &self,
        name: &ProfileName,
        identity: &Identity,
        state: ProfileCondition,
    ) -> Option<String> {
        let (word, since, remedy) = match state {
            ProfileCondition::Refused => (
                "refused",
                self.refusal(identity).map(|refusal| refusal.since),
                "next: deploy a version that passes, or mend what the settings name and `appconfigd reload`",
            ),
            ProfileCondition::Quarantined => (
                "quarantined",
                self.condemned(identity).map(|entry| entry.since),
                "next: deploy another version, or this one anew",
            ),
            _ => return None,
        };
        let since = since.map_or(String::new(), |since| {
            format!(" since {}", second_of(since))
        });
        Some(format!(
            "{word}{since}; {remedy}; `appconfigd retry {name}` tries this one again"
        ))
    }

    /// How a target stands, and why it is not as it should be.
    pub(super) fn target(
        &self,
        path: &TargetPath,
        installer: &Installer,
    ) -> (TargetStatus, Option<String>) {
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
                held: self.state.held_targets.contains_key(path),
            };
            return (status, waiting);
        };
        let on_drift = self.on_drift(path);
        let (state, reason) = match installer.look(path) {
            Ok(Found::Absent) => (TargetCondition::Missing, None),
            Ok(Found::File { digest, metadata }) => {
                match digest == installed.digest && metadata == installed.metadata {
                    true => (TargetCondition::InSync, None),
                    false => (TargetCondition::Drifted, left_alone(on_drift)),
                }
            }
            Ok(Found::Directory { .. }) => (TargetCondition::Drifted, left_alone(on_drift)),
            Err(error) => (TargetCondition::Drifted, Some(error.to_string())),
        };
        let digest = Some(installed.digest.to_string());
        let status = TargetStatus {
            state,
            digest,
            excused: on_drift == OnDrift::Ignore,
            held: self.state.held_targets.contains_key(path),
        };
        let pauses = self.trouble.clone();
        let pauses = pauses.filter(|_| status.state != TargetCondition::InSync);
        (status, reason.or(waiting).or(pauses))
    }

    pub(super) fn on_drift(&self, path: &TargetPath) -> OnDrift {
        let target = self.component.targets.get(path);
        target.map_or(OnDrift::Restore, |target| target.on_drift)
    }

    /// Files of others that were found in this target's place.
    pub(super) fn found(&self, path: &TargetPath) -> impl Iterator<Item = String> {
        let found = self.state.found_files.iter();
        let found = found.filter(|file| file.target == *path);
        found.map(|file| {
            let (digest, size) = (file.digest, file.size);
            let at = second_of(file.at);
            format!(
                "a file that was not ours is kept in history: {digest}, {size} bytes, found at {at}"
            )
        })
    }

    pub(super) fn service(&self, name: &ServiceName, pending: bool) -> ServiceStatus {
        let record = self.state.services.get(name);
        // Its files wait for their first version, and it has been told of nothing.
        let waits = !pending && record.is_none() && !self.component.dependencies(name).is_empty();
        let condition = record.map(|record| record.condition);
        let state = match condition {
            Some(ServiceCondition::Failed) if pending => ServiceCondition::Failed,
            _ if pending => ServiceCondition::Pending,
            Some(ServiceCondition::NotRunning) => ServiceCondition::NotRunning,
            None if waits => ServiceCondition::Pending,
            _ => ServiceCondition::Acknowledged,
        };
        ServiceStatus {
            state,
            since: record.map(|record| record.since),
            last_result: record.map(|record| record.last_result.clone()),
            next_attempt: pending.then(|| self.next_attempt(name)).flatten(),
            waits,
            nobody: pending && condition == Some(ServiceCondition::Nobody),
        }
    }
}

impl QueueView {
    /// When a service that has not acknowledged is told again, by the ledger.
    fn next_attempt(&self, name: &ServiceName) -> Option<Timestamp> {
        let retry = self.state.retries.get(name)?;
        let limit = self.component.services.get(name)?.give_up_after;
        let goes_on = limit.is_none_or(|limit| retry.trying < limit);
        let pause = SignedDuration::try_from(retry.pause).ok()?;
        goes_on
            .then(|| retry.last.checked_add(pause).ok())
            .flatten()
    }

    pub(super) fn watch(&self, watch: &Watch) -> WatchStatus {
        let row = |service: &ServiceName| self.state.watched.get(service)?.get(&watch.name);
        let pending = watch.notify.iter().filter(|name| row(name) == Some(&None));
        WatchStatus {
            changed: self.state.watch_changes.get(&watch.name).copied(),
            pending: pending.map(ToString::to_string).collect(),
        }
    }
}

fn left_alone(on_drift: OnDrift) -> Option<String> {
    let reason = match on_drift {
        OnDrift::Restore => return None,
        OnDrift::Report => {
            "somebody else changed it, and it is left alone (`on_drift: report`): put the change into the configuration, \
             or remove the file to have what was installed put back; the next version replaces it and keeps it in history"
        }
        OnDrift::Ignore => {
            "somebody else changed it, which is ignored (`on_drift: ignore`) until the next version"
        }
    };
    Some(reason.to_owned())
}
