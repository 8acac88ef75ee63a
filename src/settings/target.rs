//! Targets: names resolved, one way to be made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::field::Field;
use super::file_set;
use super::finding::{Findings, Place, Spot};
use super::merged::Used;
use super::path::{Directories, NamedPath, Naming, target_path};
use super::recipe::Recipe;
use super::service::{in_place, mentions};
use super::suggestion;
use super::valid::{Parents, Profile, ProfileName, Service, ServiceName, Target, TargetPath};
use super::written::{self, Notify};

type Profiles = BTreeMap<ProfileName, Option<Arc<Profile>>>;
type Services = BTreeMap<ServiceName, Option<Arc<Service>>>;
type Targets = BTreeMap<TargetPath, Option<Arc<Target>>>;

/// Reads targets one after the other; services that are written in place join the declared ones.
pub struct TargetReader<'a> {
    pub(super) profiles: &'a Profiles,
    services: &'a mut Services,
    pub(super) directories: &'a Directories,
    /// All files were read: a name that is not known does not exist.
    pub(super) complete: bool,
    pub(super) targets: Targets,
    pub(super) used: Used,
}

impl<'a> TargetReader<'a> {
    pub fn new(
        profiles: &'a Profiles,
        services: &'a mut Services,
        directories: &'a Directories,
        complete: bool,
    ) -> TargetReader<'a> {
        TargetReader {
            profiles,
            services,
            directories,
            complete,
            targets: BTreeMap::new(),
            used: Used::default(),
        }
    }

    pub fn read(
        &mut self,
        name: &Spot<String>,
        written: Option<&written::Target>,
        named: &mut Vec<NamedPath>,
        findings: &mut Findings,
    ) {
        let path = target_path(name, findings);
        if let Some(written) = written {
            file_set::misplaced(name, written, findings);
        }
        let target =
            written.and_then(|written| self.target(name, path.as_ref(), written, named, findings));
        if let Some(path) = path {
            self.used.targets.insert(path.clone(), name.at);
            self.targets.insert(path, target.map(Arc::new));
        }
    }

    /// The targets and what they refer to.
    pub fn finish(self, findings: &mut Findings) -> (Targets, Used) {
        for (path, at) in &self.used.targets {
            let both = [path.location().to_owned(), format!("{}/", path.location())];
            let same = path.is_directory().then(|| self.declared(&both[..1]));
            if let Some((_, other)) = same.flatten() {
                findings
                    .error(*at, format!("`{path}` is a file's target as well"))
                    .also(*other, "the file")
                    .help("a path is a file or a directory: remove one of the two");
            }
            let above = ancestors(path.location())
                .find_map(|above| self.declared(&[above.to_owned(), format!("{above}/")]));
            let Some((above, other)) = above else {
                continue;
            };
            let (what, help) = match above.is_directory() {
                true => (
                    "a directory target",
                    "list it under the `files` of that directory, or move one of the two",
                ),
                false => (
                    "a file",
                    "a path is a file or a directory: move one of the two",
                ),
            };
            findings
                .error(
                    *at,
                    format!("`{path}` lies below `{above}`, which is {what}"),
                )
                .also(*other, "the target above it")
                .help(help);
        }
        (self.targets, self.used)
    }

    fn declared(&self, paths: &[String]) -> Option<(&TargetPath, &Place)> {
        let mut paths = paths.iter().filter_map(|path| TargetPath::new(path));
        paths.find_map(|path| self.used.targets.get_key_value(&path))
    }

    /// `None` after a finding, here or at the path.
    fn target(
        &mut self,
        name: &Spot<String>,
        path: Option<&TargetPath>,
        written: &written::Target,
        named: &mut Vec<NamedPath>,
        findings: &mut Findings,
    ) -> Option<Target> {
        let notify = self.notify(name, &written.notify, named, findings);
        let made = match name.value.ends_with('/') {
            true => self.files(name, written, named, findings),
            false => {
                let recipe = Recipe {
                    noun: "target",
                    name,
                    from: &written.from,
                    template: &written.template,
                    merge: &written.merge,
                };
                let from = self.from(&recipe, findings);
                let render = self.render(&recipe, from.as_deref(), named, findings);
                from.zip(render)
            }
        };
        if let Some(given) = written.validate_command.given()
            && !mentions(&given.value, "{staged}")
        {
            findings
                .error(given.key, "`validate_command` does not mention the file that it is to judge")
                .help("put \"{staged}\" where the program expects the file, such as `[visudo, -cf, \"{staged}\"]`");
            return None;
        }
        let (from, render) = made?;
        let sensitive = self.is_sensitive(&from);
        Some(Target {
            path: path?.clone(),
            from,
            render,
            owner: written.owner.value().cloned(),
            group: written.group.value().cloned(),
            mode: written.mode.value().map(|mode| mode.0),
            in_place: written.in_place.value().copied().unwrap_or(false),
            symlink: written.symlink.value().copied().unwrap_or_default(),
            unsafe_path: written.unsafe_path.value().copied().unwrap_or(false),
            parents: written.parents.value().map(|parents| Parents {
                owner: parents.owner.value().cloned(),
                group: parents.group.value().cloned(),
                mode: parents.mode.value().map(|mode| mode.0),
            }),
            validate_command: written.validate_command.value().cloned(),
            notify: notify?,
            on_drift: written.on_drift.value().copied().unwrap_or_default(),
            sensitive,
        })
    }

    fn notify(
        &mut self,
        target: &Spot<String>,
        field: &Field<written::Notified>,
        named: &mut Vec<NamedPath>,
        findings: &mut Findings,
    ) -> Option<Vec<ServiceName>> {
        let given = match field {
            Field::Absent => return Some(Vec::new()),
            Field::Broken => return None,
            Field::Given(given) => given,
        };
        let mut notify = Vec::new();
        let mut sound = true;
        let mut written_in_place = 0;
        for Spot { at, value } in &given.value.0 {
            let name = match value {
                Notify::Name(name) => {
                    let service = ServiceName::from(name.as_str());
                    sound &= once(*at, name, notify.contains(&service), findings);
                    sound &= self.is_service(*at, &service, findings);
                    service
                }
                Notify::InPlace(written) => {
                    written_in_place += 1;
                    let name = in_place_name(&target.value, written_in_place);
                    let spot = Spot {
                        at: *at,
                        value: name,
                    };
                    let mut naming = Naming {
                        directories: self.directories,
                        named,
                    };
                    let service = in_place(&spot, written, &mut naming, findings);
                    let name = ServiceName::from(spot.value.as_str());
                    self.services.insert(name.clone(), service.map(Arc::new));
                    self.used.in_place.insert(name.clone(), *at);
                    name
                }
            };
            self.used.services.insert(name.clone());
            notify.push(name);
        }
        sound.then_some(notify)
    }

    fn is_service(&self, at: Place, name: &ServiceName, findings: &mut Findings) -> bool {
        // Names of services in place begin with `/`; whether one exists depends on the order of targets.
        let known = self.services.contains_key(name) && !name.as_str().starts_with('/');
        if known || !self.complete {
            return true;
        }
        let names = self.services.keys().map(ServiceName::as_str);
        let declared: Vec<&str> = names.filter(|name| !name.starts_with('/')).collect();
        unknown(at, "service", name.as_str(), &declared, findings);
        false
    }
}

/// A service in place is called after its target's path; the second and later ones have their number added.
fn in_place_name(path: &str, number: usize) -> String {
    if number == 1 {
        path.to_owned()
    } else {
        format!("{path} ({number})")
    }
}

pub(super) fn once(at: Place, name: &str, again: bool, findings: &mut Findings) -> bool {
    if again {
        findings
            .error(at, format!("`{name}` stands in this list twice"))
            .help("remove one of the two");
    }
    !again
}

pub(super) fn unknown(at: Place, noun: &str, name: &str, known: &[&str], findings: &mut Findings) {
    let help = suggestion::help(name, known, &format!("known {noun}s:"))
        .unwrap_or_else(|| format!("declare it under `{noun}s:`"));
    findings
        .error(at, format!("there is no {noun} `{name}`"))
        .help(help);
}

/// The paths above this one, without `/`.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let slashes: BTreeSet<usize> = path.match_indices('/').map(|(index, _)| index).collect();
    slashes
        .into_iter()
        .skip(1)
        .filter_map(|index| path.get(..index))
}
