//! What is on this host: state directory, daemon, targets, services, the unit.

use std::path::Path;

use tokio::runtime::Runtime;

use super::report::{Report, Verdict};
use crate::cli::check::host::{of_services, of_targets, of_unit};
use crate::cli::systemd_dropin::UNIT;
use crate::daemon::control::{Client, ControlError};
use crate::daemon::status::Status;
use crate::ledger::Ledger;
use crate::settings::{Places, Problem, Settings, Severity};
use crate::words::{count, with_causes};

/// Less room than this is worth a word.
const ROOM: u64 = 64 << 20;
/// So many problems of one kind are said.
const SHOWN: usize = 10;

/// Whether a daemon answers, and what it says.
pub async fn daemon(socket: &Path, report: &mut Report) -> Option<Status> {
    let status = match Client::connect(socket).await {
        Ok(client) => client.status().await,
        Err(error) => Err(error),
    };
    match status {
        Ok(status) => {
            let pid = status.daemon.as_ref().map_or(0, |daemon| daemon.pid);
            report.ok("daemon", &format!("process {pid} answers"));
            Some(status)
        }
        Err(ControlError::NoDaemon(_)) => {
            let next = "`systemctl start appconfigd`, or `appconfigd run`";
            report.say(Verdict::Warning, "daemon", "no daemon is running", next);
            None
        }
        Err(error) => {
            let next = "ask as root or as the daemon's user, with its `--runtime-directory`";
            report.say(Verdict::Failure, "daemon", &with_causes(&error), next);
            None
        }
    }
}

/// Whether the ledger can be read, and has room.
pub fn state(directory: &Path, report: &mut Report) {
    let shown = directory.display();
    if let Err(error) = Ledger::read(directory) {
        let next =
            "docs/operations.md has a table of what to do, `--state-directory` names another";
        return report.say(Verdict::Failure, "state", &with_causes(&error), next);
    }
    let there = directory.ancestors().find(|path| path.is_dir());
    let room = there.and_then(|path| rustix::fs::statvfs(path).ok());
    let room = room.map(|room| room.f_bavail.saturating_mul(room.f_frsize));
    match room {
        Some(room) if room < ROOM => {
            let said = format!("`{shown}` has room for {} MiB only", room >> 20);
            let next = "free space there: without room nothing is swapped";
            report.say(Verdict::Warning, "state", &said, next);
        }
        Some(room) => report.ok("state", &format!("`{shown}`, room for {} MiB", room >> 20)),
        None => report.ok("state", &format!("`{shown}`")),
    }
}

/// Directories, users, units, and what the unit of the daemon forbids.
pub fn surroundings(settings: &Settings, places: &Places, runtime: &Runtime, report: &mut Report) {
    let targets = count(settings.targets.len(), "target");
    let well = format!("{targets}: their directories, users and groups are there");
    problems(of_targets(settings, places), "targets", &well, report);
    let services = count(settings.services.len(), "service");
    let well = format!("{services}: their users and units are there");
    problems(
        of_services(settings, places, runtime),
        "services",
        &well,
        report,
    );
    let well = match settings.root {
        Some(_) => "not looked at: the settings have an alternate root".to_owned(),
        None => format!("nothing that the settings need is known to be forbidden by `{UNIT}`"),
    };
    problems(of_unit(settings, places, runtime), "unit", &well, report);
}

fn problems(problems: Vec<Problem>, check: &str, well: &str, report: &mut Report) {
    if problems.is_empty() {
        return report.ok(check, well);
    }
    let more = problems.len().saturating_sub(SHOWN);
    for problem in problems.into_iter().take(SHOWN) {
        say(&problem, check, report);
    }
    if more > 0 {
        let next = "`appconfigd check --host` shows them all";
        report.say(Verdict::Warning, check, &format!("and {more} more"), next);
    }
}

/// A problem of the settings, with its place.
pub fn say(problem: &Problem, check: &str, report: &mut Report) {
    let verdict = match problem.severity {
        Severity::Error => Verdict::Failure,
        Severity::Warning => Verdict::Warning,
    };
    let (file, line) = (problem.file.display(), problem.line);
    let said = format!("{} ({file}:{line})", problem.message);
    let next = problem
        .help
        .as_deref()
        .unwrap_or("`appconfigd check` shows the place");
    report.say(verdict, check, &said, next);
}
