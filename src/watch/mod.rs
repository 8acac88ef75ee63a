//! "Something changed in DIR", for whoever wants to know, from one inotify instance for the whole process.
//!
//! Directories are watched, never files: a watch on a file dies with the first rename over it. An event says where to look,
//! not what to find; whoever gets one looks at the files itself. Where the kernel gives no events (network file systems, no
//! watches left) nothing is reported, so a slow look of one's own stays necessary.

mod hub;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use hub::Hub;

/// One look that is worth taking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// As it was given to [`Watcher::watch`].
    pub directory: PathBuf,
    /// The entry of the directory; `None`: any of them, the directory itself among them.
    pub name: Option<OsString>,
    pub kind: Kind,
}

/// What is known about a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program writes a file and has not closed it.
    Writing,
    /// Everything else: closed after writing, renamed, created, removed, owner or mode changed.
    Changed,
}

/// Why there are no events.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("cannot open an inotify instance: see fs.inotify.max_user_instances")]
    Instance(#[source] notify::Error),
    #[error("cannot start the thread that sorts events")]
    Thread(#[source] std::io::Error),
}

/// A set of watched directories; they are no longer watched when it is dropped.
#[derive(Debug)]
pub struct Watcher {
    hub: Arc<Hub>,
    subscriber: u64,
}

/// The changes in a watcher's directories. Nothing is dropped and nothing waits: events that nobody fetches take memory.
#[derive(Debug)]
pub struct Changes(UnboundedReceiver<Box<Change>>);

impl Watcher {
    /// Joins the process's inotify instance, or opens it.
    pub fn new() -> Result<(Watcher, Changes), WatchError> {
        let hub = Hub::shared()?;
        let (sender, receiver) = unbounded_channel();
        let subscriber = hub.subscribe(sender);
        Ok((Watcher { hub, subscriber }, Changes(receiver)))
    }

    /// Watches the entries of a directory, not what is below them. Twice is once. A directory that does not exist, or is
    /// removed later, is watched from the moment when it exists (again), and that moment is a change without a name.
    pub fn watch(&mut self, directory: &Path) {
        self.hub
            .watch(self.subscriber, directory, None::<[&OsString; 0]>);
    }

    /// As [`Watcher::watch`], for these entries and the directory itself only. Entries of earlier calls stay watched.
    pub fn watch_entries<'a>(
        &mut self,
        directory: &Path,
        entries: impl IntoIterator<Item = &'a OsString>,
    ) {
        self.hub.watch(self.subscriber, directory, Some(entries));
    }

    /// Ends the watch on a directory, as it was given to [`Watcher::watch`].
    pub fn unwatch(&mut self, directory: &Path) {
        self.hub.unwatch(self.subscriber, directory);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.hub.leave(self.subscriber);
    }
}

impl Changes {
    /// The next change. `None`: the watcher has been dropped. Cancel safe.
    pub async fn recv(&mut self) -> Option<Change> {
        self.0.recv().await.map(|change| *change)
    }

    /// A change that is there already.
    pub fn next_now(&mut self) -> Option<Change> {
        self.0.try_recv().ok().map(|change| *change)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    /// Waits for a change that fits, for a minute at most.
    async fn seen(changes: &mut Changes, fits: impl Fn(&Change) -> bool) -> Change {
        let wait = async {
            loop {
                let change = changes.recv().await.expect("the watcher lives");
                if fits(&change) {
                    return change;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .expect("the change is reported")
    }

    fn named(name: &'static str) -> impl Fn(&Change) -> bool {
        move |change| change.name.as_deref() == Some(name.as_ref()) && change.kind == Kind::Changed
    }

    #[tokio::test]
    async fn writes_renames_and_removals_are_reported_with_the_directory_as_given() {
        let directory = tempfile::tempdir().unwrap();
        let given = directory.path().join("sub").join("..");
        fs::create_dir(directory.path().join("sub")).unwrap();
        let (mut watcher, mut changes) = Watcher::new().unwrap();
        watcher.watch(&given);
        fs::File::create(given.join("a")).unwrap();
        assert_eq!(seen(&mut changes, named("a")).await.directory, given);
        fs::rename(given.join("a"), given.join("b")).unwrap();
        seen(&mut changes, named("b")).await;
        fs::remove_file(given.join("b")).unwrap();
        seen(&mut changes, named("b")).await;
    }

    #[tokio::test]
    async fn a_file_that_is_still_open_for_writing_is_reported_as_such() {
        use std::io::Write;
        let directory = tempfile::tempdir().unwrap();
        let (mut watcher, mut changes) = Watcher::new().unwrap();
        watcher.watch(directory.path());
        let mut file = fs::File::create(directory.path().join("a")).unwrap();
        file.write_all(b"half").unwrap();
        seen(&mut changes, |change| change.kind == Kind::Writing).await;
        drop(file);
        seen(&mut changes, named("a")).await;
    }

    #[tokio::test]
    async fn a_directory_that_comes_later_or_comes_back_is_watched() {
        let directory = tempfile::tempdir().unwrap();
        let late = directory.path().join("one").join("two");
        let (mut watcher, mut changes) = Watcher::new().unwrap();
        watcher.watch(&late);
        for _ in 0..3 {
            fs::create_dir_all(&late).unwrap();
            seen(&mut changes, |change| {
                change.directory == late && change.name.is_none()
            })
            .await;
            fs::File::create(late.join("a")).unwrap();
            seen(&mut changes, named("a")).await;
            fs::remove_dir_all(directory.path().join("one")).unwrap();
            // Gone
            seen(&mut changes, |change| {
                change.directory == late && change.name.is_none()
            })
            .await;
        }
    }

    #[tokio::test]
    async fn two_watchers_of_one_directory_both_hear_and_one_can_leave() {
        let directory = tempfile::tempdir().unwrap();
        let (mut first, mut hears_first) = Watcher::new().unwrap();
        let (mut second, mut hears_second) = Watcher::new().unwrap();
        assert!(
            Arc::ptr_eq(&first.hub, &second.hub),
            "one inotify instance for the process"
        );
        first.watch(directory.path());
        second.watch(directory.path());
        fs::File::create(directory.path().join("a")).unwrap();
        seen(&mut hears_first, named("a")).await;
        seen(&mut hears_second, named("a")).await;
        drop(first);
        fs::File::create(directory.path().join("b")).unwrap();
        seen(&mut hears_second, named("b")).await;
    }

    #[tokio::test]
    async fn who_watches_entries_hears_of_these_and_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("place");
        fs::create_dir(&place).unwrap();
        let (mut watcher, mut changes) = Watcher::new().unwrap();
        let (mut other, mut others) = Watcher::new().unwrap();
        watcher.watch_entries(&place, &["b".into(), "c".into()]);
        other.watch(&place);
        other.watch_entries(&place, &["c".into()]);
        for name in ["a", "b", "c"] {
            fs::write(place.join(name), "").unwrap();
            seen(&mut others, named(name)).await;
        }
        // What the other has heard of, this one has as well.
        let heard: Vec<_> = std::iter::from_fn(|| changes.next_now()).collect();
        let heard: std::collections::BTreeSet<_> =
            heard.into_iter().filter_map(|change| change.name).collect();
        assert!(heard.contains(std::ffi::OsStr::new("b")), "{heard:?}");
        assert!(!heard.contains(std::ffi::OsStr::new("a")), "{heard:?}");
        fs::remove_dir_all(&place).unwrap();
        seen(&mut changes, |change| change.name.is_none()).await;
    }

    #[tokio::test]
    async fn an_unwatched_directory_is_silent() {
        let directory = tempfile::tempdir().unwrap();
        let (quiet, loud) = (
            directory.path().join("quiet"),
            directory.path().join("loud"),
        );
        fs::create_dir(&quiet).unwrap();
        fs::create_dir(&loud).unwrap();
        let (mut watcher, mut changes) = Watcher::new().unwrap();
        watcher.watch(&quiet);
        watcher.watch(&loud);
        watcher.unwatch(&quiet);
        fs::File::create(quiet.join("a")).unwrap();
        fs::File::create(loud.join("b")).unwrap();
        assert_eq!(
            seen(&mut changes, |change| change.name.is_some())
                .await
                .directory,
            loud
        );
    }
}
