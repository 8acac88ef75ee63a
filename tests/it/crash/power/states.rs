//! What can be found after a power cut: every combination of what may have reached the disk and what may not.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::super::dress::Dress;
use super::disk::{Change, Disk, Inode, Node, ROOT, Tree, change};
use super::record::Kind;

/// What a file system promises about what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Names, owners, modes and attributes reach the disk in the order of the calls, and every sync takes all earlier ones
    /// along: ext4 and xfs with their default options. Bytes that were not synced may be lost or torn.
    Journal,
    /// Names, owners and modes, attributes and bytes reach the disk in any order, or not at all; a sync of a file says nothing
    /// about its name. One rename happens in both of its directories or in none.
    AnyOrder,
    /// The same, and half a rename may be lost.
    TornRenames,
}

type Key = (Inode, String);

/// What one thing, or several that hang together, can be.
#[derive(Clone, Debug)]
enum Pick {
    Name(Key, Option<Inode>),
    /// Owner and mode of one moment, ACL and attributes of another.
    Dress(Inode, usize, usize),
    Bytes(Inode, Arc<[u8]>),
}

/// Equal bytes are one piece of memory.
#[derive(Default)]
pub struct Pool(HashSet<Arc<[u8]>>);

impl Pool {
    fn one(&mut self, bytes: &[u8]) -> Arc<[u8]> {
        if let Some(known) = self.0.get(bytes) {
            return Arc::clone(known);
        }
        let new: Arc<[u8]> = bytes.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}

/// Calls `visit` with states, at most `bound`; whether these are all that there can be.
pub fn states(
    disk: &Disk,
    model: Model,
    bound: usize,
    pool: &mut Pool,
    mut visit: impl FnMut(Tree),
) -> bool {
    let now = disk.bodies.iter().flat_map(|body| &body.dresses);
    let names = disk.slots.values().flat_map(|slot| &slot.values);
    let now = now.map(|one| one.0).chain(names.map(|one| one.0)).max();
    let mut groups = match model {
        Model::Journal => vec![journal(disk, now.unwrap_or(0))],
        Model::AnyOrder | Model::TornRenames => {
            let mut groups = names_in_any_order(disk, model);
            groups.extend(dresses_in_any_order(disk));
            groups
        }
    };
    groups.extend(bytes(disk, pool));
    groups.retain(|options| options.len() > 1 || !options[0].is_empty());
    let settled: Vec<Arc<[u8]>> = disk
        .bodies
        .iter()
        .map(|body| match &body.kind {
            Kind::File(bytes) => pool.one(bytes),
            _ => Arc::default(),
        })
        .collect();
    let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
    let (choices, complete) = choices(&sizes, bound);
    for choice in choices {
        let picks = groups
            .iter()
            .zip(&choice)
            .flat_map(|(group, at)| &group[*at]);
        visit(tree(disk, &settled, picks));
    }
    complete
}

/// Which option of each group: all combinations if they are few; otherwise those that differ in at most two groups from
/// "nothing more reached the disk" or from "everything did", then drawn ones.
fn choices(sizes: &[usize], bound: usize) -> (Vec<Vec<usize>>, bool) {
    let product = sizes.iter().try_fold(1_usize, |all, one| {
        all.checked_mul(*one).filter(|all| *all <= bound)
    });
    if let Some(product) = product {
        let one = |number: usize| {
            let mut rest = number;
            let digits = sizes.iter().map(|size| {
                let digit = rest % size;
                rest /= size;
                digit
            });
            digits.collect()
        };
        return ((0..product).map(one).collect(), true);
    }
    let mut found: BTreeSet<Vec<usize>> = BTreeSet::new();
    let ends = [
        vec![0; sizes.len()],
        sizes.iter().map(|size| size - 1).collect::<Vec<usize>>(),
    ];
    found.extend(ends.clone());
    let vary = |end: &Vec<usize>, first: usize, second: usize| {
        let mut varied = Vec::new();
        for one in 0..sizes[first] {
            for other in 0..sizes[second] {
                let mut choice = end.clone();
                choice[first] = one;
                choice[second] = other;
                varied.push(choice);
            }
        }
        varied
    };
    let numbers = 0..sizes.len();
    let alone = numbers.clone().map(|first| (first, first));
    let pairs = numbers
        .clone()
        .flat_map(|first| (first + 1..sizes.len()).map(move |second| (first, second)));
    for (first, second) in alone.chain(pairs) {
        for end in &ends {
            if found.len() < bound * 3 / 4 {
                found.extend(vary(end, first, second));
            }
        }
    }
    // The same ones in every run.
    let mut drawn = fastrand::Rng::with_seed(sizes.iter().sum::<usize>() as u64);
    for _ in 0..bound * 2 {
        if found.len() >= bound {
            break;
        }
        found.insert(sizes.iter().map(|size| drawn.usize(0..*size)).collect());
    }
    (found.into_iter().collect(), false)
}

/// The journal ends after any step that is not known to be in it.
fn journal(disk: &Disk, now: usize) -> Vec<Vec<Pick>> {
    let until = |end: usize| {
        let names = disk.slots.iter().map(|(key, slot)| {
            let last = slot.values.iter().rfind(|value| value.0 <= end);
            Pick::Name(key.clone(), last.and_then(|value| value.1))
        });
        let dresses = disk.bodies.iter().enumerate().map(|(inode, body)| {
            let last = body.dresses.iter().rposition(|dress| dress.0 <= end);
            let last = last.unwrap_or(0);
            Pick::Dress(inode, last, last)
        });
        names.chain(dresses).collect()
    };
    (disk.journal.min(now)..=now).map(until).collect()
}

fn names_in_any_order(disk: &Disk, model: Model) -> Vec<Vec<Vec<Pick>>> {
    let keys: Vec<&Key> = disk.slots.keys().collect();
    let index: BTreeMap<&Key, usize> = keys
        .iter()
        .enumerate()
        .map(|(at, key)| (*key, at))
        .collect();
    // Slots that a rename ties together are one group.
    let mut group: Vec<usize> = (0..keys.len()).collect();
    let pairs = match model {
        Model::TornRenames => [].as_slice(),
        _ => disk.pairs.as_slice(),
    };
    for (_, [from, to]) in pairs {
        let (from, to) = (group[index[from]], group[index[to]]);
        group
            .iter_mut()
            .filter(|one| **one == from)
            .for_each(|one| *one = to);
    }
    let of = |number: usize| {
        let members: Vec<usize> = (0..keys.len()).filter(|at| group[*at] == number).collect();
        let slots: Vec<_> = members.iter().map(|at| &disk.slots[keys[*at]]).collect();
        let open: Vec<usize> = slots
            .iter()
            .map(|slot| slot.values.len() - slot.durable)
            .collect();
        let product = open.iter().product::<usize>();
        assert!(product <= 100_000, "too many names hang together");
        let mut options = Vec::new();
        for number in 0..product {
            let mut rest = number;
            let mut values = BTreeMap::new();
            for ((at, slot), open) in members.iter().zip(&slots).zip(&open) {
                values.insert(*at, slot.values[slot.durable + rest % open]);
                rest /= open;
            }
            let has = |key: &Key, step: usize| values.get(&index[key]).map(|value| value.0 >= step);
            let torn = pairs
                .iter()
                .any(|(step, [from, to])| has(from, *step) != has(to, *step));
            if !torn {
                let picks = values.iter();
                options.push(
                    picks
                        .map(|(at, value)| Pick::Name(keys[*at].clone(), value.1))
                        .collect(),
                );
            }
        }
        options
    };
    let numbers: BTreeSet<usize> = group.iter().copied().collect();
    numbers.into_iter().map(of).collect()
}

fn dresses_in_any_order(disk: &Disk) -> impl Iterator<Item = Vec<Vec<Pick>>> {
    let bodies = disk.bodies.iter().enumerate();
    bodies.map(|(inode, body)| {
        let open = || body.durable_dress..body.dresses.len();
        // The last of those that are alike.
        let differs = |at: &usize, alike: &dyn Fn(&Dress, &Dress) -> bool| {
            let this = &body.dresses[*at].1;
            !body.dresses[at + 1..].iter().any(|one| alike(this, &one.1))
        };
        let modes = open().filter(|at| {
            differs(at, &|one, other| {
                (one.owner, one.mode) == (other.owner, other.mode)
            })
        });
        let attributes: Vec<usize> = open()
            .filter(|at| differs(at, &|one, other| one.attributes == other.attributes))
            .collect();
        modes
            .flat_map(|mode| {
                attributes
                    .iter()
                    .map(move |at| vec![Pick::Dress(inode, mode, *at)])
            })
            .collect()
    })
}

/// What can be found in files whose last bytes were not synced.
fn bytes(disk: &Disk, pool: &mut Pool) -> Vec<Vec<Vec<Pick>>> {
    const MOST: usize = 8;
    let mut groups = Vec::new();
    for (inode, body) in disk.bodies.iter().enumerate() {
        let Kind::File(base) = &body.kind else {
            continue;
        };
        if body.changes.is_empty() {
            continue;
        }
        let changes: Vec<&Change> = body.changes.iter().map(|change| &change.1).collect();
        let made = |which: &dyn Fn(usize) -> bool| {
            let mut bytes = base.to_vec();
            let changes = changes.iter().enumerate().filter(|(at, _)| which(*at));
            changes.for_each(|(_, one)| change(&mut bytes, one));
            bytes
        };
        let all = made(&|_| true);
        let mut found = vec![base.to_vec()];
        for at in (0..changes.len()).step_by(changes.len().div_ceil(MOST)) {
            // A beginning of what was written, and all but one.
            found.push(made(&|one| one < at));
            found.push(made(&|one| one != at));
        }
        if let Some(Change::Write(offset, data)) = changes.last() {
            // Torn: after a sector, or where there is less, in the middle.
            let half = if data.len() > 512 {
                512
            } else {
                data.len() / 2
            };
            let mut torn = made(&|one| one < changes.len() - 1);
            change(&mut torn, &Change::Write(*offset, data[..half].into()));
            found.push(torn);
        }
        // The size without the bytes.
        let mut hollow = base.to_vec();
        hollow.resize(all.len(), 0);
        found.push(hollow);
        // "Everything" comes last.
        found.retain(|bytes| *bytes != all);
        found.push(all);
        let found = found.iter().map(|bytes| pool.one(bytes));
        let mut seen = HashSet::new();
        let found = found.filter(|bytes| seen.insert(bytes.as_ptr().addr()));
        groups.push(found.map(|bytes| vec![Pick::Bytes(inode, bytes)]).collect());
    }
    groups
}

fn tree<'a>(disk: &Disk, settled: &[Arc<[u8]>], picks: impl Iterator<Item = &'a Pick>) -> Tree {
    let mut children: BTreeMap<Inode, Vec<(&str, Inode)>> = BTreeMap::new();
    let mut dresses: BTreeMap<Inode, (usize, usize)> = BTreeMap::new();
    let mut bytes: BTreeMap<Inode, &Arc<[u8]>> = BTreeMap::new();
    for pick in picks {
        match pick {
            Pick::Name((directory, name), Some(inode)) => {
                children.entry(*directory).or_default().push((name, *inode));
            }
            Pick::Name(_, None) => {}
            Pick::Dress(inode, mode, attributes) => {
                dresses.insert(*inode, (*mode, *attributes));
            }
            Pick::Bytes(inode, found) => drop(bytes.insert(*inode, found)),
        }
    }
    let mut tree = Tree::new();
    let mut open = vec![(PathBuf::new(), ROOT)];
    while let Some((path, directory)) = open.pop() {
        for (name, inode) in children.get(&directory).into_iter().flatten() {
            let (path, body) = (path.join(name), &disk.bodies[*inode]);
            let kind = match &body.kind {
                Kind::File(_) => {
                    Kind::File(Arc::clone(bytes.get(inode).unwrap_or(&&settled[*inode])))
                }
                other => other.clone(),
            };
            if kind == Kind::Directory {
                open.push((path.clone(), *inode));
            }
            let settled = (body.durable_dress, body.durable_dress);
            let (mode, attributes) = dresses.get(inode).copied().unwrap_or(settled);
            let node = Node {
                kind,
                dress: Dress {
                    attributes: body.dresses[attributes].1.attributes.clone(),
                    ..body.dresses[mode].1.clone()
                },
                inode: *inode,
            };
            tree.insert(path, node);
        }
    }
    tree
}
