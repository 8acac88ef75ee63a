//! What the journal says: one event an outcome.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Replaced;
use super::differences::Differences;
use crate::clock::second_of;
use crate::install::{Found, Metadata};
use crate::ledger::{ServiceCondition, State};
use crate::protocol::Identity;
use crate::settings::{ProfileName, TargetPath};
use crate::source::Fault;
use crate::telemetry::list;
use crate::transaction::{Component, Drift, Outcome};

/// So many names are shown in a line: a thousand help nobody.
const SHOWN: usize = 5;

/// Knows profiles by the names that the settings give them.
pub trait Named {
    fn names_of(&self, identity: &Identity) -> &[ProfileName];
}

/// One line for an outcome.
pub fn say(component: &Component, outcome: &Outcome) {
    match outcome {
        Outcome::Refused { profiles, refusal } => {
            let profiles = names(component, profiles.iter());
            let digest = refusal.digest.short();
            tracing::error!(event = "refused", journal.digest = %refusal.digest, profiles, digest, reason = refusal.reason, "version refused");
        }
        Outcome::Swapped { targets } => {
            tracing::debug!(targets = paths(targets), "files are in place");
        }
        Outcome::Installed {
            targets,
            profiles,
            services,
        } => {
            let versions: Vec<String> = profiles
                .iter()
                .take(SHOWN)
                .map(|(identity, version)| {
                    let name = names(component, std::iter::once(identity));
                    let label = version.label.as_deref().map(|label| format!(" ({label})"));
                    format!(
                        "{name} {}{}",
                        version.digest.short(),
                        label.unwrap_or_default()
                    )
                })
                .collect();
            let services: Vec<&str> = services.iter().map(|name| name.as_str()).collect();
            let names_of: Vec<String> = profiles
                .keys()
                .map(|identity| names(component, std::iter::once(identity)))
                .collect();
            let labels = profiles
                .values()
                .filter_map(|version| version.label.clone());
            let labels: Vec<String> = labels.collect();
            let digests = profiles.values().map(|version| version.digest.to_string());
            let digests: Vec<String> = digests.collect();
            tracing::info!(
                event = "installed",
                journal.profile = list(names_of.iter().map(String::as_str), 0),
                journal.version = list(labels.iter().map(String::as_str), 0),
                journal.digest = list(digests.iter().map(String::as_str), 0),
                targets = paths(targets),
                versions = versions.join(", "),
                services = list(services.iter().copied(), 0),
                "installed"
            );
        }
        Outcome::Accepted { profiles } => {
            let profiles = names(component, profiles.keys());
            tracing::info!(
                event = "accepted",
                profiles,
                "accepted: nothing on disk had to change"
            );
        }
        Outcome::Repaired { target, found } => {
            let (owner, group, mode) = words(found.as_ref());
            tracing::warn!(
                event = "repaired",
                target_path = target.as_str(),
                found_owner = owner,
                found_group = group,
                found_mode = mode,
                "owner, group or mode repaired"
            );
        }
        Outcome::Drifted {
            target,
            drift,
            kept,
        } => drifted(target, drift, *kept),
        Outcome::Delayed {
            target,
            reason,
            retry_in,
        } => {
            let retry_in_seconds = retry_in.as_secs_f64().ceil();
            tracing::warn!(
                event = "delayed",
                target_path = target.as_str(),
                reason,
                retry_in_seconds,
                "target left as it is"
            );
        }
        Outcome::GoingBack { targets, reason } => {
            tracing::warn!(
                event = "going_back",
                targets = paths(targets),
                reason,
                "going back"
            );
        }
        Outcome::WentBack {
            targets,
            reason,
            quarantined,
        } => {
            tracing::error!(
                event = "went_back",
                targets = paths(targets),
                reason,
                quarantined,
                "went back to the previous version"
            );
        }
        Outcome::BackFailed { reason, retry_in } => {
            let retry_in_seconds = retry_in.as_secs_f64().ceil();
            tracing::error!(
                event = "step_failed",
                reason,
                retry_in_seconds,
                "a step after the swap failed"
            );
        }
        Outcome::WatchChanged { watch, services } => {
            let services: Vec<&str> = services.iter().map(|name| name.as_str()).collect();
            tracing::info!(
                event = "watch_changed",
                watch = watch.as_str(),
                services = list(services.iter().copied(), 0),
                "watched files have changed"
            );
        }
        Outcome::Service {
            service,
            record,
            retry_in,
        } => {
            let service = service.as_str();
            let result = record.last_result.as_str();
            let retry_in_seconds = retry_in.map(|pause| pause.as_secs_f64().ceil());
            match record.condition {
                ServiceCondition::Acknowledged => {
                    tracing::info!(
                        event = "service_notified",
                        service,
                        result,
                        "service notified"
                    )
                }
                ServiceCondition::NotRunning => {
                    tracing::info!(
                        event = "service_not_running",
                        service,
                        result,
                        "service is not running"
                    )
                }
                ServiceCondition::Pending | ServiceCondition::Nobody => {
                    tracing::warn!(
                        event = "service_pending",
                        service,
                        result,
                        retry_in_seconds,
                        "service still has to be notified"
                    );
                }
                ServiceCondition::Failed => {
                    tracing::error!(
                        event = "service_failed",
                        service,
                        result,
                        retry_in_seconds,
                        "service failed"
                    );
                }
            }
        }
        Outcome::Deferred { service, deferral } => {
            let targets = paths(&deferral.targets);
            let reason = deferral.reason.as_str();
            let service = service.as_str();
            tracing::info!(
                event = "deferred",
                service,
                targets,
                reason,
                "a newer version waits"
            );
        }
        Outcome::Trouble { reason, retry_in } => {
            let retry_in_seconds = retry_in.as_secs_f64().ceil();
            tracing::error!(
                event = "trouble",
                reason,
                retry_in_seconds,
                "nothing is swapped for now"
            );
        }
        Outcome::TakenUp { intent, attempts } => {
            tracing::warn!(
                event = "taken_up",
                intent,
                attempts,
                "an interrupted transaction is taken up again"
            );
        }
        Outcome::Ordered { what, result, .. } => match result {
            Ok(()) => tracing::info!(
                event = "order",
                order = what,
                "an operator's order is carried out"
            ),
            Err(reason) => {
                tracing::warn!(
                    event = "order",
                    order = what,
                    reason,
                    "an operator's order is not carried out"
                );
            }
        },
        Outcome::HoldEnded { what } => {
            tracing::info!(event = "hold_ended", what, "a hold has ended")
        }
    }
}

fn drifted(target: &TargetPath, drift: &Drift, kept: bool) {
    let target_path = target.as_str();
    let hold = format!("to keep such a change: `appconfigd hold {target}`");
    let (Found::File { digest, metadata } | Found::Directory { digest, metadata }) = &drift.found
    else {
        return match drift.left {
            true => tracing::warn!(
                event = "drifted",
                target_path,
                "somebody else removed it: left alone"
            ),
            false => tracing::warn!(
                event = "drifted",
                target_path,
                "somebody else removed it: put back; {hold}"
            ),
        };
    };
    let (owner, group, mode) = words(Some(metadata));
    let done = match (drift.left, kept) {
        (true, _) => "left alone until the next version".to_owned(),
        (false, true) => format!("replaced, and kept in history; {hold}"),
        (false, false) => format!("replaced; {hold}"),
    };
    tracing::warn!(event = "drifted",
        target_path,
        found = %digest,
        found_owner = owner,
        found_group = group,
        found_mode = mode,
        "somebody else changed it: {done}"
    );
}

fn words(found: Option<&Metadata>) -> (Option<u32>, Option<u32>, Option<String>) {
    let mode = found.map(|found| format!("{:04o}", found.mode));
    (
        found.map(|found| found.uid),
        found.map(|found| found.gid),
        mode,
    )
}

/// A poll that brought nothing: once in full, its repetitions at debug.
pub fn fault(profiles: &[ProfileName], fault: &Fault, before: Option<&str>) {
    let profiles = join(profiles);
    let reason = fault.message.as_str();
    match before.is_some_and(|before| is_same(before, reason)) {
        true => tracing::debug!(profiles, reason, "poll failed again"),
        false => tracing::warn!(event = "poll_failed", profiles, reason, "poll failed"),
    }
}

/// The same failure once more: every request has an id of its own.
fn is_same(one: &str, other: &str) -> bool {
    let parts = |text: &str| -> (String, Option<String>) {
        match text.split_once(", request id ") {
            Some((what, rest)) => {
                let remedy = rest.split_once("; ").map(|(_, remedy)| remedy.to_owned());
                (what.to_owned(), remedy)
            }
            None => (text.to_owned(), None),
        }
    };
    parts(one) == parts(other)
}

/// What a reload of the settings changed.
pub fn reloaded(replaced: &Replaced) {
    let Differences {
        added,
        changed,
        removed,
    } = &replaced.differences;
    tracing::info!(
        event = "reloaded",
        added = some(added),
        changed = some(changed),
        removed = some(removed),
        unchanged = replaced.unchanged,
        replaced = replaced.replaced,
        started = replaced.started,
        "settings reloaded"
    );
}

/// With the settings as they were.
pub fn rendered_anew(replaced: &Replaced) {
    tracing::info!(
        event = "reloaded",
        changed = some(&replaced.differences.changed),
        unchanged = replaced.unchanged,
        replaced = replaced.replaced,
        "templates or schemas have changed: rendered anew"
    );
}

/// `since`: when the first of them failed.
pub fn reached(profiles: &[ProfileName], since: Timestamp) {
    let failing_since = second_of(since).to_string();
    tracing::info!(
        event = "polls_answer",
        profiles = join(profiles),
        failing_since,
        "polls answer again"
    );
}

pub fn received(named: &impl Named, identity: &Identity, state: &State) {
    let profiles = join(named.names_of(identity));
    if let Some(version) = state.received.get(identity) {
        let (digest, label) = (version.digest.short(), version.label.as_deref());
        tracing::info!(event = "received", journal.digest = %version.digest, profiles, digest, label, bytes = version.size, "received");
    }
}

pub fn join(names: &[ProfileName]) -> String {
    list(names.iter().map(ProfileName::as_str), 0)
}

fn names<'a>(component: &Component, identities: impl Iterator<Item = &'a Identity>) -> String {
    let names = identities.flat_map(|identity| component.names(identity));
    list(names.map(ProfileName::as_str), 0)
}

fn paths(targets: &BTreeSet<TargetPath>) -> String {
    first(targets.iter().map(TargetPath::as_str))
}

fn some(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| first(names.iter().map(String::as_str)))
}

/// The first few, and how many more there are.
fn first<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    list(names.take(SHOWN), more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_differs_in_its_request_id_only_is_a_repetition() {
        let one = "profile `a`: Get: Throttled (429): slow, request id 1; it is tried again";
        let two = "profile `a`: Get: Throttled (429): slow, request id 2; it is tried again";
        assert!(is_same(one, two));
        assert!(is_same(one, one));
        assert!(!is_same(one, &two.replace("slow", "slower")));
        assert!(!is_same(one, &two.replace("tried", "not tried")));
        assert!(!is_same(one, "profile `a`: Get: connection refused"));
    }
}
