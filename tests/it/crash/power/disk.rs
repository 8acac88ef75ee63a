//! A file system in memory that remembers, for each thing by itself, what of it is durable and what may be lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::dress::Dress;
use super::record::{Effect, Kind, Recording, Seen};

pub type Inode = usize;
pub const ROOT: Inode = 0;

/// A name in a directory, with every value that it has had.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The step that gave it the value, and the value.
    pub values: Vec<(usize, Option<Inode>)>,
    /// Values before this one cannot come back.
    pub durable: usize,
}

#[derive(Clone, Debug)]
pub enum Change {
    Write(u64, Arc<[u8]>),
    Truncate(u64),
}

#[derive(Clone, Debug)]
pub struct Body {
    /// With all bytes that are durable.
    pub kind: Kind,
    pub changes: Vec<(usize, Change)>,
    /// What it wears, with the steps; what comes before the durable one cannot come back.
    pub dresses: Vec<(usize, Dress)>,
    pub durable_dress: usize,
}

#[derive(Clone, Debug)]
pub struct Disk {
    pub bodies: Vec<Body>,
    pub slots: BTreeMap<(Inode, String), Slot>,
    /// Two slots that one call changed, if both or neither.
    pub pairs: Vec<(usize, [(Inode, String); 2])>,
    /// A journal holds all changes of names, owners and modes up to this step.
    pub journal: usize,
}

impl Disk {
    pub fn of(recording: &Recording) -> Disk {
        let mut disk = Disk {
            bodies: vec![body(0, Kind::Directory, Dress::plain((0, 0), 0o755))],
            slots: BTreeMap::new(),
            pairs: Vec::new(),
            journal: 0,
        };
        let mut known: BTreeMap<u64, Inode> = BTreeMap::new();
        for seen in &recording.before {
            let Seen {
                path, kind, dress, ..
            } = seen;
            let made = known
                .entry(seen.number)
                .or_insert_with(|| disk.make(0, kind.clone(), dress.clone()));
            let made = *made;
            let at = disk.place(path).expect("parents come first");
            let slot = Slot {
                values: vec![(0, Some(made))],
                durable: 0,
            };
            disk.slots.insert(at, slot);
        }
        disk
    }

    fn make(&mut self, step: usize, kind: Kind, dress: Dress) -> Inode {
        self.bodies.push(body(step, kind, dress));
        self.bodies.len() - 1
    }

    fn place(&self, path: &Path) -> Option<(Inode, String)> {
        let name = path.file_name()?.to_str()?.to_owned();
        Some((self.find(path.parent()?)?, name))
    }

    /// What the path leads to while the power is on.
    fn find(&self, path: &Path) -> Option<Inode> {
        path.iter().try_fold(ROOT, |at, name| {
            let slot = self.slots.get(&(at, name.to_str()?.to_owned()))?;
            slot.values.last()?.1
        })
    }

    fn set(&mut self, step: usize, at: (Inode, String), value: Option<Inode>) {
        let absent = || Slot {
            values: vec![(0, None)],
            durable: 0,
        };
        let slot = self.slots.entry(at).or_insert_with(absent);
        slot.values.push((step, value));
    }

    /// Makes a step; the first one is 1. Effects on what has no name any more leave nothing behind.
    pub fn apply(&mut self, step: usize, effect: &Effect) -> Option<()> {
        match effect {
            Effect::Create(path, kind, dress) => {
                let at = self.place(path)?;
                let made = self.make(step, kind.clone(), dress.clone());
                self.set(step, at, Some(made));
            }
            Effect::Write(path, offset, data) => {
                let change = Change::Write(*offset, Arc::clone(data));
                let body = self.find(path)?;
                self.bodies[body].changes.push((step, change));
            }
            Effect::Truncate(path, size) => {
                let body = self.find(path)?;
                self.bodies[body]
                    .changes
                    .push((step, Change::Truncate(*size)));
            }
            Effect::Dress(path, dress) => {
                let body = self.find(path)?;
                self.bodies[body].dresses.push((step, dress.clone()));
            }
            Effect::Link(from, to) => {
                let (body, to) = (self.find(from)?, self.place(to)?);
                self.set(step, to, Some(body));
            }
            Effect::Rename(from, to) => {
                let (body, places) = (self.find(from)?, [self.place(from)?, self.place(to)?]);
                // Two names of one file: nothing happens.
                if self.find(to) != Some(body) {
                    self.set(step, places[0].clone(), None);
                    self.set(step, places[1].clone(), Some(body));
                    self.pairs.push((step, places));
                }
            }
            Effect::Exchange(one, other) => {
                let bodies = [self.find(one)?, self.find(other)?];
                let places = [self.place(one)?, self.place(other)?];
                self.set(step, places[0].clone(), Some(bodies[1]));
                self.set(step, places[1].clone(), Some(bodies[0]));
                self.pairs.push((step, places));
            }
            Effect::Remove(path) => {
                let at = self.place(path)?;
                self.set(step, at, None);
            }
            Effect::Sync(path, before) => {
                let synced = self.find(path)?;
                self.sync(synced, *before);
            }
        }
        Some(())
    }

    fn sync(&mut self, inode: Inode, before: usize) {
        self.journal = self.journal.max(before);
        let body = &mut self.bodies[inode];
        let durable = body.changes.iter().take_while(|change| change.0 <= before);
        let durable = durable.count();
        let changes: Vec<_> = body.changes.drain(..durable).collect();
        if let Kind::File(bytes) = &mut body.kind
            && !changes.is_empty()
        {
            let mut now = bytes.to_vec();
            changes.iter().for_each(|one| change(&mut now, &one.1));
            *bytes = now.into();
        }
        let known = |values: usize, step: &dyn Fn(usize) -> usize, durable: usize| {
            let last = (0..values).rfind(|at| step(*at) <= before);
            last.unwrap_or(0).max(durable)
        };
        let dresses = &body.dresses;
        body.durable_dress = known(dresses.len(), &|at| dresses[at].0, body.durable_dress);
        let entries = (inode, String::new())..;
        for ((_, _), slot) in self
            .slots
            .range_mut(entries)
            .take_while(|((directory, _), _)| *directory == inode)
        {
            let values = &slot.values;
            slot.durable = known(values.len(), &|at| values[at].0, slot.durable);
        }
    }
}

fn body(step: usize, kind: Kind, dress: Dress) -> Body {
    Body {
        kind,
        changes: Vec::new(),
        dresses: vec![(step, dress)],
        durable_dress: 0,
    }
}

/// Makes a change in a file's bytes.
pub fn change(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate(size) => bytes.resize(usize::try_from(*size).unwrap(), 0),
        Change::Write(offset, data) => {
            let offset = usize::try_from(*offset).unwrap();
            bytes.resize(bytes.len().max(offset + data.len()), 0);
            bytes[offset..offset + data.len()].copy_from_slice(data);
        }
    }
}

/// One thing that can be found after the power is back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub kind: Kind,
    pub dress: Dress,
    /// Two names of one file have one number.
    pub inode: Inode,
}

/// All that can be found, by path.
pub type Tree = BTreeMap<PathBuf, Node>;
