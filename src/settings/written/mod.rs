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
use super::reference::Tables;
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
    /// [where configurations come from](#where-configurations-come-from)
    aws: Aws = "AWS, as the environment has it",
    /// a directory in place of AWS; excludes `aws`
    local: Local,
    /// what profiles do not say themselves
    defaults: Defaults,
    /// an alternate root: targets, `pid_file`, state and runtime directory lie below it. `--root` wins. Arguments
    /// of commands are left as they are
    root: String as "path" = "none",
    /// under systemd: how long the start may wait for the files of required profiles before it gives up with exit
    /// code 75
    ready_timeout: Duration = "`5m`",
    /// how long a running transaction may go on when the daemon is told to end; what is left is taken up at the
    /// next start
    stop_timeout: Duration = "`30s`",
    /// where [metrics and health](operations.md#metrics-and-health) are told; nowhere, unless it is given
    metrics: Metrics,
    /// what is asked for, [below](#profiles)
    profiles: Entries<Profile> = "none",
    /// files that are kept right, by path, [below](#targets)
    targets: Entries<Target> = "none",
    /// programs that are told, [below](#services)
    services: Entries<Service> = "none",
    /// files that are not ours, [below](#watches)
    watches: Entries<Watch> = "none",
});

written!(Aws, "`aws`" {
    /// the region whose AppConfig is asked
    region: String = "`AWS_REGION`, the shared config, the instance",
    /// used as it is, no path added
    endpoint_url: String as "URL" = "`AWS_ENDPOINT_URL_APPCONFIGDATA`, the SDK's rules",
    /// a profile of the shared config and credentials files
    credentials_profile: String = "that of `AWS_PROFILE`",
    /// the role that reads configurations; a profile may name its own
    assume_role: AssumeRole = "none",
    /// a PEM file of authorities that are trusted beside the system's
    ca_bundle: String as "path" = "that of `AWS_CA_BUNDLE`",
});

written!(Metrics, "`metrics`" {
    /// a loopback address with a port, such as `"127.0.0.1:9464"`, or the path of a unix socket
    listen: String as "address or path" = "required",
});

written!(Local, "`local`" {
    /// holds `APPLICATION/ENVIRONMENT/PROFILE.ext`; see [serve](commands.md#serve)
    directory: String as "path" = "required",
});

written!(Defaults, "`defaults`" {
    /// AppConfig's application, by name or identifier
    application: String,
    /// AppConfig's environment, by name or identifier
    environment: String,
    /// see [profiles](#profiles)
    poll_interval: Duration = "`60s`; `2s` with `local`",
});

written!(AssumeRole, "`assume_role`" {
    /// the role's ARN
    role_arn: String as "ARN" = "required",
    /// what the role's trust policy asks for as `sts:ExternalId`
    external_id: String = "none",
    /// the session's name, as CloudTrail shows it
    session_name: String = "`appconfigd`",
});

written!(Profile, "a profile" {
    /// AppConfig's application, by name or identifier
    application: String = "`defaults`, else required",
    /// AppConfig's environment, by name or identifier
    environment: String = "`defaults`, else required",
    /// AppConfig's configuration profile, by name or identifier
    configuration_profile: String = "the profile's name here",
    /// asked of the service; the interval that it answers is kept, with up to 10 % on top. From `15s` to `23h`;
    /// from `1s` with `local` or an endpoint on loopback
    poll_interval: Duration = "`defaults`, else `60s`; `2s` with `local`",
    /// `false`: while it has no configuration it is left out of `merge`, is `none` in templates, and delays neither
    /// start nor `once`
    required: bool = "`true`",
    /// bodies are shown by no command unless it is asked to; a new file made from it has mode 0600
    sensitive: bool = "`false`",
    /// what a configuration must be
    validate: Validate = "none",
    /// as in `aws`
    assume_role: AssumeRole = "that of `aws`",
});

written!(Validate, "`validate`" {
    /// what does not parse is refused. Text is UTF-8
    format: Format = "by content type",
    /// a JSON Schema file, as JSON or (`.yaml`, `.yml`) YAML; references lead nowhere outside of it
    schema: String as "path" = "none",
    /// the largest configuration
    max_size: Size = "none",
    /// by how much a configuration may be smaller than the one in force
    max_shrink: Share = "none",
});

written!(Target, "a target" {
    /// the profile that it is made from, or a list of them
    from: Names = "required, but for directory targets",
    /// a [template](templates.md)
    template: String as "path" = "none: the bytes as they came",
    /// several profiles as one document, RFC 7396, later ones win; written in the format of the path's ending, else
    /// in the one that all its profiles declare. Beside `template`: what `config` is
    merge: bool = "`false`",
    /// by path inside the directory: each with its own `from`, `template` and `merge`, and with `owner`, `group`
    /// and `mode` of its own where those differ
    files: Entries<SetFile> = "required",
    /// what becomes of a real directory at the path. `true`: it is taken over, and kept as the previous generation;
    /// its files go to history. `false`: it is left alone, and the target waits
    adopt: bool = "`false`",
    /// how many generations stay beside the live one, for whoever still reads them or wants to look
    keep_previous: Count = "`1`",
    /// its owner
    owner: Principal = "that of the file that is there; of a new one: our user",
    /// its group
    group: Principal = "likewise",
    /// its permission bits
    mode: Mode = "likewise; of a new one: `0644`, or `0600` where a profile is `sensitive`",
    /// `true`: the new bytes are written over the file that is there; see [below](#targets-written-in-place)
    in_place: bool = "`false`",
    /// what becomes of a symbolic link at the path itself. `follow`: the file that it leads to is kept right, and
    /// the link stays; that file may not be there yet, its directory must be
    symlink: valid::Symlink = "`refuse`",
    /// as root, a way that leads from what a user without privileges owns to what belongs to somebody else is
    /// refused: that user could put a link there. `true`: go that way
    unsafe_path: bool = "`false`",
    /// directories on the way that are missing are made, with these `owner`, `group` (ours) and `mode` (`0755`);
    /// `{}` will do. They stay when a version goes back
    parents: Parents = "none: the directory must be there",
    /// judges the new file before the swap; `{staged}` in its arguments is the file's path. Exit 0 is yes; another
    /// status is a refusal, and so is a change of the file
    validate_command: valid::Command = "none",
    /// a service by name, a service written in place, or a list of them. One in place is named after the path
    notify: Notified = "nobody",
    /// what happens when somebody else changes or removes the file, [below](#drift)
    on_drift: OnDrift = "`restore`",
});

written!(SetFile, "a file of a directory" {
    /// the profile that it is made from, or a list of them
    from: Names = "required",
    /// a [template](templates.md)
    template: String as "path" = "none: the bytes as they came",
    /// several profiles as one document, as for a file that is a target
    merge: bool = "`false`",
    /// its owner
    owner: Principal = "that of the directory",
    /// its group
    group: Principal = "that of the directory",
    /// its permission bits
    mode: Mode = "`0644`, or `0600` where a profile is `sensitive`",
});

written!(Parents, "`parents`" {
    /// of directories that are made
    owner: Principal = "ours",
    /// of directories that are made
    group: Principal = "ours",
    /// of directories that are made
    mode: Mode = "`0755`",
});

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

    fn kind(_: &mut Tables) -> String {
        "name, or list of names".to_owned()
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

    fn kind(tables: &mut Tables) -> String {
        Service::kind(tables);
        "name, mapping, or list of both".to_owned()
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
