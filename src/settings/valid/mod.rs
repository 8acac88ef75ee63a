//! Settings that hold: every default filled in, every name resolved, every path absolute.

mod child;
mod conditions;
mod metrics;
mod pace;
mod service;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use child::*;
pub use conditions::*;
pub use metrics::*;
pub use pace::*;
pub use service::*;
pub use watch::*;

/// What one settings file and its drop-ins say. Maps are in byte order of their keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The main file, as an absolute path.
    pub file: PathBuf,
    /// The main file's directory: commands run in it.
    pub directory: PathBuf,
    pub source: SourceSettings,
    /// The alternate root, absolute; every target path lies below it.
    pub root: Option<PathBuf>,
    pub ready_timeout: Duration,
    pub stop_timeout: Duration,
    /// Where metrics and health are told; `None`: nowhere.
    pub metrics: Option<Listen>,
    pub profiles: BTreeMap<ProfileName, Arc<Profile>>,
    pub targets: BTreeMap<TargetPath, Arc<Target>>,
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    pub watches: BTreeMap<WatchName, Arc<Watch>>,
}

/// Where configurations come from.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceSettings {
    Aws(AwsSettings),
    /// The embedded server over this directory, in this process, on a loopback port.
    Local {
        directory: PathBuf,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct AwsSettings {
    pub region: Option<String>,
    /// Used as it is, no path added. `None`: the SDK's own endpoint rules and variables.
    pub endpoint_url: Option<String>,
    /// A profile of the AWS shared config files.
    pub credentials_profile: Option<String>,
    pub assume_role: Option<AssumeRole>,
    /// PEM bundle trusted beside the system's roots; also AWS_CA_BUNDLE.
    pub ca_bundle: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssumeRole {
    pub role_arn: String,
    pub external_id: Option<String>,
    pub session_name: String,
}

/// The name of a profile in the settings: not empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ProfileName(pub(crate) Arc<str>);

/// The name of a service in the settings: not empty. A service written in place is named after its target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ServiceName(pub(crate) Arc<str>);

/// A target's path as it stands in the settings: absolute, without `.`, `..` and empty parts; one that ends in `/` is a directory
/// target's. The alternate root is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TargetPath(pub(crate) Arc<str>);

macro_rules! name {
    ($type:ident) => {
        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}
use name;

name!(ProfileName);
name!(ServiceName);
name!(TargetPath);

#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub name: ProfileName,
    pub application: String,
    pub environment: String,
    pub configuration_profile: String,
    /// Sent as RequiredMinimumPollIntervalInSeconds; whole seconds.
    pub poll_interval: Duration,
    /// False: left out of `merge`, `none` in templates, delays neither READY nor `once` while it has no configuration.
    pub required: bool,
    pub sensitive: bool,
    pub validate: Validate,
    /// The profile's own, else that of `aws`.
    pub assume_role: Option<AssumeRole>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validate {
    /// `None`: by content type.
    pub format: Option<Format>,
    pub schema: Option<PathBuf>,
    /// Bytes.
    pub max_size: Option<u64>,
    /// The share of the accepted configuration's size by which a new one may be smaller: 0.0 to 1.0.
    pub max_shrink: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Json,
    Yaml,
    Toml,
    Text,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub path: TargetPath,
    /// At least one, each once, in the order written; of a directory target those of all its files.
    pub from: Vec<ProfileName>,
    pub render: Render,
    pub owner: Option<Principal>,
    pub group: Option<Principal>,
    /// Permission bits, at most 0o7777.
    pub mode: Option<u32>,
    /// The bytes are written over the file that is there.
    pub in_place: bool,
    pub symlink: Symlink,
    /// Unprivileged owners of directories on the way are trusted.
    pub unsafe_path: bool,
    /// How missing directories on the way are made; `None`: they are not.
    pub parents: Option<Parents>,
    /// Runs on the staged file before the swap; `{staged}` in its argv is the staged file's path.
    pub validate_command: Option<Command>,
    /// In the order written.
    pub notify: Vec<ServiceName>,
    pub on_drift: OnDrift,
    /// Of any of its profiles.
    pub sensitive: bool,
}

/// Owner and mode of directories that are made: without a word our own ids and 0755.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parents {
    pub owner: Option<Principal>,
    pub group: Option<Principal>,
    /// Permission bits, at most 0o7777.
    pub mode: Option<u32>,
}

/// What is done about a symbolic link at a target's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symlink {
    #[default]
    Refuse,
    /// The file that it leads to is kept right.
    Follow,
}

/// What happens to a target that is no longer what was installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDrift {
    /// It is put back; the drifted bytes are kept in history.
    #[default]
    Restore,
    /// A changed file is left alone and reported, a missing one is put back.
    Report,
    /// It is left alone until the next version; a missing one is put back at the next start.
    Ignore,
}

/// How a target's bytes are made.
#[derive(Clone, Debug, PartialEq)]
pub enum Render {
    /// The bytes as they came; the target has exactly one profile.
    Verbatim,
    /// RFC 7396, later profiles win, written as `format`.
    ///
    /// The format is that of the path's ending (`.json`, `.yaml`, `.yml`, `.toml`), else the one that all its profiles
    /// declare by `validate.format`; never text.
    Merge { format: Format },
    /// A minijinja template in this file, over the merged configuration where `merge` says so.
    Template { file: PathBuf, merge: bool },
    /// The variables of a program, from all its profiles merged.
    Environment(Naming),
    /// The whole of a directory target, and of nothing else.
    Files(FileSet),
}

/// What a directory target holds.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSet {
    /// By relative path, without `.`, `..` and empty parts; at least one, and none is the directory of another.
    pub files: BTreeMap<String, SetFile>,
    /// A real directory at the path is taken over.
    pub adopt: bool,
    /// So many generations stay beside the one that is live.
    pub keep_previous: u32,
}

/// One file of a directory target.
#[derive(Clone, Debug, PartialEq)]
pub struct SetFile {
    /// At least one, each once, in the order written.
    pub from: Vec<ProfileName>,
    /// Never `Files`.
    pub render: Render,
    /// Without a word the directory's.
    pub owner: Option<Principal>,
    pub group: Option<Principal>,
    /// Permission bits, at most 0o7777; without a word 0644, or 0600 if `sensitive`.
    pub mode: Option<u32>,
    /// Of any of its profiles.
    pub sensitive: bool,
}

impl Target {
    /// What a directory target holds.
    pub fn file_set(&self) -> Option<&FileSet> {
        match &self.render {
            Render::Files(set) => Some(set),
            Render::Verbatim
            | Render::Merge { .. }
            | Render::Template { .. }
            | Render::Environment(_) => None,
        }
    }

    /// How its bytes, or those of each of its files, are made.
    pub fn recipes(&self) -> impl Iterator<Item = &Render> {
        let files = self
            .file_set()
            .into_iter()
            .flat_map(|set| set.files.values());
        std::iter::once(&self.render).chain(files.map(|file| &file.render))
    }
}

/// A user or group: by number, or by a name that is looked up when a file is staged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Principal {
    Id(u32),
    Name(String),
}

impl Settings {
    /// Where a path of the settings (a target, a `pid_file`) really lies.
    pub fn rooted(&self, path: &str) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.trim_start_matches('/')),
            None => PathBuf::from(path),
        }
    }
}

/// The names' constructors check nothing but emptiness: they are for the settings reader and for tests.
impl From<&str> for ProfileName {
    fn from(name: &str) -> ProfileName {
        ProfileName(name.into())
    }
}

impl From<&str> for ServiceName {
    fn from(name: &str) -> ServiceName {
        ServiceName(name.into())
    }
}

/// A text from outside the settings (the control socket, the ledger) that is no name.
#[derive(Debug, thiserror::Error)]
pub enum NotAName {
    #[error("a name is not empty")]
    Empty,
    #[error("a target's path begins with `/` and has no part that is empty, `.` or `..`")]
    NotATargetPath,
}

impl TryFrom<String> for ProfileName {
    type Error = NotAName;

    fn try_from(name: String) -> Result<ProfileName, NotAName> {
        not_empty(name).map(ProfileName)
    }
}

impl TryFrom<String> for ServiceName {
    type Error = NotAName;

    fn try_from(name: String) -> Result<ServiceName, NotAName> {
        not_empty(name).map(ServiceName)
    }
}

impl TryFrom<String> for TargetPath {
    type Error = NotAName;

    fn try_from(path: String) -> Result<TargetPath, NotAName> {
        TargetPath::new(&path).ok_or(NotAName::NotATargetPath)
    }
}

fn not_empty(name: String) -> Result<Arc<str>, NotAName> {
    if name.is_empty() {
        return Err(NotAName::Empty);
    }
    Ok(name.into())
}

impl TargetPath {
    /// The path, if it is absolute and without `.`, `..`, empty parts and NUL. One `/` at the end makes it a directory target's.
    pub fn new(path: &str) -> Option<TargetPath> {
        let parts = path.strip_prefix('/')?;
        let parts = parts.strip_suffix('/').unwrap_or(parts);
        let sound = !path.contains('\0')
            && parts
                .split('/')
                .all(|part| !matches!(part, "" | "." | ".."));
        sound.then(|| TargetPath(path.into()))
    }

    /// The path that a word of the command line means: a directory target's also without its `/`.
    pub fn meant(word: &str, is_known: impl Fn(&TargetPath) -> bool) -> Option<TargetPath> {
        let as_written = TargetPath::new(word).filter(&is_known);
        as_written.or_else(|| TargetPath::new(&format!("{word}/")).filter(&is_known))
    }

    /// A directory target's.
    pub fn is_directory(&self) -> bool {
        self.0.ends_with('/')
    }

    /// The path without the `/` that a directory target's ends in.
    pub fn location(&self) -> &str {
        self.0.strip_suffix('/').unwrap_or(&self.0)
    }

    /// The last part of the path.
    pub fn file_name(&self) -> &str {
        self.location().rsplit('/').next().unwrap_or_default()
    }
}

/// Limit of a command where no service sets one.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
