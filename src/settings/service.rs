//! Services: exactly one way to notify, probes that can succeed.

use std::path::PathBuf;
use std::time::Duration;

use super::duration::show;
use super::field::{Field, Given};
use super::finding::{Findings, Place, Spot};
use super::origin::http_url;
use super::path::absolute_path;
use super::valid::{
    Command, Notify, OnFailure, Probe, ProbeAsk, ReloadVerb, Service, SignalTarget,
};
use super::written;

/// A service of `services:`; `None` after a finding.
pub fn declared(
    name: &Spot<String>,
    written: &written::Service,
    findings: &mut Findings,
) -> Option<Service> {
    if name.value.starts_with('/') {
        findings
            .error(name.at, "the name of a service does not begin with `/`")
            .help("such names belong to the services that are written in place at a target");
        return None;
    }
    service(name, written, findings)
}

/// A service under the name given; `None` after a finding.
pub fn service(
    name: &Spot<String>,
    written: &written::Service,
    findings: &mut Findings,
) -> Option<Service> {
    let notify = notify(name.at, written, findings);
    let probe = match &written.probe {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(given) => probe(given, findings).map(Some),
    };
    let timeout = time(
        &written.timeout,
        Duration::from_secs(30),
        "timeout",
        findings,
    );
    Some(Service {
        name: name.value.as_str().into(),
        check: optional(&written.check)?,
        notify: notify?,
        probe: probe?,
        on_failure: optional(&written.on_failure)?.unwrap_or(OnFailure::Rollback),
        timeout: timeout?,
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

fn notify(at: Place, written: &written::Service, findings: &mut Findings) -> Option<Notify> {
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
    ];
    let mut present = places.iter().filter(|(present, ..)| *present);
    let (first, second) = (present.next(), present.next());
    if first.is_none() {
        findings
            .error(at, "this service has no way to be notified")
            .help(
                "give it one of `reload: {unit: …}`, `signal: {name: HUP, …}` and `command: […]`",
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
    let to = match (&written.pid_file, &written.unit) {
        (Field::Absent, Field::Absent) => {
            findings
                .error(given.key, "`signal` does not say to whom")
                .help("add `pid_file: /run/NAME.pid` or `unit: NAME.service`");
            None
        }
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
    Some(Notify::Signal {
        signal: written.name.value()?.clone(),
        to: to?,
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

fn probe(given: &Given<written::Probe>, findings: &mut Findings) -> Option<Probe> {
    let written = &given.value;
    let ask = match (&written.http, &written.command) {
        (Field::Absent, Field::Absent) => {
            findings
                .error(given.key, "the probe asks nothing")
                .help("add `http: http://127.0.0.1/healthz` or `command: […]`");
            None
        }
        (Field::Given(http), Field::Given(command)) => {
            findings
                .error(
                    command.key,
                    "a probe asks by `http` or by `command`, not by both",
                )
                .also(http.key, "the other one")
                .help("keep one of the two");
            None
        }
        (Field::Given(http), _) => {
            http_url(http.at, &http.value, findings).map(|_| ProbeAsk::Http(http.value.clone()))
        }
        (_, Field::Given(command)) => Some(ProbeAsk::Command(command.value.clone())),
        (Field::Broken, _) | (_, Field::Broken) => None,
    };
    let within = time(&written.within, Duration::from_secs(10), "within", findings);
    let interval = time(
        &written.interval,
        Duration::from_secs(1),
        "interval",
        findings,
    );
    let successes = optional(&written.successes)?.unwrap_or(1);
    let delay = optional(&written.delay)?.unwrap_or(Duration::ZERO);
    let (within, interval) = (within?, interval?);
    let least = interval
        .checked_mul(successes.saturating_sub(1))
        .and_then(|tries| tries.checked_add(delay));
    if least.is_none_or(|least| least >= within) {
        let shown = least.map_or("more than that".to_owned(), show);
        findings
            .error(given.key, format!("this probe can never succeed within `{}`", show(within)))
            .help(format!(
                "`delay` and {successes} tries, one each `interval`, take {shown}: write a longer `within`"
            ));
        return None;
    }
    Some(Probe {
        ask: ask?,
        within,
        successes,
        delay,
        interval,
    })
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

/// Whether `needle` stands anywhere in a command.
pub fn mentions(command: &Command, needle: &str) -> bool {
    match command {
        Command::Argv(argv) => argv.iter().any(|argument| argument.contains(needle)),
        Command::Shell(line) => line.contains(needle),
    }
}
