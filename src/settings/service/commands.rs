//! How a service's commands are run.

use std::path::PathBuf;
use std::time::Duration;

use super::{optional, time};
use crate::settings::field::Field;
use crate::settings::finding::{Findings, Spot};
use crate::settings::path::absolute_path;
use crate::settings::valid::{CommandOptions, DEFAULT_GRACE, Sandbox};
use crate::settings::written;

/// What systemd tells us by them is nobody else's business, and what they would do in a child is harm.
const NOT_HANDED_ON: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

pub fn options(written: &written::Service, findings: &mut Findings) -> Option<CommandOptions> {
    let directory = match &written.working_directory {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(given) => {
            let path = absolute_path(given.at, &given.value, "a `working_directory`", findings);
            path.map(|path| Some(PathBuf::from(path.as_str())))
        }
    };
    let umask = match &written.umask {
        Field::Given(given) if given.value.0 > 0o777 => {
            findings
                .error(given.at, "a `umask` has three octal digits")
                .help("write it as `027`");
            None
        }
        field => optional(field).map(|mode| mode.map(|mode| mode.0)),
    };
    let environment = match &written.environment {
        Field::Absent => Some(Vec::new()),
        Field::Broken => None,
        Field::Given(given) => names(&given.value.0, findings),
    };
    let grace: Option<Duration> = time(&written.grace, DEFAULT_GRACE, "grace", findings);
    Some(CommandOptions {
        user: optional(&written.user)?,
        group: optional(&written.group)?,
        working_directory: directory?,
        umask: umask?,
        environment: environment?,
        grace: grace?,
        sandbox: optional(&written.sandbox)?.unwrap_or(Sandbox::Ours),
    })
}

fn names(written: &[Spot<String>], findings: &mut Findings) -> Option<Vec<String>> {
    let mut sound = true;
    for Spot { at, value } in written {
        let first = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let rest = value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !(first && rest) {
            let finding = findings.error(*at, format!("`{value}` is not the name of a variable"));
            match value.contains('=') {
                true => finding.help("name variables of appconfigd's own environment; `command: [env, NAME=VALUE, …]` sets others"),
                false => finding.help("write it as `JAVA_HOME`"),
            };
            sound = false;
        } else if NOT_HANDED_ON.contains(&value.as_str()) {
            findings
                .error(*at, format!("`{value}` is between systemd and appconfigd"))
                .help("remove it; a command that speaks to systemd is a unit of its own");
            sound = false;
        } else if value.starts_with("APPCONFIGD_") {
            findings
                .error(*at, format!("`{value}` is appconfigd's own"))
                .help("commands get `APPCONFIGD_SERVICE` and what else there is without a word");
            sound = false;
        }
    }
    sound.then(|| written.iter().map(|name| name.value.clone()).collect())
}
