//! `check --host`: do the users, groups, directories and units that the settings mean exist on this host?

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Group, User};

use crate::settings::{
    Notify, Places, Principal, Problem, Service, Settings, Severity, SignalTarget, Target,
};

/// What is missing or in the way on this host. Units are looked for only without an alternate root: with one they
/// belong to another system.
pub fn problems(settings: &Settings, places: &Places) -> Vec<Problem> {
    let mut problems = Vec::new();
    for target in settings.targets.values() {
        let mut report = |message: String, help: &str| {
            problems.push(places.of_target(&target.path, Severity::Error, message, help));
        };
        names(target, &mut report);
        surroundings(target, &settings.rooted(target.path.as_str()), &mut report);
    }
    if settings.root.is_none() {
        let mut asked = BTreeMap::new();
        for service in settings.services.values() {
            let Some(unit) = unit(service) else { continue };
            let answer = asked.entry(unit).or_insert_with(|| cat(unit));
            if let Some((severity, message, help)) = answer {
                problems.push(places.of_service(&service.name, *severity, message.clone(), help));
            }
        }
    }
    problems
}

fn names(target: &Target, report: &mut impl FnMut(String, &str)) {
    if let Some(Principal::Name(name)) = &target.owner {
        match User::from_name(name) {
            Ok(Some(_)) => {}
            Ok(None) => report(
                format!("this host has no user `{name}`"),
                "create it, or give `owner` a user that exists",
            ),
            Err(error) => report(
                format!("cannot look up the user `{name}`: {error}"),
                "see whether `getent passwd` works on this host",
            ),
        }
    }
    if let Some(Principal::Name(name)) = &target.group {
        match Group::from_name(name) {
            Ok(Some(_)) => {}
            Ok(None) => report(
                format!("this host has no group `{name}`"),
                "create it, or give `group` a group that exists",
            ),
            Err(error) => report(
                format!("cannot look up the group `{name}`: {error}"),
                "see whether `getent group` works on this host",
            ),
        }
    }
}

fn surroundings(target: &Target, path: &Path, report: &mut impl FnMut(String, &str)) {
    let directory = path.parent().unwrap_or(Path::new("/"));
    match std::fs::metadata(directory) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            let shown = directory.display();
            report(
                format!("`{shown}` is not a directory"),
                "a target's file lies in a directory",
            );
            return;
        }
        Err(error) => {
            let shown = directory.display();
            report(
                format!("cannot find the directory `{shown}`: {error}"),
                "create it, or correct the path",
            );
            return;
        }
    }
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        let path = &target.path;
        report(
            format!("`{path}` is a directory on this host"),
            "move it away, or choose another path",
        );
    }
}

/// The unit that a service's notification goes to.
fn unit(service: &Service) -> Option<&str> {
    match &service.notify {
        Notify::Reload { unit, .. } => Some(unit),
        Notify::Signal {
            to: SignalTarget::Unit(unit),
            ..
        } => Some(unit),
        Notify::Signal {
            to: SignalTarget::PidFile(_),
            ..
        }
        | Notify::Command(_) => None,
    }
}

/// `None` if systemd knows the unit's file.
#[expect(
    clippy::disallowed_methods,
    reason = "one short question to systemctl while a person waits; nothing is notified by it"
)]
fn cat(unit: &str) -> Option<(Severity, String, &'static str)> {
    let status = Command::new("systemctl")
        .args(["--no-ask-password", "--no-pager", "cat", unit])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => None,
        Ok(_) => Some((
            Severity::Error,
            format!("systemd knows no unit `{unit}`"),
            "see `systemctl list-unit-files`, and write the name as it stands there",
        )),
        Err(error) => Some((
            Severity::Warning,
            format!("cannot ask systemctl about the unit `{unit}`: {error}"),
            "the unit was not looked for; run this where systemd is",
        )),
    }
}
