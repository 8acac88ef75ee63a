//! The one inotify instance, and who wants to hear what of it.
//!
//! notify's own thread must not call back into notify, so events pass through a thread of ours, which also takes up watches
//! on directories that come back.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RemoveKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::UnboundedSender;

use super::{Change, Kind, WatchError};

/// The hub lives as long as a watcher does; the next watcher after the last one opens a new one.
static SHARED: Mutex<Weak<Hub>> = Mutex::new(Weak::new());

/// The instance and its subscribers.
#[derive(Debug)]
pub struct Hub {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    inotify: RecommendedWatcher,
    next_subscriber: u64,
    subscribers: BTreeMap<u64, UnboundedSender<Box<Change>>>,
    /// Directory as given → what is known of it.
    wanted: BTreeMap<PathBuf, Wanted>,
    /// Directories that the kernel watches, without links.
    armed: BTreeSet<PathBuf>,
}

#[derive(Debug, Default)]
struct Wanted {
    /// All who want to hear of the directory itself, and those of them who want to hear of every entry.
    subscribers: BTreeSet<u64>,
    greedy: BTreeSet<u64>,
    /// Who wants to hear of an entry: a thousand may have one entry each in the same directory.
    /// In order, without repetition.
    curious: BTreeMap<OsString, Vec<u64>>,
    /// The directory itself without links, where it exists.
    real: Option<PathBuf>,
    /// Where it does not exist: the nearest ancestor that does.
    ancestor: Option<PathBuf>,
}

impl Hub {
    /// The process's hub.
    pub fn shared() -> Result<Arc<Hub>, WatchError> {
        let mut shared = lock(&SHARED);
        if let Some(hub) = shared.upgrade() {
            return Ok(hub);
        }
        let (sender, events) = channel();
        let mut inotify = notify::recommended_watcher(sender).map_err(WatchError::Instance)?;
        // Without the thread that it starts it panics whenever it is used, or dropped; only this call says so.
        if let Err(error) = inotify.configure(notify::Config::default()) {
            let _never_dropped = ManuallyDrop::new(inotify);
            return Err(WatchError::Instance(error));
        }
        let state = State {
            inotify,
            next_subscriber: 0,
            subscribers: BTreeMap::new(),
            wanted: BTreeMap::new(),
            armed: BTreeSet::new(),
        };
        let hub = Arc::new(Hub {
            state: Mutex::new(state),
        });
        let weak = Arc::downgrade(&hub);
        // Ends when the hub goes: notify then drops the sender
        let thread = std::thread::Builder::new().name("watch".into());
        thread
            .spawn(move || sort(&events, &weak))
            .map_err(WatchError::Thread)?;
        *shared = Arc::downgrade(&hub);
        Ok(hub)
    }

    pub fn subscribe(&self, sender: UnboundedSender<Box<Change>>) -> u64 {
        let mut state = lock(&self.state);
        let subscriber = state.next_subscriber;
        state.next_subscriber += 1;
        state.subscribers.insert(subscriber, sender);
        subscriber
    }

    /// `entries`: `None` is all of them.
    pub fn watch<'a>(
        &self,
        subscriber: u64,
        directory: &Path,
        entries: Option<impl IntoIterator<Item = &'a OsString>>,
    ) {
        let mut state = lock(&self.state);
        let wanted = state.wanted.entry(directory.to_owned()).or_default();
        wanted.subscribers.insert(subscriber);
        match entries {
            None => {
                wanted.greedy.insert(subscriber);
            }
            Some(entries) => {
                for name in entries {
                    let curious = wanted.curious.entry(name.clone()).or_default();
                    if let Err(place) = curious.binary_search(&subscriber) {
                        curious.insert(place, subscriber);
                    }
                }
            }
        }
        if wanted.real.is_none() {
            state.arm(directory);
        }
    }

    pub fn unwatch(&self, subscriber: u64, directory: &Path) {
        let mut state = lock(&self.state);
        if let Some(wanted) = state.wanted.get_mut(directory) {
            wanted.leave(subscriber);
        }
        state.tidy();
    }

    pub fn leave(&self, subscriber: u64) {
        let mut state = lock(&self.state);
        state.subscribers.remove(&subscriber);
        for wanted in state.wanted.values_mut() {
            wanted.leave(subscriber);
        }
        state.tidy();
    }
}

impl Wanted {
    fn leave(&mut self, subscriber: u64) {
        if !self.subscribers.remove(&subscriber) {
            return;
        }
        self.greedy.remove(&subscriber);
        self.curious.retain(|_, curious| {
            curious.retain(|one| *one != subscriber);
            !curious.is_empty()
        });
    }

    /// Who hears of this entry, or of the directory itself.
    fn concerned(&self, name: Option<&OsStr>) -> impl Iterator<Item = &u64> {
        let (some, all) = match name {
            Some(name) => (self.curious.get(name), &self.greedy),
            None => (None, &self.subscribers),
        };
        let greedy = |subscriber: &&u64| !all.contains(subscriber);
        all.iter().chain(some.into_iter().flatten().filter(greedy))
    }
}

fn sort(events: &Receiver<notify::Result<notify::Event>>, hub: &Weak<Hub>) {
    while let Ok(event) = events.recv() {
        let Some(hub) = hub.upgrade() else { return };
        let mut state = lock(&hub.state);
        match event {
            Ok(event) if event.need_rescan() => {
                tracing::warn!(
                    "the kernel has dropped events of files: all that are watched are looked at; see fs.inotify.max_queued_events"
                );
                state.lost_events();
            }
            Ok(event) => state.take(&event),
            Err(error) => {
                tracing::debug!(%error, "the kernel's events are incomplete");
                state.lost_events();
            }
        }
    }
}

impl State {
    fn take(&mut self, event: &notify::Event) {
        let kind = match event.kind {
            // Reading is no change, and our own looking would never end
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Kind::Changed,
            EventKind::Access(_) => return,
            EventKind::Modify(ModifyKind::Data(_)) => Kind::Writing,
            // Said a second time, after its two halves
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return,
            _ => Kind::Changed,
        };
        let gone = matches!(
            event.kind,
            EventKind::Remove(RemoveKind::Folder | RemoveKind::Other | RemoveKind::Any)
        ) || matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)));
        for path in &event.paths {
            if gone && self.armed.contains(path) {
                self.disarm(path);
            }
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                self.tell(parent, Some(name.to_owned()), kind);
                self.try_again(parent);
            }
        }
    }

    /// The kernel's queue was full: everything may have changed.
    fn lost_events(&mut self) {
        let armed: Vec<PathBuf> = self.armed.iter().cloned().collect();
        for real in armed {
            if real.is_dir() {
                self.tell(&real, None, Kind::Changed);
            } else {
                self.disarm(&real);
            }
        }
        let missing: Vec<PathBuf> = self.missing(|_| true);
        for directory in missing {
            self.arm_again(&directory);
        }
    }

    /// Tells everybody who wants this directory.
    fn tell(&self, real: &Path, name: Option<OsString>, kind: Kind) {
        for (directory, wanted) in &self.wanted {
            if wanted.real.as_deref() == Some(real) {
                self.tell_of(directory, wanted, name.clone(), kind);
            }
        }
    }

    fn tell_of(&self, directory: &Path, wanted: &Wanted, name: Option<OsString>, kind: Kind) {
        for subscriber in wanted.concerned(name.as_deref()) {
            if let Some(sender) = self.subscribers.get(subscriber) {
                let change = Change {
                    directory: directory.to_owned(),
                    name: name.clone(),
                    kind,
                };
                // A receiver that is gone needs no change
                let _ = sender.send(Box::new(change));
            }
        }
    }

    /// Something happened in an ancestor of directories that were missing.
    fn try_again(&mut self, parent: &Path) {
        let missing = self.missing(|ancestor| ancestor == parent);
        if missing.is_empty() {
            return;
        }
        for directory in missing {
            self.arm_again(&directory);
        }
        self.tidy();
    }

    fn missing(&self, fits: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
        let missing = self.wanted.iter().filter(|(_, wanted)| {
            wanted.real.is_none() && wanted.ancestor.as_deref().is_none_or(&fits)
        });
        missing.map(|(directory, _)| directory.clone()).collect()
    }

    /// The kernel watches the directory no more, or watches what was moved away from its name.
    fn disarm(&mut self, real: &Path) {
        self.armed.remove(real);
        // It is an error that it has no watch, and no matter
        let _ = self.inotify.unwatch(real);
        let lost = |wanted: &Wanted| {
            wanted.real.as_deref() == Some(real) || wanted.ancestor.as_deref() == Some(real)
        };
        let directories: Vec<PathBuf> = self
            .wanted
            .iter()
            .filter(|(_, wanted)| lost(wanted))
            .map(|(directory, _)| directory.clone())
            .collect();
        for directory in directories {
            self.arm_again(&directory);
        }
    }

    /// As [`State::arm`], and tells that the directory came, went, or is another one. An ancestor may be removed and the
    /// directory be there again before the first of the events is read.
    fn arm_again(&mut self, directory: &Path) {
        let there = |state: &State| {
            let wanted = state.wanted.get(directory);
            wanted.is_some_and(|wanted| wanted.real.is_some())
        };
        let was_there = there(self);
        self.arm(directory);
        if (was_there || there(self))
            && let Some(wanted) = self.wanted.get(directory)
        {
            self.tell_of(directory, wanted, None, Kind::Changed);
        }
    }

    /// Watches a wanted directory, or its nearest ancestor that exists.
    fn arm(&mut self, directory: &Path) {
        // Again while a directory is made between the failed look at it and the watch on its ancestor
        for _ in 0..8 {
            let real = directory
                .canonicalize()
                .ok()
                .filter(|real| real.is_dir() && self.kernel_watches(real));
            let ancestor = match &real {
                Some(_) => None,
                None => directory
                    .ancestors()
                    .skip(1)
                    .filter_map(|ancestor| ancestor.canonicalize().ok())
                    .find(|ancestor| self.kernel_watches(ancestor)),
            };
            let settled = real.is_some() || !came_meanwhile(directory, ancestor.as_deref());
            if let Some(wanted) = self.wanted.get_mut(directory) {
                (wanted.real, wanted.ancestor) = (real, ancestor);
            }
            if settled {
                return;
            }
        }
    }

    fn kernel_watches(&mut self, real: &Path) -> bool {
        if self.armed.contains(real) {
            return true;
        }
        match self.inotify.watch(real, RecursiveMode::NonRecursive) {
            Ok(()) => self.armed.insert(real.to_owned()),
            Err(error) => {
                tracing::warn!(directory = %real.display(), %error, "cannot watch a directory: see fs.inotify.max_user_watches");
                false
            }
        }
    }

    /// Ends watches that nobody needs.
    fn tidy(&mut self) {
        self.wanted
            .retain(|_, wanted| !wanted.subscribers.is_empty());
        let needed: BTreeSet<&PathBuf> = self
            .wanted
            .values()
            .flat_map(|wanted| [&wanted.real, &wanted.ancestor])
            .flatten()
            .collect();
        let superfluous: Vec<PathBuf> = self
            .armed
            .iter()
            .filter(|real| !needed.contains(real))
            .cloned()
            .collect();
        for real in superfluous {
            self.armed.remove(&real);
            let _ = self.inotify.unwatch(&real);
        }
    }
}

/// Whether a directory nearer than the watched ancestor exists now.
fn came_meanwhile(directory: &Path, ancestor: Option<&Path>) -> bool {
    let nearest = directory
        .ancestors()
        .find_map(|near| near.canonicalize().ok());
    nearest.as_deref() != ancestor && ancestor.is_some()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn when_the_kernel_has_dropped_events_everybody_is_told_to_look_and_what_was_missing_is_looked_for()
     {
        let directory = tempfile::tempdir().unwrap();
        let late = directory.path().join("late");
        let hub = Hub::shared().unwrap();
        let (sender, mut changes) = unbounded_channel();
        let subscriber = hub.subscribe(sender);
        for wanted in [directory.path(), &late] {
            hub.watch(subscriber, wanted, None::<[&OsString; 0]>);
        }
        // As long as this is held, no event of the kernel is passed on.
        let mut state = lock(&hub.state);
        std::fs::create_dir(&late).unwrap();
        while changes.try_recv().is_ok() {}
        state.lost_events();
        let told = std::iter::from_fn(|| changes.try_recv().ok());
        let told: Vec<Change> = told.map(|change| *change).collect();
        for directory in [directory.path(), &late] {
            let look = Change {
                directory: directory.to_owned(),
                name: None,
                kind: Kind::Changed,
            };
            assert!(told.contains(&look), "{directory:?}: {told:?}");
        }
        assert!(state.armed.contains(&late.canonicalize().unwrap()));
        drop(state);
        hub.leave(subscriber);
    }
}
