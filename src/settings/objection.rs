//! Services that cannot say no: every version of their files counts as good.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::finding::{Findings, Place};
use super::valid::{
    Command, Notify, OnChange, OnFailure, Service, ServiceName, Target, TargetPath,
};

/// Ends of shell lines by which a line succeeds whatever came before.
const ALWAYS: [&str; 7] = [
    "|| true",
    "|| :",
    "; true",
    "; :",
    "; exit 0",
    "|| exit 0",
    "&",
];

/// Warns of each service that `rollback` is promised to and that has no way to ask for it.
pub fn warn(
    services: &BTreeMap<ServiceName, Option<Arc<Service>>>,
    targets: &BTreeMap<TargetPath, Option<Arc<Target>>>,
    places: &BTreeMap<ServiceName, Place>,
    findings: &mut Findings,
) {
    for (name, service) in services {
        let (Some(service), Some(at)) = (service, places.get(name)) else {
            continue;
        };
        let mut feeds = targets
            .values()
            .flatten()
            .filter(|target| target.notify.contains(name))
            .peekable();
        if feeds.peek().is_none() || feeds.all(|target| target.validate_command.is_some()) {
            continue;
        }
        if let Some(why) = why_never(service) {
            findings
                .warning(*at, format!("the service `{name}` cannot say no to a version{why}"))
                .help("add a `check` or a `probe`, or write `on_failure: keep` if a bad version may stay");
        }
    }
}

/// Why the service accepts whatever it is told.
fn why_never(service: &Service) -> Option<&'static str> {
    if service.check.is_some() || service.probe.is_some() || service.on_failure == OnFailure::Keep {
        return None;
    }
    match &service.notify {
        Notify::Signal { .. } => Some(" while it runs: a signal is not answered"),
        Notify::Child(child) => match child.on_change {
            OnChange::Signal(_) => Some(" while it runs: a signal is not answered"),
            // One that does not like its files ends.
            OnChange::Restart => None,
        },
        Notify::Command(Command::Shell(line)) => {
            let line = line.trim_end().trim_end_matches(';').trim_end();
            let always = |end: &&str| line.ends_with(*end) && !line.ends_with("&&");
            let always = ALWAYS.iter().any(always);
            always.then_some(": its command succeeds whatever happens")
        }
        Notify::Command(Command::Argv(argv)) => {
            let program = argv.first().and_then(|program| program.rsplit('/').next());
            (program == Some("true")).then_some(": its command succeeds whatever happens")
        }
        // systemd reports a job that failed; what the unit's own settings make of it is not to be seen here.
        Notify::Reload { .. } | Notify::Http(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::settings::{Circumstances, Texts, interpret};

    /// The warnings about a service `app` with these keys, whose target has those.
    fn warnings(keys: &str, of_target: &str) -> Vec<String> {
        let text = format!(
            "profiles: {{app: {{application: shop, environment: prod}}}}\ntargets: {{/etc/app.json: {{from: app, notify: app{of_target}}}}}\nservices: {{app: {{{keys}}}}}\n"
        );
        let texts = Texts::new(("appconfigd.yaml".into(), text), Vec::new());
        let read = interpret(
            texts,
            Path::new("/etc/appconfigd.yaml"),
            &Circumstances::default(),
        );
        let warnings = read.unwrap().warnings.into_iter();
        warnings.map(|warning| warning.message).collect()
    }

    #[test]
    fn what_cannot_say_no_is_warned_of() {
        for keys in [
            "signal: {name: HUP, pid_file: /run/app.pid}",
            "signal: {name: USR1, unit: app.service}, on_failure: rollback",
            "child: {on_change: {signal: HUP}}",
            "command: {shell: 'pkill -HUP app || true'}",
            "command: {shell: 'app reload; true;'}",
            "command: {shell: 'app reload &'}",
            "command: [/bin/true]",
        ] {
            assert_eq!(warnings(keys, "").len(), 1, "{keys}");
        }
    }

    #[test]
    fn what_can_say_no_in_some_way_is_not() {
        let signal = "signal: {name: HUP, pid_file: /run/app.pid}";
        for keys in [
            &format!("{signal}, check: [app, -t]"),
            &format!("{signal}, probe: {{command: [app, ping]}}"),
            &format!("{signal}, on_failure: keep"),
            "reload: {unit: app.service}",
            "reload: {unit: app.service, verb: restart}",
            "child: {}",
            "command: [app, reload]",
            "command: {shell: 'app reload && app ping'}",
            "command: {shell: 'app trueish'}",
        ] {
            assert_eq!(warnings(keys, ""), Vec::<String>::new(), "{keys}");
        }
        // A version that the target's own command turns down never reaches the service.
        let of_target = ", validate_command: [app, -t, '{staged}']";
        assert_eq!(warnings(signal, of_target), Vec::<String>::new());
    }
}
