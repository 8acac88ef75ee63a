//! What watches see: files that are not ours, whose state services are told of.
//!
//! A pair (service, watch) is pending when its row is unknown. It becomes unknown, on disk, before anybody is told: a
//! service that has been told of a state that is gone again is told once more. What is seen for the first time by a pair
//! without a row is taken for what the service knows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::Now;
use crate::ledger::Change;
use crate::protocol::Digest;
use crate::settings::{OnStart, ServiceName, WatchName};

use super::action::{Action, Outcome};
use super::machine::Machine;
use super::pace::{Pacing, Turn};
use super::telling::Telling;

/// What was seen of the component's watches in this process.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    /// Does not change while anybody is told.
    seen: BTreeMap<WatchName, Sighting>,
    /// Seen since then.
    news: BTreeMap<WatchName, Sighting>,
    looked: BTreeSet<WatchName>,
    /// An operator wants everybody told now.
    urgent: bool,
    due: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Sighting {
    digest: Digest,
    at: Timestamp,
    /// When the first change was seen that nobody has been told of.
    since: Timestamp,
    /// Another state came before it and after `seen`: whoever was told meanwhile may have read that one.
    detour: bool,
}

impl Machine {
    /// `None`: it could not be looked at.
    pub(super) fn watched(
        &mut self,
        sightings: BTreeMap<WatchName, Option<Digest>>,
        now: Now,
    ) -> Vec<Action> {
        for (watch, digest) in sightings {
            if let Some(digest) = digest {
                let at = now.wall;
                let since = at;
                let before = self.sightings.news.get(&watch);
                let detour = before.is_some_and(|one| one.detour || one.digest != digest);
                let sighting = Sighting {
                    digest,
                    at,
                    since,
                    detour,
                };
                self.sightings.news.insert(watch.clone(), sighting);
            }
            self.sightings.looked.insert(watch);
        }
        self.next(now)
    }

    /// Every watch has been looked at, with or without success.
    pub fn has_looked(&self) -> bool {
        let mut watches = self.component.watches.keys();
        watches.all(|watch| self.sightings.looked.contains(watch))
    }

    /// Records what the watches have seen: nothing is told before that is on disk.
    pub(super) fn take_sightings(&mut self) -> Vec<Action> {
        let mut changes = Vec::new();
        let mut changed = BTreeMap::new();
        let mut detours = BTreeSet::new();
        for (watch, mut news) in std::mem::take(&mut self.sightings.news) {
            let seen = self.sightings.seen.get(&watch);
            if seen.is_some_and(|seen| seen.digest == news.digest && !news.detour) {
                continue;
            }
            if news.detour {
                detours.insert(watch.clone());
            }
            // What was tried with the state before says nothing about this one.
            let told = self.component.told_by(&watch).iter();
            let tried = told.filter(|service| self.state.retries.contains_key(*service));
            changes.extend(tried.map(|service| Change::Retried {
                service: service.clone(),
                retry: None,
            }));
            let mut rows = self.component.told_by(&watch).iter();
            if let Some(seen) = seen
                && rows.any(|service| self.watch_row(service, &watch) == Some(None))
            {
                news.since = seen.since;
            }
            if seen.is_some() {
                changed.insert(watch.clone(), news.at);
            }
            self.sightings.seen.insert(watch, news);
        }
        let mut said = Vec::new();
        for (watch, sighting) in &self.sightings.seen {
            let mut told = BTreeSet::new();
            for service in self.component.told_by(watch) {
                let row = self.watch_row(service, watch);
                let news = match row {
                    None => self.hears_of_starts(service),
                    Some(Some(known)) if known != sighting.digest || detours.contains(watch) => {
                        changed.insert(watch.clone(), sighting.at);
                        true
                    }
                    Some(_) => continue,
                };
                if news {
                    told.insert(service.clone());
                }
                let digest = (!news).then_some(sighting.digest);
                changes.push(Change::WatchAcknowledged {
                    service: service.clone(),
                    watch: watch.clone(),
                    digest,
                });
            }
            if !told.is_empty() {
                said.push(Action::Say(Outcome::WatchChanged {
                    watch: watch.clone(),
                    services: told,
                }));
            }
        }
        let when = changed.into_iter();
        changes.extend(when.map(|(watch, at)| Change::WatchChanged { watch, at }));
        if changes.is_empty() {
            return Vec::new();
        }
        said.extend(self.commit_of_telling(Telling::of_nobody(changes)));
        said
    }

    /// It has not been told of the state that one of its watches has.
    pub(super) fn is_behind_watches(&self, service: &ServiceName) -> bool {
        let rows = self.state.watched.get(service);
        rows.is_some_and(|rows| rows.values().any(Option::is_none))
    }

    /// A service that is behind watches is told when these have been looked at, so that what it is told of can be recorded;
    /// of watches alone also when its pace allows it.
    pub(super) fn may_tell_of_watches(&self, service: &ServiceName, now: Now) -> bool {
        let mut unknown = self.unknown_to(service);
        match self.is_behind(service) {
            true => unknown.all(|watch| self.sightings.looked.contains(watch)),
            false => {
                unknown.all(|watch| self.sightings.seen.contains_key(watch))
                    && self.turn_of(service, now) <= now.wall
            }
        }
    }

    /// Steady time at which the first of the services that wait for their pace may be told of watches.
    pub(super) fn watches_due(&self) -> Option<Duration> {
        self.sightings.due
    }

    /// Notes when the next of these services may be told of its watches.
    pub(super) fn wait_for_pace(&mut self, pending: &BTreeSet<ServiceName>, now: Now) {
        let waits = pending.iter().filter(|name| !self.is_behind(name));
        let turns = waits.map(|name| self.turn_of(name, now));
        let next = turns.filter(|turn| *turn > now.wall).min();
        self.sightings.due = next.map(|turn| {
            let wait = Duration::try_from(turn.duration_since(now.wall));
            now.steady.saturating_add(wait.unwrap_or_default())
        });
    }

    /// When the service's pace allows it to be told of its watches. What is tried again does not wait twice.
    fn turn_of(&self, name: &ServiceName, now: Now) -> Timestamp {
        let (Some(service), Pacing::Kept(host)) = (self.component.services.get(name), &self.pacing)
        else {
            return now.wall;
        };
        let urgent = self.sightings.urgent || self.state.retries.contains_key(name);
        if service.pace.is_none() || urgent {
            return now.wall;
        }
        let seen = self.unknown_to(name);
        let seen = seen.filter_map(|watch| self.sightings.seen.get(watch));
        let (first, last) = seen.fold((now.wall, Timestamp::MIN), |(first, last), seen| {
            (first.min(seen.since), last.max(seen.at))
        });
        let turn = Turn {
            service,
            notified: self.state.notified.get(name).copied(),
            since: first,
            came: last,
        };
        turn.comes(host, now.wall).0
    }

    /// The services of all watches, which an operator wants told now, whatever the pace.
    pub(super) fn hurry_watches(&mut self) -> BTreeSet<ServiceName> {
        let watches = self.component.watches.values();
        let services: BTreeSet<ServiceName> = watches
            .flat_map(|watch| watch.notify.iter().cloned())
            .collect();
        self.sightings.urgent = !services.is_empty();
        services
    }

    pub(super) fn hurried(&mut self) {
        self.sightings.urgent = false;
    }

    /// Not under `once`.
    pub(super) fn keeps_pace(&self) -> bool {
        self.pacing != Pacing::Ignored
    }

    fn hears_of_starts(&self, service: &ServiceName) -> bool {
        let service = self.component.services.get(service);
        let always = service.is_some_and(|service| service.conditions.on_start == OnStart::Always);
        always && self.keeps_pace()
    }

    /// A start that the service wants to hear of is one more state that it has not been told of.
    pub(super) fn greet_watches(&self, service: &ServiceName) -> Vec<Change> {
        let rows = self.state.watched.get(service).into_iter().flatten();
        let known = rows.filter(|(_, row)| row.is_some());
        let unknown = known.map(|(watch, _)| Change::WatchAcknowledged {
            service: service.clone(),
            watch: watch.clone(),
            digest: None,
        });
        unknown.collect()
    }

    fn unknown_to(&self, service: &ServiceName) -> impl Iterator<Item = &WatchName> {
        let rows = self.state.watched.get(service).into_iter().flatten();
        rows.filter(|(_, row)| row.is_none())
            .map(|(watch, _)| watch)
    }

    /// When the last of the changes was seen that these services have not been told of.
    pub(super) fn seen_at(&self, services: &BTreeSet<ServiceName>) -> Option<Timestamp> {
        let unknown = services.iter().flat_map(|name| self.unknown_to(name));
        let seen = unknown.filter_map(|watch| self.sightings.seen.get(watch));
        seen.map(|sighting| sighting.at).max()
    }

    /// The service knows of what was seen before it was told.
    pub(super) fn settle_watches(&self, service: &ServiceName) -> Vec<Change> {
        let rows = self.state.watched.get(service).into_iter().flatten();
        let settled = rows.filter_map(|(watch, row)| {
            let digest = Some(self.sightings.seen.get(watch)?.digest);
            (*row != digest).then(|| Change::WatchAcknowledged {
                service: service.clone(),
                watch: watch.clone(),
                digest,
            })
        });
        settled.collect()
    }

    fn watch_row(&self, service: &ServiceName, watch: &WatchName) -> Option<Option<Digest>> {
        self.state.watched.get(service)?.get(watch).copied()
    }
}
