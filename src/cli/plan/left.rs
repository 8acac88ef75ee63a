//! What stays as it is, although something else was received or lies there: holds, and drift that is left alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::second_of;
use crate::ledger::{HeldProfile, Hold, State};
use crate::settings::{OnDrift, TargetPath};
use crate::transaction::{Component, Plan};

/// Per target why it is not written.
pub fn left_alone(
    component: &Component,
    state: &State,
    plan: &Plan,
    chosen: &BTreeSet<TargetPath>,
) -> BTreeMap<TargetPath, String> {
    let mut left = BTreeMap::new();
    for path in chosen {
        let on_drift = component.targets.get(path).map(|target| target.on_drift);
        let drift = plan.drifted.get(path).filter(|drift| drift.left);
        let words = match (state.held_targets.get(path), drift, on_drift) {
            (Some(hold), _, _) => format!(
                "is held {}: it is not written; next: `appconfigd release {path}`",
                span(hold)
            ),
            (None, Some(_), Some(OnDrift::Report)) => {
                "was changed by somebody else and is left alone (`on_drift: report`) until the next version; \
                 remove it to have it put back"
                    .to_owned()
            }
            (None, Some(_), _) => {
                "was changed by somebody else, which is ignored (`on_drift: ignore`) until the next version"
                    .to_owned()
            }
            (None, None, _) => continue,
        };
        left.insert(path.clone(), words);
    }
    left
}

/// What is added to the version of a profile that is held.
pub fn held(held: &HeldProfile, is_newest: bool) -> String {
    let newer = match is_newest {
        true => "",
        false => ", a newer one was received",
    };
    format!("held {}{newer}", span(&held.hold))
}

fn span(hold: &Hold) -> String {
    let until = hold.until.map(second_of);
    let until = until.map_or(String::new(), |until| format!(", until {until}"));
    format!("since {}{until}", second_of(hold.since))
}
