//! How far it is until everything, or what some profiles feed, is in place.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ledger::ServiceCondition;
use crate::protocol::Identity;
use crate::settings::{ProfileName, ServiceName, TargetPath};

use super::status::{ProfileCondition, Status, TargetCondition, spoken};
use super::view::QueueView;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// What was received last is installed, and who depends on it knows.
    Settled,
    /// Time may bring it: what is missing.
    OnItsWay {
        reason: String,
        /// A required profile could not be reached.
        unreachable: bool,
    },
    /// Only an operator can: why.
    Stuck(String),
}

impl Standing {
    /// Of these profiles, `None`: all. `None` where the daemon does not have one of them.
    pub fn of(
        views: &[QueueView],
        mut status: Status,
        names: Option<&BTreeSet<ProfileName>>,
    ) -> Option<Standing> {
        if let Some(names) = names {
            let known = |name| status.profiles.contains_key(name);
            if !names.iter().all(known) {
                return None;
            }
            let (targets, services) = fed(views, names);
            status.profiles.retain(|name, _| names.contains(name));
            status.targets.retain(|path, _| targets.contains(path));
            let services: BTreeSet<&str> = services.iter().map(ServiceName::as_str).collect();
            status
                .services
                .retain(|name, _| services.contains(name.as_str()));
            // Who is asked for by name counts.
            for profile in status.profiles.values_mut() {
                profile.required = true;
            }
        }
        Some(judge(&status))
    }
}

/// What these profiles feed, and who depends on it.
fn fed(
    views: &[QueueView],
    names: &BTreeSet<ProfileName>,
) -> (BTreeSet<TargetPath>, BTreeSet<ServiceName>) {
    let (mut targets, mut services) = (BTreeSet::new(), BTreeSet::new());
    for view in views {
        let profiles = view.component.profiles.iter();
        let named = profiles.filter(|(name, _)| names.contains(*name));
        let identities: Vec<&Identity> = named.map(|(_, (_, identity))| identity).collect();
        let fed = view.component.fed_by(identities);
        services.extend(view.component.dependents(&fed));
        targets.extend(fed);
    }
    (targets, services)
}

fn judge(status: &Status) -> Standing {
    if status.is_settled() {
        return Standing::Settled;
    }
    let mut missing = Vec::new();
    for (name, profile) in &status.profiles {
        if profile.state == ProfileCondition::Current || !profile.required {
            continue;
        }
        let word = spoken(&profile.state);
        let reason = profile.reason.as_deref();
        let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
        let said = format!("profile `{name}` is {word}{reason}");
        match profile.state {
            ProfileCondition::Refused | ProfileCondition::Quarantined | ProfileCondition::Held => {
                return Standing::Stuck(said);
            }
            ProfileCondition::Unreachable
            | ProfileCondition::Waiting
            | ProfileCondition::Current => missing.push(said),
        }
    }
    for (name, service) in &status.services {
        let result = service.last_result.as_deref().unwrap_or("not told yet");
        let said = format!("service `{name}` is {}: {result}", spoken(&service.state));
        match service.state {
            ServiceCondition::Acknowledged | ServiceCondition::NotRunning => {}
            ServiceCondition::Failed if result.starts_with("given up ") => {
                return Standing::Stuck(said);
            }
            ServiceCondition::Pending | ServiceCondition::Nobody | ServiceCondition::Failed => {
                missing.push(said);
            }
        }
    }
    for (path, target) in &status.targets {
        if target.state != TargetCondition::InSync && !target.excused {
            missing.push(format!("target `{path}` is {}", spoken(&target.state)));
        }
    }
    Standing::OnItsWay {
        reason: missing.into_iter().next().unwrap_or_default(),
        unreachable: status.is_unreachable(),
    }
}
