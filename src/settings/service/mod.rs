//! Services: exactly one way to notify, probes that can succeed.

mod child;
mod commands;
mod http;
mod conditions;
mod notify;
mod pace;
mod probe;

use std::time::Duration;

pub use conditions::check;

use super::duration::show;
use super::field::Field;
use super::finding::{Findings, Spot};
use super::path::Naming;
use super::valid::{Command, Notify, OnFailure, Service, TargetPath};
use super::written;

/// A service of `services:`; `None` after a finding. `environment`: where the variables of a child are kept.
pub fn declared(
    name: &Spot<String>,
    written: &written::Service,
    environment: &TargetPath,
    naming: &mut Naming<'_>,
    findings: &mut Findings,
) -> Option<Service> {
    if name.value.starts_with('/') {
        findings
            .error(name.at, "the name of a service does not begin with `/`")
            .help("such names belong to the services that are written in place at a target");
        return None;
    }
    let mut service = service(name, written, naming, findings)?;
    if let Notify::Child(child) = &mut service.notify
        && let Some(given) = written.child.given()
        && !given.value.env.is_absent()
    {
        child.environment = Some(environment.clone());
    }
    Some(service)
}

/// A service that is written in place at a target; `None` after a finding.
pub fn in_place(
    name: &Spot<String>,
    written: &written::Service,
    naming: &mut Naming<'_>,
    findings: &mut Findings,
) -> Option<Service> {
    if let Some(given) = written.child.given() {
        findings
            .error(given.key, "a child is not declared in place")
            .help("declare it under `services:` and name it here: there is one for all targets");
        return None;
    }
    service(name, written, naming, findings)
}

/// A service under the name given; `None` after a finding.
fn service(
    name: &Spot<String>,
    written: &written::Service,
    naming: &mut Naming<'_>,
    findings: &mut Findings,
) -> Option<Service> {
    let notify = notify::notify(name.at, written, naming, findings);
    let probe = match &written.probe {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(given) => probe::probe(given, findings).map(Some),
    };
    let timeout = time(
        &written.timeout,
        Duration::from_secs(30),
        "timeout",
        findings,
    );
    let commands = commands::options(written, findings);
    let conditions = conditions::conditions(written, findings);
    let pace = pace::pace(written, findings);
    let give_up_after = pace::optional_time(&written.give_up_after, "give_up_after", findings);
    Some(Service {
        name: name.value.as_str().into(),
        check: optional(&written.check)?,
        notify: notify?,
        probe: probe?,
        on_failure: optional(&written.on_failure)?.unwrap_or(OnFailure::Rollback),
        timeout: timeout?,
        commands: commands?,
        conditions: conditions?,
        pace: pace?,
        give_up_after: give_up_after?,
    })
}

/// Not there is `None`, wrong is no answer.
fn optional<T: Clone>(field: &Field<T>) -> Option<Option<T>> {
    match field {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(given) => Some(Some(given.value.clone())),
    }
}

/// A time that is longer than nothing.
fn time(
    field: &Field<Duration>,
    default: Duration,
    key: &str,
    findings: &mut Findings,
) -> Option<Duration> {
    match field {
        Field::Absent => Some(default),
        Field::Broken => None,
        Field::Given(given) if given.value.is_zero() => {
            findings
                .error(given.at, format!("`{key}` is no time at all"))
                .help(format!(
                    "write `{}`, or remove the line for the default",
                    show(default)
                ));
            None
        }
        Field::Given(given) => Some(given.value),
    }
}

/// As [`time`], where nothing is filled in.
fn time_of(
    field: &Field<Duration>,
    key: &str,
    findings: &mut Findings,
) -> Option<Option<Duration>> {
    match field {
        Field::Absent => Some(None),
        _ => time(field, Duration::from_secs(30), key, findings).map(Some),
    }
}

/// Whether `needle` stands anywhere in a command.
pub fn mentions(command: &Command, needle: &str) -> bool {
    match command {
        Command::Argv(argv) => argv.iter().any(|argument| argument.contains(needle)),
        Command::Shell(line) => line.contains(needle),
    }
}
