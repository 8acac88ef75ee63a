//! Directory targets: their files by relative path, and what goes with files of one sort only.

use std::collections::BTreeMap;

use super::entries::Entry;
use super::field::Field;
use super::finding::{Findings, Place, Spot};
use super::path::NamedPath;
use super::recipe::Recipe;
use super::target::TargetReader;
use super::valid::{FileSet, ProfileName, Render, SetFile};
use super::written;

/// Generations that stay beside the live one without a word.
const KEEP_PREVIOUS: u32 = 1;

/// Reports keys that go with the other sort of target.
pub(super) fn misplaced(name: &Spot<String>, written: &written::Target, findings: &mut Findings) {
    fn key<T>(name: &'static str, field: &Field<T>) -> (&'static str, Option<Place>) {
        (name, field.given().map(|given| given.key))
    }
    if name.value.ends_with('/') {
        let of_files = [
            key("from", &written.from),
            key("template", &written.template),
            key("merge", &written.merge),
        ];
        for (key, at) in of_files {
            let Some(at) = at else { continue };
            findings
                .error(at, format!("a directory target has no `{key}` of its own"))
                .help(format!("give each of its `files` a `{key}`"));
        }
        let of_single = [
            (
                key("in_place", &written.in_place),
                "remove the line: a directory target is always replaced as a whole",
            ),
            (
                key("symlink", &written.symlink),
                "remove the line: a directory target is a link itself, and replaces the one that is there",
            ),
        ];
        for ((key, at), help) in of_single {
            let Some(at) = at else { continue };
            findings
                .error(at, format!("`{key}` does not go with a directory target"))
                .help(help);
        }
        return;
    }
    let of_directories = [
        key("files", &written.files),
        key("adopt", &written.adopt),
        key("keep_previous", &written.keep_previous),
    ];
    for (key, at) in of_directories {
        let Some(at) = at else { continue };
        findings
            .error(
                at,
                format!(
                    "`{key}` goes with a directory target, `{}` is a file",
                    name.value
                ),
            )
            .help(format!(
                "write the path as `{}/` to have a directory, or remove the line",
                name.value
            ));
    }
}

impl TargetReader<'_> {
    /// What is made from which profiles; `None` after a finding.
    pub(super) fn files(
        &mut self,
        name: &Spot<String>,
        written: &written::Target,
        named: &mut Vec<NamedPath>,
        findings: &mut Findings,
    ) -> Option<(Vec<ProfileName>, Render)> {
        let entries = match &written.files {
            Field::Absent => {
                findings
                    .error(name.at, format!("the directory target `{}` has no `files`", name.value))
                    .help("list them: `files: {RELATIVE/PATH: {from: NAME}}`, or take the `/` off for one file");
                return None;
            }
            Field::Broken => return None,
            Field::Given(given) if given.value.0.is_empty() => {
                findings
                    .error(given.key, "a directory target has at least one file")
                    .help("list it as `RELATIVE/PATH: {from: NAME}`");
                return None;
            }
            Field::Given(given) => &given.value.0,
        };
        let mut sound = true;
        let mut places: BTreeMap<&str, Place> = BTreeMap::new();
        let mut files = BTreeMap::new();
        for Entry { name, value } in entries {
            let is_path = relative(name, findings);
            if is_path {
                places.insert(&name.value, name.at);
            }
            let file = value
                .as_ref()
                .and_then(|file| self.file(name, file, named, findings));
            match file.filter(|_| is_path) {
                Some(file) => {
                    files.insert(name.value.clone(), file);
                }
                None => sound = false,
            }
        }
        for (path, at) in &places {
            let mut slashes = path.match_indices('/');
            let above = slashes.find_map(|(end, _)| places.get_key_value(path.get(..end)?));
            if let Some((above, other)) = above {
                sound = false;
                findings
                    .error(
                        *at,
                        format!("`{path}` lies below `{above}`, which is a file"),
                    )
                    .also(*other, "the file above it")
                    .help("a path is a file or a directory: rename one of the two");
            }
        }
        let mut from: Vec<ProfileName> = Vec::new();
        for profile in files.values().flat_map(|file: &SetFile| &file.from) {
            if !from.contains(profile) {
                from.push(profile.clone());
            }
        }
        let keep_previous = written.keep_previous.value();
        let set = FileSet {
            files,
            adopt: written.adopt.value().copied().unwrap_or(false),
            keep_previous: keep_previous.map_or(KEEP_PREVIOUS, |count| count.0),
        };
        sound.then_some((from, Render::Files(set)))
    }

    fn file(
        &mut self,
        name: &Spot<String>,
        written: &written::SetFile,
        named: &mut Vec<NamedPath>,
        findings: &mut Findings,
    ) -> Option<SetFile> {
        let recipe = Recipe {
            noun: "file",
            name,
            from: &written.from,
            template: &written.template,
            merge: &written.merge,
        };
        let from = self.from(&recipe, findings);
        let render = self.render(&recipe, from.as_deref(), named, findings);
        let from = from?;
        Some(SetFile {
            sensitive: self.is_sensitive(&from),
            from,
            render: render?,
            owner: written.owner.value().cloned(),
            group: written.group.value().cloned(),
            mode: written.mode.value().map(|mode| mode.0),
        })
    }
}

/// Whether it is a path inside the directory.
fn relative(name: &Spot<String>, findings: &mut Findings) -> bool {
    let path = name.value.as_str();
    let parts = || path.split('/');
    let (message, help) = if path.starts_with('/') {
        (
            format!("the path of a file in a directory is relative, `{path}` begins with `/`"),
            "write what comes after the directory's own path",
        )
    } else if parts().any(|part| matches!(part, "" | "." | "..")) {
        (
            format!("`{path}` has parts that are empty, `.` or `..`"),
            "write the path inside the directory, such as `conf.d/limits.conf`",
        )
    } else if parts().any(|part| part.len() > 255) || path.len() > 3000 {
        (
            "this path is longer than the kernel takes".to_owned(),
            "255 bytes a part and 3000 bytes in all are the most",
        )
    } else {
        return true;
    };
    findings.error(name.at, message).help(help);
    false
}
