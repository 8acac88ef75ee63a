//! `history`: configurations that were received, files that were kept, what commands wrote.

use super::recorded::Recorded;
use super::screen::{json, out, unknown};
use super::start::runtime;
use super::{Exit, Globals};
use crate::clock::second_of;
use crate::daemon::history::{History, Mark, WhatRan};
use crate::settings::{ProfileName, ServiceName, TargetPath};

/// Lists configurations that were received, files of others that were replaced, and what commands wrote; also without a daemon
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Only this profile, this service, or the target of this path
    #[arg(value_name = "PROFILE|SERVICE|PATH")]
    name: Option<String>,
    /// One JSON document, schema 1
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        let read = runtime().and_then(|runtime| runtime.block_on(Recorded::read(globals)));
        let recorded = match read {
            Ok(recorded) => recorded,
            Err(exit) => return exit,
        };
        let runs = match recorded.runs() {
            Ok(runs) => runs,
            Err(exit) => return exit,
        };
        let mut history = History::of(&recorded.declared, &recorded.state, runs);
        if let Some(name) = &self.name {
            let path = TargetPath::meant(name, |path| history.targets.contains_key(path));
            let profile = ProfileName::from(name.as_str());
            history.profiles.retain(|one, _| *one == profile);
            history.targets.retain(|one, _| Some(one) == path.as_ref());
            let service = ServiceName::from(name.as_str());
            history.services.retain(|one, _| *one == service);
            history
                .validations
                .retain(|one, _| Some(one) == path.as_ref());
            let known = !history.profiles.is_empty()
                || !history.targets.is_empty()
                || !history.services.is_empty()
                || recorded.state.services.contains_key(&service);
            if !known {
                return unknown("profile, service or target", name);
            }
        }
        match self.json {
            true => match json("the history", &history) {
                Ok(()) => Exit::Done,
                Err(exit) => exit,
            },
            false => {
                print(&history);
                Exit::Done
            }
        }
    }
}

fn print(history: &History) {
    for (name, versions) in &history.profiles {
        out!("profile {name}");
        if versions.is_empty() {
            out!("  nothing has been received yet");
        }
        for version in versions {
            let label = version.label.as_deref();
            let label = label.map_or(String::new(), |label| format!(" ({label})"));
            let marks = version.marks.iter().map(|mark| word(*mark));
            let marks: String = marks.map(|mark| format!(", {mark}")).collect();
            let (digest, size) = (version.digest.short(), version.size);
            let since = second_of(version.since);
            out!("  {digest}{label} since {since}, {size} bytes{marks}");
        }
    }
    for (path, files) in &history.targets {
        let validations = history.validations.get(path);
        if files.is_empty() && validations.is_none() {
            continue;
        }
        out!("target {path}");
        for file in files {
            let (digest, size) = (file.digest.short(), file.size);
            let at = second_of(file.at);
            out!("  {digest} found at {at}, {size} bytes: {}", file.reason);
        }
        print_runs(validations.into_iter().flatten());
    }
    for (name, runs) in &history.services {
        out!("service {name}");
        print_runs(runs.iter());
    }
}

fn print_runs<'a>(runs: impl Iterator<Item = &'a WhatRan>) {
    for run in runs {
        let at = second_of(run.at);
        out!("  {} at {at}: `{}` {}", run.what, run.command, run.outcome);
        for line in run.output.lines() {
            out!("    {line}");
        }
    }
}

fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Installed => "installed",
        Mark::Received => "received last",
        Mark::Refused => "refused",
        Mark::Quarantined => "quarantined",
        Mark::Held => "held",
    }
}
