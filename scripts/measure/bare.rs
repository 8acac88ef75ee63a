//! The floor: a loop that makes the same writes, syncs and renames, and nothing else.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::world::sync;

/// So many files of so many bytes, one after the other: each written beside its place, synced and renamed; the directory
/// synced at the end.
pub fn files(directory: &Path, count: usize, bytes: usize) -> Duration {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory.join(".staged")).unwrap();
    let body = vec![b'x'; bytes];
    let since = Instant::now();
    for number in 0..count {
        replace(directory, &number.to_string(), &body);
    }
    sync(directory);
    since.elapsed()
}

/// One file, its directory not yet synced.
pub fn replace(directory: &Path, name: &str, body: &[u8]) {
    let staged = directory.join(".staged").join(name);
    let mut file = File::create(&staged).unwrap();
    file.write_all(body).unwrap();
    file.sync_all().unwrap();
    fs::rename(staged, directory.join(name)).unwrap();
}
