//! `plan`: what a transaction would do now, without doing any of it.
//!
//! `newest` finds the configuration that every profile counts with, `outlook` plans and says what would become of targets
//! and services in the words of `wording`, `watched` adds files that are not ours, `diff` shows two versions of a file, `files` those of a directory target.

pub(super) mod diff;
pub(super) mod files;
mod hearing;
mod left;
mod newest;
mod outlook;
mod watched;
mod wording;

use std::collections::BTreeSet;

use super::globals::Directories;
use super::screen::err;
use super::start::{directories, logs, refused, runtime};
use super::{Exit, Globals};
use crate::clock::Clock;
use crate::content::Content;
use crate::daemon::{Ground, StartError};
use crate::install::Installer;
use crate::settings::{Settings, TargetPath};
use newest::{Missing, Newest};
use outlook::Outlook;

/// Shows what would change on this host, and which services would be notified; changes nothing
#[derive(clap::Args, Debug)]
#[command(after_help = MORE)]
pub struct Arguments {
    /// Only these, as the settings name them [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

const MORE: &str = "\
Shows a unified diff of every target that would change, and its owner, group and mode where those would. Configurations \
come from the state directory; a profile that has none there is fetched, and not kept. What is sensitive is not shown. \
No command is run, `validate_command` neither. A daemon is not disturbed.

Exit: 0 nothing would change, 2 something would, 1 a configuration is refused or a target cannot be made, 75 a profile \
is not in the ledger and cannot be reached, 66 no such target, 78 the settings are wrong.";

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        let settings = match globals.read_settings() {
            Ok(settings) => settings,
            Err(exit) => return exit,
        };
        let chosen = match chosen(&self.targets, &settings) {
            Ok(chosen) => chosen,
            Err(exit) => return exit,
        };
        // A command that is over at once says everything in its result: logs are for who asks.
        if globals.log_level.is_some() {
            logs(globals);
        }
        let directories = directories(globals, &settings);
        match runtime() {
            Ok(runtime) => {
                let whole = self.targets.is_empty();
                runtime.block_on(plan(settings, &chosen, whole, &directories))
            }
            Err(exit) => exit,
        }
    }
}

/// The targets to look at: those named, else all.
fn chosen(names: &[String], settings: &Settings) -> Result<BTreeSet<TargetPath>, Exit> {
    let all = &settings.targets;
    let mut chosen = BTreeSet::new();
    let mut exit = None;
    for name in names {
        match TargetPath::meant(name, |path| all.contains_key(path)) {
            Some(path) => {
                chosen.insert(path);
            }
            None => {
                let known: Vec<&str> = all.keys().map(TargetPath::as_str).take(12).collect();
                let more = all.len().saturating_sub(known.len());
                let more = match more {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                err!(
                    "error: `{name}` is no target of `{}`; its targets are: {}{more}",
                    settings.file.display(),
                    known.join(", ")
                );
                exit = Some(Exit::NoInput);
            }
        }
    }
    match exit {
        Some(exit) => Err(exit),
        None if names.is_empty() => Ok(all.keys().cloned().collect()),
        None => Ok(chosen),
    }
}

async fn plan(
    settings: Settings,
    chosen: &BTreeSet<TargetPath>,
    whole: bool,
    directories: &Directories,
) -> Exit {
    let state_directory = directories.state.as_path();
    let content = match Content::load(&settings) {
        Ok(content) => content,
        Err(errors) => return refused(&StartError::Content(errors), state_directory),
    };
    let installer = Installer::of(&settings);
    let declared = settings.targets.keys().cloned().collect();
    if let Some((one, other)) = installer.same_file(&declared) {
        return refused(&StartError::SameFile(one, other), state_directory);
    }
    let clock = Clock::system();
    let newest = match Newest::gather(&settings, chosen, state_directory, &clock).await {
        Ok(newest) => newest,
        Err(error) => return refused(&error, state_directory),
    };
    let missing: Vec<&Missing> = newest.missing.values().collect();
    for missing in &missing {
        missing.say();
    }
    let host = crate::daemon::host(settings.root.as_deref());
    let now = clock.now().wall;
    let mut outlook = Outlook::of(&newest, chosen, &content, &installer, &host, now);
    if whole {
        let targets = settings.targets.keys().cloned();
        let ground = Ground::new(settings.root.as_deref(), targets, state_directory);
        outlook.add_watches(&settings, &newest.state, &ground, now);
    }
    outlook.print();
    let failed = missing.iter().any(|missing| missing.is_failure());
    let unreachable = missing.iter().any(|missing| missing.is_unreachable());
    match () {
        () if failed || outlook.is_failure() => Exit::Failed,
        () if unreachable => Exit::Unreachable,
        () if outlook.is_different() => Exit::Different,
        () => Exit::Done,
    }
}
