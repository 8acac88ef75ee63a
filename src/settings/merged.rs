//! The main file and its drop-ins as one: profiles, targets and services of all files are united.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::entries::{Entries, Entry};
use super::field::{Field, Given, Written};
use super::finding::{Findings, Place, Spot};
use super::origin::{self, Pace};
use super::path::{Directories, NamedPath, Naming};
use super::profile::ProfileReader;
use super::target::TargetReader;
use super::text::Texts;
use super::valid::{Profile, ProfileName, Service, ServiceName, Settings, TargetPath};
use super::watch::WatchReader;
use super::written::{self, File};
use super::{Circumstances, environment, metrics, objection, service, yaml};

/// What all files say together, nothing filled in.
#[derive(Debug)]
pub struct Merged {
    aws: Field<written::Aws>,
    local: Field<written::Local>,
    defaults: Field<written::Defaults>,
    root: Field<String>,
    ready_timeout: Field<Duration>,
    stop_timeout: Field<Duration>,
    metrics: Field<written::Metrics>,
    profiles: Vec<Entry<written::Profile>>,
    targets: Vec<Entry<written::Target>>,
    services: Vec<Entry<written::Service>>,
    watches: Vec<Entry<written::Watch>>,
    directories: Directories,
    /// Every text was read to its end. If not, a name that is missing may well stand in the rest.
    complete: bool,
}

impl Merged {
    pub fn of(texts: &Texts, findings: &mut Findings) -> Merged {
        let before = findings.has_errors();
        let mut files = texts.iter().map(|(index, text)| {
            let node = yaml::parse(&text.text, index, findings);
            node.and_then(|node| File::read(&node, findings))
        });
        let main = files.next().flatten();
        let drop_ins: Vec<Option<File>> = files.collect();
        let complete = !before && main.is_some() && drop_ins.iter().all(Option::is_some);
        let main = main.unwrap_or_default();
        let mut names = Names::default();
        let mut merged = Merged {
            aws: main.aws,
            local: main.local,
            defaults: main.defaults,
            root: main.root,
            ready_timeout: main.ready_timeout,
            stop_timeout: main.stop_timeout,
            metrics: main.metrics,
            profiles: names.profiles.unite(main.profiles, "profile", findings),
            targets: names.targets.unite(main.targets, "target", findings),
            services: names.services.unite(main.services, "service", findings),
            watches: names.watches.unite(main.watches, "watch", findings),
            directories: Directories::shown(texts),
            complete,
        };
        for file in drop_ins.into_iter().flatten() {
            main_only(&file, texts, findings);
            merged
                .profiles
                .extend(names.profiles.unite(file.profiles, "profile", findings));
            merged
                .targets
                .extend(names.targets.unite(file.targets, "target", findings));
            merged
                .services
                .extend(names.services.unite(file.services, "service", findings));
            merged
                .watches
                .extend(names.watches.unite(file.watches, "watch", findings));
        }
        merged
    }

    /// The settings with everything filled in, or none after a finding.
    pub fn validate(
        mut self,
        base: &Path,
        circumstances: &Circumstances,
        findings: &mut Findings,
    ) -> Understood {
        self.directories.set_base(base);
        let directories = &self.directories;
        let mut named = Vec::new();
        let source = origin::source(&self.aws, &self.local, directories, &mut named, findings);
        let pace = Pace::of(&self.aws, &self.local, circumstances);
        let local = !self.local.is_absent();
        let reader = ProfileReader::new(self.defaults.value(), &pace, local, directories);
        reader.check_defaults(findings);
        let mut profiles: BTreeMap<ProfileName, Option<Arc<Profile>>> = BTreeMap::new();
        for Entry { name, value } in &self.profiles {
            let read = |value| reader.read(name, value, &source, &mut named, findings);
            let profile = value.as_ref().and_then(read);
            profiles.insert(name.value.as_str().into(), profile.map(Arc::new));
        }
        let root = directories.root(&self.root, circumstances.root.as_deref());
        let variables = environment::place(circumstances.runtime.as_deref(), root.as_deref());
        let mut services: BTreeMap<ServiceName, Option<Arc<Service>>> = BTreeMap::new();
        let mut naming = Naming {
            directories,
            named: &mut named,
        };
        for Entry { name, value } in &self.services {
            let service = value.as_ref().and_then(|value| {
                service::declared(name, value, &variables, &mut naming, findings)
            });
            services.insert(name.value.as_str().into(), service.map(Arc::new));
        }
        let mut reader = TargetReader::new(&profiles, &mut services, directories, self.complete);
        for Entry { name, value } in &self.targets {
            reader.read(name, value.as_ref(), &mut named, findings);
        }
        if let Some((name, child)) = self.child(findings)
            && let Some(env) = child.value.env.given()
        {
            reader.environment(&variables, name, env, findings);
        }
        let (targets, mut used) = reader.finish(findings);
        let reader = WatchReader {
            services: &services,
            targets: &used.targets,
            complete: self.complete,
        };
        let watches = reader.read(&self.watches, &mut used.services, findings);
        let every_use_is_known = self.complete && !findings.has_errors();
        if every_use_is_known {
            self.warn_of_unused(&used, findings);
        }
        let mut service_places = used.in_place;
        let declared = self.services.iter().map(|Entry { name, .. }| name);
        service_places.extend(declared.map(|name| (name.value.as_str().into(), name.at)));
        if every_use_is_known {
            service::check(&services, &targets, &service_places, findings);
            objection::warn(&services, &targets, &service_places, findings);
        }
        let ready_timeout = timeout(&self.ready_timeout, "ready_timeout", 300, findings);
        let stop_timeout = timeout(&self.stop_timeout, "stop_timeout", 30, findings);
        let metrics = metrics::listen(&self.metrics, findings);
        let settings = || {
            Some(Settings {
                file: base.to_owned(),
                directory: base.parent().unwrap_or(Path::new("/")).to_owned(),
                source: source?,
                root,
                ready_timeout: ready_timeout?,
                stop_timeout: stop_timeout?,
                metrics: metrics?,
                profiles: all(profiles)?,
                targets: all(targets)?,
                services: all(services)?,
                watches: watches?,
            })
        };
        Understood {
            settings: settings(),
            named,
            targets: used.targets,
            services: service_places,
            metrics: self.metrics.given().map(|given| given.key),
        }
    }

    /// The service that is a child; a second one is a finding.
    fn child(&self, findings: &mut Findings) -> Option<(&Spot<String>, &Given<written::Child>)> {
        let declared = self.services.iter();
        let mut children = declared
            .filter_map(|Entry { name, value }| Some((name, value.as_ref()?.child.given()?)));
        let first = children.next()?;
        for (_, second) in children {
            findings
                .error(second.key, "there is one child, and this is a second one")
                .also(first.1.key, "the other one")
                .help("keep one of the two; each program of its own has an `appconfigd exec` of its own");
        }
        Some(first)
    }

    fn warn_of_unused(&self, used: &Used, findings: &mut Findings) {
        for Entry { name, .. } in &self.profiles {
            if !used
                .profiles
                .contains(&ProfileName::from(name.value.as_str()))
            {
                findings
                    .warning(
                        name.at,
                        format!("no target is made from the profile `{}`", name.value),
                    )
                    .help("name it in a target's `from`, or remove it: it is polled for nothing");
            }
        }
        for Entry { name, .. } in &self.services {
            if !used
                .services
                .contains(&ServiceName::from(name.value.as_str()))
            {
                findings
                    .warning(
                        name.at,
                        format!("no target notifies the service `{}`", name.value),
                    )
                    .help("name it in a target's `notify`, or remove it");
            }
        }
        if self.targets.is_empty() && self.watches.is_empty() {
            let at = Place {
                line: 1,
                ..Place::default()
            };
            findings
                .warning(at, "there is no target: nothing is kept right")
                .help("declare one under `targets:`");
        }
    }
}

/// What came out, and where it stands.
#[derive(Debug)]
pub struct Understood {
    pub settings: Option<Settings>,
    /// Files and directories that must be there.
    pub named: Vec<NamedPath>,
    pub targets: BTreeMap<TargetPath, Place>,
    pub services: BTreeMap<ServiceName, Place>,
    pub metrics: Option<Place>,
}

/// What the targets are and refer to.
#[derive(Debug, Default)]
pub struct Used {
    pub targets: BTreeMap<TargetPath, Place>,
    pub profiles: BTreeSet<ProfileName>,
    pub services: BTreeSet<ServiceName>,
    /// The services that are written in place.
    pub in_place: BTreeMap<ServiceName, Place>,
}

/// Where each name stands first.
#[derive(Default)]
struct Names {
    profiles: FirstPlaces,
    targets: FirstPlaces,
    services: FirstPlaces,
    watches: FirstPlaces,
}

#[derive(Default)]
struct FirstPlaces(HashMap<String, Place>);

impl FirstPlaces {
    /// The entries whose names are new; the others are findings that show both places.
    fn unite<T>(
        &mut self,
        entries: Field<Entries<T>>,
        noun: &str,
        findings: &mut Findings,
    ) -> Vec<Entry<T>> {
        let Field::Given(given) = entries else {
            return Vec::new();
        };
        let mut fresh = Vec::new();
        for entry in given.value.0 {
            let name = &entry.name;
            if let Some(first) = self.0.get(&name.value) {
                findings
                    .error(
                        name.at,
                        format!("the {noun} `{}` stands in two files", name.value),
                    )
                    .also(*first, "first here")
                    .help("remove one of the two, or rename it");
                continue;
            }
            self.0.insert(name.value.clone(), name.at);
            fresh.push(entry);
        }
        fresh
    }
}

fn main_only(file: &File, texts: &Texts, findings: &mut Findings) {
    let keys = [
        ("aws", file.aws.given().map(|given| given.key)),
        ("local", file.local.given().map(|given| given.key)),
        ("defaults", file.defaults.given().map(|given| given.key)),
        ("root", file.root.given().map(|given| given.key)),
        (
            "ready_timeout",
            file.ready_timeout.given().map(|given| given.key),
        ),
        (
            "stop_timeout",
            file.stop_timeout.given().map(|given| given.key),
        ),
        ("metrics", file.metrics.given().map(|given| given.key)),
    ];
    for (key, at) in keys {
        if let Some(at) = at {
            findings
                .error(at, format!("`{key}` stands in the main file only"))
                .help(format!("move it to `{}`", texts.name(0).display()));
        }
    }
}

fn timeout(
    field: &Field<Duration>,
    key: &str,
    default: u64,
    findings: &mut Findings,
) -> Option<Duration> {
    match field {
        Field::Absent => Some(Duration::from_secs(default)),
        Field::Broken => None,
        Field::Given(given) if given.value.is_zero() => {
            findings
                .error(given.at, format!("`{key}` is no time at all"))
                .help(format!(
                    "write `{default}s`, or remove the line for the default"
                ));
            None
        }
        Field::Given(given) => Some(given.value),
    }
}

fn all<K: Ord + Hash, V>(entries: BTreeMap<K, Option<V>>) -> Option<BTreeMap<K, V>> {
    entries
        .into_iter()
        .map(|(key, value)| Some((key, value?)))
        .collect()
}
