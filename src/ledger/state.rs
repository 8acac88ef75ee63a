//! `State::apply`: what a commit does, in memory.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;

use super::limits::{Candidate, Limits};
use super::record::{Change, FoundFile, Quarantine, State, Version};
use super::table::Table;
use crate::protocol::{Configuration, Digest, Identity};

impl Version {
    /// The version that a configuration is when it comes in at `since`.
    pub fn of(configuration: &Configuration, since: Timestamp) -> Version {
        Version {
            digest: configuration.digest(),
            label: configuration.label().map(str::to_owned),
            content_type: configuration.content_type().map(str::to_owned),
            size: configuration.bytes().len() as u64,
            since,
        }
    }
}

impl FoundFile {
    /// The same file with the digest and the size that these bytes have.
    pub(super) fn holding(&self, bytes: &Bytes) -> FoundFile {
        FoundFile {
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            ..self.clone()
        }
    }

    /// Another sighting of the same file: the older one makes room.
    pub(super) fn repeats(&self, other: &FoundFile) -> bool {
        self.target == other.target
            && self.digest == other.digest
            && self.metadata == other.metadata
    }
}

impl State {
    /// Makes the change in memory: a state that took the same changes as the ledger, in the same order, equals what
    /// [`Ledger::load`](super::Ledger::load) returns.
    pub fn apply(&mut self, change: &Change) {
        self.apply_within(change, &Limits::default());
    }

    pub(super) fn apply_within(&mut self, change: &Change, limits: &Limits) {
        match change {
            Change::Session {
                identity,
                session,
                poll,
            } => {
                put(&mut self.sessions, identity, session.as_ref());
                put(&mut self.polls, identity, poll.as_ref());
            }
            Change::Received {
                identity,
                configuration,
                at,
            } => self.receive(identity, Version::of(configuration, *at), limits),
            Change::Accepted { identity, version } => {
                put(&mut self.accepted, identity, version.as_ref());
            }
            Change::Refused { identity, refusal } => {
                put(&mut self.refusals, identity, refusal.as_ref());
            }
            Change::Installed { target, installed } => {
                put(&mut self.installed, target, installed.as_ref());
            }
            Change::Acknowledged {
                service,
                target,
                digest,
            } => {
                let targets = self.acknowledged.or_default(service);
                targets.insert(target.clone(), *digest);
            }
            Change::AcknowledgementDropped { service, target } => {
                if let Some(targets) = self.acknowledged.get_mut(service) {
                    targets.remove(target);
                    if targets.is_empty() {
                        self.acknowledged.remove(service);
                    }
                }
            }
            Change::WatchAcknowledged {
                service,
                watch,
                digest,
            } => {
                let watches = self.watched.or_default(service);
                watches.insert(watch.clone(), *digest);
            }
            Change::WatchChanged { watch, at } => {
                self.watch_changes.insert(watch.clone(), *at);
            }
            Change::WatchDropped { service, watch } => {
                if let Some(watches) = self.watched.get_mut(service) {
                    watches.remove(watch);
                    if watches.is_empty() {
                        self.watched.remove(service);
                    }
                }
                if !self.watched.values().any(|rows| rows.contains_key(watch)) {
                    self.watch_changes.remove(watch);
                }
            }
            Change::Service { service, record } => {
                put(&mut self.services, service, record.as_ref());
            }
            Change::Notified { service, at } => {
                self.notified.insert(service.clone(), *at);
            }
            Change::Waits { service, since } => put(&mut self.waits, service, since.as_ref()),
            Change::Retried { service, retry } => put(&mut self.retries, service, retry.as_ref()),
            Change::Intent(intent) => {
                self.intents.insert(intent.id, intent.clone());
            }
            Change::IntentClosed { id } => {
                self.intents.remove(id);
            }
            Change::Quarantined(quarantine) => self.quarantine(quarantine, limits),
            Change::QuarantineLifted { identity } => {
                self.quarantine
                    .retain(|one| !one.profiles.contains_key(identity));
            }
            Change::ProfileHeld { identity, held } => {
                put(&mut self.held_profiles, identity, held.as_ref());
            }
            Change::TargetHeld { target, hold } => {
                put(&mut self.held_targets, target, hold.as_ref());
            }
            Change::ProfileForgotten { identity } => {
                self.sessions.remove(identity);
                self.polls.remove(identity);
                self.received.remove(identity);
                self.accepted.remove(identity);
                self.refusals.remove(identity);
                self.history.remove(identity);
                self.held_profiles.remove(identity);
                self.quarantine
                    .retain(|one| !one.profiles.contains_key(identity));
                self.history_bytes = self.count_history_bytes();
            }
            Change::TargetForgotten { target } => {
                self.installed.remove(target);
                self.held_targets.remove(target);
                self.found_files.retain(|file| file.target != *target);
                self.acknowledged.retain(|_, targets| {
                    targets.remove(target);
                    !targets.is_empty()
                });
                self.history_bytes = self.count_history_bytes();
            }
            Change::Ran(_) => {}
            Change::FileKept { file, bytes } => self.keep(file.holding(bytes), limits),
        }
    }

    fn receive(&mut self, identity: &Identity, version: Version, limits: &Limits) {
        self.received.insert(identity.clone(), version.clone());
        let versions = self.history.or_default(identity);
        let mut bytes = self.history_bytes;
        if versions.last().map(|newest| newest.digest) == Some(version.digest) {
            versions.pop();
        } else {
            if let Some(at) = versions.iter().position(|old| old.digest == version.digest) {
                bytes = bytes.saturating_sub(versions.remove(at).size);
            }
            // The newest of a profile does not count; it is about to be the newest no more.
            bytes = bytes.saturating_add(versions.last().map_or(0, |newest| newest.size));
        }
        // Most profiles have one for a long time, and there may be thousands.
        versions.reserve_exact(1);
        versions.push(version);
        let surplus = versions.len().saturating_sub(limits.per_profile);
        for old in versions.drain(..surplus) {
            bytes = bytes.saturating_sub(old.size);
        }
        self.history_bytes = bytes;
        self.trim(limits);
    }

    fn keep(&mut self, file: FoundFile, limits: &Limits) {
        let mut gone = 0;
        self.found_files.retain(|old| {
            let repeated = old.repeats(&file);
            gone += if repeated { old.size } else { 0 };
            !repeated
        });
        let target = file.target.clone();
        self.history_bytes = self.history_bytes.saturating_add(file.size);
        self.found_files.push(file);
        let of_target = self
            .found_files
            .iter()
            .filter(|old| old.target == target)
            .count();
        let mut surplus = of_target.saturating_sub(limits.per_target);
        self.found_files.retain(|old| {
            let going = surplus > 0 && old.target == target;
            if going {
                surplus -= 1;
                gone += old.size;
            }
            !going
        });
        self.history_bytes = self.history_bytes.saturating_sub(gone);
        self.trim(limits);
    }

    fn quarantine(&mut self, quarantine: &Quarantine, limits: &Limits) {
        self.quarantine.push(quarantine.clone());
        for identity in quarantine.profiles.keys() {
            let with = |one: &Quarantine| one.profiles.contains_key(identity);
            let of_profile = self.quarantine.iter().filter(|one| with(one)).count();
            let mut surplus = of_profile.saturating_sub(limits.quarantine);
            self.quarantine.retain(|one| {
                let going = surplus > 0 && with(one);
                surplus -= usize::from(going);
                !going
            });
        }
    }

    /// Drops the oldest of history when it holds too many bytes.
    fn trim(&mut self, limits: &Limits) {
        if self.history_bytes <= limits.bytes {
            return;
        }
        let mut candidates = Vec::new();
        for (index, file) in self.found_files.iter().enumerate() {
            candidates.push(Candidate {
                at: file.at,
                size: file.size,
                key: Kept::Found(index),
            });
        }
        for (identity, versions) in &self.history {
            for version in versions.iter().rev().skip(1).rev() {
                candidates.push(Candidate {
                    at: version.since,
                    size: version.size,
                    key: Kept::Version(identity.clone(), version.digest),
                });
            }
        }
        let going: BTreeSet<Kept> = limits
            .excess(candidates, self.history_bytes)
            .into_iter()
            .collect();
        let mut index = 0;
        self.found_files.retain(|_| {
            let stays = !going.contains(&Kept::Found(index));
            index += 1;
            stays
        });
        for key in going {
            if let Kept::Version(identity, digest) = key
                && let Some(versions) = self.history.get_mut(&identity)
            {
                versions.retain(|version| version.digest != digest);
            }
        }
        self.history_bytes = self.count_history_bytes();
    }

    /// `history_bytes` counted anew.
    pub(super) fn count_history_bytes(&self) -> u64 {
        let older = |versions: &Vec<Version>| -> u64 {
            versions
                .iter()
                .rev()
                .skip(1)
                .map(|version| version.size)
                .sum()
        };
        let files: u64 = self.found_files.iter().map(|file| file.size).sum();
        files + self.history.values().map(older).sum::<u64>()
    }
}

/// A thing in history.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kept {
    Found(usize),
    Version(Identity, Digest),
}

fn put<K: Ord + Clone, V: Clone>(map: &mut Table<K, V>, key: &K, value: Option<&V>) {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    };
}
