//! What lies where patterns point, and which directories must be watched to hear of a change.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::FileType;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::settings::{NamePattern, PathPattern, PatternPart, TargetPath, Watch, WatchName};

use super::super::way::{Way, walk};

/// So many files, and so many directories, of one watch at most.
const MOST: usize = 10_000;

/// Deeper below a `**` nobody looks.
const LEVELS: usize = 64;

/// Where patterns begin, and what is not theirs.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// The alternate root.
    pub root: Option<PathBuf>,
    /// What we install ourselves has notifications of its own.
    pub ours: BTreeSet<TargetPath>,
}

impl Ground {
    /// What is recorded of a change would be the next one: the state directory is ours as well.
    pub fn new(
        root: Option<&Path>,
        targets: impl Iterator<Item = TargetPath>,
        state: &Path,
    ) -> Ground {
        let state = state.strip_prefix(root.unwrap_or(Path::new("/"))).ok();
        let state = state.and_then(|state| TargetPath::new(&format!("/{}/", state.to_str()?)));
        Ground {
            root: root.map(Into::into),
            ours: targets.chain(state).collect(),
        }
    }
}

/// What lies at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lies {
    /// A regular file, its place without links.
    File(PathBuf),
    Nothing,
    /// A socket, a device or the like.
    Other,
}

/// What was found of one watch, in order.
#[derive(Debug, Default)]
pub struct Survey {
    /// By path, as the pattern has it.
    pub files: BTreeMap<String, Lies>,
    directories: usize,
}

/// By directory: who hears of which of its entries.
pub type Places = BTreeMap<PathBuf, Place>;

#[derive(Debug, Default)]
pub struct Place {
    pub names: BTreeMap<OsString, BTreeSet<WatchName>>,
    pub patterns: Vec<(NamePattern, WatchName)>,
    /// Hear of every entry.
    pub greedy: BTreeSet<WatchName>,
}

/// Follows the patterns of one watch; what has to be watched for that is added to `places`.
///
/// # Errors
/// In words: too much, or a directory that cannot be read.
pub fn survey(ground: &Ground, watch: &Watch, places: &mut Places) -> Result<Survey, String> {
    let mut surveyor = Surveyor {
        ground,
        watch: &watch.name,
        places,
        found: Survey::default(),
    };
    for pattern in &watch.paths {
        surveyor.follow(pattern)?;
    }
    Ok(surveyor.found)
}

/// How a path has come about.
#[derive(Clone, Copy)]
struct At {
    /// No part of the pattern stands for others.
    exact: bool,
    /// Below a `**`.
    level: usize,
}

struct Surveyor<'a> {
    ground: &'a Ground,
    watch: &'a WatchName,
    places: &'a mut Places,
    found: Survey,
}

impl Surveyor<'_> {
    fn follow(&mut self, pattern: &PathPattern) -> Result<(), String> {
        let exact = pattern.literal().is_some();
        self.go("", pattern.parts(), At { exact, level: 0 })
    }

    fn go(&mut self, at: &str, parts: &[PatternPart], how: At) -> Result<(), String> {
        match parts {
            [] => Ok(()),
            [PatternPart::Name(name)] => self.named(&format!("{at}/{name}"), how),
            [PatternPart::Name(name), rest @ ..] => self.go(&format!("{at}/{name}"), rest, how),
            [PatternPart::Pattern(pattern), rest @ ..] => self.matching(at, pattern, rest, how),
            [PatternPart::Directories, rest @ ..] => {
                self.go(at, rest, how)?;
                if how.level >= LEVELS {
                    return Ok(());
                }
                let way = self.way(at);
                let watch = self.watch.clone();
                self.place(&way.end).greedy.insert(watch);
                for (name, kind) in self.entries(at, &way.end)? {
                    if kind.is_dir() && !name.starts_with('.') {
                        let level = how.level + 1;
                        self.go(&format!("{at}/{name}"), parts, At { level, ..how })?;
                    }
                }
                Ok(())
            }
        }
    }

    fn matching(
        &mut self,
        at: &str,
        pattern: &NamePattern,
        rest: &[PatternPart],
        how: At,
    ) -> Result<(), String> {
        let way = self.way(at);
        let watch = self.watch.clone();
        let place = self.place(&way.end);
        place.patterns.push((pattern.clone(), watch));
        for (name, kind) in self.entries(at, &way.end)? {
            if !pattern.matches(&name) {
                continue;
            }
            let path = format!("{at}/{name}");
            if !rest.is_empty() {
                if kind.is_dir() || kind.is_symlink() {
                    self.go(&path, rest, how)?;
                }
            } else if kind.is_symlink() {
                let way = self.way(&path);
                self.hear_of_end(&way);
                match kind_of(&path, &way.end)? {
                    Some(kind) if kind.is_dir() => {}
                    kind => self.add(path, &way.end, kind)?,
                }
            } else if !kind.is_dir() {
                self.add(path, &way.end.join(&name), Some(kind))?;
            }
        }
        Ok(())
    }

    /// A path whose end is written out. A directory means the files in it.
    fn named(&mut self, path: &str, how: At) -> Result<(), String> {
        let way = self.way(path);
        self.hear_of_end(&way);
        match kind_of(path, &way.end)? {
            Some(kind) if kind.is_dir() => self.matching(path, &NamePattern::any(), &[], how),
            // That there could be one counts only where it is named.
            None if !how.exact => Ok(()),
            kind => self.add(path.to_owned(), &way.end, kind),
        }
    }

    fn add(&mut self, path: String, end: &Path, kind: Option<FileType>) -> Result<(), String> {
        if self.is_ours(&path) {
            return Ok(());
        }
        let lies = match kind {
            None => Lies::Nothing,
            Some(kind) if kind.is_file() => Lies::File(end.to_owned()),
            Some(_) => Lies::Other,
        };
        self.found.files.insert(path, lies);
        match self.found.files.len() > MOST {
            true => Err(format!(
                "it is about more than {MOST} files: write patterns that match fewer"
            )),
            false => Ok(()),
        }
    }

    fn is_ours(&self, path: &str) -> bool {
        let above = path.match_indices('/').map(|(at, _)| at).skip(1);
        let mut above = above.filter_map(|at| path.get(..=at));
        let is_target =
            |path: &str| TargetPath::new(path).is_some_and(|path| self.ground.ours.contains(&path));
        is_target(path) || is_target(&format!("{path}/")) || above.any(is_target)
    }

    /// The way to a path; its links are watched.
    fn way(&mut self, path: &str) -> Way {
        let way = walk(self.ground.root.as_deref(), path);
        for (directory, name) in &way.links {
            self.hear_of(directory, name);
        }
        // A directory above that is another one brings no event of what lies in it.
        let ground = self.ground.root.clone().unwrap_or_else(|| "/".into());
        for directory in way.end.ancestors().skip(1) {
            if directory == ground || !directory.starts_with(&ground) {
                break;
            }
            if let (Some(above), Some(name)) = (directory.parent(), directory.file_name()) {
                self.hear_of(above, name);
            }
        }
        way
    }

    fn hear_of_end(&mut self, way: &Way) {
        if let (Some(directory), Some(name)) = (way.end.parent(), way.end.file_name()) {
            self.hear_of(directory, name);
        }
    }

    fn hear_of(&mut self, directory: &Path, name: &OsStr) {
        let watch = self.watch.clone();
        let place = self.place(directory);
        place
            .names
            .entry(name.to_owned())
            .or_default()
            .insert(watch);
    }

    fn place(&mut self, directory: &Path) -> &mut Place {
        self.places.entry(directory.to_owned()).or_default()
    }

    /// Names that are no UTF-8 cannot be matched.
    fn entries(&mut self, path: &str, real: &Path) -> Result<Vec<(String, FileType)>, String> {
        self.found.directories += 1;
        if self.found.directories > MOST {
            return Err(format!(
                "it looks into more than {MOST} directories: write patterns that match fewer"
            ));
        }
        let shown = if path.is_empty() { "/" } else { path };
        let cannot = |error: std::io::Error| format!("`{shown}` cannot be read: {error}");
        let entries = match std::fs::read_dir(real) {
            Ok(entries) => entries,
            Err(error) if is_absence(&error) => return Ok(Vec::new()),
            Err(error) => return Err(cannot(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(cannot)?;
            let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else {
                continue;
            };
            found.push((name, kind));
        }
        Ok(found)
    }
}

impl Place {
    /// The watches that are concerned by a change of this entry, or of any (`None`).
    pub fn concerned(&self, name: Option<&OsString>) -> BTreeSet<WatchName> {
        let mut concerned = self.greedy.clone();
        match name {
            Some(name) => {
                concerned.extend(self.names.get(name).into_iter().flatten().cloned());
                let text = name.to_str();
                let matching = self
                    .patterns
                    .iter()
                    .filter(|(pattern, _)| text.is_some_and(|text| pattern.matches(text)));
                concerned.extend(matching.map(|(_, watch)| watch.clone()));
            }
            None => {
                concerned.extend(self.names.values().flatten().cloned());
                concerned.extend(self.patterns.iter().map(|(_, watch)| watch.clone()));
            }
        }
        concerned
    }

    /// Every entry has to be heard of.
    pub fn is_whole(&self) -> bool {
        !self.greedy.is_empty() || !self.patterns.is_empty()
    }
}

/// `None`: there is nothing.
fn kind_of(path: &str, end: &Path) -> Result<Option<FileType>, String> {
    match std::fs::symlink_metadata(end) {
        Ok(found) => Ok(Some(found.file_type())),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(format!("`{path}` cannot be looked at: {error}")),
    }
}

/// No file, no directory on the way, or links in a circle.
pub fn is_absence(error: &std::io::Error) -> bool {
    let circle = error.raw_os_error() == Some(nix::libc::ELOOP);
    circle || matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
