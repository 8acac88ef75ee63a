//! Paths in the settings: relative ones begin at the file that they stand in.

use std::path::{Path, PathBuf};

use super::field::{Field, Given};
use super::finding::{Findings, Place, Spot};
use super::text::{Texts, absolute};
use super::valid::TargetPath;

/// The directories of the texts, as messages show them and as they are.
#[derive(Debug)]
pub struct Directories {
    shown: Vec<PathBuf>,
    base: PathBuf,
}

impl Directories {
    pub fn shown(texts: &Texts) -> Directories {
        let parent = |name: &Path| name.parent().unwrap_or(Path::new("")).to_owned();
        let shown = texts.iter().map(|(_, text)| parent(&text.name)).collect();
        Directories {
            shown,
            base: PathBuf::new(),
        }
    }

    /// `main`: the main file's absolute path.
    pub fn set_base(&mut self, main: &Path) {
        self.base = main.parent().unwrap_or(Path::new("/")).to_owned();
    }

    /// A file or directory that must be there: its absolute path.
    pub fn name(&self, noun: &'static str, kind: NamedKind, given: &Given<String>) -> NamedPath {
        let text = given.at.text;
        let shown = self
            .shown
            .get(text)
            .map_or(PathBuf::new(), |at| tidy(&at.join(&given.value)));
        let path = self.resolve(given.at, Path::new(&given.value));
        NamedPath {
            noun,
            kind,
            at: given.at,
            path,
            shown: if shown.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                shown
            },
        }
    }

    /// The alternate root: the one from outside, else the one of the settings.
    pub fn root(&self, field: &Field<String>, outside: Option<&Path>) -> Option<PathBuf> {
        if let Some(outside) = outside {
            return Some(absolute(outside));
        }
        field
            .given()
            .map(|given| self.resolve(given.at, Path::new(&given.value)))
    }

    fn resolve(&self, at: Place, path: &Path) -> PathBuf {
        // All drop-ins lie in one directory beside the main file.
        let below = match (self.shown.first(), self.shown.get(at.text)) {
            (Some(main), Some(own)) => own.strip_prefix(main).unwrap_or(Path::new("")),
            _ => Path::new(""),
        };
        tidy(&self.base.join(below).join(path))
    }
}

/// Without `.`, and so without a trailing slash.
fn tidy(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| *part != std::path::Component::CurDir)
        .collect()
}

/// Takes down what the settings name on disk.
pub struct Naming<'a> {
    pub directories: &'a Directories,
    pub named: &'a mut Vec<NamedPath>,
}

impl Naming<'_> {
    /// The absolute path of a file that must be there.
    pub fn file(&mut self, noun: &'static str, given: &Given<String>) -> PathBuf {
        let named = self.directories.name(noun, NamedKind::File, given);
        let path = named.path.clone();
        self.named.push(named);
        path
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedKind {
    File,
    Directory,
}

/// Something on disk that the settings name.
#[derive(Debug)]
pub struct NamedPath {
    pub noun: &'static str,
    pub kind: NamedKind,
    pub at: Place,
    pub path: PathBuf,
    /// As messages show it.
    pub shown: PathBuf,
}

impl NamedPath {
    /// Whether it is there and what it should be.
    pub fn look(&self, findings: &mut Findings) {
        let shown = self.shown.display();
        let noun = self.noun;
        let problem = match (std::fs::metadata(&self.path), self.kind) {
            (Err(error), _) if error.kind() == std::io::ErrorKind::NotFound => {
                format!("{noun} `{shown}` is not there")
            }
            (Err(error), _) => format!("{noun} `{shown}` cannot be read: {error}"),
            (Ok(found), NamedKind::File) if !found.is_file() => {
                format!("{noun} `{shown}` is not a regular file")
            }
            (Ok(found), NamedKind::Directory) if !found.is_dir() => {
                format!("{noun} `{shown}` is not a directory")
            }
            (Ok(_), NamedKind::File | NamedKind::Directory) => return,
        };
        findings
            .error(self.at, problem)
            .help("a relative path begins at the directory of the file that it stands in");
    }
}

/// Directories that the kernel fills.
const KERNEL: [&str; 3] = ["proc", "sys", "dev"];

impl TargetPath {
    /// Lies where no target may lie: in a directory of the kernel or of our own. Settings name no such path; a link may lead to one.
    pub fn is_reserved(&self) -> bool {
        let mut parts = self.as_str().split('/').skip(1);
        let first = parts.clone().next();
        first.is_some_and(|first| KERNEL.contains(&first))
            || parts.any(|part| part == ".appconfigd")
    }
}

/// A target's path; `None` after a finding.
pub fn target_path(name: &Spot<String>, findings: &mut Findings) -> Option<TargetPath> {
    let path = sound_path(name.at, &name.value, "a target", findings)?;
    // What is longer has no room for the names of its generations.
    if path.is_directory() && path.file_name().len() > 220 {
        findings
            .error(name.at, "the name of this directory target is too long")
            .help("220 bytes are the most: its generations have longer names");
        return None;
    }
    let mut parts = path.location().split('/').skip(1);
    if let Some(first) = parts.clone().next().filter(|first| KERNEL.contains(first)) {
        findings
            .error(name.at, format!("a target cannot lie in `/{first}`"))
            .help("that directory belongs to the kernel: choose another place for the file");
        return None;
    }
    if parts.any(|part| part == ".appconfigd") {
        findings
            .error(name.at, "a target cannot lie in a directory `.appconfigd`")
            .help("new files are prepared in directories of that name: choose another place");
        return None;
    }
    Some(path)
}

/// A file's path from `/` without `.`, `..` and empty parts; `None` after a finding.
pub fn absolute_path(
    at: Place,
    path: &str,
    noun: &str,
    findings: &mut Findings,
) -> Option<TargetPath> {
    let sound = sound_path(at, path, noun, findings)?;
    if sound.is_directory() {
        findings
            .error(
                at,
                format!("the path of {noun} names a file, `{path}` ends with `/`"),
            )
            .help("take the `/` off");
        return None;
    }
    Some(sound)
}

pub fn sound_path(
    at: Place,
    path: &str,
    noun: &str,
    findings: &mut Findings,
) -> Option<TargetPath> {
    let (message, help) = if !path.starts_with('/') {
        let message = format!("the path of {noun} begins with `/`, `{path}` does not");
        (message, "write the absolute path".to_owned())
    } else if path.split('/').any(|part| part.len() > 255) || path.len() > 4095 {
        let message = "this path is longer than the kernel takes".to_owned();
        (
            message,
            "255 bytes a part and 4095 bytes in all are the most".to_owned(),
        )
    } else {
        match TargetPath::new(path) {
            Some(path) => return Some(path),
            None if cleaned(path) == "/" => {
                let message = format!("`{path}` is the root of the file system");
                (message, format!("write the whole path of {noun}"))
            }
            None => {
                let message = format!("`{path}` has parts that are empty, `.` or `..`");
                let slash = if path.ends_with('/') { "/" } else { "" };
                (message, format!("write it as `{}{slash}`", cleaned(path)))
            }
        }
    };
    findings.error(at, message).help(help);
    None
}

fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
