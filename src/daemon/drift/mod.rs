//! Drift: notices targets that are no longer what was installed.
//!
//! The targets' directories are watched, the links that lead to them, and the live generations of directory targets. What an event may be about is looked at one
//! second after the last event. Events can be lost (a directory above was renamed, a network file system), so the files'
//! stamps are compared now and then as well, when a poll has woken the queue anyway. This part only notices; the queue
//! judges, outside of transactions.

mod fight;
mod place;
mod stamp;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};

use crate::install::{Found, Installer};
use crate::ledger::{Installed, Table};
use crate::settings::TargetPath;
use crate::transaction::Outcome;
use crate::watch::{Change, Changes, Watcher};
use crate::words::with_causes;

use fight::Fights;
use stamp::Stamp;

/// A target is looked at when nothing has happened to it for so long,
const QUIET: Duration = Duration::from_secs(1);
/// and so long after the first event at the latest.
const PATIENCE: Duration = Duration::from_secs(3);
/// What is due so soon after the first is looked at together with it: files that go one after the other are one transaction.
const TOGETHER: Duration = Duration::from_millis(200);
/// Stamps are compared when the last comparison is older than this.
const SLOW_LOOK: Duration = Duration::from_secs(30);

/// What lies at a target's path, as far as it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Found(Found),
    /// It could not be looked at: a link, a directory, no directory to look in.
    Failed(String),
}

/// Which targets a directory's entries are about.
type Places = BTreeMap<PathBuf, Box<Place>>;

#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    /// In the order of the targets.
    names: BTreeMap<OsString, Vec<TargetPath>>,
    /// Entries that are links on the way to a target: when one is another, other directories are to be watched.
    links: BTreeSet<OsString>,
    /// Directory targets that it is part of: every entry is about them.
    whole: BTreeSet<TargetPath>,
}

#[derive(Debug)]
struct Due {
    first: Duration,
    at: Duration,
}

/// One look at one target.
#[derive(Debug)]
struct Look {
    path: TargetPath,
    stamp: Option<Stamp>,
    /// Where a link at its path leads, if it is one that is followed.
    elsewhere: Option<TargetPath>,
    seen: Seen,
}

/// What a blocking step brings back.
enum Done {
    Armed(Option<(Watcher, Places)>),
    Looked(Vec<Look>),
    /// Targets whose stamps are others than at the last look.
    Compared(BTreeSet<TargetPath>),
}

/// Something for [`DriftWatch::take`].
pub struct Noticed(News);

enum News {
    Change(Option<Change>),
    Done(Option<Done>),
}

/// Notices changes of one queue's targets. One blocking step at a time.
pub struct DriftWatch {
    installer: Installer,
    targets: BTreeSet<TargetPath>,
    watcher: Option<Watcher>,
    changes: Option<Changes>,
    places: Places,
    work: Option<JoinHandle<Done>>,
    /// The directories are not the right ones (any more).
    disarmed: bool,
    /// Steady times at which targets are to be looked at.
    due: BTreeMap<TargetPath, Due>,
    looks: Vec<Look>,
    stamps: BTreeMap<TargetPath, Option<Stamp>>,
    elsewhere: BTreeMap<TargetPath, TargetPath>,
    /// Stamps are to be compared, and when they were last.
    compare: bool,
    compared: Duration,
    /// What was handed over last, until the target is right again.
    handed: Table<TargetPath, Seen>,
    fights: Fights,
}

impl DriftWatch {
    /// Looks at nothing yet. Without inotify the slow look remains.
    pub fn new(
        installer: Installer,
        targets: impl IntoIterator<Item = TargetPath>,
        now: Duration,
    ) -> DriftWatch {
        let targets: BTreeSet<TargetPath> = targets.into_iter().collect();
        let (watcher, changes) = match targets.is_empty() {
            true => (None, None),
            false => match Watcher::new() {
                Ok((watcher, changes)) => (Some(watcher), Some(changes)),
                Err(error) => {
                    let reason = with_causes(&error);
                    tracing::warn!(reason, "files of targets are compared now and then only");
                    (None, None)
                }
            },
        };
        DriftWatch {
            installer,
            disarmed: !targets.is_empty(),
            targets,
            watcher,
            changes,
            places: Places::new(),
            work: None,
            due: BTreeMap::new(),
            looks: Vec::new(),
            stamps: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            compare: false,
            compared: now,
            handed: Table::default(),
            fights: Fights::default(),
        }
    }

    /// The next event, or the end of a step. Cancel safe.
    pub async fn next(&mut self) -> Noticed {
        let change = async {
            match &mut self.changes {
                // While directories are being watched it is not known what their events are about: these wait.
                Some(changes) if self.watcher.is_some() => changes.recv().await,
                _ => std::future::pending().await,
            }
        };
        let done = async {
            match &mut self.work {
                Some(work) => work.await.ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            change = change => Noticed(News::Change(change)),
            done = done => Noticed(News::Done(done)),
        }
    }

    pub fn take(&mut self, noticed: Noticed, now: Duration) {
        match noticed.0 {
            News::Change(Some(change)) => {
                self.note(&change, now);
                // A thousand events of one swap are one waking.
                while let Some(change) = self.changes.as_mut().and_then(Changes::next_now) {
                    self.note(&change, now);
                }
            }
            News::Change(None) => self.changes = None,
            News::Done(done) => {
                self.work = None;
                match done {
                    Some(Done::Armed(Some((watcher, places)))) => {
                        self.watcher = Some(watcher);
                        self.places = places;
                        tracing::debug!(directories = self.places.len(), "targets are watched");
                        // What happened before the watch is not known.
                        let all = self.targets.clone();
                        self.suspect(all, now);
                    }
                    Some(Done::Looked(looks)) => self.looks = looks,
                    Some(Done::Compared(others)) => others
                        .into_iter()
                        .for_each(|path| self.suspect_at(path, now, now)),
                    Some(Done::Armed(None)) => {}
                    None => tracing::error!("a look at targets ended unexpectedly"),
                }
            }
        }
    }

    /// The queue is awake anyway: the time to compare stamps, if the last time is long ago.
    pub fn awake(&mut self, now: Duration) {
        if now.saturating_sub(self.compared) >= SLOW_LOOK && !self.targets.is_empty() {
            self.compared = now;
            self.compare = true;
        }
    }

    /// The steady time at which something is to be looked at.
    pub fn due(&self) -> Option<Duration> {
        match self.work {
            Some(_) => None,
            None => {
                let times = || self.due.values().map(|due| due.at);
                let first = times().min()?;
                times().filter(|at| *at <= first + TOGETHER).max()
            }
        }
    }

    /// Starts the next blocking step, if one is wanted. `open`: a transaction is, and targets are not judged.
    pub fn work(&mut self, now: Duration, open: bool) {
        if self.work.is_some() {
            return;
        }
        if self.disarmed {
            self.disarmed = false;
            self.arm();
        } else if open {
            // Whatever a transaction does to its targets is not drift.
        } else if let due = self.take_due(now)
            && !due.is_empty()
        {
            let installer = self.installer.clone();
            self.work = Some(spawn_blocking(move || {
                let look = |path| Look::at(&installer, path);
                Done::Looked(due.into_iter().map(look).collect())
            }));
        } else if self.compare {
            self.compare = false;
            let (installer, stamps) = (self.installer.clone(), self.stamps.clone());
            let targets = self.targets.clone();
            self.work = Some(spawn_blocking(move || {
                let other = |path: &TargetPath| {
                    stamps.get(path)
                        != Some(&Stamp::of(&installer.place(path), path.is_directory()))
                };
                Done::Compared(targets.into_iter().filter(other).collect())
            }));
        }
    }

    fn arm(&mut self) {
        let Some(mut watcher) = self.watcher.take() else {
            return;
        };
        let installer = self.installer.clone();
        let targets = self.targets.clone();
        let before: Vec<PathBuf> = self.places.keys().cloned().collect();
        self.work = Some(spawn_blocking(move || {
            let places = place::watch(&mut watcher, &installer, &targets, before);
            Done::Armed(Some((watcher, places)))
        }));
    }

    fn note(&mut self, change: &Change, now: Duration) {
        let Some(place) = self.places.get(&change.directory) else {
            return;
        };
        let mut suspects: BTreeSet<TargetPath> = match &change.name {
            Some(name) => {
                self.disarmed |= place.links.contains(name);
                let about = place.names.get(name).into_iter().flatten();
                about.cloned().collect()
            }
            None => {
                self.disarmed |= !place.links.is_empty();
                place.names.values().flatten().cloned().collect()
            }
        };
        suspects.extend(place.whole.iter().cloned());
        self.suspect(suspects, now);
    }

    fn suspect(&mut self, paths: BTreeSet<TargetPath>, now: Duration) {
        for path in paths {
            self.suspect_at(path, now, now + QUIET);
        }
    }

    fn suspect_at(&mut self, path: TargetPath, now: Duration, at: Duration) {
        let rest = self.fights.rest(&path);
        let due = self.due.entry(path).or_insert(Due { first: now, at });
        due.at = at.min(due.first + PATIENCE).max(rest);
    }

    fn take_due(&mut self, now: Duration) -> BTreeSet<TargetPath> {
        if self.due().is_none_or(|at| at > now) {
            return BTreeSet::new();
        }
        let due = self.due.extract_if(.., |_, due| due.at <= now);
        let due = due.map(|(path, _)| path).collect();
        if self.due.is_empty() {
            // An empty one keeps its memory, and this is empty nearly always.
            self.due = BTreeMap::new();
        }
        due
    }

    /// Targets that are not what was installed, and of those the ones of which this is new. Only while no transaction is
    /// open: what was looked at before one began is looked at again.
    pub fn judge(
        &mut self,
        installed: &Table<TargetPath, Installed>,
        now: Duration,
        open: bool,
    ) -> (BTreeSet<TargetPath>, BTreeSet<TargetPath>) {
        let looked = self.looks.len();
        let (mut drifted, mut news) = (BTreeSet::new(), BTreeSet::new());
        for look in std::mem::take(&mut self.looks) {
            let (path, stamp, seen) = (look.path, look.stamp, look.seen);
            if open {
                self.suspect_at(path, now, now);
                continue;
            }
            self.stamps.insert(path.clone(), stamp);
            if self.elsewhere.get(&path) != look.elsewhere.as_ref() {
                self.disarmed = true;
                self.elsewhere.remove(&path);
                let leads = look.elsewhere.map(|place| (path.clone(), place));
                self.elsewhere.extend(leads);
            }
            let row = installed.get(&path);
            if row.is_some_and(|row| seen.is(row)) {
                self.handed.remove(&path);
                self.fights.is_right(&path, now);
                continue;
            }
            let known = self.handed.insert(path.clone(), seen.clone());
            // What was never installed waits for a reason of its own; a change may have ended it.
            if row.is_none() && known.as_ref().is_none_or(|known| *known == seen) {
                continue;
            }
            if known.as_ref() != Some(&seen) {
                news.insert(path.clone());
            }
            drifted.insert(path);
        }
        if looked > 0 {
            let drifted = (!drifted.is_empty()).then_some(drifted.len());
            tracing::debug!(looked, drifted, "targets looked at");
        }
        (drifted, news)
    }

    /// Counts what is put back. A target that is put back all the time is left alone for a while.
    pub fn hear(&mut self, outcome: &Outcome, now: Duration) {
        let path = match outcome {
            Outcome::Repaired { target, .. } => target,
            Outcome::Drifted { target, drift, .. } if !drift.left => target,
            _ => return,
        };
        if let Some(until) = self.fights.put_back(path, now) {
            let due = Due {
                first: now,
                at: until,
            };
            self.due.insert(path.clone(), due);
        }
    }

    /// Why targets are left as they are for a while.
    pub fn reasons(&self) -> impl Iterator<Item = (TargetPath, String)> {
        self.fights.reasons()
    }
}

impl Look {
    fn at(installer: &Installer, path: TargetPath) -> Look {
        // The stamp first: a change after it is seen by the next comparison.
        let stamp = Stamp::of(&installer.place(&path), path.is_directory());
        let seen = match installer.look(&path) {
            Ok(found) => Seen::Found(found),
            Err(error) => Seen::Failed(with_causes(&error)),
        };
        let lies = installer.lies_now(&path);
        Look {
            elsewhere: (lies != path).then_some(lies),
            path,
            stamp,
            seen,
        }
    }
}

impl Seen {
    fn is(&self, row: &Installed) -> bool {
        match self {
            Seen::Found(Found::File { digest, metadata }) => {
                *digest == row.digest && *metadata == row.metadata
            }
            Seen::Found(Found::Absent | Found::Directory { .. }) | Seen::Failed(_) => false,
        }
    }
}
