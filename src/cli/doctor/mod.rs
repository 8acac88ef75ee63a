//! `doctor`: walks everything that has to be right, and says what is not and what to do about it.

mod host;
mod network;
mod permission;
mod report;

use crate::cli::check::{inventory, problems_of_content};
use crate::cli::globals::{Directories, process_environment, report as refused};
use crate::cli::start::{directories, runtime};
use crate::cli::{Exit, Globals};
use crate::clock::Clock;
use crate::daemon::{control_socket, serve};
use crate::settings::{self, Read, Settings, SourceSettings};
use crate::source::Source;
use crate::words::with_causes;

use report::{Report, Verdict};

/// Looks at settings, state, network, credentials, permissions, targets and services, and says what to do
#[derive(clap::Args, Debug)]
#[command(after_help = MORE)]
pub struct Arguments {
    /// Ask nobody in the network
    #[arg(long)]
    offline: bool,
}

const MORE: &str = "\
It changes nothing. For a profile that a running daemon does not reach, it opens a session and drops it. Run it as the \
daemon's user, in its environment. No secret is printed.

Exit: 0 nothing fails, 1 something does, 66 and 78 the settings, 75 only the network.";

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        let file = globals.settings_file(&process_environment);
        let read = match settings::read(&file, &globals.circumstances(&process_environment)) {
            Ok(read) => read,
            // As every command says it: nothing else can be looked at.
            Err(problems) => return refused(&problems),
        };
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(exit) => return exit,
        };
        let mut report = Report::new();
        said_of_settings(&file, &read, &mut report);
        let wrong = report.failures() > 0;
        let settings = &read.settings;
        let places = directories(globals, settings);
        runtime.block_on(self.walk(settings, &places, &mut report));
        host::surroundings(settings, &read.places, &runtime, &mut report);
        match (report.end(), wrong) {
            (_, true) => Exit::Settings,
            (exit, false) => exit,
        }
    }

    async fn walk(&self, settings: &Settings, places: &Directories, report: &mut Report) {
        let clock = Clock::system();
        let status = host::daemon(&control_socket(&places.runtime), report).await;
        host::state(&places.state, report);
        if self.offline {
            return;
        }
        let reached = match &settings.source {
            SourceSettings::Aws(aws) => Box::pin(network::way(aws, &clock, report)).await,
            SourceSettings::Local { directory } => {
                let said = format!("the embedded server over `{}`", directory.display());
                report.ok("endpoint", &said);
                true
            }
        };
        if !reached {
            return;
        }
        let server = match serve(&settings.source, &clock).await {
            Ok(server) => server,
            Err(error) => {
                let next = "correct what is named";
                return report.say(Verdict::Failure, "endpoint", &with_causes(&error), next);
            }
        };
        let endpoint = server.as_ref().map(|server| server.endpoint());
        match Source::new(settings, endpoint).await {
            Ok(source) => {
                let asked =
                    network::permissions(settings, &source, status.as_ref(), &clock, report);
                Box::pin(asked).await;
            }
            Err(fault) => {
                let next = "correct what is named";
                report.say(Verdict::Failure, "endpoint", &fault.message, next);
            }
        }
        if let Some(server) = server {
            server.stop().await;
        }
    }
}

fn said_of_settings(file: &std::path::Path, read: &Read, report: &mut Report) {
    let said = format!("{}: {}", file.display(), inventory(&read.settings));
    let content = problems_of_content(file, &read.settings);
    let problems = read.warnings.iter().chain(&content);
    problems.for_each(|problem| host::say(problem, "settings", report));
    if report.failures() == 0 {
        report.ok("settings", &said);
    }
}
