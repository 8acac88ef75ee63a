//! Targets: names resolved, one way to be made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::field::Field;
use super::finding::{Findings, Place, Spot};
use super::merged::Used;
use super::path::{Directories, NamedKind, NamedPath, target_path};
use super::service::{mentions, service};
use super::suggestion;
use super::valid::{
    Format, Parents, Profile, ProfileName, Render, Service, ServiceName, Target, TargetPath,
};
use super::written::{self, Notify};

type Profiles = BTreeMap<ProfileName, Option<Arc<Profile>>>;
type Services = BTreeMap<ServiceName, Option<Arc<Service>>>;
type Targets = BTreeMap<TargetPath, Option<Arc<Target>>>;

/// Reads targets one after the other; services that are written in place join the declared ones.
pub struct TargetReader<'a> {
    profiles: &'a Profiles,
    services: &'a mut Services,
    directories: &'a Directories,
    /// All files were read: a name that is not known does not exist.
    complete: bool,
    targets: Targets,
    used: Used,
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
            let above = ancestors(path.as_str()).find_map(|above| {
                let above = TargetPath::new(above)?;
                self.used.targets.get_key_value(&above)
            });
            if let Some((above, other)) = above {
                findings
                    .error(
                        *at,
                        format!("`{path}` lies below `{above}`, which is a file"),
                    )
                    .also(*other, "the target above it")
                    .help("a path is a file or a directory: move one of the two");
            }
        }
        (self.targets, self.used)
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
        let from = self.from(name, &written.from, findings);
        let notify = self.notify(name, &written.notify, findings);
        let render = self.render(name, from.as_deref(), written, named, findings);
        if let Some(given) = written.validate_command.given()
            && !mentions(&given.value, "{staged}")
        {
            findings
                .error(given.key, "`validate_command` does not mention the file that it is to judge")
                .help("put \"{staged}\" where the program expects the file, such as `[visudo, -cf, \"{staged}\"]`");
            return None;
        }
        let from = from?;
        let sensitive = from.iter().any(|name| {
            self.profiles
                .get(name)
                .is_some_and(|profile| profile.as_ref().is_some_and(|p| p.sensitive))
        });
        Some(Target {
            path: path?.clone(),
            from,
            render: render?,
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

    fn from(
        &mut self,
        name: &Spot<String>,
        field: &Field<written::Names>,
        findings: &mut Findings,
    ) -> Option<Vec<ProfileName>> {
        if field.is_absent() {
            findings
                .error(
                    name.at,
                    format!("the target `{}` has no `from`", name.value),
                )
                .help("name the profile that it is made from: `from: NAME`");
        }
        let names = &field.value()?.0;
        let mut from = Vec::new();
        let mut sound = true;
        for Spot { at, value } in names {
            let profile = ProfileName::from(value.as_str());
            sound &= once(*at, value, from.contains(&profile), findings);
            if self.complete && !self.profiles.contains_key(&profile) {
                let known: Vec<&str> = self.profiles.keys().map(ProfileName::as_str).collect();
                unknown(*at, "profile", value, &known, findings);
                sound = false;
            }
            self.used.profiles.insert(profile.clone());
            from.push(profile);
        }
        sound.then_some(from)
    }

    fn notify(
        &mut self,
        target: &Spot<String>,
        field: &Field<written::Notified>,
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
                    let service = service(&spot, written, findings);
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

    fn render(
        &self,
        name: &Spot<String>,
        from: Option<&[ProfileName]>,
        written: &written::Target,
        named: &mut Vec<NamedPath>,
        findings: &mut Findings,
    ) -> Option<Render> {
        let merge = match &written.merge {
            Field::Broken => return None,
            field => field.value().copied().unwrap_or(false),
        };
        match &written.template {
            Field::Broken => None,
            Field::Given(given) => {
                let path = self
                    .directories
                    .name("the template", NamedKind::File, given);
                let file = path.path.clone();
                named.push(path);
                Some(Render::Template { file, merge })
            }
            Field::Absent if merge => {
                let at = written.merge.given().map_or(name.at, |given| given.key);
                self.merge(at, &name.value, from?, findings)
            }
            Field::Absent if from?.len() > 1 => {
                let at = written.from.given().map_or(name.at, |given| given.key);
                findings
                    .error(
                        at,
                        "a target of several profiles needs to know how to put them together",
                    )
                    .help("add `merge: true` (later profiles win), or a `template: FILE`");
                None
            }
            Field::Absent => Some(Render::Verbatim),
        }
    }

    /// The format that the path's ending names, else the one that all its profiles declare.
    fn merge(
        &self,
        at: Place,
        path: &str,
        from: &[ProfileName],
        findings: &mut Findings,
    ) -> Option<Render> {
        let profiles = from
            .iter()
            .map(|name| self.profiles.get(name).cloned().flatten());
        let profiles: Vec<Arc<Profile>> = profiles.collect::<Option<_>>()?;
        let text = profiles
            .iter()
            .find(|profile| profile.validate.format == Some(Format::Text));
        if let Some(profile) = text {
            findings
                .error(
                    at,
                    format!(
                        "the profile `{}` is text, which cannot be merged",
                        profile.name
                    ),
                )
                .help("leave it out of `from`, or give the target a `template`");
            return None;
        }
        let formats: Vec<Format> = profiles.iter().filter_map(|p| p.validate.format).collect();
        let declared = formats.first().filter(|first| {
            formats.len() == profiles.len() && formats.iter().all(|format| format == *first)
        });
        let Some(format) = by_ending(path).or(declared.copied()) else {
            findings
                .error(at, "it is not clear in which format the merged configuration is written")
                .help(
                    "end the path in `.json`, `.yaml` or `.toml`, or give all its profiles the same \
                     `validate: {format: …}`",
                );
            return None;
        };
        Some(Render::Merge { format })
    }
}

fn by_ending(path: &str) -> Option<Format> {
    match path.rsplit('/').next()?.rsplit_once('.')?.1 {
        "json" => Some(Format::Json),
        "yaml" | "yml" => Some(Format::Yaml),
        "toml" => Some(Format::Toml),
        _ => None,
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

fn once(at: Place, name: &str, again: bool, findings: &mut Findings) -> bool {
    if again {
        findings
            .error(at, format!("`{name}` stands in this list twice"))
            .help("remove one of the two");
    }
    !again
}

fn unknown(at: Place, noun: &str, name: &str, known: &[&str], findings: &mut Findings) {
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
