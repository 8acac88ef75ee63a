//! What status says of holds.

use crate::clock::second_of;
use crate::ledger::{HeldProfile, Hold};
use crate::protocol::Identity;
use crate::settings::TargetPath;

use super::view::QueueView;

impl QueueView {
    pub(super) fn held_at(&self, identity: &Identity, held: &HeldProfile) -> String {
        let names = self.component.names(identity);
        let name = names.first().map_or("", |name| name.as_str());
        let label = held.version.label.as_deref();
        let label = label.map_or(String::new(), |label| format!(" ({label})"));
        let digest = held.version.digest.short();
        format!(
            "held at {digest}{label} {}; next: `appconfigd release {name}` installs what was received last",
            span(held.hold)
        )
    }

    pub(super) fn held_target_of(&self, identity: &Identity) -> Option<TargetPath> {
        let fed = self.component.fed_by([identity]);
        let mut held = fed.iter();
        let held = held.find(|path| self.state.held_targets.contains_key(*path));
        held.cloned()
    }

    /// What is said of a path that is held.
    pub(super) fn hold(&self, path: &TargetPath) -> Option<String> {
        let hold = self.state.held_targets.get(path)?;
        let span = span(*hold);
        Some(format!(
            "held {span}: it is not written; next: `appconfigd release {path}` installs what was received last"
        ))
    }
}

/// `since …, until …`, to the second.
fn span(hold: Hold) -> String {
    let until = hold.until.map(second_of);
    let until = until.map_or(String::new(), |until| format!(", until {until}"));
    format!("since {}{until}", second_of(hold.since))
}
