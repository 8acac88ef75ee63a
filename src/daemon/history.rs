//! Configurations that were received and files that were kept: what `history` shows and `diff` compares.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ledger::{CommandRun, FoundFile, RunFor, State, Version};
use crate::protocol::{Digest, Identity};
use crate::settings::{ProfileName, ServiceName, Settings, TargetPath};
use crate::source::Source;

use super::view::QueueView;

/// What history belongs to: names, and whose state they are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Declared {
    pub profiles: BTreeMap<ProfileName, DeclaredProfile>,
    /// Whether a target's bodies are sensitive.
    pub targets: BTreeMap<TargetPath, bool>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeclaredProfile {
    pub identity: Identity,
    pub sensitive: bool,
}

impl Declared {
    pub(super) fn by_queues(views: &[QueueView]) -> Declared {
        let mut declared = Declared::default();
        for component in views.iter().map(|view| &view.component) {
            for (name, (profile, identity)) in &component.profiles {
                let profile = DeclaredProfile {
                    identity: identity.clone(),
                    sensitive: profile.sensitive,
                };
                declared.profiles.insert(name.clone(), profile);
            }
            let targets = component.targets.iter();
            let targets = targets.map(|(path, target)| (path.clone(), target.sensitive));
            declared.targets.extend(targets);
        }
        declared
    }

    pub fn by_settings(settings: &Settings, source: &Source) -> Declared {
        let profiles = settings.profiles.iter().map(|(name, profile)| {
            let profile = DeclaredProfile {
                identity: source.identity(profile),
                sensitive: profile.sensitive,
            };
            (name.clone(), profile)
        });
        let targets = settings.targets.iter();
        let targets = targets.map(|(path, target)| (path.clone(), target.sensitive));
        Declared {
            profiles: profiles.collect(),
            targets: targets.collect(),
        }
    }
}

/// `history --json`, schema 1. Everything newest first.
#[derive(Clone, Debug, Serialize)]
pub struct History {
    pub schema: u32,
    pub profiles: BTreeMap<ProfileName, Vec<Received>>,
    pub targets: BTreeMap<TargetPath, Vec<KeptFile>>,
    /// What services' `check`, `command` and `probe` wrote.
    pub services: BTreeMap<ServiceName, Vec<WhatRan>>,
    /// What targets' `validate_command` wrote.
    pub validations: BTreeMap<TargetPath, Vec<WhatRan>>,
}

/// A command that was run.
#[derive(Clone, Debug, Serialize)]
pub struct WhatRan {
    /// `check`, `notify`, `probe` or `validate`.
    pub what: String,
    pub at: Timestamp,
    pub command: String,
    pub outcome: String,
    /// The last 4 KiB at most.
    pub output: String,
}

/// A configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    pub digest: Digest,
    pub label: Option<String>,
    pub content_type: Option<String>,
    /// Bytes.
    pub size: u64,
    pub since: Timestamp,
    pub marks: Vec<Mark>,
}

/// What a configuration is at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Installed,
    /// The newest.
    Received,
    Refused,
    Quarantined,
    Held,
}

/// A file of somebody else's that was replaced.
#[derive(Clone, Debug, Serialize)]
pub struct KeptFile {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    pub uid: u32,
    pub gid: u32,
    /// Four octal digits.
    pub mode: String,
    pub at: Timestamp,
    pub reason: String,
}

impl History {
    /// `runs`: the oldest first.
    pub fn of(declared: &Declared, state: &State, runs: Vec<CommandRun>) -> History {
        let profiles = declared.profiles.iter();
        let targets = declared.targets.keys();
        let mut services: BTreeMap<_, Vec<WhatRan>> = BTreeMap::new();
        let mut validations: BTreeMap<_, Vec<WhatRan>> = BTreeMap::new();
        for run in runs.into_iter().rev() {
            let whose = match run.whose {
                RunFor::Service(name) => services.entry(name).or_default(),
                RunFor::Target(path) => validations.entry(path).or_default(),
            };
            whose.push(WhatRan {
                what: run.what,
                at: run.at,
                command: run.command,
                outcome: run.outcome,
                output: run.output,
            });
        }
        History {
            schema: 1,
            services,
            validations,
            profiles: profiles
                .map(|(name, profile)| (name.clone(), received(&profile.identity, state)))
                .collect(),
            targets: targets
                .map(|path| {
                    let files = state.found_files.iter().rev();
                    let files = files.filter(|file| file.target == *path);
                    (path.clone(), files.map(kept).collect())
                })
                .collect(),
        }
    }
}

/// Every configuration of a profile that the ledger has, the newest last.
pub fn versions<'a>(identity: &Identity, state: &'a State) -> Vec<&'a Version> {
    let history = state.history.get(identity);
    let mut versions: Vec<&Version> = history.into_iter().flatten().collect();
    // What is installed stays in the ledger when history has let it go.
    if let Some(accepted) = state.accepted.get(identity)
        && !versions.iter().any(|one| one.digest == accepted.digest)
    {
        versions.insert(0, accepted);
    }
    if let Some(held) = state.held_profiles.get(identity)
        && !versions.iter().any(|one| one.digest == held.version.digest)
    {
        versions.insert(0, &held.version);
    }
    versions
}

fn received(identity: &Identity, state: &State) -> Vec<Received> {
    let has = |version: Option<&Version>, digest| version.is_some_and(|it| it.digest == digest);
    let entry = |version: &Version| {
        let digest = version.digest;
        let refusal = state.refusals.get(identity);
        let mut condemned = state.quarantine.iter();
        let marks = [
            (Mark::Installed, has(state.accepted.get(identity), digest)),
            (Mark::Received, has(state.received.get(identity), digest)),
            (Mark::Refused, refusal.is_some_and(|it| it.digest == digest)),
            (
                Mark::Quarantined,
                !has(state.accepted.get(identity), digest)
                    && condemned.any(|entry| entry.profiles.get(identity) == Some(&digest)),
            ),
            (
                Mark::Held,
                has(
                    state.held_profiles.get(identity).map(|it| &it.version),
                    digest,
                ),
            ),
        ];
        Received {
            digest,
            label: version.label.clone(),
            content_type: version.content_type.clone(),
            size: version.size,
            since: version.since,
            marks: marks
                .into_iter()
                .filter_map(|(mark, is)| is.then_some(mark))
                .collect(),
        }
    };
    let versions = versions(identity, state).into_iter().rev();
    versions.map(entry).collect()
}

fn kept(file: &FoundFile) -> KeptFile {
    KeptFile {
        digest: file.digest,
        size: file.size,
        uid: file.metadata.uid,
        gid: file.metadata.gid,
        mode: format!("{:04o}", file.metadata.mode),
        at: file.at,
        reason: file.reason.clone(),
    }
}
