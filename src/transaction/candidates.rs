//! The version that each profile counts with in a plan.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ledger::{Refusal, Version};
use crate::protocol::{Configuration, Identity};
use crate::settings::{Profile, TargetPath};

use super::Plan;
use super::planning::{Pin, Planner, Why, profiles_in, same};

/// The configuration that a profile counts with.
#[derive(Clone)]
pub(super) struct Candidate {
    pub version: Version,
    pub configuration: Configuration,
    /// It is not the accepted one.
    pub new: bool,
    /// What it counts with when this one drops out, in this order.
    pub then: VecDeque<Candidate>,
}

impl Planner<'_> {
    /// Per profile of interest the newest version that its own `validate` passes, else what the transaction that is taken
    /// up again installs, else the accepted one.
    pub(super) fn candidates(
        &self,
        targets: &BTreeSet<TargetPath>,
        plan: &mut Plan,
    ) -> BTreeMap<Identity, Candidate> {
        let mut candidates = BTreeMap::new();
        let mut wanted = profiles_in(self.component, self.scope);
        wanted.extend(targets.iter().flat_map(|path| self.component.feeders(path)));
        for identity in wanted {
            let declared = self.component.profiles.values();
            // One identity may be declared under several names, each with its own `validate`.
            let profiles: Vec<&Profile> = declared
                .filter(|(_, other)| *other == identity)
                .map(|(profile, _)| profile.as_ref())
                .collect();
            if let Some(candidate) = self.first(&profiles, &identity, plan) {
                candidates.insert(identity, candidate);
            }
        }
        candidates
    }

    fn first(
        &self,
        profiles: &[&Profile],
        identity: &Identity,
        plan: &mut Plan,
    ) -> Option<Candidate> {
        let accepted = self.state.accepted.get(identity);
        let mut sound = VecDeque::new();
        if let Some(pin) = self.pins.get(identity) {
            match self.pinned(profiles, identity, pin) {
                Ok(candidate) => sound.push_back(candidate),
                Err(reason) => {
                    plan.unpinned.insert(identity.clone(), reason);
                }
            }
        } else if let Some(held) = self.state.held_profiles.get(identity) {
            // It was judged, or forced, when it was installed.
            sound.extend(self.candidate(Some(&held.version), accepted));
        } else if let Some(newest) = self.candidate(self.state.received.get(identity), accepted) {
            match self.judge(profiles, identity, &newest, accepted) {
                Ok(()) => {
                    plan.unrefused.insert(identity.clone());
                    sound.push_back(newest);
                }
                Err(refusal) => {
                    plan.refused.insert(identity.clone(), refusal);
                }
            }
        }
        if let Some(resumed) = self.candidate(self.resumed.get(identity), accepted)
            && self.judge(profiles, identity, &resumed, accepted).is_ok()
        {
            sound.push_back(resumed);
        }
        // What was accepted once is not judged again: the files are made from it.
        sound.extend(self.candidate(accepted, accepted));
        let mut first = sound.pop_front()?;
        first.then = sound;
        Some(first)
    }

    /// The version that an operator has asked for, or why it cannot count.
    fn pinned(
        &self,
        profiles: &[&Profile],
        identity: &Identity,
        pin: &Pin,
    ) -> Result<Candidate, String> {
        let accepted = self.state.accepted.get(identity);
        let candidate = self.candidate(Some(&pin.version), accepted);
        let candidate = candidate
            .ok_or("its bytes have left the history; `appconfigd history` shows what there is")?;
        let judged = self.judge(profiles, identity, &candidate, accepted);
        let checked = self
            .turned_down
            .contains_key(&(identity.clone(), pin.version.digest));
        match judged {
            // No force makes a program of the target's own accept a file.
            Err(refusal) if checked => Err(refusal.reason),
            Err(refusal) if !pin.force => Err(format!(
                "today's `validate` turns it down: {}; `--force` installs it all the same",
                refusal.reason
            )),
            Ok(()) | Err(_) => Ok(candidate),
        }
    }

    fn candidate(
        &self,
        version: Option<&Version>,
        accepted: Option<&Version>,
    ) -> Option<Candidate> {
        let version = version?;
        let bytes = self.bodies.get(&version.digest)?.clone();
        let configuration =
            Configuration::new(bytes, version.content_type.clone(), version.label.clone());
        let new = accepted.is_none_or(|accepted| !same(accepted, version));
        Some(Candidate {
            version: version.clone(),
            configuration,
            new,
            then: VecDeque::new(),
        })
    }

    fn judge(
        &self,
        profiles: &[&Profile],
        identity: &Identity,
        candidate: &Candidate,
        accepted: Option<&Version>,
    ) -> Result<(), Refusal> {
        let key = (identity.clone(), candidate.version.digest);
        if let Some(refusal) = self.turned_down.get(&key) {
            return Err(refusal.clone());
        }
        let before = accepted
            .filter(|_| candidate.new)
            .map(|version| version.size);
        for profile in profiles {
            let judged = self
                .content
                .validate(profile, &candidate.configuration, before);
            judged.map_err(|refused| self.refusal(identity, candidate, refused.reason))?;
        }
        Ok(())
    }

    /// A refusal keeps its first time as long as it is the same.
    fn refusal(&self, identity: &Identity, candidate: &Candidate, reason: String) -> Refusal {
        let digest = candidate.version.digest;
        let known = self.state.refusals.get(identity);
        let known = known.filter(|refusal| refusal.digest == digest && refusal.reason == reason);
        known.cloned().unwrap_or(Refusal {
            digest,
            reason,
            since: self.now,
        })
    }

    pub(super) fn new_feeders<'a>(
        &self,
        targets: impl Iterator<Item = &'a TargetPath>,
        candidates: &BTreeMap<Identity, Candidate>,
    ) -> BTreeSet<Identity> {
        let feeders = targets.flat_map(|path| self.component.feeders(path));
        feeders
            .filter(|identity| candidates.get(identity).is_some_and(|c| c.new))
            .collect()
    }

    /// The profiles count with the version before from here on.
    pub(super) fn drop_out(
        &self,
        profiles: &BTreeSet<Identity>,
        why: &Why,
        candidates: &mut BTreeMap<Identity, Candidate>,
        plan: &mut Plan,
    ) {
        for identity in profiles {
            let Some(mut dropped) = candidates.remove(identity) else {
                continue;
            };
            let mut then = std::mem::take(&mut dropped.then);
            if let Some(mut next) = then.pop_front() {
                next.then = then;
                candidates.insert(identity.clone(), next);
            }
            let (Why::Refused(reason) | Why::Delayed(reason) | Why::Quarantined(reason)) = why;
            let pin = self.pins.get(identity);
            if pin.is_some_and(|pin| same(&pin.version, &dropped.version)) {
                plan.unpinned.insert(identity.clone(), reason.clone());
                continue;
            }
            // What is said of a profile is said of its newest version.
            let newest = self.state.received.get(identity);
            if newest.is_none_or(|newest| !same(newest, &dropped.version)) {
                continue;
            }
            match why {
                Why::Refused(reason) => {
                    let refusal = self.refusal(identity, &dropped, reason.clone());
                    plan.refused.insert(identity.clone(), refusal);
                    plan.unrefused.remove(identity);
                }
                Why::Delayed(reason) => {
                    plan.delayed.insert(identity.clone(), reason.clone());
                }
                Why::Quarantined(reason) => {
                    plan.quarantined.insert(identity.clone(), reason.clone());
                }
            }
        }
    }

    /// New versions of which at least one target was made, or which feed none, are accepted by this plan.
    pub(super) fn accept(&self, candidates: &BTreeMap<Identity, Candidate>, plan: &mut Plan) {
        for (identity, candidate) in candidates.iter().filter(|(_, candidate)| candidate.new) {
            let fed = self.component.fed_by([identity]);
            if fed.is_empty() || fed.iter().any(|path| plan.sound.contains(path)) {
                let version = Version {
                    since: self.now,
                    ..candidate.version.clone()
                };
                plan.accepts.insert(identity.clone(), version);
            }
        }
    }
}
