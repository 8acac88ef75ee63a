//! The directory's events: deployments are made before anyone asks, and known writers hold them back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Store, find, lock};
use crate::server::names::{self, ProfileId};
use crate::watch::{Change, Kind, Watcher};

/// Events of one burst are looked at together.
const BURST: Duration = Duration::from_millis(5);

/// Follows the directory until the task is dropped. Ends at once, with a warning, where the kernel gives no events:
/// the store is right without them.
pub async fn follow(store: Arc<Store>) {
    let (mut watcher, mut changes) = match Watcher::new() {
        Ok(watch) => watch,
        Err(error) => {
            let directory = store.directory.display();
            tracing::warn!(%directory, error = &error as &dyn std::error::Error, "cannot watch the directory");
            return;
        }
    };
    arm(&store, &mut watcher);
    while let Some(first) = changes.recv().await {
        let mut folders = BTreeSet::new();
        // A writer is noted before anything is waited for: a call may be about to take the file
        note(&store, first, &mut folders);
        tokio::time::sleep(BURST).await;
        while let Some(next) = changes.next_now() {
            note(&store, next, &mut folders);
        }
        let deep = |folder: &PathBuf| {
            folder
                .strip_prefix(&store.directory)
                .is_ok_and(|rest| rest.components().count() == 2)
        };
        if !folders.iter().all(deep) {
            arm(&store, &mut watcher);
        }
        for folder in folders.iter().filter(|folder| deep(folder)) {
            look_into(&store, folder);
        }
    }
}

fn note(store: &Store, change: Change, folders: &mut BTreeSet<PathBuf>) {
    if let Some(name) = change.name.as_deref().and_then(|name| name.to_str()) {
        store.note_writer(&change.directory, name, change.kind);
    }
    folders.insert(change.directory);
}

/// Watches every folder that there is now.
fn arm(store: &Store, watcher: &mut Watcher) {
    watcher.watch(&store.directory);
    for (_, application) in find::folders(&store.directory).unwrap_or_default() {
        watcher.watch(&application);
        for (_, environment) in find::folders(&application).unwrap_or_default() {
            watcher.watch(&environment);
        }
    }
}

/// Deploys what has changed in an environment's folder, for the profiles that someone has asked for, and warns of two
/// files for one profile.
fn look_into(store: &Arc<Store>, folder: &Path) {
    let Some((application, environment)) = names_of(store, folder) else {
        return;
    };
    let mut previous: Option<(ProfileId, PathBuf)> = None;
    for (profile, path) in find::files(folder).unwrap_or_default() {
        let id = ProfileId {
            application: application.clone(),
            environment: environment.clone(),
            profile,
        };
        let entry = lock(&store.entries).get(&id).cloned();
        if let Some(entry) = entry {
            if let Some((_, first)) = previous.take().filter(|(before, _)| *before == id) {
                entry.warn_of_two(&id, &[first, path.clone()]);
            }
            if entry.old().is_some() && entry.in_force().is_none() {
                let (store, id) = (Arc::clone(store), id.clone());
                tokio::spawn(async move { store.current(&id).await.map(drop) });
            }
        }
        previous = Some((id, path));
    }
}

fn names_of(store: &Store, folder: &Path) -> Option<(String, String)> {
    let mut names = folder
        .strip_prefix(&store.directory)
        .ok()?
        .components()
        .map(|part| part.as_os_str().to_str().and_then(names::of_folder));
    Some((names.next()??, names.next()??))
}

impl Store {
    fn note_writer(&self, directory: &Path, name: &str, kind: Kind) {
        // Who writes a sidecar writes the configuration
        let path = directory.join(names::described_by(name).unwrap_or(name));
        match kind {
            Kind::Writing => {
                lock(&self.writers).insert(path, self.clock.now().steady);
            }
            Kind::Changed => {
                lock(&self.writers).remove(&path);
            }
        }
    }
}
