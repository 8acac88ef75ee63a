//! `check --host`: do the users, groups, directories and units that the settings mean exist on this host?

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Group, User};
use tokio::runtime::Runtime;

use crate::cli::systemd_dropin::{Need, Of, Sandbox, UNIT, Wanted, wanted};
use crate::daemon::{Ground, reach};
use crate::process::{Ended, Run, Surroundings, run};
use crate::settings::{
    Command, Notify, Places, Principal, Problem, Service, Settings, Severity, SignalTarget, Target,
};

/// How long systemctl may think about a unit.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is missing or in the way on this host. Units are looked for only without an alternate root: with one they
/// belong to another system.
pub fn problems(settings: &Settings, places: &Places, runtime: &Runtime) -> Vec<Problem> {
    let mut problems = of_targets(settings, places);
    problems.extend(of_services(settings, places, runtime));
    problems.extend(of_unit(settings, places, runtime));
    problems
}

/// Of users, groups and directories of targets.
pub fn of_targets(settings: &Settings, places: &Places) -> Vec<Problem> {
    let mut problems = Vec::new();
    for target in settings.targets.values() {
        let mut report = |message: String, help: &str| {
            problems.push(places.of_target(&target.path, Severity::Error, message, help));
        };
        names(target, &mut report);
        surroundings(
            target,
            &settings.rooted(target.path.location()),
            &mut report,
        );
    }
    problems
}

/// Of users of services, and of their units.
pub fn of_services(settings: &Settings, places: &Places, runtime: &Runtime) -> Vec<Problem> {
    let mut problems = Vec::new();
    for service in settings.services.values() {
        let mut report = |message: String, help: &str| {
            problems.push(places.of_service(&service.name, Severity::Error, message, help));
        };
        accounts(service, &mut report);
    }
    let ground = Ground {
        root: settings.root.clone(),
        ours: settings.targets.keys().cloned().collect(),
    };
    for watch in settings.watches.values() {
        let name = &watch.name;
        let (message, help) = match reach(watch, &ground) {
            Ok(reach) if reach.files.is_empty() => (
                format!("watch `{name}`: none of its files is there yet"),
                "nobody is notified before there is one; if there should be, correct `paths`",
            ),
            Ok(_) => continue,
            Err(reason) => (
                format!("watch `{name}` cannot be looked at: {reason}"),
                "nobody is notified until it can be; correct `paths`, or who may read them",
            ),
        };
        let services = watch.notify.first();
        problems.extend(
            services.map(|service| places.of_service(service, Severity::Warning, message, help)),
        );
    }
    if settings.root.is_none() {
        let mut asked = BTreeMap::new();
        for service in settings.services.values() {
            let Some(unit) = unit(service) else { continue };
            let answer = asked.entry(unit).or_insert_with(|| cat(runtime, unit));
            if let Some((severity, message, help)) = answer {
                problems.push(places.of_service(&service.name, *severity, message.clone(), help));
            }
        }
    }
    problems
}

/// Of what the unit that runs the daemon forbids.
pub fn of_unit(settings: &Settings, places: &Places, runtime: &Runtime) -> Vec<Problem> {
    match settings.root {
        None => forbidden(settings, places, runtime),
        Some(_) => Vec::new(),
    }
}

/// What the unit that runs the daemon on this host forbids. Nothing where there is no such unit.
fn forbidden(settings: &Settings, places: &Places, runtime: &Runtime) -> Vec<Problem> {
    let Some(sandbox) = Sandbox::of_host(runtime, UNIT) else {
        return Vec::new();
    };
    let flag = if sandbox.is_root() { " --as-root" } else { "" };
    let help = format!("`appconfigd systemd-dropin{flag}` prints the drop-in that allows it");
    let polkit = "`appconfigd systemd-dropin --polkit` prints the rule";
    let mut problems = Vec::new();
    for wanted in wanted(settings, &sandbox, runtime) {
        let Wanted {
            need,
            of,
            why,
            against,
        } = wanted;
        let message = match &need {
            Need::Write(directory) => {
                let shown = directory.display();
                format!("`{UNIT}` may not write to `{shown}` ({against})")
            }
            Need::See(directory) => {
                let shown = directory.display();
                format!("`{UNIT}` does not see `{shown}` as others do ({against})")
            }
            Need::Group(name) => {
                format!("the user of `{UNIT}` is not in the group `{name}` ({against})")
            }
            Need::Capability(name) => format!("`{UNIT}` needs {name}: {why} ({against})"),
            Need::SetId => format!("`{UNIT}` may not set {why} ({against})"),
            // Said once a unit; and not where a rule seems to be there.
            Need::Manage { unit, verb } => {
                if *verb != "start" || is_ruled(unit, sandbox.user()) {
                    continue;
                }
                format!("no rule of polkit lets `{UNIT}` reload the unit `{unit}` ({against})")
            }
        };
        let help = match need {
            Need::Manage { .. } => polkit,
            _ => &help,
        };
        problems.push(match of {
            Of::Metrics => places.of_metrics(message, help),
            Of::Target(path) => places.of_target(&path, Severity::Warning, message, help),
            Of::Service(name) => places.of_service(&name, Severity::Warning, message, help),
            Of::Watch(watch, name) => {
                let message = format!("watch `{watch}`: {message}");
                places.of_service(&name, Severity::Warning, message, help)
            }
        });
    }
    problems
}

/// Some rule of polkit names both; rules that cannot be read may.
fn is_ruled(unit: &str, user: &str) -> bool {
    let directories = ["/etc", "/run", "/usr/local/share", "/usr/share"];
    let mut found = false;
    for directory in directories {
        match std::fs::read_dir(format!("{directory}/polkit-1/rules.d")) {
            Err(error) => found |= error.kind() == ErrorKind::PermissionDenied,
            Ok(rules) => {
                let texts = rules
                    .flatten()
                    .filter_map(|rule| std::fs::read_to_string(rule.path()).ok());
                found |= texts
                    .into_iter()
                    .any(|text| text.contains(unit) && text.contains(user));
            }
        }
    }
    found
}

fn names(target: &Target, report: &mut impl FnMut(String, &str)) {
    let parents = target.parents.as_ref();
    let of_parents = parents.and_then(|parents| parents.owner.as_ref());
    let files = || {
        target
            .file_set()
            .into_iter()
            .flat_map(|set| set.files.values())
    };
    let of_files = files().filter_map(|file| file.owner.as_ref());
    let owners = [target.owner.as_ref(), of_parents].into_iter().flatten();
    for owner in owners.chain(of_files) {
        user(owner, "owner", report);
    }
    let of_parents = parents.and_then(|parents| parents.group.as_ref());
    let of_files = files().filter_map(|file| file.group.as_ref());
    let groups = [target.group.as_ref(), of_parents].into_iter().flatten();
    for name in groups.chain(of_files) {
        group(name, "group", report);
    }
}

/// As whom a service's commands and its process run.
fn accounts(service: &Service, report: &mut impl FnMut(String, &str)) {
    let of_process = match &service.notify {
        Notify::Signal { whose, .. } => whose.user.as_ref(),
        Notify::Reload { .. } | Notify::Command(_) | Notify::Http(_) | Notify::Child(_) => None,
    };
    let of_commands = service.commands.user.as_ref();
    for name in of_process.into_iter().chain(of_commands) {
        user(name, "user", report);
    }
    if let Some(name) = &service.commands.group {
        group(name, "group", report);
    }
}

fn user(user: &Principal, key: &str, report: &mut impl FnMut(String, &str)) {
    let Principal::Name(name) = user else {
        return;
    };
    match User::from_name(name) {
        Ok(Some(_)) => {}
        Ok(None) => report(
            format!("this host has no user `{name}`"),
            &format!("create it, or give `{key}` a user that exists"),
        ),
        Err(error) => report(
            format!("cannot look up the user `{name}`: {error}"),
            "see whether `getent passwd` works on this host",
        ),
    }
}

fn group(group: &Principal, key: &str, report: &mut impl FnMut(String, &str)) {
    let Principal::Name(name) = group else {
        return;
    };
    match Group::from_name(name) {
        Ok(Some(_)) => {}
        Ok(None) => report(
            format!("this host has no group `{name}`"),
            &format!("create it, or give `{key}` a group that exists"),
        ),
        Err(error) => report(
            format!("cannot look up the group `{name}`: {error}"),
            "see whether `getent group` works on this host",
        ),
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
        Err(error) if error.kind() == ErrorKind::NotFound && target.parents.is_some() => return,
        Err(error) => {
            let shown = directory.display();
            report(
                format!("cannot find the directory `{shown}`: {error}"),
                "create it, declare `parents: {}` to have it made, or correct the path",
            );
            return;
        }
    }
    let is_directory = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    if let (true, Some(set)) = (is_directory, target.file_set()) {
        if !set.adopt {
            let path = &target.path;
            report(
                format!("`{path}` is a real directory on this host, not a link of ours"),
                "declare `adopt: true` to have it taken over, or move it away",
            );
        }
    } else if is_directory {
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
            to: SignalTarget::PidFile(_) | SignalTarget::Executable(_),
            ..
        }
        | Notify::Command(_)
        | Notify::Http(_)
        | Notify::Child(_) => None,
    }
}

/// `None` if systemd knows the unit's file.
fn cat(runtime: &Runtime, unit: &str) -> Option<(Severity, String, &'static str)> {
    let words = ["systemctl", "--no-ask-password", "--no-pager", "cat", "--"];
    let mut words: Vec<String> = words.map(str::to_owned).to_vec();
    words.push(unit.to_owned());
    let surroundings = Surroundings {
        directory: PathBuf::from("/"),
        ..Surroundings::default()
    };
    let command = Command::Argv(words);
    let warning = |why: String| {
        Some((
            Severity::Warning,
            format!("cannot ask systemctl about the unit `{unit}`: {why}"),
            "the unit was not looked for; run this where systemd is",
        ))
    };
    match runtime.block_on(run(&command, &surroundings, PATIENCE)) {
        Ok(Run { ended, .. }) => match ended {
            Ended::Exited(0) => None,
            Ended::Exited(_) => Some((
                Severity::Error,
                format!("systemd knows no unit `{unit}`"),
                "see `systemctl list-unit-files`, and write the name as it stands there",
            )),
            Ended::Killed(signal) => warning(format!("it was ended by signal {signal}")),
            Ended::TimedOut => warning("it does not answer".to_owned()),
        },
        Err(error) => warning(error.to_string()),
    }
}
