//! What new settings bring: which profiles, targets, services and watches are new, other than before, or gone.

use std::collections::BTreeMap;
use std::fmt;

use crate::content::Content;
use crate::settings::Settings;

/// Names with their kinds, such as `target /etc/app.conf`; each list in the order profiles, targets, services, watches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    pub added: Vec<String>,
    /// Themselves, or the template or schema that they name.
    pub changed: Vec<String>,
    pub removed: Vec<String>,
}

/// Settings and the files that they name, as they were read together.
pub type Whole<'a> = (&'a Settings, &'a Content);

impl Differences {
    pub fn between(old: Whole<'_>, new: Whole<'_>) -> Differences {
        let mut differences = Differences::default();
        let ((before, content), (after, other)) = (old, new);
        let general = [
            ("source", before.source != after.source),
            ("root", before.root != after.root),
            ("ready_timeout", before.ready_timeout != after.ready_timeout),
            ("stop_timeout", before.stop_timeout != after.stop_timeout),
        ];
        let general = general.into_iter().filter(|(_, differs)| *differs);
        differences
            .changed
            .extend(general.map(|(key, _)| key.to_owned()));
        differences.take("profile", &before.profiles, &after.profiles, |one, two| {
            let schema =
                |content: &Content| content.fingerprint([one.as_ref()].into_iter(), [].into_iter());
            one == two && schema(content) == schema(other)
        });
        differences.take("target", &before.targets, &after.targets, |one, two| {
            let template =
                |content: &Content| content.fingerprint([].into_iter(), [one.as_ref()].into_iter());
            one == two && template(content) == template(other)
        });
        differences.take("service", &before.services, &after.services, |one, two| {
            one == two
        });
        differences.take("watch", &before.watches, &after.watches, |one, two| {
            one == two
        });
        differences
    }

    fn take<K: Ord + fmt::Display, V>(
        &mut self,
        kind: &str,
        before: &BTreeMap<K, V>,
        after: &BTreeMap<K, V>,
        same: impl Fn(&V, &V) -> bool,
    ) {
        let named = |name: &K| format!("{kind} {name}");
        for (name, one) in before {
            match after.get(name) {
                None => self.removed.push(named(name)),
                Some(two) if !same(one, two) => self.changed.push(named(name)),
                Some(_) => {}
            }
        }
        let added = after.keys().filter(|name| !before.contains_key(*name));
        self.added.extend(added.map(named));
    }
}

/// One a line, for a person; `nothing differs` where that is so.
impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("added", &self.added),
            ("changed", &self.changed),
            ("removed", &self.removed),
        ];
        let lines = lists
            .into_iter()
            .flat_map(|(word, names)| names.iter().map(move |name| format!("{word} {name}")));
        let lines: Vec<String> = lines.collect();
        match lines.is_empty() {
            true => f.write_str("nothing differs"),
            false => f.write_str(&lines.join("\n")),
        }
    }
}
