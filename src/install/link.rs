//! Where a link that may be followed leads to.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::directory::Directory;
use super::error::{InstallError, Kind};
use super::file;
use super::walk::{self, Stop};
use crate::settings::TargetPath;

/// As many as the kernel follows.
const MOST_LINKS: usize = 40;

/// The path without links of what the target's link leads to, whether it is there or not; `None` where the target is no link. Below a
/// root an absolute link begins at the root, and nothing leads out of it.
pub(super) fn follow(
    root: Option<&Path>,
    target: &TargetPath,
    unsafe_path: bool,
) -> Result<Option<TargetPath>, InstallError> {
    let mut last: Option<Stop> = None;
    let mut path = PathBuf::from(target.as_str());
    for followed in 0..=MOST_LINKS {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            let found = Kind::Directory;
            return Err(InstallError::NotAFile { path, found });
        };
        let (parent, name) = (text(target, parent)?, text(target, Path::new(name))?);
        let directory = Directory::open_at(root, parent, name, unsafe_path)?;
        let lies = directory.path_of(name);
        let found = file::stat(directory.fd(), name, &lies)?;
        let is_link = found.is_some_and(|stat| Kind::of(stat.st_mode) == Kind::Symlink);
        if !unsafe_path && walk::is_judged() {
            let next = directory.stop()?;
            if let Some(last) = &last {
                walk::step(last, &next)?;
            }
            if let (true, Some(stat)) = (is_link, found) {
                let link = Stop {
                    path: lies.clone(),
                    stat,
                };
                walk::step(&next, &link)?;
                last = Some(link);
            }
        }
        let inside = inside(root, &directory)?;
        if !is_link {
            if followed == 0 {
                return Ok(None);
            }
            let end = inside.join(name);
            return match TargetPath::new(text(target, &end)?) {
                Some(end) if !end.is_reserved() => Ok(Some(end)),
                Some(_) | None => Err(leads_away(target, &end)),
            };
        }
        let link = rustix::fs::readlinkat(directory.fd(), name, Vec::new())
            .map_err(InstallError::at("follow the link", lies))?;
        // An absolute text takes the place of what is before it.
        path = inside.join(OsStr::from_bytes(link.as_bytes()));
    }
    Err(InstallError::at("follow the link", target.as_str())(
        Errno::LOOP,
    ))
}

/// The directory's path without links, as seen from the root.
fn inside(root: Option<&Path>, directory: &Directory) -> Result<PathBuf, InstallError> {
    let failed = |path: PathBuf| InstallError::at("follow the link", path)(Errno::NOENT);
    let real = directory
        .real_path()
        .ok_or_else(|| failed(directory.path_of("")))?;
    let Some(root) = root else {
        return Ok(real);
    };
    let root = std::fs::canonicalize(root).map_err(InstallError::at("open", root))?;
    match real.strip_prefix(&root) {
        Ok(below) => Ok(Path::new("/").join(below)),
        Err(_) => Err(failed(real)),
    }
}

fn text<'a>(target: &TargetPath, path: &'a Path) -> Result<&'a str, InstallError> {
    path.to_str().ok_or_else(|| leads_away(target, path))
}

fn leads_away(target: &TargetPath, to: &Path) -> InstallError {
    InstallError::LeadsAway {
        path: target.as_str().into(),
        to: to.into(),
    }
}
