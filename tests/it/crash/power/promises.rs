//! What must hold on the disk as it is found, before any program of ours runs.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use appconfigd::install::Kept;
use appconfigd::ledger::Intent;
use appconfigd::protocol::Digest;
use rusqlite::Connection;

use super::super::scene::{Fate, TARGETS};
use super::disk::{Node, Tree};
use super::record::{Dress, Kind, Recording};

/// In the words for an inode that is needed for going back and is gone.
pub const LOST: &str = "what was there is lost";

const LEDGER: &str = "var/lib/appconfigd/ledger.db";

/// Of the ledger, as SQLite finds it.
#[derive(Debug)]
pub struct Facts {
    pub intents: Vec<Intent>,
    pub installed: BTreeMap<String, String>,
    /// Service, target, digest.
    pub acknowledged: Vec<(String, String, Option<String>)>,
}

type Read = Arc<Result<Facts, String>>;

pub struct Promises {
    fate: Fate,
    /// Before the transaction.
    old: BTreeMap<&'static str, Node>,
    us: Dress,
    /// What the services `one` and `two` have seen, in the end.
    told: [String; 2],
    /// By where the bytes of the database and its log lie: equal bytes are one piece of memory.
    ledgers: HashMap<[usize; 2], Read>,
}

impl Promises {
    pub fn of(fate: Fate, recording: &Recording, told: [String; 2]) -> Promises {
        let old = TARGETS.iter().filter_map(|target| {
            let found = recording.before.iter().find(|one| one.0 == below(target))?;
            let node = Node {
                kind: found.1.clone(),
                dress: found.2,
                inode: 0,
            };
            Some((*target, node))
        });
        Promises {
            fate,
            old: old.collect(),
            us: (
                nix::unistd::geteuid().as_raw(),
                nix::unistd::getegid().as_raw(),
                0o644,
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
        let mut broken = Vec::new();
        for target in TARGETS {
            let node = tree.get(below(target));
            if !self.is_whole(target, node) {
                broken.push(format!("{target} is neither old nor new: {}", shown(node)));
            }
        }
        broken.extend(self.strangers(tree));
        match &*self.ledger(tree) {
            Err(error) => broken.push(format!("the ledger is not sound: {error}")),
            Ok(facts) => broken.extend(self.obligations(facts, tree, told)),
        }
        broken
    }

    fn is_whole(&self, target: &str, node: Option<&Node>) -> bool {
        let old = self.old.get(target);
        match node {
            None => old.is_none(),
            Some(node)
                if Some((&node.kind, node.dress)) == old.map(|old| (&old.kind, old.dress)) =>
            {
                true
            }
            Some(node) => self.is_new(node) && node.dress == old.map_or(self.us, |old| old.dress),
        }
    }

    fn is_new(&self, node: &Node) -> bool {
        let new = format!("{}\n", self.fate.version());
        matches!(&node.kind, Kind::File(bytes) if **bytes == *new.as_bytes())
    }

    /// Our own directory is closed, and nothing else is beside a target.
    fn strangers(&self, tree: &Tree) -> Vec<String> {
        let mut strangers = Vec::new();
        for (path, node) in tree.iter().filter(|(path, _)| path.starts_with("etc")) {
            let own = path
                .parent()
                .is_some_and(|parent| parent.ends_with(".appconfigd"));
            let name = path.file_name().and_then(|name| name.to_str()).unwrap();
            let is_fine = match name {
                _ if own => name.starts_with("new-") || name.starts_with("old-"),
                ".appconfigd" => {
                    node.kind == Kind::Directory && node.dress == (self.us.0, self.us.1, 0o700)
                }
                _ if node.kind == Kind::Directory => path.iter().count() < 3,
                _ => TARGETS.iter().any(|target| below(target) == path),
            };
            if !is_fine {
                strangers.push(format!(
                    "{} should not be there: {}",
                    path.display(),
                    shown(Some(node))
                ));
            }
        }
        strangers
    }

    fn obligations(&self, facts: &Facts, tree: &Tree, told: &[u64]) -> Vec<String> {
        let mut broken = Vec::new();
        for target in TARGETS {
            let node = tree.get(below(target));
            let found = node.and_then(digest);
            let installed = facts.installed.get(target);
            let mut placements = facts
                .intents
                .iter()
                .flat_map(|intent| &intent.placements)
                .filter(|placement| placement.target.as_str() == target);
            let Some(placement) = placements.next() else {
                if found.as_ref() != installed {
                    broken.push(format!(
                        "{target}: no intent, the ledger says {installed:?}, there is {found:?}"
                    ));
                }
                continue;
            };
            if let (Kept::Name(kept), Some(old)) = (&placement.kept, self.old.get(target))
                && node.is_some_and(|node| self.is_new(node))
            {
                let kept = below(target).with_file_name(".appconfigd").join(kept);
                let node = tree.get(&kept);
                if node.map(|node| (&node.kind, node.dress)) != Some((&old.kind, old.dress)) {
                    broken.push(format!("{target} is new and {LOST}: {}", shown(node)));
                }
            }
        }
        let new = digest_of(format!("{}\n", self.fate.version()).as_bytes());
        for (service, target, digest) in &facts.acknowledged {
            let number = usize::from(service == "two");
            let length = usize::try_from(told[number]).unwrap();
            let seen = &self.told[number][..length.min(self.told[number].len())];
            if digest.as_ref() == Some(&new) && !seen.contains(self.fate.version()) {
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

fn digest(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::File(bytes) => Some(digest_of(bytes)),
        _ => None,
    }
}

fn digest_of(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

fn shown(node: Option<&Node>) -> String {
    match node {
        None => "nothing".to_owned(),
        Some(node) => match &node.kind {
            Kind::File(bytes) => {
                let bytes = String::from_utf8_lossy(&bytes[..bytes.len().min(20)]).into_owned();
                format!("{bytes:?} {:?}", node.dress)
            }
            other => format!("{other:?} {:?}", node.dress),
        },
    }
}

fn below(target: &str) -> &Path {
    Path::new(target.trim_start_matches('/'))
}
