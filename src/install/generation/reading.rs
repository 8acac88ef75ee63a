//! What lies at a directory target's path, as an archive or as the digest of one.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};
use sha2::{Digest as _, Sha256};

use super::{DEEPEST, Present, names, open};
use crate::install::archive::{end, header, padding};
use crate::install::directory::Directory;
use crate::install::error::{InstallError, Kind};
use crate::install::file::READ_LIMIT;
use crate::install::tree::What;
use crate::install::{Attributes, Metadata};
use crate::protocol::Digest;

/// What was found.
pub(in crate::install) struct Looked<T> {
    /// The archive, or its digest.
    pub archive: T,
    /// Of the directory; of the link, where it leads to none of our generations.
    pub metadata: Metadata,
    /// A directory, not a link to one.
    pub is_real: bool,
}

/// The digest of what lies there, read in pieces.
pub(in crate::install) fn look(
    directory: &Directory,
    name: &str,
) -> Result<Option<Looked<Digest>>, InstallError> {
    let mut sha = Sha256::new();
    let packed = pack(directory, name, &mut |bytes| {
        sha.update(bytes);
        Ok(())
    })?;
    Ok(packed.map(|(metadata, is_real)| Looked {
        archive: Digest::from_bytes(sha.finalize().into()),
        metadata,
        is_real,
    }))
}

/// The archive of what lies there; one over 64 MiB is an error.
pub(in crate::install) fn read(
    directory: &Directory,
    name: &str,
) -> Result<Option<Looked<Vec<u8>>>, InstallError> {
    let mut archive: Vec<u8> = Vec::new();
    let path = directory.path_of(name);
    let packed = pack(directory, name, &mut |bytes| {
        if (archive.len() + bytes.len()) as u64 > READ_LIMIT {
            let (path, limit) = (path.clone(), READ_LIMIT);
            return Err(InstallError::TooLarge { path, limit });
        }
        archive.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok(packed.map(|(metadata, is_real)| Looked {
        archive,
        metadata,
        is_real,
    }))
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), InstallError>;

fn pack(
    directory: &Directory,
    name: &str,
    sink: Sink<'_>,
) -> Result<Option<(Metadata, bool)>, InstallError> {
    let present = Present::at(directory, name)?;
    let is_real = matches!(present, Present::Directory);
    let inside = present.generation(name).or(is_real.then_some(name));
    if let Some(inside) = inside {
        let path = directory.path_of(inside);
        if let Some(fd) = open(directory.fd(), OsStr::new(inside), &path)? {
            let mut pack = Pack { path, sink };
            let metadata = pack.directory(fd.as_fd(), Path::new(""), 0)?;
            (pack.sink)(&end())?;
            return Ok(Some((metadata, is_real)));
        }
    }
    // A link that leads elsewhere, or to a generation that is gone: its text is all that is ours to look at.
    let Present::Link(text, stat) = present else {
        return Ok(None);
    };
    let metadata = metadata(&stat);
    sink(&header(Path::new(""), &metadata, &What::Link(text), 0))?;
    sink(&end())?;
    Ok(Some((metadata, false)))
}

fn metadata(stat: &Stat) -> Metadata {
    Metadata {
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        attributes: Attributes::default(),
    }
}

struct Pack<'a> {
    /// Of the whole, for messages.
    path: PathBuf,
    sink: Sink<'a>,
}

impl Pack<'_> {
    fn directory(
        &mut self,
        fd: BorrowedFd<'_>,
        at: &Path,
        depth: usize,
    ) -> Result<Metadata, InstallError> {
        let path = self.path.join(at);
        if depth > DEEPEST {
            return Err(InstallError::TooDeep { path });
        }
        let stat = rustix::fs::fstat(fd).map_err(InstallError::at("look at", &path))?;
        let own = metadata(&stat);
        (self.sink)(&header(at, &own, &What::Directory, 0))?;
        for name in names(fd, &path)? {
            let at = at.join(&name);
            let path = path.join(&name);
            let stat = match rustix::fs::statat(fd, &name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // Gone while we look; whoever took it away makes us look again.
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(InstallError::at("look at", path)(errno)),
            };
            match Kind::of(stat.st_mode) {
                Kind::Directory => {
                    if let Some(inside) = open(fd, &name, &path)? {
                        self.directory(inside.as_fd(), &at, depth + 1)?;
                    }
                }
                Kind::File => self.file(fd, &name, &at)?,
                Kind::Symlink => {
                    let text = match rustix::fs::readlinkat(fd, &name, Vec::new()) {
                        Ok(text) => text.into_bytes(),
                        Err(Errno::NOENT | Errno::INVAL) => continue,
                        Err(errno) => return Err(InstallError::at("read the link", path)(errno)),
                    };
                    let what = What::Link(std::ffi::OsString::from_vec(text));
                    (self.sink)(&header(&at, &metadata(&stat), &what, 0))?;
                }
                Kind::Fifo | Kind::Socket | Kind::Device | Kind::Unknown => {
                    (self.sink)(&header(&at, &metadata(&stat), &What::Other, 0))?;
                }
            }
        }
        Ok(own)
    }

    fn file(&mut self, fd: BorrowedFd<'_>, name: &OsStr, at: &Path) -> Result<(), InstallError> {
        let path = self.path.join(at);
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match retry_on_intr(|| rustix::fs::openat(fd, name, flags, Mode::empty())) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::LOOP) => return Ok(()),
            Err(errno) => return Err(InstallError::at("open", path)(errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(InstallError::at("look at", &path))?;
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let what = What::File(Default::default());
        (self.sink)(&header(at, &metadata(&stat), &what, size))?;
        // Exactly as many bytes as the header says, whatever somebody does to the file meanwhile.
        let mut left = size;
        let mut buffer = vec![0; 64 << 10];
        let mut file = file.take(size);
        while left > 0 {
            let read = match file.read(&mut buffer) {
                Ok(0) => {
                    buffer.fill(0);
                    buffer
                        .len()
                        .min(usize::try_from(left).unwrap_or(usize::MAX))
                }
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(InstallError::at("read", path)(error)),
            };
            (self.sink)(buffer.get(..read).unwrap_or_default())?;
            left = left.saturating_sub(read as u64);
        }
        (self.sink)(&padding(size))
    }
}
