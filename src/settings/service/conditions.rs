//! Of which changes a service is notified: of something that feeds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::settings::field::Field;
use crate::settings::finding::{Findings, Place};
use crate::settings::valid::{
    Conditions, Parts, ProfileName, Service, ServiceName, Target, TargetPath, WhenChanged,
};
use crate::settings::written::{self, Which};

use super::optional;

pub fn conditions(written: &written::Service, findings: &mut Findings) -> Option<Conditions> {
    let when_changed = match &written.when_changed {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(given) => when_changed(&given.value, findings).map(Some),
    };
    let on_start = optional(&written.on_start)?.unwrap_or_default();
    Some(Conditions {
        when_changed: when_changed?,
        on_start,
    })
}

fn when_changed(written: &written::WhenChanged, findings: &mut Findings) -> Option<WhenChanged> {
    let mut targets = BTreeMap::new();
    let mut profiles = BTreeMap::new();
    let mut sound = true;
    for (name, which) in &written.0 {
        let parts = match which {
            Which::Whole => Parts::Whole,
            Which::Pointers(pointers) => {
                Parts::Pointers(pointers.iter().map(|one| one.value.clone()).collect())
            }
        };
        let twice = if !name.value.starts_with('/') {
            profiles
                .insert(ProfileName::from(name.value.as_str()), parts)
                .is_some()
        } else if let Some(path) = TargetPath::new(&name.value) {
            if path.is_directory() && parts != Parts::Whole {
                findings
                    .error(
                        name.at,
                        format!("a directory has no parts that a JSON pointer finds: `{path}`"),
                    )
                    .help("name the profile that they come from, or the directory in a list");
                sound = false;
            }
            targets.insert(path, parts).is_some()
        } else {
            findings
                .error(
                    name.at,
                    format!("`{}` is not the path of a target", name.value),
                )
                .help("write it as under `targets:`");
            sound = false;
            false
        };
        if twice {
            findings
                .error(name.at, format!("`{}` stands here twice", name.value))
                .help("remove one of them");
            sound = false;
        }
    }
    sound.then_some(WhenChanged { targets, profiles })
}

/// What a service waits for must be able to come.
pub fn check(
    services: &BTreeMap<ServiceName, Option<Arc<Service>>>,
    targets: &BTreeMap<TargetPath, Option<Arc<Target>>>,
    places: &BTreeMap<ServiceName, Place>,
    findings: &mut Findings,
) {
    for (name, service) in services {
        let when = service
            .as_ref()
            .and_then(|it| it.conditions.when_changed.as_ref());
        let (Some(when), Some(at)) = (when, places.get(name)) else {
            continue;
        };
        let feeds: Vec<&Arc<Target>> = targets
            .values()
            .flatten()
            .filter(|target| target.notify.contains(name))
            .collect();
        for path in when.targets.keys() {
            if !feeds.iter().any(|target| target.path == *path) {
                findings
                    .error(*at, format!("`when_changed` of service `{name}` names `{path}`, which does not notify it"))
                    .help(format!("add `notify: {name}` to that target, or remove it from `when_changed`"));
            }
        }
        for profile in when.profiles.keys() {
            if !feeds.iter().any(|target| target.from.contains(profile)) {
                findings
                    .error(*at, format!("`when_changed` of service `{name}` names the profile `{profile}`, from which none of its targets is made"))
                    .help("name a profile of a target that notifies it; the name of a target begins with `/`");
            }
        }
    }
}
