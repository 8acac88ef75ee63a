//! What would become of targets and services: planned, sorted, put in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use jiff::Timestamp;
use nix::unistd::{AccessFlags, eaccess};

use super::diff::unified;
use super::files::trees;
use super::left::{held, left_alone};
use super::newest::Newest;
use super::wording::{differences, full, how, named};
use crate::cli::screen::{err, out};
use crate::clock::second_of;
use crate::content::Content;
use crate::install::{Found, Installer, Metadata};
use crate::ledger::{Direction, Version};
use crate::protocol::{Digest, Identity};
use crate::settings::{ServiceName, TargetPath};
use crate::transaction::{Component, FileChange, Host, Pacing, Plan, Planner, Scope};
use crate::words::count;
use crate::words::with_causes;

/// What would happen, over all components.
#[derive(Default)]
pub struct Outlook {
    /// Per target the lines about it; nothing for those that stay as they are.
    targets: BTreeMap<TargetPath, String>,
    /// Per service why it would be notified.
    pub(super) services: BTreeMap<ServiceName, String>,
    /// Which version every profile counts with.
    profiles: BTreeMap<String, String>,
    /// Transactions that are open now.
    open: Vec<String>,
    /// What is refused or cannot be made.
    pub(super) problems: Vec<String>,
    /// Targets that are not written, with the reason.
    left: BTreeMap<TargetPath, String>,
    /// Targets that cannot be made, with the profiles that are the reason; none: the target itself is, see `problems`.
    waiting: BTreeMap<TargetPath, String>,
    looked_at: usize,
}

/// What one component is looked at with.
pub(super) struct View<'a> {
    pub newest: &'a Newest,
    pub component: &'a Component,
    chosen: BTreeSet<TargetPath>,
    installer: &'a Installer,
    pub plan: Plan,
}

impl Outlook {
    /// Blocking: reads the targets that are there.
    pub fn of(
        newest: &Newest,
        chosen: &BTreeSet<TargetPath>,
        content: &Content,
        installer: &Installer,
        host: &Host,
        now: Timestamp,
    ) -> Outlook {
        let mut outlook = Outlook {
            looked_at: chosen.len(),
            ..Outlook::default()
        };
        for component in &newest.components {
            let declared = component.targets.keys();
            let here = declared.filter(|path| chosen.contains(*path));
            let here: BTreeSet<TargetPath> = here.cloned().collect();
            if here.is_empty() {
                continue;
            }
            let plan = Planner {
                component,
                state: &newest.state,
                content,
                installer,
                bodies: &newest.bodies,
                scope: &Scope::Some {
                    profiles: BTreeSet::new(),
                    targets: here.clone(),
                },
                forced: &BTreeMap::new(),
                barred: &BTreeMap::new(),
                resumed: &BTreeMap::new(),
                turned_down: &BTreeMap::new(),
                pins: &BTreeMap::new(),
                pacing: &Pacing::Told(host.clone()),
                urgent: &BTreeSet::new(),
                now,
            }
            .plan();
            let view = View {
                newest,
                component,
                chosen: here,
                installer,
                plan,
            };
            outlook.add(&view);
        }
        outlook
    }

    pub fn is_different(&self) -> bool {
        !self.targets.is_empty() || !self.services.is_empty() || !self.open.is_empty()
    }

    pub fn is_failure(&self) -> bool {
        !self.problems.is_empty()
    }

    pub fn print(&self) {
        for problem in &self.problems {
            err!("{problem}");
        }
        for (name, version) in &self.profiles {
            out!("profile {name}: {version}");
        }
        for transaction in &self.open {
            out!("{transaction}");
        }
        for words in self.targets.values() {
            out!("\n{}", words.trim_end_matches('\n'));
        }
        if !self.targets.is_empty() {
            out!("");
        }
        for (path, profiles) in &self.waiting {
            match profiles.as_str() {
                "" => out!("target {path} would stay as it is: it cannot be made"),
                names => out!("target {path} would stay as it is, because of profile {names}"),
            }
        }
        for (path, reason) in &self.left {
            out!("target {path} {reason}");
        }
        for (name, reason) in &self.services {
            out!("service {name} would be notified{reason}");
        }
        out!("{}", self.summary());
    }

    fn summary(&self) -> String {
        let looked_at = count(self.looked_at, "target");
        if !self.is_different() && self.waiting.is_empty() {
            return format!("no difference: nothing would change in {looked_at}");
        }
        let stuck = match self.waiting.len() {
            0 => String::new(),
            stuck => format!(", {stuck} cannot be made"),
        };
        format!(
            "{} of {looked_at} would change{stuck}, {} would be notified",
            self.targets.len(),
            count(self.services.len(), "service")
        )
    }

    fn add(&mut self, view: &View<'_>) {
        self.add_profiles(view);
        self.add_open(view);
        self.add_problems(view);
        self.left.extend(left_alone(
            view.component,
            &view.newest.state,
            &view.plan,
            &view.chosen,
        ));
        for change in &view.plan.changes {
            if view.chosen.contains(&change.target) {
                let words = view.change(change);
                self.targets.insert(change.target.clone(), words);
            }
        }
        for (path, repaired) in &view.plan.repairs {
            if view.chosen.contains(path) {
                let words = view.repair(path, &repaired.metadata);
                self.targets.insert(path.clone(), words);
            }
        }
        self.add_services(view);
    }

    fn add_profiles(&mut self, view: &View<'_>) {
        let feeders = view.chosen.iter();
        let feeders: BTreeSet<Identity> = feeders
            .flat_map(|path| view.component.feeders(path))
            .collect();
        for identity in &feeders {
            self.profiles
                .insert(view.newest.names(identity), view.version(identity));
        }
    }

    fn add_open(&mut self, view: &View<'_>) {
        let intents = view.component.intents.iter();
        for intent in intents.filter_map(|id| view.newest.state.intents.get(id)) {
            let placements = intent.placements.iter();
            let mut targets = placements.map(|placement| &placement.target);
            if !targets.any(|path| view.chosen.contains(path)) {
                continue;
            }
            let opened = second_of(intent.opened_at);
            match &intent.direction {
                Direction::Forward => self.open.push(format!(
                    "a transaction is open since {opened}: it would be finished first"
                )),
                Direction::Back { reason } => self.open.push(format!(
                    "a transaction of {opened} goes back ({reason}): that would be finished first"
                )),
                Direction::Standing => {}
            }
        }
    }

    fn add_problems(&mut self, view: &View<'_>) {
        let Plan {
            refused,
            quarantined,
            delayed,
            waiting,
            ..
        } = &view.plan;
        let mut explained: BTreeSet<Identity> = view.newest.missing.keys().cloned().collect();
        for (identity, refusal) in refused {
            let name = view.newest.names(identity);
            self.problems
                .push(format!("profile {name}: refused: {}", refusal.reason));
            explained.insert(identity.clone());
        }
        for (identity, reason) in quarantined {
            let name = view.newest.names(identity);
            self.problems
                .push(format!("profile {name}: quarantined: {reason}"));
            explained.insert(identity.clone());
        }
        for (identity, reason) in delayed {
            let name = view.newest.names(identity);
            self.problems
                .push(format!("profile {name}: cannot be installed: {reason}"));
            explained.insert(identity.clone());
        }
        for (path, reason) in waiting {
            if !view.chosen.contains(path) {
                continue;
            }
            let feeders = view.component.feeders(path);
            let blamed = feeders.intersection(&explained);
            let blamed: Vec<String> = blamed.map(|identity| view.newest.names(identity)).collect();
            if blamed.is_empty() {
                self.problems
                    .push(format!("target {path}: cannot be made: {reason}"));
            }
            self.waiting.insert(path.clone(), blamed.join(", "));
        }
    }

    /// The services of files that would change, and those that do not know of what lies there.
    fn add_services(&mut self, view: &View<'_>) {
        let changed = view.plan.changes.iter().map(|change| &change.target);
        let changed: BTreeSet<&TargetPath> =
            changed.filter(|path| view.chosen.contains(*path)).collect();
        for (name, service) in &view.component.services {
            let mut because = Vec::new();
            let mut untold = Vec::new();
            let depends = view.component.dependencies(name);
            for path in depends.intersection(&view.chosen) {
                if changed.contains(path) {
                    if view.concerns(name, path) {
                        because.push(path.as_str());
                    }
                } else if view.is_untold(name, path) {
                    untold.push(path.as_str());
                }
            }
            let mut reasons = Vec::new();
            if !because.is_empty() {
                reasons.push(format!("{} would change", because.join(", ")));
            }
            if !untold.is_empty() {
                reasons.push(format!("it was never told of {}", untold.join(", ")));
            }
            if let Some(deferral) = view.plan.deferred.get(name) {
                reasons.push(deferral.reason.clone());
            }
            if !reasons.is_empty() {
                let how = how(service);
                self.services
                    .insert(name.clone(), format!(" ({how}): {}", reasons.join("; ")));
            }
        }
    }
}

impl View<'_> {
    /// The version that a profile counts with, and where it is from.
    fn version(&self, identity: &Identity) -> String {
        let state = &self.newest.state;
        let accepted = state.accepted.get(identity);
        if let Some(row) = state.held_profiles.get(identity) {
            let newest = state.received.get(identity);
            let is_newest = newest.is_none_or(|newest| newest.digest == row.version.digest);
            return format!("{}, {}", named(&row.version), held(row, is_newest));
        }
        let turned_down = self.plan.refused.contains_key(identity)
            || self.plan.quarantined.contains_key(identity)
            || self.plan.delayed.contains_key(identity);
        if turned_down {
            return match accepted {
                Some(version) => format!("{}, accepted before", named(version)),
                None => "nothing that can be installed".to_owned(),
            };
        }
        let has = |version: &&Version| self.newest.bodies.contains_key(&version.digest);
        let received = state.received.get(identity).filter(has);
        match (received, accepted.filter(has)) {
            (Some(version), _) if self.newest.fetched.contains(identity) => {
                format!("{}, fetched now and not kept", named(version))
            }
            (Some(version), _) | (None, Some(version)) => {
                format!(
                    "{}, received at {}",
                    named(version),
                    second_of(version.since)
                )
            }
            (None, None) => "no configuration".to_owned(),
        }
    }

    fn change(&self, change: &FileChange) -> String {
        let path = &change.target;
        let is_sensitive = self.is_sensitive(path);
        let before = match change.absent {
            true => None,
            false => Some(self.installer.read(path)),
        };
        let mut words = String::new();
        // Writing to a String does not fail.
        let mut line = |text: &str| {
            let _ = writeln!(words, "{text}");
        };
        let (bytes, metadata) = match before {
            None => {
                let metadata = full(&change.metadata);
                line(&format!("target {path} would be made, {metadata}:"));
                (None, None)
            }
            Some(Ok(found)) => {
                line(&format!("target {path} would be replaced:"));
                match found {
                    Some(found) => (Some(found.bytes), Some(found.metadata)),
                    None => (None, None),
                }
            }
            Some(Err(error)) => {
                line(&format!("target {path} would be replaced:"));
                line(&format!(
                    "its difference cannot be shown: {}",
                    with_causes(&error)
                ));
                return words;
            }
        };
        if is_sensitive {
            line("the content is sensitive and not shown");
            if let Some(bytes) = &bytes {
                line(&format!("  now  {}", Digest::of(bytes)));
            }
            line(&format!("  then {}", change.digest));
        } else if path.is_directory() {
            words.push_str(&trees(
                path.as_str(),
                path.as_str(),
                bytes.as_ref(),
                &change.bytes,
            ));
        } else {
            words.push_str(&unified(path.as_str(), bytes.as_deref(), &change.bytes));
        }
        let mut line = |text: &str| {
            let _ = writeln!(words, "{text}");
        };
        if let Some(has) = metadata.filter(|has| *has != change.metadata) {
            line(&differences(&has, &change.metadata));
        }
        if change.exchanged {
            line("the directory there would be taken over, and kept as the previous generation");
        } else if change.foreign.is_some() {
            line("what lies there is not what appconfigd installed: it would be kept in history");
        }
        if let Some(reason) = self.cannot_write_beside(path) {
            line(&reason);
        }
        let target = self.component.targets.get(path);
        if target.is_some_and(|target| target.validate_command.is_some()) {
            line("its validate_command would be asked first; `plan` does not run it");
        }
        words
    }

    fn repair(&self, path: &TargetPath, wanted: &Metadata) -> String {
        let mut words = format!("target {path} would get other metadata, its content stays:\n");
        match self.installer.look(path) {
            Ok(Found::File { metadata, .. }) => words.push_str(&differences(&metadata, wanted)),
            Ok(Found::Absent | Found::Directory { .. }) | Err(_) => words.push_str(&full(wanted)),
        }
        words
    }

    /// Asked, not tried. A daemon that runs as somebody else may be allowed to.
    fn cannot_write_beside(&self, path: &TargetPath) -> Option<String> {
        let real = self.installer.staged_path(path, "staged");
        let directory = real.parent()?.parent()?;
        let error = eaccess(directory, AccessFlags::W_OK).err()?;
        Some(format!(
            "whoever runs `plan` could not write it: `{}`: {}",
            directory.display(),
            std::io::Error::from(error)
        ))
    }

    fn is_sensitive(&self, path: &TargetPath) -> bool {
        // A target that the settings do not have is not shown either.
        let target = self.component.targets.get(path);
        target.is_none_or(|target| target.sensitive)
    }
}
