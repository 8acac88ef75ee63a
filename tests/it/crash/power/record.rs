//! What a traced agent does to its files, call by call, with the bytes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use nix::libc;
use nix::unistd::Pid;

use super::super::dress::Dress;
use super::super::tracer::{Act, Call, Judge, bytes, trace};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Directory,
    File(Arc<[u8]>),
    Link(PathBuf),
}

/// One effect on a file system. Paths are seen from the place that is recorded.
#[derive(Clone, Debug)]
pub enum Effect {
    Create(PathBuf, Kind, Dress),
    Write(PathBuf, u64, Arc<[u8]>),
    Truncate(PathBuf, u64),
    Dress(PathBuf, Dress),
    Link(PathBuf, PathBuf),
    Rename(PathBuf, PathBuf),
    Exchange(PathBuf, PathBuf),
    Remove(PathBuf),
    /// So many steps had been made when it began: those are durable.
    Sync(PathBuf, usize),
}

#[derive(Clone, Debug)]
pub struct Step {
    pub effect: Effect,
    pub words: String,
    /// How long the files beside the place were that its services write.
    pub told: Vec<u64>,
}

/// A name, and what has it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: PathBuf,
    pub kind: Kind,
    pub dress: Dress,
    /// Two names of one file have one number.
    pub number: u64,
}

pub struct Recording {
    /// What was there before, and is durable. Parents come first.
    pub before: Vec<Seen>,
    pub steps: Vec<Step>,
    pub code: Option<i32>,
}

/// Runs a command to its end. `told` are files that it does not write itself.
pub fn record(command: Command, place: &Path, told: Vec<PathBuf>) -> Recording {
    let mut before = Vec::new();
    look(place, place, &mut before);
    let steps: Arc<Mutex<Vec<Step>>> = Arc::default();
    let recorder = Recorder {
        place: place.to_owned(),
        told,
        steps: Arc::clone(&steps),
        writing: BTreeMap::new(),
    };
    let code = trace(command, place.to_owned(), recorder).wait();
    let steps = std::mem::take(&mut *steps.lock().unwrap());
    Recording {
        before,
        steps,
        code,
    }
}

fn look(place: &Path, at: &Path, found: &mut Vec<Seen>) {
    let entries = fs::read_dir(at).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let Some((kind, dress)) = one(&path, true) else {
            continue;
        };
        let is_directory = kind == Kind::Directory;
        found.push(Seen {
            path: path.strip_prefix(place).unwrap().to_owned(),
            kind,
            dress,
            number: fs::symlink_metadata(&path).unwrap().ino(),
        });
        if is_directory {
            look(place, &path, found);
        }
    }
}

/// `None` for what does not outlive a start anyway: sockets.
fn one(path: &Path, with_bytes: bool) -> Option<(Kind, Dress)> {
    let found = fs::symlink_metadata(path).ok()?;
    let kind = if found.is_dir() {
        Kind::Directory
    } else if found.is_symlink() {
        Kind::Link(fs::read_link(path).unwrap())
    } else if found.is_file() && with_bytes {
        Kind::File(fs::read(path).unwrap().into())
    } else if found.is_file() {
        Kind::File(Arc::default())
    } else {
        return None;
    };
    Some((kind, Dress::of(path).ok()?))
}

struct Recorder {
    place: PathBuf,
    told: Vec<PathBuf>,
    steps: Arc<Mutex<Vec<Step>>>,
    /// What is only known at the entry: bytes and offset of a write, whether a file was there, what had happened before.
    writing: BTreeMap<Pid, Entry>,
}

struct Entry {
    data: Vec<u8>,
    offset: u64,
    was_there: bool,
    steps: usize,
}

impl Judge for Recorder {
    fn enters(&mut self, call: &Call) -> Act {
        let (thread, arguments) = (call.thread, call.arguments);
        let data = match call.name {
            "write" | "pwrite64" => bytes(thread, arguments[1], arguments[2]),
            // Blocks are set aside, and read as before.
            "fallocate" if arguments[1] == libc::FALLOC_FL_KEEP_SIZE as u64 => Vec::new(),
            "copy_file_range" => copied(thread, &arguments),
            "writev" | "fallocate" | "sendfile" if call.changes => {
                let inside = call.paths.iter().any(|path| path.starts_with(&self.place));
                assert!(!inside, "the model does not know {call:?}");
                Vec::new()
            }
            _ => Vec::new(),
        };
        let offset = match call.name {
            "pwrite64" => arguments[3],
            "write" => position(thread, arguments[0]),
            "copy_file_range" => position(thread, arguments[2]),
            _ => 0,
        };
        let was_there = call
            .paths
            .first()
            .is_some_and(|path| path.symlink_metadata().is_ok());
        let steps = self.steps.lock().unwrap().len();
        let entry = Entry {
            data,
            offset,
            was_there,
            steps,
        };
        self.writing.insert(thread, entry);
        Act::Happens
    }

    fn has_left(&mut self, call: &Call, result: i64) {
        let entry = self.writing.remove(&call.thread).unwrap();
        if result < 0 {
            return;
        }
        let effects = self.effects(call, entry, result);
        let told = self.told.iter();
        let told: Vec<u64> = told
            .map(|path| path.metadata().map_or(0, |found| found.len()))
            .collect();
        let mut steps = self.steps.lock().unwrap();
        steps.extend(effects.into_iter().map(|effect| Step {
            effect,
            words: call.words(&self.place),
            told: told.clone(),
        }));
    }
}

impl Recorder {
    fn effects(&self, call: &Call, entry: Entry, result: i64) -> Vec<Effect> {
        let within = |at: usize| {
            let path = call.paths.get(at)?.strip_prefix(&self.place).ok()?;
            Some((path.to_owned(), call.paths[at].clone()))
        };
        let Some((path, real)) = within(0) else {
            return Vec::new();
        };
        let other = || within(1).expect("nothing crosses the border").0;
        let made =
            || one(&real, false).map(|(kind, dress)| Effect::Create(path.clone(), kind, dress));
        let dressed = || one(&real, false).map(|(_, dress)| Effect::Dress(path.clone(), dress));
        let arguments = call.arguments;
        let flags = i32::try_from(arguments[2] & 0xffff_ffff).unwrap_or(0);
        let effect = match call.name {
            "openat" if flags & libc::O_CREAT != 0 && !entry.was_there => made(),
            "openat" if flags & libc::O_TRUNC != 0 => Some(Effect::Truncate(path, 0)),
            "mkdirat" | "mkdir" | "symlinkat" => made(),
            "write" | "pwrite64" | "copy_file_range" => {
                let written = usize::try_from(result).unwrap();
                let data = entry.data[..written].into();
                Some(Effect::Write(path, entry.offset, data))
            }
            "ftruncate" => Some(Effect::Truncate(path, arguments[1])),
            "fchmod" | "fchmodat" | "chmod" | "fchown" | "fchownat" | "fsetxattr" | "setxattr"
            | "lsetxattr" | "fremovexattr" | "removexattr" => dressed(),
            "linkat" => Some(Effect::Link(path, other())),
            "renameat2" if arguments[4] & u64::from(libc::RENAME_EXCHANGE) != 0 => {
                Some(Effect::Exchange(path, other()))
            }
            "rename" | "renameat" | "renameat2" => Some(Effect::Rename(path, other())),
            "unlink" | "unlinkat" | "rmdir" => Some(Effect::Remove(path)),
            "fsync" | "fdatasync" => Some(Effect::Sync(path, entry.steps)),
            _ => None,
        };
        effect.into_iter().collect()
    }
}

/// What the kernel is about to copy, as much of it as there is.
fn copied(thread: Pid, arguments: &[u64; 5]) -> Vec<u8> {
    assert_eq!(
        [arguments[1], arguments[3]],
        [0, 0],
        "the model knows copies from where the files are read and written"
    );
    let from = fs::read(format!("/proc/{thread}/fd/{}", arguments[0])).unwrap();
    let offset = usize::try_from(position(thread, arguments[0])).unwrap();
    from[offset.min(from.len())..].to_vec()
}

fn position(thread: Pid, descriptor: u64) -> u64 {
    let info = fs::read_to_string(format!("/proc/{thread}/fdinfo/{descriptor}")).unwrap();
    let position = info.lines().find_map(|line| line.strip_prefix("pos:"));
    position.unwrap().trim().parse().unwrap()
}
