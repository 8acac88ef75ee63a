//! The settings as written: every key optional, nothing filled in, nothing looked up.

mod child;
mod command;
mod http;
mod conditions;
mod pace;
mod service;
mod watch;

use std::time::Duration;

use super::entries::Entries;
use super::field::{Written, written};
use super::finding::{Findings, Place, Spot};
use super::node::{Kind, Node};
use super::quantity::{Count, Mode, Share, Size};
use super::valid::{self, Format, OnDrift, Principal};

pub use child::{Changed, Child, Env};
pub use conditions::{WhenChanged, Which};
pub use http::{Headers, HttpCall};
pub use pace::Window;
pub use service::{Probe, Reload, Service, Signalled};
pub use watch::Watch;

written!(
    /// A whole file, main or drop-in.
    File, "a settings file" {
    aws: Aws,
    local: Local,
    defaults: Defaults,
    root: String,
    ready_timeout: Duration,
    stop_timeout: Duration,
    metrics: Metrics,
    profiles: Entries<Profile>,
    targets: Entries<Target>,
    services: Entries<Service>,
    watches: Entries<Watch>,
});

written!(Aws, "`aws`" {
    region: String,
    endpoint_url: String,
    credentials_profile: String,
    assume_role: AssumeRole,
    ca_bundle: String,
});

written!(Metrics, "`metrics`" { listen: String });

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
