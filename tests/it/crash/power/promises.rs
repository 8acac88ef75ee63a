//! What must hold on the disk as it is found, before any program of ours runs.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use appconfigd::install::Kept;
use appconfigd::ledger::Intent;
use appconfigd::protocol::Digest;
use rusqlite::Connection;

use super::super::dress::Dress;
use super::super::scene::{DIRECTORY, Fate, IN_PLACE, TARGETS};
use super::disk::{Node, Tree};
use super::record::{Kind, Recording};
use super::view::{View, below};

/// In the words for an inode that is needed for going back and is gone.
pub const LOST: &str = "what was there is lost";

const LEDGER: &str = "var/lib/appconfigd/ledger.db";

/// What names in `.appconfigd/` begin with.
const OURS: [&str; 6] = ["new-", "old-", "copy-", "generation-", "tree-", "gone-"];

/// Of the ledger, as SQLite finds it.
#[derive(Debug)]
pub struct Facts {
    pub intents: Vec<Intent>,
    pub installed: BTreeMap<String, String>,
    /// Service, target, digest.
    pub acknowledged: Vec<(String, String, Option<String>)>,
}

type Read = Arc<Result<Facts, String>>;

/// What the targets are before the transaction, and what they are to be.
#[derive(Clone)]
pub struct Versions {
    fate: Fate,
    old: BTreeMap<&'static str, View>,
    new: BTreeMap<&'static str, View>,
    /// What the ledger called installed. None: there was no ledger.
    installed: Option<BTreeMap<String, String>>,
}

impl Versions {
    /// `dressed`: what the targets look like that are not there yet.
    pub fn of(fate: Fate, recording: &Recording, dressed: impl Fn(&str) -> View) -> Versions {
        let bytes: Arc<[u8]> = format!("{}\n", fate.version()).into_bytes().into();
        let old = |target: &&'static str| Some((*target, View::before(recording, target)?));
        let old: BTreeMap<&str, View> = TARGETS.iter().filter_map(old).collect();
        let new = TARGETS.iter().map(|target| {
            let like = old.get(target).cloned();
            (
                *target,
                like.unwrap_or_else(|| dressed(target)).with(&bytes),
            )
        });
        let file = |name: &str| {
            let path = Path::new(LEDGER).with_file_name(name);
            let mut before = recording.before.iter();
            before.find_map(|seen| match &seen.kind {
                Kind::File(bytes) if seen.path == path => Some(Arc::clone(bytes)),
                _ => None,
            })
        };
        let ledger = file("ledger.db").map(|database| {
            let facts = read(&database, file("ledger.db-wal").as_ref());
            facts.expect("a sound ledger").installed
        });
        Versions {
            fate,
            new: new.collect(),
            old,
            installed: ledger,
        }
    }

    fn is_old(&self, target: &str, view: Option<&View>) -> bool {
        self.old.get(target) == view
    }

    fn is_new(&self, target: &str, view: Option<&View>) -> bool {
        view.is_some() && self.new.get(target) == view
    }
}

pub struct Promises {
    versions: Versions,
    /// Whether the numbers of files are those of the recording that the versions come from.
    is_first: bool,
    us: (u32, u32),
    /// What the services `one` and `two` have seen, in the end.
    told: [String; 2],
    /// By where the bytes of the database and its log lie: equal bytes are one piece of memory.
    ledgers: HashMap<[usize; 2], Read>,
}

impl Promises {
    pub fn of(versions: Versions, told: [String; 2], is_first: bool) -> Promises {
        Promises {
            versions,
            is_first,
            us: (
                nix::unistd::geteuid().as_raw(),
                nix::unistd::getegid().as_raw(),
            ),
            told,
            ledgers: HashMap::new(),
        }
    }

    pub fn ledgers(&self) -> usize {
        self.ledgers.len()
    }

    /// What does not hold. `told`: how much each service had seen when the power went.
    pub fn broken(&mut self, tree: &Tree, told: &[u64]) -> Vec<String> {
        let views = TARGETS.map(|target| (target, View::of(tree, target)));
        let mut broken = Vec::new();
        for (target, view) in &views {
            if !self.is_whole(target, view.as_ref()) {
                let shown = View::shown(view.as_ref());
                broken.push(format!("{target} is neither old nor new: {shown}"));
            }
        }
        broken.extend(self.strangers(tree));
        match &*self.ledger(tree) {
            Err(_) if self.has_not_begun(&views) => {}
            Err(error) => broken.push(format!("the ledger is not sound: {error}")),
            Ok(facts) => broken.extend(self.obligations(facts, tree, &views, told)),
        }
        broken
    }

    /// There was no ledger, and nothing has been replaced that one would have to tell of.
    fn has_not_begun(&self, views: &[(&str, Option<View>)]) -> bool {
        let versions = &self.versions;
        let mut views = views.iter();
        versions.installed.is_none()
            && views.all(|(target, view)| versions.is_old(target, view.as_ref()))
    }

    /// Old or new; written over, it may be in between.
    fn is_whole(&self, target: &str, view: Option<&View>) -> bool {
        let between = || match (view, self.versions.old.get(target)) {
            (Some(view), Some(old)) => target == IN_PLACE && view.wears_the_same(old),
            _ => false,
        };
        self.versions.is_old(target, view) || self.versions.is_new(target, view) || between()
    }

    /// Our own directory is closed, and nothing else is beside a target but generations.
    fn strangers(&self, tree: &Tree) -> Vec<String> {
        let mut strangers = Vec::new();
        let own = Dress::plain(self.us, 0o700);
        for (path, node) in tree.iter().filter(|(path, _)| path.starts_with("etc")) {
            let names: Vec<&str> = path.iter().filter_map(|name| name.to_str()).collect();
            let is_fine = match names.as_slice() {
                ["etc"] | ["etc", _] => node.kind == Kind::Directory,
                ["etc", _, ".appconfigd"] => node.kind == Kind::Directory && node.dress == own,
                ["etc", _, ".appconfigd", name, ..] => OURS.iter().any(|our| name.starts_with(our)),
                ["etc", "whole", name, ..] if name.starts_with(".d.appconfigd.") => true,
                _ => TARGETS.iter().any(|target| below(target) == path),
            };
            if !is_fine {
                let shown = View::shown(View::at(tree, path, false).as_ref());
                strangers.push(format!("{} should not be there: {shown}", path.display()));
            }
        }
        strangers
    }

    fn obligations(
        &self,
        facts: &Facts,
        tree: &Tree,
        views: &[(&str, Option<View>)],
        told: &[u64],
    ) -> Vec<String> {
        let mut broken = Vec::new();
        for (target, view) in views {
            let (target, view) = (*target, view.as_ref());
            let mut placements = facts
                .intents
                .iter()
                .flat_map(|intent| &intent.placements)
                .filter(|placement| placement.target.as_str() == target);
            let Some(placement) = placements.next() else {
                broken.extend(self.unexplained(facts, target, view));
                continue;
            };
            if let (Kept::Name(kept), Some(old)) = (&placement.kept, self.versions.old.get(target))
                && !self.versions.is_old(target, view)
            {
                let kept = below(target).with_file_name(".appconfigd").join(kept);
                let kept = View::at(tree, &kept, target == DIRECTORY);
                let is_itself = !self.is_first
                    || target == IN_PLACE
                    || kept.as_ref().is_some_and(|kept| kept.inode == old.inode);
                if kept.as_ref() != Some(old) || !is_itself {
                    let shown = View::shown(kept.as_ref());
                    broken.push(format!("{target} is not old any more and {LOST}: {shown}"));
                }
            }
        }
        broken.extend(self.untold(facts, told));
        broken
    }

    /// Without an intent the target is what the ledger says.
    fn unexplained(&self, facts: &Facts, target: &str, view: Option<&View>) -> Option<String> {
        let says = facts.installed.get(target);
        let before = self.versions.installed.as_ref();
        let said = before.and_then(|before| before.get(target));
        let is_fine = match says {
            Some(digest) if target != DIRECTORY => {
                let found = view.and_then(View::bytes);
                found.is_some_and(|found| digest_of(found) == *digest)
            }
            Some(_) if says == said => self.versions.is_old(target, view),
            Some(_) => self.versions.is_new(target, view),
            // What others have put there is not in the ledger.
            None => self.versions.is_old(target, view),
        };
        let shown = || View::shown(view);
        (!is_fine).then(|| {
            format!(
                "{target}: no intent, the ledger says {says:?}, there is {}",
                shown()
            )
        })
    }

    fn untold(&self, facts: &Facts, told: &[u64]) -> Vec<String> {
        let mut broken = Vec::new();
        let version = self.versions.fate.version();
        let new = digest_of(format!("{version}\n").as_bytes());
        let before = self.versions.installed.as_ref();
        for (service, target, digest) in &facts.acknowledged {
            let number = usize::from(service == "two");
            let length = usize::try_from(told[number]).unwrap();
            let seen = &self.told[number][..length.min(self.told[number].len())];
            let is_of_new = match digest {
                Some(digest) if target == DIRECTORY => {
                    before.and_then(|before| before.get(target)) != Some(digest)
                }
                digest => digest.as_ref() == Some(&new),
            };
            if is_of_new && !seen.contains(version) {
                broken.push(format!("{service} counts as told of {target} and was not"));
            }
        }
        broken
    }

    pub fn ledger(&mut self, tree: &Tree) -> Read {
        let bytes = |suffix: &str| match tree.get(Path::new(&format!("{LEDGER}{suffix}"))) {
            Some(Node {
                kind: Kind::File(bytes),
                ..
            }) => Some(bytes),
            _ => None,
        };
        let (database, log) = (bytes(""), bytes("-wal"));
        let address = |bytes: Option<&Arc<[u8]>>| bytes.map_or(0, |bytes| bytes.as_ptr().addr());
        let key = [address(database), address(log)];
        if let Some(known) = self.ledgers.get(&key) {
            return Arc::clone(known);
        }
        let read: Read = Arc::new(match database {
            Some(database) => read(database, log).map_err(|error| error.to_string()),
            None => Err("there is none".to_owned()),
        });
        self.ledgers.insert(key, Arc::clone(&read));
        read
    }
}

/// As SQLite does after a power cut: with the log, and without what was only in memory.
fn read(database: &[u8], log: Option<&Arc<[u8]>>) -> rusqlite::Result<Facts> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    fs::write(&path, database).unwrap();
    if let Some(log) = log {
        fs::write(directory.path().join("ledger.db-wal"), log).unwrap();
    }
    facts(&path)
}

pub fn facts(path: &Path) -> rusqlite::Result<Facts> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    let check: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        return Err(rusqlite::Error::InvalidColumnName(check));
    }
    let rows = |select: &str| -> rusqlite::Result<Vec<[Option<String>; 3]>> {
        let mut select = connection.prepare(select)?;
        let rows = select.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
        rows.collect()
    };
    let intents = rows("SELECT intent, NULL, NULL FROM intents")?;
    let installed = rows("SELECT target, digest, NULL FROM installed")?;
    let acknowledged = rows("SELECT service, target, digest FROM acknowledged")?;
    let intents = intents.into_iter().flat_map(|[intent, ..]| intent);
    Ok(Facts {
        intents: intents
            .map(|text| serde_json::from_str(&text).expect("an intent"))
            .collect(),
        installed: installed
            .into_iter()
            .filter_map(|[target, digest, _]| Some((target?, digest?)))
            .collect(),
        acknowledged: acknowledged
            .into_iter()
            .filter_map(|[service, target, digest]| Some((service?, target?, digest)))
            .collect(),
    })
}

fn digest_of(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}
