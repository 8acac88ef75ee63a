//! Holds: how they come with the end of a rollback, and how they end by themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::Now;
use crate::ledger::{Change, HeldProfile, Hold, Intent};
use crate::protocol::Identity;
use crate::settings::TargetPath;

use super::action::Action;
use super::machine::Machine;
use super::orders::Given;
use super::phase::{Draft, Phase};
use super::{Plan, Scope};

/// What is held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Thing {
    Profile(Identity),
    Target(TargetPath),
}

/// When holds end, in steady time: a clock that is set ends nothing early and keeps nothing for ever.
#[derive(Debug, Default)]
pub(super) struct Expiries(BTreeMap<Thing, (Timestamp, Duration)>);

impl Expiries {
    pub fn dues(&self) -> impl Iterator<Item = Duration> {
        self.0.values().map(|(_, due)| *due)
    }
}

impl Machine {
    /// Ends holds whose time is over, and notes when the others end.
    pub(super) fn end_holds(&mut self, now: Now) -> Option<Vec<Action>> {
        let profiles = self.state.held_profiles.iter();
        let profiles = profiles.map(|(id, held)| (Thing::Profile(id.clone()), held.hold));
        let targets = self.state.held_targets.iter();
        let targets = targets.map(|(path, hold)| (Thing::Target(path.clone()), *hold));
        let mut known = std::mem::take(&mut self.expiries.0);
        for (thing, hold) in profiles.chain(targets) {
            let Some(until) = hold.until else { continue };
            let due = match known.remove(&thing) {
                Some((same, due)) if same == until => due,
                _ => now.steady.saturating_add(rest_of(hold, until, now.wall)),
            };
            self.expiries.0.insert(thing, (until, due));
        }
        let mut over = self.expiries.0.iter();
        let over = over.find(|(_, (_, due))| *due <= now.steady);
        let thing = over.map(|(thing, _)| thing.clone())?;
        let what = self.words(&thing);
        let changes = self.released(thing);
        self.phase = Phase::Ordering(Given::by_time(what), changes.clone());
        Some(vec![Action::Commit(changes)])
    }

    /// The change that ends a hold; what was held back is planned next.
    pub(super) fn released(&mut self, thing: Thing) -> Vec<Change> {
        match thing {
            Thing::Profile(identity) => {
                self.mark(Scope::profile(identity.clone()));
                vec![Change::ProfileHeld {
                    identity,
                    held: None,
                }]
            }
            Thing::Target(target) => {
                self.mark(Scope::Some {
                    profiles: self.component.feeders(&target),
                    targets: [target.clone()].into(),
                });
                vec![Change::TargetHeld { target, hold: None }]
            }
        }
    }

    fn words(&self, thing: &Thing) -> String {
        match thing {
            Thing::Target(path) => path.to_string(),
            Thing::Profile(identity) => {
                let names = self.component.names(identity);
                let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                names.join(", ")
            }
        }
    }

    /// Why this plan is not the rollback that was asked for.
    pub(super) fn unrolled(&self, draft: &Draft, plan: &Plan) -> Option<String> {
        let rollback = draft.rollback.as_ref()?;
        if let Some(reason) = plan.unpinned.get(&rollback.identity) {
            return Some(reason.clone());
        }
        let version = &rollback.held.version;
        let accepted = plan
            .accepts
            .get(&rollback.identity)
            .or(self.state.accepted.get(&rollback.identity));
        if accepted.is_some_and(|accepted| accepted.digest == version.digest) {
            return None;
        }
        let fed = self.component.fed_by([&rollback.identity]);
        let waiting = fed
            .iter()
            .find_map(|path| Some(format!("target `{path}`: {}", plan.waiting.get(path)?)));
        Some(waiting.unwrap_or_else(|| "all of its targets are held".to_owned()))
    }

    /// The holds that this intent brought, taken back with it: what was held before is held again.
    pub(super) fn unheld(&self, intent: &Intent) -> Vec<Change> {
        let brought = intent.holds.iter();
        let brought = brought.filter(|(id, held)| self.state.held_profiles.get(id) == Some(held));
        brought
            .map(|(identity, _)| Change::ProfileHeld {
                identity: identity.clone(),
                held: intent.before.held.get(identity).cloned().flatten(),
            })
            .collect()
    }
}

pub(super) fn held(holds: BTreeMap<Identity, HeldProfile>) -> impl Iterator<Item = Change> {
    holds
        .into_iter()
        .map(|(identity, held)| Change::ProfileHeld {
            identity,
            held: Some(held),
        })
}

/// What is left of a hold's time: never more than the whole of it, whatever the clock says.
fn rest_of(hold: Hold, until: Timestamp, now: Timestamp) -> Duration {
    let left = |since: Timestamp| Duration::try_from(until.duration_since(since));
    let whole = left(hold.since).unwrap_or_default();
    left(now).unwrap_or_default().min(whole)
}
