//! The settings as written: every key optional, nothing filled in, nothing looked up.

use std::time::Duration;

use super::entries::Entries;
use super::field::{Written, written};
use super::finding::{Findings, Place, Spot};
use super::node::{Kind, Node};
use super::quantity::{Count, Mode, Share, Size};
use super::valid::{self, Format, OnDrift, OnFailure, Principal, ReloadVerb, Signal};

written!(
    /// A whole file, main or drop-in.
    File, "a settings file" {
    aws: Aws,
    local: Local,
    defaults: Defaults,
    root: String,
    ready_timeout: Duration,
    stop_timeout: Duration,
    profiles: Entries<Profile>,
    targets: Entries<Target>,
    services: Entries<Service>,
});

written!(Aws, "`aws`" {
    region: String,
    endpoint_url: String,
    credentials_profile: String,
    assume_role: AssumeRole,
    ca_bundle: String,
});

written!(Local, "`local`" { directory: String });

written!(Defaults, "`defaults`" {
    application: String,
    environment: String,
    poll_interval: Duration,
});

written!(AssumeRole, "`assume_role`" {
    role_arn: String,
    external_id: String,
    session_name: String,
});

written!(Profile, "a profile" {
    application: String,
    environment: String,
    configuration_profile: String,
    poll_interval: Duration,
    required: bool,
    sensitive: bool,
    validate: Validate,
    assume_role: AssumeRole,
});

written!(Validate, "`validate`" {
    format: Format,
    schema: String,
    max_size: Size,
    max_shrink: Share,
});

written!(Target, "a target" {
    from: Names,
    template: String,
    merge: bool,
    files: Entries<SetFile>,
    adopt: bool,
    keep_previous: Count,
    owner: Principal,
    group: Principal,
    mode: Mode,
    in_place: bool,
    symlink: valid::Symlink,
    unsafe_path: bool,
    parents: Parents,
    validate_command: valid::Command,
    notify: Notified,
    on_drift: OnDrift,
});

written!(SetFile, "a file of a directory" {
    from: Names,
    template: String,
    merge: bool,
    owner: Principal,
    group: Principal,
    mode: Mode,
});

written!(Parents, "`parents`" { owner: Principal, group: Principal, mode: Mode });

written!(Service, "a service" {
    check: valid::Command,
    reload: Reload,
    signal: Signalled,
    command: valid::Command,
    probe: Probe,
    on_failure: OnFailure,
    timeout: Duration,
});

written!(Reload, "`reload`" { unit: String, verb: ReloadVerb });

written!(Signalled, "`signal`" { name: Signal, pid_file: String, unit: String });

written!(Probe, "a probe" {
    http: String,
    command: valid::Command,
    within: Duration,
    successes: u32,
    delay: Duration,
    interval: Duration,
});

written!(ShellLine, "a command in braces" { shell: String });

/// A name, or a list of at least one.
#[derive(Clone, Debug)]
pub struct Names(pub Vec<Spot<String>>);

impl Written for Names {
    fn read(node: &Node, findings: &mut Findings) -> Option<Names> {
        let name = |node: &Node, findings: &mut Findings| {
            String::read(node, findings).map(|value| Spot { at: node.at, value })
        };
        match &node.kind {
            Kind::Sequence(items) => list(node.at, items, findings, name).map(Names),
            Kind::Mapping(_) => {
                node.unexpected("a name or a list of names", findings);
                None
            }
            _ => name(node, findings).map(|name| Names(vec![name])),
        }
    }
}

/// Whom a target notifies: at least one.
#[derive(Clone, Debug)]
pub struct Notified(pub Vec<Spot<Notify>>);

#[derive(Clone, Debug)]
pub enum Notify {
    Name(String),
    /// A service written in place.
    InPlace(Box<Service>),
}

impl Written for Notified {
    fn read(node: &Node, findings: &mut Findings) -> Option<Notified> {
        let one = |node: &Node, findings: &mut Findings| {
            let value = match &node.kind {
                Kind::Mapping(_) => Notify::InPlace(Box::new(Service::read(node, findings)?)),
                _ => Notify::Name(String::read(node, findings)?),
            };
            Some(Spot { at: node.at, value })
        };
        match &node.kind {
            Kind::Sequence(items) => list(node.at, items, findings, one).map(Notified),
            _ => one(node, findings).map(|item| Notified(vec![item])),
        }
    }
}

/// All items or none, so that nobody draws conclusions from half a list.
fn list<T>(
    at: Place,
    items: &[Node],
    findings: &mut Findings,
    item: impl Fn(&Node, &mut Findings) -> Option<T>,
) -> Option<Vec<T>> {
    if items.is_empty() {
        findings
            .error(at, "this list is empty")
            .help("name at least one, or remove the line");
        return None;
    }
    let read: Vec<Option<T>> = items.iter().map(|node| item(node, findings)).collect();
    read.into_iter().collect()
}

impl Written for valid::Command {
    fn read(node: &Node, findings: &mut Findings) -> Option<valid::Command> {
        match &node.kind {
            Kind::Sequence(items) => {
                let argv = list(node.at, items, findings, argument)?;
                if argv
                    .first()
                    .is_some_and(|program| program.trim().is_empty())
                {
                    findings
                        .error(node.at, "the program's name is empty")
                        .help("the first item of a command is the program to run");
                    return None;
                }
                Some(valid::Command::Argv(argv))
            }
            Kind::Mapping(entries) if entries.is_empty() => {
                findings
                    .error(node.at, "this command is empty")
                    .help("write a list such as `[nginx, -t]`, or `{shell: \"…\"}`");
                None
            }
            Kind::Mapping(_) => {
                let line = ShellLine::read(node, findings)?.shell;
                line.value().cloned().map(valid::Command::Shell)
            }
            _ => {
                let text = node.text("a command, which is a list", findings)?;
                let argv: Vec<String> = words(text).iter().map(|word| flow_item(word)).collect();
                let shell = serde_json::Value::from(text);
                findings
                    .error(node.at, "a command is a list, this is a text")
                    .help(format!(
                        "write `[{}]`, or `{{shell: {shell}}}` to have a shell read it",
                        argv.join(", ")
                    ));
                None
            }
        }
    }
}

/// An item of an argv; it may be empty.
fn argument(node: &Node, findings: &mut Findings) -> Option<String> {
    if let Kind::Mapping(entries) = &node.kind {
        let staged = entries
            .first()
            .is_some_and(|(key, _)| key.value == "staged");
        let quoted = if staged { "\"{staged}\"" } else { "\"{…}\"" };
        findings
            .error(node.at, "an argument is a text, this is a mapping")
            .help(format!("put quotes around it: `{quoted}`"));
        return None;
    }
    if node.is_null() {
        findings
            .error(node.at, "this argument is nothing")
            .help("put quotes around it, `\"\"` for an empty argument");
        return None;
    }
    node.text("an argument", findings).map(str::to_owned)
}

/// As it would stand between brackets.
fn flow_item(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=+@".contains(c);
    let reserved = argument.starts_with(['-', '@', '=']) && argument.len() == 1;
    if argument.chars().all(plain) && !reserved && !argument.starts_with('@') {
        argument.to_owned()
    } else {
        serde_json::Value::from(argument).to_string()
    }
}

/// Words as a shell would see them, near enough for a suggestion: quotes hold words together, nothing is expanded.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
