//! The one way in which a service is notified.

use std::path::PathBuf;

use super::{child, http, optional};
use crate::settings::field::{Field, Given};
use crate::settings::finding::{Findings, Place};
use crate::settings::path::{Naming, absolute_path};
use crate::settings::valid::{Notify, ReloadVerb, SignalTarget, Whose};
use crate::settings::written;

pub fn notify(
    at: Place,
    written: &written::Service,
    naming: &mut Naming<'_>,
    findings: &mut Findings,
) -> Option<Notify> {
    let places = [
        (
            !written.reload.is_absent(),
            written.reload.given().map(|given| given.key),
            "reload",
        ),
        (
            !written.signal.is_absent(),
            written.signal.given().map(|given| given.key),
            "signal",
        ),
        (
            !written.command.is_absent(),
            written.command.given().map(|given| given.key),
            "command",
        ),
        (
            !written.http.is_absent(),
            written.http.given().map(|given| given.key),
            "http",
        ),
        (
            !written.child.is_absent(),
            written.child.given().map(|given| given.key),
            "child",
        ),
    ];
    let mut present = places.iter().filter(|(present, ..)| *present);
    let (first, second) = (present.next(), present.next());
    if first.is_none() {
        findings
            .error(at, "this service has no way to be notified")
            .help(
                "give it one of `reload: {unit: …}`, `signal: {name: HUP, …}`, `command: […]`, `http: {url: …}` and `child: {}`",
            );
        return None;
    }
    if let (Some((_, one, first)), Some((_, two, second))) = (first, second) {
        let finding = findings.error(
            two.or(*one).unwrap_or(at),
            format!("a service is notified in one way, `{first}` and `{second}` are two"),
        );
        finding.help("keep one of them; a command that does both is one way too");
        if let (Some(one), Some(_)) = (one, two) {
            finding.also(*one, "the other one");
        }
        return None;
    }
    if let Some(given) = written.reload.given() {
        return reload(given, findings);
    }
    if let Some(given) = written.signal.given() {
        return signal(given, findings);
    }
    if let Some(given) = written.http.given() {
        return http::call(given, naming, findings).map(Notify::Http);
    }
    if let Some(given) = written.child.given() {
        return child::child(&given.value, findings).map(Notify::Child);
    }
    written.command.value().cloned().map(Notify::Command)
}

fn reload(given: &Given<written::Reload>, findings: &mut Findings) -> Option<Notify> {
    if given.value.unit.is_absent() {
        findings
            .error(given.key, "`reload` has no `unit`")
            .help("write `reload: {unit: NAME.service}`");
    }
    let unit = unit(given.value.unit.given()?, findings)?;
    let verb = optional(&given.value.verb)?.unwrap_or(ReloadVerb::Reload);
    Some(Notify::Reload { unit, verb })
}

fn signal(given: &Given<written::Signalled>, findings: &mut Findings) -> Option<Notify> {
    let written = &given.value;
    if written.name.is_absent() {
        findings
            .error(given.key, "`signal` has no `name`")
            .help("write `name: HUP` for SIGHUP");
    }
    let executable = match &written.executable {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(file) => {
            let path = absolute_path(file.at, &file.value, "an `executable`", findings);
            path.map(|path| Some(PathBuf::from(path.as_str())))
        }
    };
    let to = match (&written.pid_file, &written.unit) {
        (Field::Absent, Field::Absent) => match &executable {
            Some(Some(file)) => Some(SignalTarget::Executable(file.clone())),
            Some(None) => {
                findings
                    .error(given.key, "`signal` does not say to whom")
                    .help("add `pid_file: /run/NAME.pid`, `unit: NAME.service` or `executable: /usr/sbin/NAME`");
                None
            }
            None => None,
        },
        (Field::Given(file), Field::Given(unit)) => {
            findings
                .error(
                    unit.key,
                    "a signal goes to `pid_file` or to `unit`, not to both",
                )
                .also(file.key, "the other one")
                .help("keep one of the two");
            None
        }
        (Field::Given(file), _) => absolute_path(file.at, &file.value, "a `pid_file`", findings)
            .map(|path| SignalTarget::PidFile(PathBuf::from(path.as_str()))),
        (_, Field::Given(name)) => unit(name, findings).map(SignalTarget::Unit),
        (Field::Broken, _) | (_, Field::Broken) => None,
    };
    let user = optional(&written.user);
    Some(Notify::Signal {
        signal: written.name.value()?.clone(),
        to: to?,
        whose: Whose {
            executable: executable?,
            user: user?,
        },
    })
}

/// The name of a unit as systemctl takes it, and nothing that it takes for an option or a pattern.
fn unit(given: &Given<String>, findings: &mut Findings) -> Option<String> {
    let name = &given.value;
    let sound = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if name.starts_with('-') || !name.chars().all(sound) {
        findings
            .error(given.at, format!("`{name}` is not the name of a unit"))
            .help("write it as systemctl shows it, such as `nginx.service`");
        return None;
    }
    if !name.contains('.') {
        findings
            .error(given.at, format!("the unit `{name}` has no type"))
            .help(format!("write `{name}.service` if it is a service"));
        return None;
    }
    Some(name.clone())
}
