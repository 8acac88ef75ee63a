//! The directory as a service of deployments: what is in force for each profile.
//!
//! A change of a file's bytes or of its sidecar is a deployment. Programs that save a file seldom do so in one step, so a
//! change is taken when it is *settled*: two looks at file and sidecar, 20 ms apart (250 ms for an empty file), agree in
//! inode, size and times, the file is still the same after it was read, and no program is known to be writing it. Until
//! then what was deployed before is served. The files are looked at on every call, so a finished change is in the next
//! answer whether or not the kernel reported it; events only save that call the wait.

mod files;
mod find;
mod watched;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderValue;
use bytes::Bytes;

pub use files::ContentError;
pub use find::{DirectoryError, Missing};
pub use watched::follow;

use super::names::ProfileId;
use crate::clock::Clock;
use crate::protocol::Digest;
use files::{Content, Look};

/// Longer than two steps of any kernel's file clock, so that a write between two looks changes the times.
const SETTLED_AFTER: Duration = Duration::from_millis(20);
/// An empty file is mostly one that is about to be written.
const EMPTY_SETTLED_AFTER: Duration = Duration::from_millis(250);
/// Looks at a file that keeps changing before the call is answered with what there was.
const LOOKS: usize = 8;
/// A program that has not written for so long, and has not closed the file either, counts as finished.
const WRITER_FORGOTTEN_AFTER: Duration = Duration::from_secs(5);

/// One deployed configuration.
#[derive(Debug)]
pub struct Deployment {
    /// Counts the deployments of the profile.
    pub revision: u64,
    pub bytes: Bytes,
    pub digest: Digest,
    pub content_type: HeaderValue,
    pub label: Option<HeaderValue>,
}

/// The directory and what has been deployed from it.
pub struct Store {
    directory: PathBuf,
    clock: Clock,
    entries: Mutex<BTreeMap<ProfileId, Arc<Entry>>>,
    /// File → when it was last written by a program that has not closed it.
    writers: Mutex<HashMap<PathBuf, Duration>>,
}

/// One profile. `refresh` is held by whoever looks for a newer version.
#[derive(Default)]
struct Entry {
    refresh: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    path: PathBuf,
    deployed: Option<Deployed>,
    /// What the files looked like when they were last found unfit to be deployed.
    unfit: Option<Look>,
    /// Two files were there, and it was said.
    ambiguous: bool,
}

struct Deployed {
    look: Look,
    content: Digest,
    deployment: Arc<Deployment>,
}

impl Store {
    /// Reads what there is. Two files for one profile, or a sidecar that is wrong, are errors here and warnings later.
    pub fn open(directory: PathBuf, clock: Clock) -> Result<Store, DirectoryError> {
        let mut entries = BTreeMap::new();
        for (profile, path) in find::all(&directory)? {
            let content = Look::at(&path).map(|look| Content::read(&path, &look));
            if let Some(Err(error @ ContentError::Sidecar { .. })) = content {
                return Err(DirectoryError::Content(error));
            }
            entries.insert(profile, Arc::new(Entry::at(path)));
        }
        Ok(Store {
            directory,
            clock,
            entries: Mutex::new(entries),
            writers: Mutex::default(),
        })
    }

    /// What is in force for a profile at this moment.
    pub async fn current(&self, profile: &ProfileId) -> Result<Arc<Deployment>, Missing> {
        let entry = self.entry(profile)?;
        if let Some(deployment) = entry.in_force() {
            return Ok(deployment);
        }
        let _refresh = entry.refresh.lock().await;
        if let Some(deployment) = entry.in_force() {
            return Ok(deployment);
        }
        self.refresh(profile, &entry).await
    }

    async fn refresh(
        &self,
        profile: &ProfileId,
        entry: &Entry,
    ) -> Result<Arc<Deployment>, Missing> {
        let mut missing = None;
        let mut last: Option<(PathBuf, Look)> = None;
        for _ in 0..LOOKS {
            let found = self.locate(profile, entry).and_then(|path| {
                let look = Look::at(&path).ok_or(Missing::Profile)?;
                Ok((path, look))
            });
            let pause = match found {
                // A file that is gone twice is gone; once may be between an editor's two renames
                Err(why) if missing.is_some() => return Err(why),
                Err(why) => {
                    (missing, last) = (Some(why), None);
                    SETTLED_AFTER
                }
                Ok(found) => {
                    missing = None;
                    if entry.is_unfit(&found.1) {
                        return entry.old().ok_or(Missing::Deployment);
                    }
                    let settled = last.as_ref() == Some(&found) && !self.is_being_written(&found.0);
                    if settled && let Some(verdict) = entry.take(profile, &found.0, &found.1) {
                        return verdict;
                    }
                    let pause = if found.1.is_empty() {
                        EMPTY_SETTLED_AFTER
                    } else {
                        SETTLED_AFTER
                    };
                    last = Some(found);
                    pause
                }
            };
            // Between two looks real time has to pass: it is measured against the kernel's times of files.
            tokio::time::sleep(pause).await;
        }
        entry.old().ok_or(Missing::Deployment)
    }

    /// The profile's file: where it was, or where it is now.
    fn locate(&self, profile: &ProfileId, entry: &Entry) -> Result<PathBuf, Missing> {
        let known = lock(&entry.state).path.clone();
        if known.is_file() {
            return Ok(known);
        }
        let found = find::one(&self.directory, profile)?;
        if found.len() > 1 {
            entry.warn_of_two(profile, &found);
        }
        let path = found.into_iter().next().ok_or(Missing::Profile)?;
        lock(&entry.state).path.clone_from(&path);
        Ok(path)
    }

    fn entry(&self, profile: &ProfileId) -> Result<Arc<Entry>, Missing> {
        if let Some(entry) = lock(&self.entries).get(profile) {
            return Ok(Arc::clone(entry));
        }
        let found = find::one(&self.directory, profile)?;
        let path = found.first().ok_or(Missing::Profile)?;
        let entry = Arc::new(Entry::at(path.clone()));
        if found.len() > 1 {
            entry.warn_of_two(profile, &found);
        }
        Ok(Arc::clone(
            lock(&self.entries).entry(profile.clone()).or_insert(entry),
        ))
    }

    fn is_being_written(&self, path: &Path) -> bool {
        let now = self.clock.now().steady;
        let mut writers = lock(&self.writers);
        writers.retain(|_, at| now.saturating_sub(*at) < WRITER_FORGOTTEN_AFTER);
        writers.contains_key(path)
    }
}

impl Entry {
    fn at(path: PathBuf) -> Entry {
        Entry {
            state: Mutex::new(State {
                path,
                ..State::default()
            }),
            ..Entry::default()
        }
    }

    /// The deployment, if the files are still what they were when it was made.
    fn in_force(&self) -> Option<Arc<Deployment>> {
        let state = lock(&self.state);
        let deployed = state.deployed.as_ref()?;
        let unchanged = Look::at(&state.path)? == deployed.look;
        unchanged.then(|| Arc::clone(&deployed.deployment))
    }

    /// What was deployed last.
    fn old(&self) -> Option<Arc<Deployment>> {
        lock(&self.state)
            .deployed
            .as_ref()
            .map(|deployed| Arc::clone(&deployed.deployment))
    }

    fn is_unfit(&self, look: &Look) -> bool {
        lock(&self.state).unfit.as_ref() == Some(look)
    }

    /// Deploys settled files; `None`: they changed while they were read.
    fn take(
        &self,
        profile: &ProfileId,
        path: &Path,
        look: &Look,
    ) -> Option<Result<Arc<Deployment>, Missing>> {
        let content = Content::read(path, look);
        if Look::at(path).as_ref() != Some(look) {
            return None;
        }
        let content = match content {
            Ok(content) => content,
            Err(error) => {
                tracing::warn!(%profile, error = &error as &dyn std::error::Error, "not deployed");
                lock(&self.state).unfit = Some(look.clone());
                return Some(self.old().ok_or(Missing::Deployment));
            }
        };
        let mut state = lock(&self.state);
        let before = state.deployed.take();
        let deployment = match before {
            Some(before) if before.content == content.fingerprint => before.deployment,
            before => {
                let revision = before.map_or(1, |before| before.deployment.revision + 1);
                let deployment = Deployment {
                    revision,
                    digest: Digest::of(&content.bytes),
                    bytes: content.bytes,
                    content_type: content.content_type,
                    label: content.label,
                };
                tracing::info!(%profile, revision, digest = deployment.digest.short(), "deployed");
                Arc::new(deployment)
            }
        };
        let deployed = Deployed {
            look: look.clone(),
            content: content.fingerprint,
            deployment: Arc::clone(&deployment),
        };
        state.deployed = Some(deployed);
        state.unfit = None;
        Some(Ok(deployment))
    }

    fn warn_of_two(&self, profile: &ProfileId, paths: &[PathBuf]) {
        let mut state = lock(&self.state);
        if !state.ambiguous {
            state.ambiguous = true;
            let serving = state.path.display();
            tracing::warn!(%profile, ?paths, %serving, "two files for one profile: remove one of them");
        }
    }
}

/// A lock that survives a panic of its holder: the data are replaced as a whole, never half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
