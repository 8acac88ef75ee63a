//! A directory as bytes: a tar archive that is the same for the same tree, so that its digest is the tree's. It is what
//! `tar --format=gnu --blocking-factor=1 --sort=name --mtime=@0 --numeric-owner -C DIRECTORY -c .` writes.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::tree::{Entry, Tree, What};
use super::{Attributes, Metadata};

pub(super) const BLOCK: usize = 512;
const NAME: usize = 100;

const FILE: u8 = b'0';
const LINK: u8 = b'2';
const DIRECTORY: u8 = b'5';
const OTHER: u8 = b'6';
const LONG_TEXT: u8 = b'K';
const LONG_NAME: u8 = b'L';

/// What comes before an entry's bytes. `size`: how many those are.
pub(super) fn header(path: &Path, metadata: &Metadata, what: &What, size: u64) -> Vec<u8> {
    let mut name = b"./".to_vec();
    name.extend(path.as_os_str().as_bytes());
    let (kind, text) = match what {
        What::Directory => {
            if !name.ends_with(b"/") {
                name.push(b'/');
            }
            (DIRECTORY, &[][..])
        }
        What::File(_) => (FILE, &[][..]),
        What::Link(text) => (LINK, text.as_bytes()),
        What::Other => (OTHER, &[][..]),
    };
    let mut blocks = Vec::with_capacity(BLOCK);
    for (value, kind) in [(text, LONG_TEXT), (&name, LONG_NAME)] {
        if value.len() > NAME {
            let ours = Metadata {
                uid: 0,
                gid: 0,
                mode: 0o644,
                attributes: Attributes::default(),
            };
            let size = value.len() as u64 + 1;
            blocks.extend(block(b"././@LongLink", &ours, kind, &[], size));
            blocks.extend(value);
            blocks.push(0);
            blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
        }
    }
    blocks.extend(block(&name, metadata, kind, text, size));
    blocks
}

/// What comes after so many bytes of an entry.
pub(super) fn padding(size: u64) -> Vec<u8> {
    let over = (size % BLOCK as u64) as usize;
    vec![0; (BLOCK - over) % BLOCK]
}

/// What comes at the end.
pub(super) fn end() -> [u8; 2 * BLOCK] {
    [0; 2 * BLOCK]
}

fn block(name: &[u8], metadata: &Metadata, kind: u8, text: &[u8], size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        for (place, byte) in block.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    };
    put(0, name.get(..NAME).unwrap_or(name));
    put(100, &number(metadata.mode.into(), 8));
    put(108, &number(metadata.uid.into(), 8));
    put(116, &number(metadata.gid.into(), 8));
    put(124, &number(size, 12));
    put(136, &number(0, 12));
    put(148, b"        ");
    put(156, &[kind]);
    put(157, text.get(..NAME).unwrap_or(text));
    put(257, b"ustar  \0");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let mut put = |at: usize, bytes: &[u8]| {
        for (place, byte) in block.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    };
    put(148, format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Octal digits and NUL; what does not fit, in binary.
fn number(value: u64, width: usize) -> Vec<u8> {
    let octal = format!("{value:0digits$o}\0", digits = width - 1);
    if octal.len() == width {
        return octal.into_bytes();
    }
    let mut binary = vec![0; width.saturating_sub(8)];
    binary.extend(value.to_be_bytes());
    if let Some(first) = binary.first_mut() {
        *first |= 0x80;
    }
    binary
}

impl Tree {
    /// The archive.
    pub(super) fn pack(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        for (path, entry) in &self.entries {
            let bytes = match &entry.what {
                What::File(bytes) => bytes,
                What::Directory | What::Link(_) | What::Other => &Bytes::new(),
            };
            let size = bytes.len() as u64;
            archive.extend(header(path, &entry.metadata, &entry.what, size));
            archive.extend_from_slice(bytes);
            archive.extend(padding(size));
        }
        archive.extend(end());
        archive
    }

    /// What an archive of ours holds; `None`: it is something else.
    pub fn unpack(archive: &Bytes) -> Option<Tree> {
        let mut tree = Tree::default();
        let mut at: usize = 0;
        let (mut long_name, mut long_text) = (None, None);
        loop {
            let block = archive.get(at..at.checked_add(BLOCK)?)?;
            at += BLOCK;
            if block.iter().all(|byte| *byte == 0) {
                return tree.entries.contains_key(Path::new("")).then_some(tree);
            }
            if block.get(257..265)? != b"ustar  \0" {
                return None;
            }
            let size = usize::try_from(read_number(block.get(124..136)?)?).ok()?;
            let end = at.checked_add(size)?;
            if end > archive.len() {
                return None;
            }
            let bytes = archive.slice(at..end);
            at = end.checked_next_multiple_of(BLOCK)?;
            let short = |range: std::ops::Range<usize>| -> Option<Vec<u8>> {
                let field = block.get(range)?.iter();
                Some(field.copied().take_while(|byte| *byte != 0).collect())
            };
            let kind = *block.get(156)?;
            if kind == LONG_NAME || kind == LONG_TEXT {
                let value = bytes.strip_suffix(&[0])?.to_vec();
                match kind {
                    LONG_NAME => long_name = Some(value),
                    _ => long_text = Some(value),
                }
                continue;
            }
            let name = long_name.take().or_else(|| short(0..NAME))?;
            let text = long_text.take().or_else(|| short(157..157 + NAME))?;
            let path = name.strip_prefix(b"./")?;
            let path = path.strip_suffix(b"/").unwrap_or(path);
            let what = match kind {
                DIRECTORY => What::Directory,
                FILE => What::File(bytes),
                LINK => What::Link(OsString::from_vec(text)),
                OTHER => What::Other,
                _ => return None,
            };
            let number = |range| -> Option<u32> { read_number(block.get(range)?)?.try_into().ok() };
            let metadata = Metadata {
                mode: number(100..108)?,
                uid: number(108..116)?,
                gid: number(116..124)?,
                attributes: Attributes::default(),
            };
            let path = PathBuf::from(OsString::from_vec(path.to_vec()));
            tree.entries.insert(path, Entry { metadata, what });
        }
    }
}

fn read_number(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        let (high, low) = field.split_at(field.len().checked_sub(8)?);
        let none = high.iter().all(|byte| *byte & 0x7f == 0);
        let low: [u8; 8] = low.try_into().ok()?;
        let low = match high.is_empty() {
            true => u64::from_be_bytes(low) & !(1 << 63),
            false => u64::from_be_bytes(low),
        };
        return none.then_some(low);
    }
    let text = std::str::from_utf8(field.strip_suffix(&[0])?).ok()?;
    u64::from_str_radix(text, 8).ok()
}
