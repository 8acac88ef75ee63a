//! Whether somebody has written to what was staged.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a file, or a directory with all that is in it, looks like; as long as nobody has written to it, it looks the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untouched(Vec<(PathBuf, Stamp)>);

/// Device and inode, size, and when it was written to or given another owner or mode.
type Stamp = (u64, u64, u64, i64, i64);

impl Untouched {
    /// Links are not followed.
    pub fn look(path: &Path) -> io::Result<Untouched> {
        let mut seen = Vec::new();
        let mut waiting = vec![path.to_owned()];
        while let Some(path) = waiting.pop() {
            let found = fs::symlink_metadata(&path)?;
            let stamp = (
                found.dev(),
                found.ino(),
                found.size(),
                found.ctime(),
                found.ctime_nsec(),
            );
            if found.is_dir() {
                for entry in fs::read_dir(&path)? {
                    waiting.push(entry?.path());
                }
            }
            seen.push((path, stamp));
        }
        seen.sort();
        Ok(Untouched(seen))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn reading_leaves_it_untouched_and_writing_anywhere_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let (tree, file) = (directory.path().join("t"), directory.path().join("t/d/f"));
        let edits: [fn(&Path); 4] = [
            |file| fs::write(file, "two").unwrap(),
            |file| fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap(),
            |file| fs::remove_file(file).unwrap(),
            |file| fs::write(file.with_file_name("new"), "").unwrap(),
        ];
        for edit in edits {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "one").unwrap();
            let before = Untouched::look(&tree).unwrap();
            fs::read(&file).unwrap();
            assert_eq!(Untouched::look(&tree).unwrap(), before);
            // Kernels count these times in ticks of a few milliseconds.
            std::thread::park_timeout(std::time::Duration::from_millis(20));
            edit(&file);
            assert_ne!(Untouched::look(&tree).unwrap(), before);
        }
        assert!(Untouched::look(&directory.path().join("gone")).is_err());
    }
}
