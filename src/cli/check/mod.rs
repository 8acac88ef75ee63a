//! `check`: are these settings right? Reads the settings and the files that they name.

pub mod host;

use std::path::{Path, PathBuf};

use crate::cli::globals::{process_environment, report};
use crate::cli::screen::{err, out};
use crate::cli::start::runtime;
use crate::cli::{Exit, Globals};
use crate::content::{Content, LoadError};
use crate::settings::{self, Problem, Problems, Settings};
use crate::words::count;

/// Reads the settings and the files that they name, and says what is wrong with them
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Look at this host too: users, groups, the targets' directories, units
    #[arg(long)]
    host: bool,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        let file = globals.settings_file(&process_environment);
        let circumstances = globals.circumstances(&process_environment);
        let read = match settings::read(&file, &circumstances) {
            Ok(read) => read,
            Err(problems) => return report(&problems),
        };
        let mut list = read.warnings;
        list.extend(problems_of_content(&file, &read.settings));
        if self.host {
            match runtime() {
                Ok(runtime) => {
                    list.extend(host::problems(&read.settings, &read.places, &runtime));
                }
                Err(exit) => return exit,
            }
        }
        let problems = Problems {
            missing: false,
            list,
        };
        if problems.errors() > 0 {
            return report(&problems);
        }
        problems.list.iter().for_each(|warning| err!("{warning}"));
        out!("{}: ok: {}", file.display(), inventory(&read.settings));
        Exit::Done
    }
}

/// What is wrong inside of the templates and schemas.
pub fn problems_of_content(file: &Path, settings: &Settings) -> Vec<Problem> {
    let Err(errors) = Content::load(settings) else {
        return Vec::new();
    };
    errors
        .into_iter()
        .map(|error| problem(file, settings, error))
        .collect()
}

fn problem(file: &Path, settings: &Settings, error: LoadError) -> Problem {
    let text = std::fs::read_to_string(&error.file).ok();
    let shown = shown(file, settings, &error.file);
    let message = format!("{}: {}", error.what, error.message);
    Problem::elsewhere(shown, error.at, message, text.as_deref())
}

/// A file as the settings file is given: beside it, if it lies there.
fn shown(file: &Path, settings: &Settings, other: &Path) -> PathBuf {
    match other.strip_prefix(&settings.directory) {
        Ok(relative) => file.parent().unwrap_or(Path::new("")).join(relative),
        Err(_) => other.to_owned(),
    }
}

/// `2 profiles, 3 targets, 1 service`.
pub fn inventory(settings: &Settings) -> String {
    let profiles = count(settings.profiles.len(), "profile");
    let targets = count(settings.targets.len(), "target");
    let services = count(settings.services.len(), "service");
    let inventory = format!("{profiles}, {targets}, {services}");
    match settings.watches.len() {
        0 => inventory,
        1 => format!("{inventory}, 1 watch"),
        watches => format!("{inventory}, {watches} watches"),
    }
}
