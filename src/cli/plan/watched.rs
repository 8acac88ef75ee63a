//! Which services would be told of files that are not ours.

use jiff::Timestamp;

use super::outlook::Outlook;
use super::wording::how;
use crate::daemon::{Ground, look_at};
use crate::ledger::State;
use crate::protocol::Digest;
use crate::settings::{Settings, Watch};

impl Outlook {
    /// Blocking: reads the files that are watched.
    pub fn add_watches(
        &mut self,
        settings: &Settings,
        state: &State,
        ground: &Ground,
        now: Timestamp,
    ) {
        for watch in settings.watches.values() {
            match look_at(watch, ground, now) {
                Ok(digest) => self.add_watch(settings, watch, state, digest),
                Err(reason) => {
                    let name = &watch.name;
                    let problem = format!("watch {name}: cannot be looked at: {reason}");
                    self.problems.push(problem);
                }
            }
        }
    }

    fn add_watch(&mut self, settings: &Settings, watch: &Watch, state: &State, digest: Digest) {
        for name in &watch.notify {
            let rows = state.watched.get(name);
            let reason = match rows.and_then(|rows| rows.get(&watch.name)) {
                Some(Some(told)) if *told == digest => continue,
                Some(Some(_)) => format!("files of watch `{}` have changed", watch.name),
                Some(None) => format!("it has not acknowledged watch `{}`", watch.name),
                // What is there when it is seen first is taken for known.
                None => continue,
            };
            let Some(service) = settings.services.get(name) else {
                continue;
            };
            self.services
                .entry(name.clone())
                .and_modify(|reasons| {
                    reasons.push_str("; ");
                    reasons.push_str(&reason);
                })
                .or_insert_with(|| format!(" ({}): {reason}", how(service)));
        }
    }
}
