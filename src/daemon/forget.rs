//! Forgetting what the settings do not name any more: its rows stay until an operator says so.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ledger::{Change, Ledger, LedgerError, State};
use crate::protocol::Identity;
use crate::settings::TargetPath;
use crate::words::with_causes;

use super::Daemon;

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgotten {
    /// In words.
    Done { what: String },
    /// It is in use, or several are meant, or the ledger fails.
    Not { problem: String },
    /// The ledger knows nothing of that name.
    Unknown { problem: String },
}

impl Daemon {
    /// Drops all that the ledger has of a path, or of a profile, that the settings do not name.
    pub(super) fn forgetting(
        &self,
        name: String,
    ) -> impl Future<Output = Forgotten> + Send + use<> {
        let profiles = self.settings.profiles.values();
        let identities = profiles.map(|profile| self.source.identity(profile));
        let declared = Names {
            identities: identities.collect(),
            profiles: self
                .settings
                .profiles
                .keys()
                .map(ToString::to_string)
                .collect(),
            targets: self.settings.targets.keys().cloned().collect(),
        };
        let ledger = self.ledger.clone();
        async move {
            let forgotten = forget(&ledger, &declared, &name).await;
            forgotten.unwrap_or_else(|error| Forgotten::Not {
                problem: with_causes(&error),
            })
        }
    }
}

/// What the settings name.
struct Names {
    identities: BTreeSet<Identity>,
    profiles: BTreeSet<String>,
    targets: BTreeSet<TargetPath>,
}

async fn forget(ledger: &Ledger, declared: &Names, name: &str) -> Result<Forgotten, LedgerError> {
    let state = ledger.load().await?;
    let is_known =
        |path: &TargetPath| declared.targets.contains(path) || knows_target(&state, path);
    let path = TargetPath::meant(name, is_known);
    let is_target = path
        .as_ref()
        .is_some_and(|path| declared.targets.contains(path));
    if is_target || declared.profiles.contains(name) {
        let problem = format!("`{name}` is in the settings: take it out and reload first");
        return Ok(Forgotten::Not { problem });
    }
    let (change, what) = match path {
        Some(path) => {
            let what = format!("target {path}");
            (Change::TargetForgotten { target: path }, what)
        }
        _ => match profile(&state, declared, name) {
            Ok(Some(identity)) => {
                let what = format!("profile {}", identity.0);
                (Change::ProfileForgotten { identity }, what)
            }
            Ok(None) => {
                let problem = format!("nothing is known of `{name}`");
                return Ok(Forgotten::Unknown { problem });
            }
            Err(problem) => return Ok(Forgotten::Not { problem }),
        },
    };
    if is_open(&state, &change) {
        let problem = format!("a transaction of `{name}` is open: `appconfigd status` shows why");
        return Ok(Forgotten::Not { problem });
    }
    ledger.commit(vec![change]).await?;
    tracing::info!(what, "forgotten");
    Ok(Forgotten::Done { what })
}

/// The one profile that the settings do not have and that is called so: by its configuration profile, or by
/// `APPLICATION/ENVIRONMENT/PROFILE`.
fn profile(state: &State, declared: &Names, name: &str) -> Result<Option<Identity>, String> {
    let known = state
        .sessions
        .keys()
        .chain(state.polls.keys())
        .chain(state.received.keys())
        .chain(state.accepted.keys())
        .chain(state.history.keys())
        .chain(state.held_profiles.keys());
    let known: BTreeSet<&Identity> = known.collect();
    let parts: Vec<&str> = name.splitn(3, '/').collect();
    let ending = match parts.as_slice() {
        [application, environment, profile] => format!(
            " application={application:?} environment={environment:?} configuration_profile={profile:?}"
        ),
        _ => format!(" configuration_profile={name:?}"),
    };
    let called = known.into_iter().filter(|identity| {
        identity.0.ends_with(&ending) && !declared.identities.contains(*identity)
    });
    let called: Vec<&Identity> = called.collect();
    match called.as_slice() {
        [] => Ok(None),
        [identity] => Ok(Some((*identity).clone())),
        several => {
            let names: Vec<&str> = several.iter().map(|one| &*one.0).collect();
            Err(format!(
                "`{name}` may be {} profiles, write APPLICATION/ENVIRONMENT/PROFILE: {}",
                several.len(),
                names.join("; ")
            ))
        }
    }
}

fn knows_target(state: &State, path: &TargetPath) -> bool {
    let mut acknowledged = state.acknowledged.values();
    state.installed.contains_key(path)
        || state.held_targets.contains_key(path)
        || state.found_files.iter().any(|file| file.target == *path)
        || acknowledged.any(|targets| targets.contains_key(path))
}

fn is_open(state: &State, change: &Change) -> bool {
    let mut intents = state.intents.values();
    intents.any(|intent| match change {
        Change::TargetForgotten { target } => {
            let mut placed = intent.placements.iter();
            placed.any(|placement| placement.target == *target)
        }
        Change::ProfileForgotten { identity } => {
            intent.profiles.contains_key(identity) || intent.before.accepted.contains_key(identity)
        }
        _ => false,
    })
}
