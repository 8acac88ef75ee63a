//! The noticing part, with real files and a time of our own.

use std::fs;
use std::os::unix::fs::symlink;
use std::pin::pin;
use std::task::{Context, Waker};

use jiff::Timestamp;

use super::*;
use crate::install::Metadata;
use crate::protocol::Digest;
use crate::watch::Kind;

struct Beside {
    root: tempfile::TempDir,
    watch: DriftWatch,
    rows: Table<TargetPath, Installed>,
    now: Duration,
}

fn path(text: &str) -> TargetPath {
    TargetPath::new(text).unwrap()
}

fn set(paths: &[&str]) -> BTreeSet<TargetPath> {
    paths.iter().map(|text| path(text)).collect()
}

impl Beside {
    /// Watched targets, all as they were installed.
    async fn new(targets: &[&str]) -> Beside {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().canonicalize().unwrap();
        let installer = Installer::new(Some(real));
        let mut rows = Table::default();
        for path in set(targets) {
            let file = installer.place(&path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "ours").unwrap();
            let Ok(Found::File { digest, metadata }) = installer.look(&path) else {
                panic!("a file");
            };
            let since = Timestamp::UNIX_EPOCH;
            rows.insert(
                path,
                Installed {
                    digest,
                    metadata,
                    since,
                    parts: Default::default(),
                },
            );
        }
        let now = Duration::from_secs(1000);
        let watch = DriftWatch::new(installer, set(targets), now);
        let mut beside = Beside {
            root,
            watch,
            rows,
            now,
        };
        // Arms, and looks at everything once.
        while beside.watch.stamps.len() < targets.len() {
            assert_eq!(beside.round().await, (set(&[]), set(&[])));
        }
        beside
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// One event or step, as much time passing as is wanted for the next look.
    async fn round(&mut self) -> (BTreeSet<TargetPath>, BTreeSet<TargetPath>) {
        self.now = self.now.max(self.watch.due().unwrap_or_default());
        self.watch.work(self.now, false);
        let next = self.watch.next();
        let noticed = tokio::time::timeout(Duration::from_secs(10), next);
        let noticed = noticed.await.expect("something happens");
        self.watch.take(noticed, self.now);
        self.watch.judge(&self.rows, self.now, false)
    }

    /// Until something is handed over.
    async fn handed(&mut self) -> (BTreeSet<TargetPath>, BTreeSet<TargetPath>) {
        for _ in 0..100 {
            let handed = self.round().await;
            if !handed.0.is_empty() {
                return handed;
            }
        }
        panic!("nothing is handed over");
    }
}

#[tokio::test]
async fn a_change_is_handed_over_and_news_only_while_it_is_another() {
    let mut beside = Beside::new(&["/etc/a", "/etc/b"]).await;
    fs::write(beside.file("/etc/a"), "theirs").unwrap();
    assert_eq!(beside.handed().await, (set(&["/etc/a"]), set(&["/etc/a"])));
    fs::write(beside.file("/etc/a"), "theirs").unwrap();
    assert_eq!(beside.handed().await, (set(&["/etc/a"]), set(&[])));
    fs::remove_file(beside.file("/etc/a")).unwrap();
    assert_eq!(beside.handed().await, (set(&["/etc/a"]), set(&["/etc/a"])));
    fs::remove_dir_all(beside.file("/etc")).unwrap();
    // In one look or two, as the events come.
    while !beside.handed().await.0.contains(&path("/etc/b")) {}
}

#[tokio::test]
async fn what_is_as_it_was_installed_is_not_handed_over() {
    let mut beside = Beside::new(&["/etc/a"]).await;
    let other = beside.file("/etc/other");
    fs::copy(beside.file("/etc/a"), &other).unwrap();
    fs::rename(other, beside.file("/etc/a")).unwrap();
    // The event, the look.
    while beside.watch.due().is_none() {
        assert_eq!(beside.round().await.0, set(&[]));
    }
    while beside.watch.due().is_some() || beside.watch.work.is_some() {
        assert_eq!(beside.round().await.0, set(&[]));
    }
}

#[tokio::test]
async fn lost_events_make_everything_in_the_directory_suspect() {
    let mut beside = Beside::new(&["/etc/a", "/etc/b", "/run/c"]).await;
    let change = Change {
        directory: beside.root.path().canonicalize().unwrap().join("etc"),
        name: None,
        kind: Kind::Changed,
    };
    beside.watch.note(&change, beside.now);
    let due: BTreeSet<TargetPath> = beside.watch.due.keys().cloned().collect();
    assert_eq!(due, set(&["/etc/a", "/etc/b"]));
}

#[tokio::test]
async fn what_no_event_tells_is_found_by_comparing_stamps_when_the_queue_is_awake() {
    let mut beside = Beside::new(&["/etc/app/conf/a"]).await;
    // Nobody hears of an ancestor that is renamed.
    fs::rename(beside.file("/etc"), beside.file("/old")).unwrap();
    beside.watch.awake(beside.now);
    assert!(!beside.watch.compare, "too early");
    beside.now += SLOW_LOOK;
    beside.watch.awake(beside.now);
    assert_eq!(beside.handed().await.0, set(&["/etc/app/conf/a"]));
}

#[tokio::test]
async fn what_was_looked_at_before_a_transaction_began_is_looked_at_again_after_it() {
    let mut beside = Beside::new(&["/etc/a"]).await;
    fs::write(beside.file("/etc/a"), "theirs").unwrap();
    while beside.watch.looks.is_empty() {
        beside.now = beside.now.max(beside.watch.due().unwrap_or_default());
        beside.watch.work(beside.now, false);
        let noticed = beside.watch.next().await;
        beside.watch.take(noticed, beside.now);
    }
    let nothing = (set(&[]), set(&[]));
    let judged = beside.watch.judge(&beside.rows, beside.now, true);
    assert_eq!(judged, nothing);
    beside.watch.work(beside.now, true);
    assert!(beside.watch.work.is_none(), "not during a transaction");
    let theirs = Installed {
        digest: Digest::of(b"theirs"),
        ..beside.rows[&path("/etc/a")].clone()
    };
    beside.rows.insert(path("/etc/a"), theirs);
    // By now it is what was installed.
    while beside.watch.due().is_some() || beside.watch.work.is_some() {
        assert_eq!(beside.round().await, nothing);
    }
}

/// The link of a directory target as it was when the directories were listed is not the one that it is when they are watched.
#[tokio::test]
async fn a_link_that_changes_while_directories_are_being_watched_is_followed() {
    const TARGET: &str = "/etc/app/";
    let root = tempfile::tempdir().unwrap();
    let etc = root.path().canonicalize().unwrap().join("etc");
    for generation in ["1", "2"] {
        fs::create_dir_all(etc.join(".app.appconfigd.".to_owned() + generation)).unwrap();
    }
    let swap_to = |generation: &str| {
        let _ = fs::remove_file(etc.join("app"));
        symlink(".app.appconfigd.".to_owned() + generation, etc.join("app")).unwrap();
    };
    swap_to("1");
    let installer = Installer::new(Some(root.path().canonicalize().unwrap()));
    let now = Duration::ZERO;
    let mut watch = DriftWatch::new(installer, set(&[TARGET]), now);
    watch.work(now, false);
    let noticed = watch.next().await;
    watch.take(noticed, now);
    assert!(watch.places.contains_key(&etc.join(".app.appconfigd.1")));

    let (mut beside, mut seen) = Watcher::new().unwrap();
    beside.watch(&etc);
    let watcher = watch.watcher.take();
    swap_to("2");
    // Its event is there: nothing is passed on while somebody begins to watch.
    while seen.recv().await.unwrap().name != Some("app".into()) {}
    beside.watch(&etc);
    let mut context = Context::from_waker(Waker::noop());
    let waits = pin!(watch.next()).poll(&mut context).is_pending();
    assert!(waits, "what it is about is not known yet");
    watch.watcher = watcher;
    while !watch.places.contains_key(&etc.join(".app.appconfigd.2")) {
        watch.work(now, false);
        let noticed = watch.next().await;
        watch.take(noticed, now);
    }
}

#[tokio::test]
async fn a_target_is_looked_at_a_second_after_the_last_event_and_three_after_the_first() {
    let root = tempfile::tempdir().unwrap();
    let installer = Installer::new(Some(root.path().to_owned()));
    let mut watch = DriftWatch::new(installer, set(&["/a", "/b"]), Duration::ZERO);
    let tenths = |tenths: u64| Duration::from_millis(tenths * 100);
    for (event, look) in [(0, 10), (9, 19), (18, 28), (27, 30)] {
        watch.suspect(set(&["/a"]), tenths(event));
        assert_eq!(watch.due(), Some(tenths(look)));
    }
    // What is due soon after comes along, what is due later does not.
    watch.suspect(set(&["/b"]), tenths(22));
    assert_eq!(watch.due(), Some(tenths(32)));
    watch.suspect(set(&["/b"]), tenths(23));
    assert_eq!(watch.due(), Some(tenths(30)));
    assert_eq!(watch.take_due(tenths(29)), set(&[]));
    assert_eq!(watch.take_due(tenths(30)), set(&["/a"]));
    assert_eq!(watch.due(), Some(tenths(33)));
}

#[test]
fn owner_group_and_mode_are_part_of_what_was_installed() {
    let digest = Digest::of(b"ours");
    let metadata = Metadata {
        uid: 1,
        gid: 2,
        mode: 0o640,
        attributes: crate::install::Attributes::default(),
    };
    let row = Installed {
        digest,
        metadata: metadata.clone(),
        since: Timestamp::UNIX_EPOCH,
        parts: Default::default(),
    };
    let seen = |metadata| Seen::Found(Found::File { digest, metadata });
    assert!(seen(metadata.clone()).is(&row));
    for other in [
        Metadata {
            uid: 9,
            ..metadata.clone()
        },
        Metadata {
            gid: 9,
            ..metadata.clone()
        },
        Metadata {
            mode: 0o644,
            ..metadata.clone()
        },
    ] {
        assert!(!seen(other).is(&row));
    }
    assert!(!Seen::Found(Found::Absent).is(&row));
}
