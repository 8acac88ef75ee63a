//! Where a profile's file is: `DIR/APPLICATION/ENVIRONMENT/PROFILE.ext`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::files::ContentError;
use crate::server::names::{self, ProfileId};

/// What of a profile is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Application,
    Environment,
    Profile,
    /// There is a file, but it has never been fit to be deployed.
    Deployment,
    /// This machine does not let us look: no descriptors are left, the disk fails.
    Unknown,
}

/// Why a directory cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("cannot list the directory `{}`; it must be one that this user may read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("two files for the profile `{profile}`: `{}` and `{}`: remove one of them", first.display(), second.display())]
    TwoFiles {
        profile: ProfileId,
        first: PathBuf,
        second: PathBuf,
    },
    #[error(transparent)]
    Content(ContentError),
}

/// Every profile below the directory.
pub fn all(directory: &Path) -> Result<BTreeMap<ProfileId, PathBuf>, DirectoryError> {
    let mut profiles = BTreeMap::new();
    for (application, folder) in folders(directory)? {
        for (environment, folder) in folders(&folder)? {
            for (profile, path) in files(&folder)? {
                let (application, environment) = (application.clone(), environment.clone());
                let profile = ProfileId {
                    application,
                    environment,
                    profile,
                };
                if let Some(first) = profiles.insert(profile.clone(), path.clone()) {
                    return Err(DirectoryError::TwoFiles {
                        profile,
                        first,
                        second: path,
                    });
                }
            }
        }
    }
    Ok(profiles)
}

/// The files of one profile in byte order: at least one, more where the directory is ambiguous.
pub fn one(directory: &Path, profile: &ProfileId) -> Result<Vec<PathBuf>, Missing> {
    let applications: Vec<PathBuf> =
        named(there(folders(directory))?, &profile.application).collect();
    if applications.is_empty() {
        return Err(Missing::Application);
    }
    let mut environments = Vec::new();
    for folder in applications {
        environments.extend(named(there(folders(&folder))?, &profile.environment));
    }
    if environments.is_empty() {
        return Err(Missing::Environment);
    }
    let mut paths = Vec::new();
    for folder in environments {
        paths.extend(named(there(files(&folder))?, &profile.profile));
    }
    if paths.is_empty() {
        Err(Missing::Profile)
    } else {
        Ok(paths)
    }
}

/// The folders inside a directory, with the names that they stand for.
pub fn folders(directory: &Path) -> Result<Vec<(String, PathBuf)>, DirectoryError> {
    entries(directory, |name, path| {
        if path.is_dir() {
            names::of_folder(name)
        } else {
            None
        }
    })
}

/// The files inside a directory that are configurations, with the profiles that they belong to.
pub fn files(directory: &Path) -> Result<Vec<(String, PathBuf)>, DirectoryError> {
    entries(directory, |name, path| {
        if path.is_file() {
            names::of_file(name)
        } else {
            None
        }
    })
}

fn entries(
    directory: &Path,
    name_of: impl Fn(&str, &Path) -> Option<String>,
) -> Result<Vec<(String, PathBuf)>, DirectoryError> {
    let unreadable = |source| DirectoryError::Unreadable {
        path: directory.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (file_name, path) = (entry.file_name(), entry.path());
        // A file name that is not UTF-8 cannot be asked for
        if let Some(name) = file_name
            .to_str()
            .and_then(|file_name| name_of(file_name, &path))
        {
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

/// A directory that is gone has no entries.
fn there(
    entries: Result<Vec<(String, PathBuf)>, DirectoryError>,
) -> Result<Vec<(String, PathBuf)>, Missing> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match entries {
        Err(DirectoryError::Unreadable { source, .. })
            if matches!(source.kind(), NotFound | NotADirectory) =>
        {
            Ok(Vec::new())
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the directory cannot be looked at"
            );
            Err(Missing::Unknown)
        }
        Ok(entries) => Ok(entries),
    }
}

fn named(entries: Vec<(String, PathBuf)>, name: &str) -> impl Iterator<Item = PathBuf> {
    entries
        .into_iter()
        .filter(move |(found, _)| found == name)
        .map(|(_, path)| path)
}
