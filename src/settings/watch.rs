//! Watches: paths that are not ours, and services that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::entries::Entry;
use super::field::Field;
use super::finding::{Findings, Place, Spot};
use super::path::sound_path;
use super::target::{once, unknown};
use super::valid::{PathPattern, Service, ServiceName, TargetPath, Watch, WatchName};
use super::written::{self, Names};

/// What watches are read against.
pub struct WatchReader<'a> {
    pub services: &'a BTreeMap<ServiceName, Option<Arc<Service>>>,
    pub targets: &'a BTreeMap<TargetPath, Place>,
    /// All files were read: a name that is not known does not exist.
    pub complete: bool,
}

impl WatchReader<'_> {
    /// `None` where one has a finding; the services that they notify are added to `used`.
    pub fn read(
        &self,
        entries: &[Entry<written::Watch>],
        used: &mut BTreeSet<ServiceName>,
        findings: &mut Findings,
    ) -> Option<BTreeMap<WatchName, Arc<Watch>>> {
        let mut watches = Some(BTreeMap::new());
        for Entry { name, value } in entries {
            let watch = value
                .as_ref()
                .and_then(|written| self.watch(name, written, used, findings));
            match watch {
                Some(watch) => {
                    if let Some(watches) = &mut watches {
                        watches.insert(watch.name.clone(), Arc::new(watch));
                    }
                }
                None => watches = None,
            }
        }
        watches
    }

    fn watch(
        &self,
        name: &Spot<String>,
        written: &written::Watch,
        used: &mut BTreeSet<ServiceName>,
        findings: &mut Findings,
    ) -> Option<Watch> {
        let paths = self.paths(name.at, &written.paths, findings);
        let notify = self.notify(name.at, &written.notify, used, findings);
        Some(Watch {
            name: name.value.as_str().into(),
            paths: paths?,
            notify: notify?,
        })
    }

    fn paths(
        &self,
        at: Place,
        field: &Field<Names>,
        findings: &mut Findings,
    ) -> Option<Vec<PathPattern>> {
        let given = match field {
            Field::Given(given) => given,
            Field::Broken => return None,
            Field::Absent => {
                findings
                    .error(at, "this watch has no `paths`")
                    .help("name the files, such as `paths: [/etc/ssl/private/*.pem]`");
                return None;
            }
        };
        let paths: Vec<Option<PathPattern>> = given
            .value
            .0
            .iter()
            .map(|path| self.path(path, findings))
            .collect();
        paths.into_iter().collect()
    }

    fn path(&self, path: &Spot<String>, findings: &mut Findings) -> Option<PathPattern> {
        let sound = sound_path(path.at, &path.value, "what is watched", findings)?;
        let pattern = match PathPattern::new(sound.as_str()) {
            Ok(pattern) => pattern,
            Err(reason) => {
                findings
                    .error(path.at, format!("`{}` is no pattern: {reason}", path.value))
                    .help(
                        "`*`, `?` and `[…]` stand for parts of a name, `**` alone for directories",
                    );
                return None;
            }
        };
        let mut same = self.targets.iter();
        let same = same.find(|(target, _)| pattern.literal().as_deref() == Some(target.location()));
        if let Some((target, place)) = same {
            findings
                .error(path.at, format!("`{target}` is a target"))
                .also(*place, "the target")
                .help("watches are for files that are not ours: name the services in the target's `notify`");
            return None;
        }
        Some(pattern)
    }

    fn notify(
        &self,
        at: Place,
        field: &Field<Names>,
        used: &mut BTreeSet<ServiceName>,
        findings: &mut Findings,
    ) -> Option<Vec<ServiceName>> {
        let given = match field {
            Field::Given(given) => given,
            Field::Broken => return None,
            Field::Absent => {
                findings
                    .error(at, "this watch notifies nobody")
                    .help("name services, such as `notify: [nginx]`");
                return None;
            }
        };
        let mut notify = Vec::new();
        let mut sound = true;
        for Spot { at, value } in &given.value.0 {
            let service = ServiceName::from(value.as_str());
            sound &= once(*at, value, notify.contains(&service), findings);
            sound &= self.is_service(*at, &service, findings);
            used.insert(service.clone());
            notify.push(service);
        }
        sound.then_some(notify)
    }

    fn is_service(&self, at: Place, name: &ServiceName, findings: &mut Findings) -> bool {
        // Those that are written in place at a target are the target's own.
        let declared = |name: &&ServiceName| !name.as_str().starts_with('/');
        if !self.complete
            || self
                .services
                .keys()
                .any(|known| known == name && declared(&known))
        {
            return true;
        }
        let names = self.services.keys().filter(declared);
        let known: Vec<&str> = names.map(ServiceName::as_str).collect();
        unknown(at, "service", name.as_str(), &known, findings);
        false
    }
}
