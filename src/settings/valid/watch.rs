//! Watches as they hold.

use std::sync::Arc;

use glob::{MatchOptions, Pattern};

use super::{ServiceName, name};

/// The name of a watch in the settings: not empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchName(pub(crate) Arc<str>);
name!(WatchName);

/// Files that are not ours, and who is told when they change.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    pub name: WatchName,
    /// At least one, in the order written.
    pub paths: Vec<PathPattern>,
    /// At least one, each once, in the order written.
    pub notify: Vec<ServiceName>,
}

/// A path, parts of which may be patterns. The alternate root is not part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct PathPattern {
    parts: Vec<PatternPart>,
}

/// What stands between two `/` of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub enum PatternPart {
    Name(String),
    /// `*`, `?` and `[…]`; a dot at the beginning is matched by a dot only.
    Pattern(NamePattern),
    /// `**`: any number of directories, none among them, that are neither hidden nor links.
    Directories,
}

#[derive(Clone, Debug, PartialEq)]
pub struct NamePattern(Pattern);

impl NamePattern {
    /// `*`.
    pub fn any() -> NamePattern {
        NamePattern(Pattern::new("*").unwrap_or_default())
    }

    pub fn matches(&self, name: &str) -> bool {
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        self.0.matches_with(name, options)
    }
}

impl PathPattern {
    /// A path without `.`, `..` and empty parts that begins with `/`; one `/` at its end is left out. Otherwise why it is
    /// no pattern.
    pub fn new(path: &str) -> Result<PathPattern, String> {
        let whole = path.strip_suffix('/').unwrap_or(path);
        let mut parts = Vec::new();
        for part in whole.split('/').skip(1) {
            let part = match part {
                "**" if parts.last() == Some(&PatternPart::Directories) => continue,
                "**" => PatternPart::Directories,
                name if !name.contains(['*', '?', '[']) => PatternPart::Name(name.to_owned()),
                pattern => match Pattern::new(pattern) {
                    Ok(pattern) => PatternPart::Pattern(NamePattern(pattern)),
                    Err(error) => return Err(error.msg.to_owned()),
                },
            };
            parts.push(part);
        }
        // What `**` means at the end is what `**/*` says.
        if parts.last() == Some(&PatternPart::Directories) {
            parts.push(PatternPart::Pattern(NamePattern::any()));
        }
        Ok(PathPattern { parts })
    }

    /// Exactly this absolute path, whatever characters are in it.
    pub fn exactly(path: &str) -> PathPattern {
        let parts = path.split('/').filter(|part| !part.is_empty());
        PathPattern {
            parts: parts
                .map(|part| PatternPart::Name(part.to_owned()))
                .collect(),
        }
    }

    pub fn parts(&self) -> &[PatternPart] {
        &self.parts
    }

    /// The path, where no part is a pattern.
    pub fn literal(&self) -> Option<String> {
        let mut path = String::new();
        for part in &self.parts {
            match part {
                PatternPart::Name(name) => {
                    path.push('/');
                    path.push_str(name);
                }
                PatternPart::Pattern(_) | PatternPart::Directories => return None,
            }
        }
        Some(path)
    }
}

impl From<&str> for WatchName {
    fn from(name: &str) -> WatchName {
        WatchName(name.into())
    }
}
