//! From files to the digest of a watch.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::protocol::{Digest, Digesting};

use super::survey::{Lies, Survey, is_absence};

/// Of one file; what is larger is no certificate and no settings file.
const LARGEST: u64 = 64 * 1024 * 1024;

/// A file that was changed so recently may change again without another stamp.
const YOUNG: i64 = 2;

/// Digests of files that need not be read again, by their places without links.
pub type Known = BTreeMap<PathBuf, (Stamp, Digest)>;

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The digest over paths and what lies there.
#[derive(Debug, PartialEq, Eq)]
pub struct Sighted {
    pub digest: Digest,
    /// A file changed while it was read: the digest may be of two halves.
    pub moving: bool,
}

/// Reads what was surveyed. `known` is what need not be read, and becomes what need not be read next time.
///
/// # Errors
/// In words: a file that is too large or cannot be read.
pub fn read(survey: &Survey, known: &mut Known, now: Timestamp) -> Result<Sighted, String> {
    let mut fresh = Known::new();
    let mut whole = Digesting::default();
    let mut moving = false;
    for (path, lies) in &survey.files {
        let content = match lies {
            Lies::File(place) => {
                content(path, place, known, &mut fresh, &mut moving, now).inspect_err(|_| {
                    // What has been read so far is known all the same.
                    known.append(&mut fresh);
                })?
            }
            Lies::Nothing => Content::Nothing,
            Lies::Other => Content::Other,
        };
        whole.add(&(path.len() as u64).to_be_bytes());
        whole.add(path.as_bytes());
        match content {
            Content::Bytes(digest) => {
                whole.add(b"f");
                whole.add(digest.as_bytes());
            }
            Content::Nothing => whole.add(b"-"),
            Content::Other => whole.add(b"o"),
        }
    }
    *known = fresh;
    let digest = whole.end();
    Ok(Sighted { digest, moving })
}

enum Content {
    Bytes(Digest),
    Nothing,
    Other,
}

fn content(
    path: &str,
    place: &Path,
    known: &Known,
    fresh: &mut Known,
    moving: &mut bool,
    now: Timestamp,
) -> Result<Content, String> {
    let cannot = |error: std::io::Error| format!("`{path}` cannot be read: {error}");
    if let Ok(found) = std::fs::symlink_metadata(place)
        && let Some((stamp, digest)) = known.get(place)
        && *stamp == Stamp::of(&found)
    {
        fresh.insert(place.to_owned(), (*stamp, *digest));
        return Ok(Content::Bytes(*digest));
    }
    // Whatever takes the file's place meanwhile: neither a link is followed nor a pipe waited for.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(place);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if is_absence(&error) => {
            *moving = true;
            return Ok(Content::Nothing);
        }
        Err(error) => return Err(cannot(error)),
    };
    let before = file.metadata().map_err(cannot)?;
    if !before.is_file() {
        *moving = true;
        return Ok(Content::Other);
    }
    let digest = match before.len() > LARGEST {
        true => None,
        // It may grow meanwhile.
        false => digest(&mut file).map_err(cannot)?,
    };
    let Some(digest) = digest else {
        let most = LARGEST / 1024 / 1024;
        return Err(format!(
            "`{path}` is larger than {most} MiB: write patterns that leave it out"
        ));
    };
    let stamp = Stamp::of(&before);
    if stamp != Stamp::of(&file.metadata().map_err(cannot)?) {
        *moving = true;
    } else if stamp.is_old(now) {
        fresh.insert(place.to_owned(), (stamp, digest));
    }
    Ok(Content::Bytes(digest))
}

/// `None`: the file is too large.
fn digest(file: &mut File) -> std::io::Result<Option<Digest>> {
    let mut digesting = Digesting::default();
    let mut piece = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let length = match file.read(&mut piece) {
            Ok(0) => return Ok(Some(digesting.end())),
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        size += length as u64;
        if size > LARGEST {
            return Ok(None);
        }
        digesting.add(piece.get(..length).unwrap_or_default());
    }
}

impl Stamp {
    fn of(found: &Metadata) -> Stamp {
        Stamp {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    fn is_old(&self, now: Timestamp) -> bool {
        let youngest = self.modified.0.max(self.changed.0);
        youngest.saturating_add(YOUNG) < now.as_second()
    }
}
