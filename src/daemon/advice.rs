//! What the operator does next, for everything that is not well: one sentence with the command that helps.

use crate::ledger::ServiceCondition;
use crate::settings::{OnDrift, ProfileName, TargetPath};

use super::status::{
    ProfileCondition, ProfileStatus, ServiceStatus, TargetCondition, TargetStatus,
};

/// Before a next step, in everything that is said of a state.
const NEXT: &str = "next: ";

/// For a profile; `runs`: a daemon does. `None` where it is well, or what is said of it already has a next step.
pub fn of_profile(name: &ProfileName, profile: &ProfileStatus, runs: bool) -> Option<String> {
    let reason = profile.reason.as_deref();
    if reason.is_some_and(|reason| reason.contains(NEXT)) {
        return None;
    }
    let step = match profile.state {
        ProfileCondition::Current
        | ProfileCondition::Held
        | ProfileCondition::Refused
        | ProfileCondition::Quarantined => return None,
        ProfileCondition::Unreachable | ProfileCondition::Waiting if !runs => {
            "start the daemon, or `appconfigd once`".to_owned()
        }
        ProfileCondition::Unreachable if reason.is_some_and(|it| it.contains("in the ledger")) => {
            "it goes on by itself when that is mended; `appconfigd doctor` looks at the state \
             directory"
                .to_owned()
        }
        ProfileCondition::Unreachable => {
            "it is asked again by itself; `appconfigd doctor` finds what is in the way".to_owned()
        }
        ProfileCondition::Waiting if profile.received.is_none() => format!(
            "`appconfigd refresh {name}` polls what is due; `appconfigd doctor` finds what is in the way"
        ),
        ProfileCondition::Waiting if reason.is_none() => {
            format!("`appconfigd wait {name}` waits for the end of its transaction")
        }
        ProfileCondition::Waiting => format!(
            "it goes on by itself when that has passed; `appconfigd retry {name}` tries at once"
        ),
    };
    Some(format!("{NEXT}{step}"))
}

/// For a target, of which `notes` are said already.
pub fn of_target(
    path: &TargetPath,
    target: &TargetStatus,
    on_drift: OnDrift,
    notes: &[String],
) -> Option<String> {
    if notes.iter().any(|note| note.contains(NEXT)) {
        return None;
    }
    let step = match (target.state, on_drift) {
        (TargetCondition::InSync, _) => return None,
        (TargetCondition::Waiting, _) if target.excused => return None,
        (TargetCondition::Waiting, _) => {
            "it is written when its profiles have their versions: see above".to_owned()
        }
        (TargetCondition::Drifted | TargetCondition::Missing, OnDrift::Restore) => {
            format!("it is put back by itself; `appconfigd hold {path}` leaves it as it is")
        }
        (
            TargetCondition::Drifted | TargetCondition::Missing,
            OnDrift::Report | OnDrift::Ignore,
        ) => {
            format!("`appconfigd plan {path}` shows the difference; the next version replaces it")
        }
    };
    Some(format!("{NEXT}{step}"))
}

/// For a service.
pub fn of_service(service: &ServiceStatus) -> Option<String> {
    let gave_up = || {
        let result = service.last_result.as_deref();
        result.is_some_and(|result| result.starts_with("given up "))
    };
    let step = match service.state {
        ServiceCondition::Acknowledged | ServiceCondition::NotRunning => return None,
        ServiceCondition::Pending | ServiceCondition::Nobody if service.waits => {
            "it is told when its files are there"
        }
        ServiceCondition::Failed if gave_up() => "mend the service, then `appconfigd retry`",
        ServiceCondition::Failed => {
            "mend the service; it is told again by itself, `appconfigd retry` tells it at once"
        }
        ServiceCondition::Pending | ServiceCondition::Nobody => {
            "it is told again by itself; `appconfigd retry` tells it at once"
        }
    };
    Some(format!("{NEXT}{step}"))
}
