//! The status for a person.

use jiff::Timestamp;

use super::layout::{Page, Row, Tone};
use super::span::{age, until};
use crate::daemon::status::{
    Health, ProfileCondition, ProfileStatus, Status, TargetCondition, VersionStatus, spoken,
};
use crate::ledger::ServiceCondition;
use crate::words::{escape, one_line};

/// Characters of a version's label that are shown.
const LONGEST_LABEL: usize = 16;

/// The whole page: 80 columns, but for a word that is longer.
pub fn page(status: &Status, now: Timestamp, colours: bool) -> String {
    let mut page = Page::new(colours);
    head(&mut page, status, now);
    let profiles: Vec<Row> = profiles(status, now).collect();
    let heading = ["PROFILE", "STATE", "VERSION", "AGE    ", "NEXT POLL"];
    page.table(&heading, &profiles);
    let targets: Vec<Row> = targets(status).collect();
    page.table(&["TARGET", "STATE", "CONTENT"], &targets);
    let services: Vec<Row> = services(status, now).collect();
    page.table(&["SERVICE", "STATE", "SINCE"], &services);
    let watches: Vec<Row> = watches(status, now).collect();
    page.table(&["WATCH", "CHANGED"], &watches);
    page.text
}

fn head(page: &mut Page, status: &Status, now: Timestamp) {
    let tone = match status.state {
        Health::Healthy => Tone::Well,
        Health::Degraded => Tone::Wary,
        Health::Failed => Tone::Bad,
    };
    let state = page.toned(tone, &spoken(&status.state));
    let Some(daemon) = &status.daemon else {
        page.line(&format!(
            "{state}: no daemon is running; this is what the ledger says"
        ));
        let next = "`systemctl start appconfigd`; `appconfigd doctor` finds what is in its way";
        return page.below("next", next);
    };
    page.line(&format!(
        "{state}: appconfigd {}, process {}, running for {}",
        escape(&daemon.version, &[]),
        daemon.pid,
        age(daemon.started_at, now)
    ));
}

fn profiles(status: &Status, now: Timestamp) -> impl Iterator<Item = Row> {
    status.profiles.iter().map(move |(name, profile)| {
        let installed = profile.installed.as_ref();
        let since = installed.map(|version| age(version.since, now));
        let next = match (&status.daemon, profile.next_poll) {
            (_, Some(next)) => until(next, now),
            (Some(_), None) => "now".to_owned(),
            (None, None) => String::new(),
        };
        let mut below = Vec::new();
        if let Some(received) = newer(profile) {
            let since = age(received.since, now);
            below.push((
                "newest",
                format!("{}, received {since} ago", version(received)),
            ));
        }
        let remedy = status.notes.profiles.get(name);
        let well = profile.state == ProfileCondition::Current;
        said(&mut below, well, profile.reason.iter().chain(remedy));
        Row {
            cells: vec![
                escape(name.as_str(), &[]),
                spoken(&profile.state),
                installed.map_or("none".to_owned(), version),
                since.unwrap_or_default(),
                next,
            ],
            tone: match profile.state {
                ProfileCondition::Current => Tone::Well,
                ProfileCondition::Held
                | ProfileCondition::Unreachable
                | ProfileCondition::Waiting => Tone::Wary,
                ProfileCondition::Refused | ProfileCondition::Quarantined => Tone::Bad,
            },
            below,
        }
    })
}

/// What was received and is not installed.
fn newer(profile: &ProfileStatus) -> Option<&VersionStatus> {
    let installed = profile.installed.as_ref();
    let received = profile.received.as_ref()?;
    let same = installed.is_some_and(|installed| installed.digest == received.digest);
    (!same).then_some(received)
}

fn targets(status: &Status) -> impl Iterator<Item = Row> {
    status.targets.iter().map(move |(path, target)| {
        let mut below = Vec::new();
        let notes = status.notes.targets.get(path);
        let well = target.state == TargetCondition::InSync;
        said(&mut below, well, notes.into_iter().flatten());
        let digest = target.digest.as_deref();
        Row {
            cells: vec![
                escape(path.as_str(), &[]),
                spoken(&target.state),
                digest.map_or("none".to_owned(), short),
            ],
            tone: match target.state {
                TargetCondition::InSync => Tone::Well,
                TargetCondition::Drifted | TargetCondition::Waiting => Tone::Wary,
                TargetCondition::Missing => Tone::Bad,
            },
            below,
        }
    })
}

fn services(status: &Status, now: Timestamp) -> impl Iterator<Item = Row> {
    status.services.iter().map(move |(name, service)| {
        let mut below = Vec::new();
        let result = service.last_result.iter();
        let result = result.filter(|result| *result != "accepted");
        let remedy = status.notes.services.get(name);
        let tone = match service.state {
            ServiceCondition::Acknowledged | ServiceCondition::NotRunning => Tone::Well,
            ServiceCondition::Pending | ServiceCondition::Nobody => Tone::Wary,
            ServiceCondition::Failed => Tone::Bad,
        };
        said(&mut below, tone == Tone::Well, result.chain(remedy));
        let again = service.next_attempt;
        let again = again.map(|next| ("", format!("told again {}", until(next, now))));
        let step = below.iter().position(|(word, _)| *word == "next");
        let before = step.unwrap_or(below.len());
        below.splice(before..before, again);
        let since = service
            .since
            .map(|since| format!("{} ago", age(since, now)));
        Row {
            cells: vec![
                escape(name, &[]),
                spoken(&service.state),
                since.unwrap_or_default(),
            ],
            tone,
            below,
        }
    })
}

fn watches(status: &Status, now: Timestamp) -> impl Iterator<Item = Row> {
    status.watches.iter().map(move |(name, watch)| {
        let changed = watch.changed.map(|then| format!("{} ago", age(then, now)));
        let (tone, below) = match watch.pending.is_empty() {
            true => (Tone::Well, Vec::new()),
            false => {
                let services = format!("not acknowledged by {}", watch.pending.join(", "));
                let next =
                    "they are told again by themselves; `appconfigd retry` tells them at once";
                (
                    Tone::Wary,
                    vec![("why", services), ("next", next.to_owned())],
                )
            }
        };
        Row {
            cells: vec![
                escape(name.as_str(), &[]),
                changed.unwrap_or_else(|| "not seen".to_owned()),
            ],
            tone,
            below,
        }
    })
}

/// Reasons, then next steps, each on a line of its own: what stands after `next: ` is the next step. The first thing that
/// is said of what is not well is why.
fn said<'a>(
    below: &mut Vec<(&'static str, String)>,
    well: bool,
    texts: impl Iterator<Item = &'a String>,
) {
    let mut next = Vec::new();
    let mut lead = if well { "" } else { "why" };
    for text in texts {
        let (why, step) = match text.split_once("next: ") {
            Some((why, step)) => (why.trim_end().trim_end_matches(';'), Some(step)),
            None => (text.as_str(), None),
        };
        if !why.is_empty() {
            below.push((std::mem::take(&mut lead), why.to_owned()));
        }
        next.extend(step.map(|step| ("next", step.to_owned())));
    }
    below.append(&mut next);
}

fn version(version: &VersionStatus) -> String {
    let digest = short(&version.digest);
    match &version.label {
        Some(label) => format!("{digest} ({})", one_line(label, LONGEST_LABEL)),
        None => digest,
    }
}

/// The first 12 digits.
fn short(digest: &str) -> String {
    digest.chars().skip("sha256:".len()).take(12).collect()
}
