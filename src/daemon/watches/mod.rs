//! Watches: notices that files which are not ours have changed, by their digest and not by events.
//!
//! An event says when to look: one second after the last, so that several changes are one, and later while a file is still
//! being written. Events can be lost or never come (a directory above was renamed, a network file system), so there is a
//! slow look as well; files whose stamps are the same are not read again.

mod reading;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::spawn_blocking;

use crate::clock::Clock;
use crate::protocol::Digest;
use crate::settings::{Watch, WatchName};
use crate::watch::{Change, Changes, Kind, Watcher};
use crate::words::with_causes;

pub use survey::Ground;

use reading::{Known, Sighted};
use survey::{Lies, Places, Survey};

/// A watch is looked at when nothing has happened to it for so long,
const QUIET: Duration = Duration::from_secs(1);
/// or for so long where the last that happened was a file being written,
const WRITING: Duration = Duration::from_secs(5);
/// and so long after the first event at the latest.
const PATIENCE: Duration = Duration::from_secs(10);
/// Without any event.
const SLOW_LOOK: Duration = Duration::from_secs(30);
/// A file that changes whenever it is read is taken as it was read last.
const MOVING: u32 = 3;
/// Directories appear while directories are being watched.
const ROUNDS: usize = 3;

/// What watches look like: those that differ from what was told before. `None`: it cannot be looked at.
pub type Sightings = BTreeMap<WatchName, Option<Digest>>;

/// Looks after the watches of one queue, or the files of the settings.
pub struct Lookout {
    clock: Clock,
    watches: BTreeMap<WatchName, Watched>,
    watcher: Option<Watcher>,
    changes: Option<Changes>,
    places: Places,
    armed: Armed,
    ground: Arc<Ground>,
    slow: Duration,
}

struct Watched {
    watch: Arc<Watch>,
    due: Option<Due>,
    known: Known,
    /// What was told last.
    told: Option<Option<Digest>>,
    /// What has been said of it, until it is no longer so.
    said: Option<String>,
    moving: u32,
}

#[derive(Clone, Copy)]
struct Due {
    first: Duration,
    at: Duration,
}

/// One look.
struct Look {
    name: WatchName,
    known: Known,
    result: Result<(Sighted, bool), String>,
}

impl Lookout {
    /// Looks at nothing yet. Without inotify the slow look remains.
    pub fn new(
        watches: impl IntoIterator<Item = Arc<Watch>>,
        ground: Ground,
        clock: Clock,
    ) -> Lookout {
        let now = clock.now().steady;
        let due = Some(Due {
            first: now,
            at: now,
        });
        let watched = |watch: Arc<Watch>| Watched {
            watch,
            due,
            known: Known::new(),
            told: None,
            said: None,
            moving: 0,
        };
        let watches = watches.into_iter();
        let watches = watches.map(|watch| (watch.name.clone(), watched(watch)));
        let (watcher, changes) = match Watcher::new() {
            Ok((watcher, changes)) => (Some(watcher), Some(changes)),
            Err(error) => {
                let reason = with_causes(&error);
                tracing::warn!(reason, "watched files are looked at every 30 s only");
                (None, None)
            }
        };
        Lookout {
            watches: watches.collect(),
            watcher,
            changes,
            places: Places::new(),
            armed: Armed::new(),
            ground: Arc::new(ground),
            slow: now + SLOW_LOOK,
            clock,
        }
    }

    /// Runs until `tell` has enough. The first telling is of all watches.
    pub async fn run(mut self, mut tell: impl FnMut(Sightings) -> ControlFlow<()>) {
        loop {
            let now = self.clock.now().steady;
            let due = self.take_due(now);
            if !due.is_empty() {
                let sightings = self.look(due).await;
                if !sightings.is_empty() && tell(sightings).is_break() {
                    return;
                }
                continue;
            }
            let wake = self.due().unwrap_or(self.slow).min(self.slow);
            let wake = wake.saturating_sub(now);
            let change = async {
                match &mut self.changes {
                    Some(changes) => changes.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                change = change => match change {
                    Some(change) => self.note(&change),
                    None => self.changes = None,
                },
                () = tokio::time::sleep(wake) => {}
            }
        }
    }

    fn note(&mut self, change: &Change) {
        let Some(place) = self.places.get(&change.directory) else {
            return;
        };
        let now = self.clock.now().steady;
        let quiet = match change.kind {
            Kind::Writing => WRITING,
            Kind::Changed => QUIET,
        };
        for name in place.concerned(change.name.as_ref()) {
            if let Some(watched) = self.watches.get_mut(&name) {
                watched.suspect(now, quiet);
            }
        }
    }

    /// When all watches to which something has happened are quiet: what changes together is told together.
    fn due(&self) -> Option<Duration> {
        let dues = || self.watches.values().filter_map(|watched| watched.due);
        let last = dues().map(|due| due.at).max()?;
        let first = dues().map(|due| due.first).min()?;
        Some(last.min(first + PATIENCE))
    }

    /// The watches to look at now.
    fn take_due(&mut self, now: Duration) -> Vec<(Arc<Watch>, Known)> {
        let slow = self.slow <= now;
        if slow {
            self.slow = now + SLOW_LOOK;
        }
        let quiet = self.due().is_some_and(|at| at <= now);
        let due = |watched: &Watched| slow || (quiet && watched.due.is_some());
        let due = self.watches.values_mut().filter(|watched| due(watched));
        let taken = due.map(|watched| {
            watched.due = None;
            let known = std::mem::take(&mut watched.known);
            (Arc::clone(&watched.watch), known)
        });
        taken.collect()
    }

    async fn look(&mut self, due: Vec<(Arc<Watch>, Known)>) -> Sightings {
        let watches: Vec<Arc<Watch>> = self
            .watches
            .values()
            .map(|watched| Arc::clone(&watched.watch))
            .collect();
        let ground = Arc::clone(&self.ground);
        let armed = std::mem::take(&mut self.armed);
        let (watcher, clock) = (self.watcher.take(), self.clock.clone());
        let looked = spawn_blocking(move || {
            let (watcher, armed, places, surveys) = arm(watcher, &watches, &ground, armed);
            let wanted = due.into_iter().filter_map(|(watch, known)| {
                let survey = surveys.get(&watch.name)?;
                Some(Look::at(watch.name.clone(), survey, known, &clock))
            });
            let looks: Vec<Look> = wanted.collect();
            (watcher, armed, places, looks)
        });
        let looks = match looked.await {
            Ok((watcher, armed, places, looks)) => {
                (self.watcher, self.armed, self.places) = (watcher, armed, places);
                looks
            }
            Err(error) => {
                // The watcher has gone with it.
                tracing::error!(reason = %error, "a look at watched files ended unexpectedly");
                self.changes = None;
                return Sightings::new();
            }
        };
        let now = self.clock.now().steady;
        let mut sightings = Sightings::new();
        for look in looks {
            if let Some(watched) = self.watches.get_mut(&look.name) {
                let name = look.name.clone();
                sightings.extend(watched.take(look, now).map(|seen| (name, seen)));
            }
        }
        sightings
    }
}

impl Watched {
    fn suspect(&mut self, now: Duration, quiet: Duration) {
        let due = self.due.get_or_insert(Due {
            first: now,
            at: now,
        });
        due.at = now + quiet;
    }

    /// What is to be told after a look.
    fn take(&mut self, look: Look, now: Duration) -> Option<Option<Digest>> {
        self.known = look.known;
        let watch = self.watch.name.to_string();
        let seen = match look.result {
            Ok((read, empty)) => {
                if read.moving && self.moving < MOVING {
                    self.moving += 1;
                    self.suspect(now, QUIET);
                    return None;
                }
                self.moving = 0;
                match empty {
                    true => self.say("none of its files is there yet", |reason| {
                        tracing::info!(watch, reason, "watched files");
                    }),
                    false => self.said = None,
                }
                Some(read.digest)
            }
            Err(reason) => {
                self.say(&reason, |reason| {
                    tracing::error!(
                        watch,
                        reason,
                        "watched files cannot be looked at; tried again every 30 s"
                    );
                });
                None
            }
        };
        let differs = self.told != Some(seen);
        tracing::debug!(watch, differs, "watched files looked at");
        // What cannot be looked at is told once, where nothing else has been told.
        if self.told == Some(seen) || (seen.is_none() && self.told.is_some()) {
            return None;
        }
        self.told = Some(seen);
        Some(seen)
    }

    fn say(&mut self, what: &str, say: impl FnOnce(&str)) {
        if self.said.as_deref() != Some(what) {
            say(what);
            self.said = Some(what.to_owned());
        }
    }
}

impl Look {
    fn at(
        name: WatchName,
        survey: &Result<Survey, String>,
        mut known: Known,
        clock: &Clock,
    ) -> Look {
        let result = match survey {
            Ok(survey) => {
                let empty = survey.files.values().all(|lies| *lies == Lies::Nothing);
                let read = reading::read(survey, &mut known, clock.now().wall);
                read.map(|read| (read, empty))
            }
            Err(reason) => Err(reason.clone()),
        };
        Look {
            name,
            known,
            result,
        }
    }
}

/// Where a watch leads at present.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Files that are read, without links.
    pub files: Vec<PathBuf>,
    /// Directories whose entries are read, without links.
    pub directories: Vec<PathBuf>,
}

/// What has to be read for a watch. Blocking.
///
/// # Errors
/// In words: too much, or a directory that cannot be read.
pub fn reach(watch: &Watch, ground: &Ground) -> Result<Reach, String> {
    let mut places = Places::new();
    let survey = survey::survey(ground, watch, &mut places)?;
    let files = survey.files.into_values().filter_map(|lies| match lies {
        Lies::File(place) => Some(place),
        Lies::Nothing | Lies::Other => None,
    });
    let whole = places.into_iter().filter(|(_, place)| place.is_whole());
    Ok(Reach {
        files: files.collect(),
        directories: whole.map(|(directory, _)| directory).collect(),
    })
}

/// What a watch looks like now. Blocking.
///
/// # Errors
/// In words: too much, or what cannot be read.
pub fn look_at(watch: &Watch, ground: &Ground, now: Timestamp) -> Result<Digest, String> {
    let survey = survey::survey(ground, watch, &mut Places::new())?;
    reading::read(&survey, &mut Known::new(), now).map(|seen| seen.digest)
}

type Surveys = BTreeMap<WatchName, Result<Survey, String>>;

/// The directories that are watched, each with device and inode where it is there.
type Armed = BTreeMap<PathBuf, Option<(u64, u64)>>;

/// Looks where files lie and watches the directories for that. A directory that was not watched before is looked into
/// once more: what happened in between is not known otherwise.
fn arm(
    mut watcher: Option<Watcher>,
    watches: &[Arc<Watch>],
    ground: &Ground,
    mut armed: Armed,
) -> (Option<Watcher>, Armed, Places, Surveys) {
    let mut round = 1;
    loop {
        let mut places = Places::new();
        let surveyed = watches.iter().map(|watch| {
            let survey = survey::survey(ground, watch, &mut places);
            (watch.name.clone(), survey)
        });
        let surveys: Surveys = surveyed.collect();
        let mut same = true;
        if let Some(watcher) = &mut watcher {
            let now: Armed = places
                .keys()
                .map(|directory| (directory.clone(), inode(directory)))
                .collect();
            for (directory, before) in &armed {
                // The kernel watches the one that has gone from there, with what lies above it.
                let other = |now: &Option<(u64, u64)>| before.is_some() && now != before;
                if now.get(directory).is_none_or(other) {
                    watcher.unwatch(directory);
                }
            }
            for (directory, place) in &places {
                match place.is_whole() {
                    true => watcher.watch(directory),
                    false => watcher.watch_entries(directory, place.names.keys()),
                }
            }
            same = now == armed;
            armed = now;
        }
        if same || round == ROUNDS {
            return (watcher, armed, places, surveys);
        }
        round += 1;
    }
}

fn inode(directory: &Path) -> Option<(u64, u64)> {
    let found = std::fs::metadata(directory).ok()?;
    Some((found.dev(), found.ino()))
}
