//! What the commands of a service are told of a change, in variables.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::{Intent, Version};
use crate::protocol::Identity;
use crate::settings::{ProfileName, ServiceName, TargetPath};
use crate::words;

use super::Component;
use super::action::{About, Step};
use super::machine::Machine;

/// Bytes of one variable.
const LONGEST: usize = 96 * 1024;

/// `APPCONFIGD_PROFILES`, `_TARGETS`, `_VERSION` and `_PREVIOUS_VERSION`, of what concerns the service.
///
/// Several values are separated by line feeds, which no name has; versions are in the order of the profiles, and empty
/// where there is none. What is longer than 96 KiB is left out whole, and named in `_OMITTED`: half a list would be taken
/// for all of it, and the kernel starts no program with a variable of 128 KiB.
pub fn variables(
    component: &Component,
    service: &ServiceName,
    step: Step,
    about: &About,
) -> Vec<(String, String)> {
    let depends = component.dependencies(service);
    let targets: Vec<&TargetPath> = about
        .targets
        .iter()
        .filter(|path| depends.contains(*path))
        .collect();
    let feeders: BTreeSet<Identity> = targets
        .iter()
        .flat_map(|path| component.feeders(path))
        .collect();
    let profiles: Vec<(&ProfileName, &Identity)> = component
        .profiles
        .iter()
        .map(|(name, (_, identity))| (name, identity))
        .filter(|(_, identity)| feeders.contains(*identity))
        .collect();
    // On the way back the versions have changed places.
    let (now, before) = match step {
        Step::NotifyBack | Step::ProbeBack => (&about.previous, &about.versions),
        Step::Check | Step::Notify | Step::Probe => (&about.versions, &about.previous),
    };
    let versions = |of: &BTreeMap<Identity, Version>| {
        let all = profiles.iter().map(|(_, identity)| of.get(*identity));
        lines(all.map(|version| version.map_or(String::new(), shown)))
    };
    let names = lines(profiles.iter().map(|(name, _)| name.to_string()));
    let told = [
        ("PROFILES", names),
        ("TARGETS", lines(targets.iter().map(ToString::to_string))),
        ("VERSION", versions(now)),
        ("PREVIOUS_VERSION", versions(before)),
    ];
    let (told, omitted): (Vec<_>, Vec<_>) = told
        .into_iter()
        .map(|(name, value)| (format!("APPCONFIGD_{name}"), value))
        .partition(|(_, value)| value.len() <= LONGEST);
    let omitted: Vec<String> = omitted.into_iter().map(|(name, _)| name).collect();
    let omission = ("APPCONFIGD_OMITTED".to_owned(), omitted.join(" "));
    let omission = Some(omission).filter(|(_, names)| !names.is_empty());
    told.into_iter().chain(omission).collect()
}

fn lines(values: impl Iterator<Item = String>) -> String {
    values.collect::<Vec<_>>().join("\n")
}

/// AppConfig's label, or the start of the digest where the service sends none.
fn shown(version: &Version) -> String {
    match &version.label {
        Some(label) => words::escape(label, &[]),
        None => version.digest.short().to_string(),
    }
}

impl Machine {
    /// What services are told about a transaction.
    pub(super) fn about(&self, intent: &Intent) -> About {
        let placed = intent.placements.iter();
        let targets: BTreeSet<TargetPath> =
            placed.map(|placement| placement.target.clone()).collect();
        let accepted = self.accepted_by(&targets);
        let mut previous = accepted.clone();
        for (identity, version) in &intent.before.accepted {
            match version {
                Some(version) => previous.insert(identity.clone(), version.clone()),
                None => previous.remove(identity),
            };
        }
        let mut versions = accepted;
        versions.extend(intent.profiles.clone());
        let ran = intent.services.iter().filter(|(_, service)| service.ran);
        About {
            since: intent.opened_at,
            targets,
            versions,
            previous,
            ran: ran.map(|(name, _)| name.clone()).collect(),
        }
    }

    /// The accepted versions that these targets are made from.
    pub(super) fn accepted_by(
        &self,
        targets: &BTreeSet<TargetPath>,
    ) -> BTreeMap<Identity, Version> {
        let feeders = targets.iter().flat_map(|path| self.component.feeders(path));
        let accepted = |identity: Identity| {
            let version = self.state.accepted.get(&identity)?.clone();
            Some((identity, version))
        };
        feeders.filter_map(accepted).collect()
    }
}
