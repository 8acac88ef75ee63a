//! The variables of the child: a target that nobody declared, in the runtime directory.
//!
//! As a target they travel as every other file does: refused before anything is touched, installed with the files of
//! the same transaction, gone back with them, restored from the ledger without a network.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::field::Given;
use super::finding::{Findings, Spot};
use super::recipe::Recipe;
use super::target::TargetReader;
use super::valid::{Naming, OnDrift, Parents, Render, ServiceName, Symlink, Target, TargetPath};
use super::{field::Field, written};

const FILE: &str = "child-environment.json";
/// Where the runtime directory is not known, or is outside of the alternate root.
const DIRECTORY: &str = "/run/appconfigd";
/// Between the keys of nested objects, without a word.
const SEPARATOR: &str = "_";

/// Where the variables are kept: in the runtime directory, if a target can lie there.
pub fn place(runtime: Option<&Path>, root: Option<&Path>) -> TargetPath {
    let below = runtime.and_then(|runtime| match root {
        Some(root) => Some(Path::new("/").join(runtime.strip_prefix(root).ok()?)),
        None => Some(runtime.to_owned()),
    });
    let sound = |directory: PathBuf| TargetPath::new(directory.join(FILE).to_str()?);
    below.and_then(sound).unwrap_or_else(|| {
        let path = format!("{DIRECTORY}/{FILE}");
        TargetPath(path.into())
    })
}

impl TargetReader<'_> {
    /// The target of `env`, which notifies the child.
    pub fn environment(
        &mut self,
        path: &TargetPath,
        service: &Spot<String>,
        given: &Given<written::Env>,
        findings: &mut Findings,
    ) {
        let name = Spot {
            at: given.key,
            value: service.value.clone(),
        };
        let recipe = Recipe {
            noun: "environment of",
            name: &name,
            from: &given.value.from,
            template: &Field::Absent,
            merge: &Field::Absent,
        };
        let from = self.from(&recipe, findings);
        let naming = naming(&given.value, findings);
        let service = ServiceName::from(service.value.as_str());
        self.used.services.insert(service.clone());
        if let Some(other) = self.used.targets.get(path) {
            findings
                .error(
                    *other,
                    format!("`{path}` is where the child's `env` is kept"),
                )
                .also(given.key, "its `env`")
                .help("choose another path");
            return;
        }
        let target = from.zip(naming).map(|(from, naming)| {
            let sensitive = self.is_sensitive(&from);
            Arc::new(Target {
                path: path.clone(),
                from,
                render: Render::Environment(naming),
                owner: None,
                group: None,
                mode: Some(0o600),
                in_place: false,
                symlink: Symlink::Refuse,
                unsafe_path: false,
                parents: Some(Parents::default()),
                validate_command: None,
                notify: vec![service],
                on_drift: OnDrift::Restore,
                sensitive,
            })
        });
        self.used.targets.insert(path.clone(), given.key);
        self.targets.insert(path.clone(), target);
    }
}

fn naming(written: &written::Env, findings: &mut Findings) -> Option<Naming> {
    let mut part = |field: &Field<String>, key: &str, first: bool, usual: &str| match field {
        Field::Absent => Some(usual.to_owned()),
        Field::Broken => None,
        Field::Given(given) => {
            let sound = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let begins = !first || !given.value.starts_with(|c: char| c.is_ascii_digit());
            if begins && given.value.chars().all(sound) {
                return Some(given.value.clone());
            }
            findings
                .error(
                    given.at,
                    format!("`{}` cannot stand in the name of a variable", given.value),
                )
                .help(format!(
                    "`{key}` has letters, digits and `_`, such as `{}`",
                    if first { "SHOP_" } else { "__" }
                ));
            None
        }
    };
    let prefix = part(&written.prefix, "prefix", true, "");
    let separator = part(&written.separator, "separator", false, SEPARATOR);
    let upper_case = match &written.upper_case {
        Field::Broken => return None,
        field => field.value().copied().unwrap_or(true),
    };
    Some(Naming {
        prefix: prefix?,
        separator: separator?,
        upper_case,
    })
}
