//! The operator's hand: orders, carried out between two pieces of work and never inside an open transaction.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Now;
use crate::ledger::{Change, Direction, HeldProfile, Hold, Version};
use crate::protocol::{Digest, Identity};
use crate::settings::{ProfileName, TargetPath};

use super::action::{Action, Outcome};
use super::holds::Thing;
use super::machine::Machine;
use super::phase::{Draft, Phase, Rollback};
use super::{Component, Scope};

/// A reload may have taken it out since the order was made.
const UNDECLARED: &str = "it is not in the settings any more; `appconfigd status` lists what is";

/// What an operator wants of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Lifts quarantine and refusal of these profiles (`None`: all) and tries at once.
    Retry {
        profiles: Option<BTreeSet<ProfileName>>,
    },
    /// Keeps what is installed, for so long or until it is released.
    Hold {
        what: Holdable,
        seconds: Option<u64>,
    },
    /// Ends a hold: what was received last is installed.
    Release { what: Holdable },
    /// Installs an earlier version (`None`: the one before the installed) and holds the profile.
    Rollback {
        profile: ProfileName,
        version: Option<Digest>,
        /// Also where today's `validate` turns it down.
        force: bool,
    },
}

/// What can be held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holdable {
    /// It keeps its version; drift is restored to it.
    Profile(ProfileName),
    /// It is not written at all.
    Target(TargetPath),
}

impl Order {
    /// The order concerns something of this component.
    pub fn concerns(&self, component: &Component) -> bool {
        let has = |name: &ProfileName| component.profiles.contains_key(name);
        match self {
            Order::Retry { profiles } => {
                profiles.as_ref().is_none_or(|names| names.iter().any(has))
            }
            Order::Rollback { profile, .. } => has(profile),
            Order::Hold { what, .. } | Order::Release { what } => match what {
                Holdable::Profile(name) => has(name),
                Holdable::Target(path) => component.targets.contains_key(path),
            },
        }
    }

    /// The order as it is given on the command line.
    pub fn words(&self) -> String {
        match self {
            Order::Retry { .. } => "retry".to_owned(),
            Order::Hold { what, .. } => format!("hold {what}"),
            Order::Release { what } => format!("release {what}"),
            Order::Rollback { profile, .. } => format!("rollback {profile}"),
        }
    }
}

impl std::fmt::Display for Holdable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Holdable::Profile(name) => name.fmt(f),
            Holdable::Target(path) => path.fmt(f),
        }
    }
}

/// Orders that wait for their turn, under their askers' numbers.
pub(super) type Orders = VecDeque<(u64, Order)>;

/// An order that is being carried out.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// `None`: nobody gave it, the time of a hold is over.
    number: Option<u64>,
    what: String,
    /// Why it will not have been carried out when all has come to rest.
    pub failed: Option<String>,
}

impl Given {
    pub fn by_time(what: String) -> Given {
        Given {
            number: None,
            what,
            failed: None,
        }
    }

    fn said(self, result: Result<(), String>) -> Action {
        let what = self.what;
        Action::Say(match (self.number, self.failed) {
            (None, _) => Outcome::HoldEnded { what },
            (Some(order), failed) => Outcome::Ordered {
                order,
                what,
                result: result.map_err(|reason| failed.unwrap_or(reason)),
            },
        })
    }
}

/// What an order comes to.
enum Way {
    Record(Vec<Change>),
    Install(Rollback),
}

impl Machine {
    /// Takes an order in; it is carried out as soon as nothing else is under way.
    pub(super) fn order(&mut self, id: u64, order: Order, now: Now) -> Vec<Action> {
        self.orders.push_back((id, order));
        self.next(now)
    }

    /// Forgets an order that has not been begun: nobody waits for it any more. True if it was there.
    pub fn withdraw(&mut self, id: u64) -> bool {
        let before = self.orders.len();
        self.orders.retain(|(other, _)| *other != id);
        self.orders.len() < before
    }

    /// The next order, when nothing is under way. What it changes in the ledger is committed before anything is tried.
    pub(super) fn next_order(&mut self, now: Now) -> Option<Vec<Action>> {
        let (number, order) = self.orders.pop_front()?;
        let given = Given {
            number: Some(number),
            what: order.words(),
            failed: None,
        };
        let way = match order {
            Order::Retry { profiles } => Ok(Way::Record(self.retried(profiles.as_ref()))),
            Order::Hold { what, seconds } => self.hold(what, seconds, now).map(Way::Record),
            Order::Release { what } => self.release(what).map(Way::Record),
            Order::Rollback {
                profile,
                version,
                force,
            } => {
                let rollback = self.roll_back(&profile, version, force, now);
                rollback.map(Way::Install)
            }
        };
        Some(match way {
            Ok(Way::Record(changes)) if !changes.is_empty() => {
                self.phase = Phase::Ordering(given, changes.clone());
                vec![Action::Commit(changes)]
            }
            Ok(Way::Install(rollback)) => {
                let identities = BTreeSet::from([rollback.identity.clone()]);
                // What was turned down or could not be written a while ago is tried: somebody wants it now.
                self.retry(&identities);
                self.rest = None;
                self.rolling = Some(given);
                let draft = Draft {
                    scope: Some(Scope::profile(rollback.identity.clone())),
                    rollback: Some(rollback),
                    ..Draft::default()
                };
                self.plan_draft(draft, now)
            }
            Ok(Way::Record(_)) => self.at_once(given, Ok(()), now),
            Err(reason) => self.at_once(given, Err(reason), now),
        })
    }

    fn at_once(&mut self, given: Given, result: Result<(), String>, now: Now) -> Vec<Action> {
        let mut actions = vec![given.said(result)];
        actions.extend(self.next(now));
        actions
    }

    pub(super) fn obeyed(
        &mut self,
        given: Given,
        changes: &[Change],
        result: Result<(), String>,
        now: Now,
        random: &mut fastrand::Rng,
    ) -> Vec<Action> {
        self.phase = Phase::Idle;
        if let Err(reason) = result {
            let reason = format!("the ledger did not take it: {reason}");
            return match given.number {
                None => self.rest(reason, Some(Scope::nothing()), now, random),
                Some(_) => self.at_once(given, Err(reason), now),
            };
        }
        let closed = changes.iter().filter_map(|change| match change {
            Change::IntentClosed { id } => self.state.intents.get(id),
            _ => None,
        });
        let released: Vec<_> = closed.flat_map(|it| it.placements.clone()).collect();
        self.take_in(changes);
        let mut actions = Vec::new();
        if !released.is_empty() {
            actions.push(Action::Release(released));
        }
        actions.extend(self.at_once(given, Ok(()), now));
        actions
    }

    /// The rollback that is under way has come to its end.
    pub(super) fn rolled_back(&mut self, result: Result<(), String>) -> Vec<Action> {
        let given = self.rolling.take();
        given.map(|given| given.said(result)).into_iter().collect()
    }

    fn retried(&mut self, profiles: Option<&BTreeSet<ProfileName>>) -> Vec<Change> {
        let declared = self.component.profiles.iter();
        let wanted = declared.filter(|(name, _)| profiles.is_none_or(|only| only.contains(*name)));
        let identities: BTreeSet<Identity> =
            wanted.map(|(_, (_, identity))| identity.clone()).collect();
        self.retry(&identities);
        self.rest = None;
        let mut dependents = self
            .component
            .dependents(&self.component.fed_by(&identities));
        dependents.extend(self.hurry_watches());
        let known = self
            .state
            .retries
            .keys()
            .filter(|name| dependents.contains(*name));
        let mut changes: Vec<Change> = known
            .map(|service| Change::Retried {
                service: service.clone(),
                retry: None,
            })
            .collect();
        for identity in identities {
            let mut condemned = self.state.quarantine.iter();
            if condemned.any(|entry| entry.profiles.contains_key(&identity)) {
                let identity = identity.clone();
                changes.push(Change::QuarantineLifted { identity });
            }
            if self.state.refusals.contains_key(&identity) {
                changes.push(Change::Refused {
                    identity,
                    refusal: None,
                });
            }
        }
        changes
    }

    fn hold(
        &mut self,
        what: Holdable,
        seconds: Option<u64>,
        now: Now,
    ) -> Result<Vec<Change>, String> {
        let hold = Hold {
            since: now.wall,
            until: seconds.map(|seconds| later(now.wall, seconds)),
        };
        match what {
            Holdable::Profile(name) => {
                let identity = self.component.identity(&name).ok_or(UNDECLARED)?;
                let held = self.state.held_profiles.get(identity);
                let held = held.map(|held| &held.version);
                let version = held.or(self.state.accepted.get(identity));
                let version = version.ok_or(
                    "nothing is installed that could be held; `appconfigd status` says what the first \
                     version waits for",
                )?;
                let held = HeldProfile {
                    version: version.clone(),
                    hold,
                };
                Ok(vec![Change::ProfileHeld {
                    identity: identity.clone(),
                    held: Some(held),
                }])
            }
            Holdable::Target(target) => {
                self.barred.remove(&target);
                self.waiting.remove(&target);
                // A late no of a service must not write the path either: that way back ends here.
                let standing = self.state.intents.values().filter(|intent| {
                    let mut placed = intent.placements.iter();
                    intent.direction == Direction::Standing
                        && placed.any(|placement| placement.target == target)
                });
                let closed = standing.map(|intent| Change::IntentClosed { id: intent.id });
                let mut changes: Vec<Change> = closed.collect();
                let hold = Some(hold);
                changes.push(Change::TargetHeld { target, hold });
                Ok(changes)
            }
        }
    }

    fn release(&mut self, what: Holdable) -> Result<Vec<Change>, String> {
        let thing = match what {
            Holdable::Profile(name) => {
                let identity = self.component.identity(&name).ok_or(UNDECLARED)?;
                let held = self.state.held_profiles.contains_key(identity);
                held.then(|| Thing::Profile(identity.clone()))
            }
            Holdable::Target(path) => {
                let held = self.state.held_targets.contains_key(&path);
                held.then_some(Thing::Target(path))
            }
        };
        let thing = thing.ok_or("it is not held; `appconfigd status` shows what is")?;
        match &thing {
            Thing::Profile(identity) => {
                self.urgent.insert(identity.clone());
            }
            Thing::Target(path) => self.urgent.extend(self.component.feeders(path)),
        }
        Ok(self.released(thing))
    }

    fn roll_back(
        &self,
        name: &ProfileName,
        digest: Option<Digest>,
        force: bool,
        now: Now,
    ) -> Result<Rollback, String> {
        let identity = self.component.identity(name).ok_or(UNDECLARED)?;
        let version = match digest {
            Some(digest) => self.version(identity, digest),
            None => self.version_before(identity),
        };
        let version = version.ok_or_else(|| match digest {
            Some(digest) => format!(
                "version {} has left the history; `appconfigd history` shows what there is",
                digest.short()
            ),
            None => {
                "there is no version before the installed one; `appconfigd history` shows what \
                     there is, `--to` takes any of it"
                    .to_owned()
            }
        })?;
        let hold = Hold {
            since: now.wall,
            until: None,
        };
        Ok(Rollback {
            identity: identity.clone(),
            held: HeldProfile {
                version: version.clone(),
                hold,
            },
            force,
        })
    }

    fn version(&self, identity: &Identity, digest: Digest) -> Option<&Version> {
        let history = self.state.history.get(identity).into_iter().flatten();
        let mut known = history.chain(self.state.accepted.get(identity));
        known.find(|version| version.digest == digest)
    }

    /// The newest that was received before the installed one and has not failed here.
    fn version_before(&self, identity: &Identity) -> Option<&Version> {
        let installed = self.state.accepted.get(identity)?.digest;
        let versions = self.state.history.get(identity)?;
        let at = versions.iter().position(|one| one.digest == installed)?;
        let condemned = |digest: Digest| {
            let mut entries = self.state.quarantine.iter();
            entries.any(|entry| entry.profiles.get(identity) == Some(&digest))
        };
        let mut before = versions.iter().take(at).rev();
        before.find(|version| !condemned(version.digest))
    }
}

/// A time that cannot be told lies after all others.
fn later(now: Timestamp, seconds: u64) -> Timestamp {
    let after = now.checked_add(Duration::from_secs(seconds));
    after.unwrap_or(Timestamp::MAX)
}
