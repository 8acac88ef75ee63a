//! Small file systems of a test's own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something mounted; gone with the value.
pub struct Mount(PathBuf);

impl Mount {
    /// An empty file system of this size. `None` where mounting is not allowed.
    pub fn tmpfs(at: &Path, size: &str) -> Option<Mount> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=0755");
        mount([
            OsStr::new("-t"),
            OsStr::new("tmpfs"),
            OsStr::new("-o"),
            options.as_ref(),
            OsStr::new("none"),
            at.as_os_str(),
        ])
        .then(|| Mount(at.to_owned()))
    }

    /// From now on nothing can be written there, or can again. False where somebody has a file open for writing.
    pub fn read_only(&self, on: bool) -> bool {
        let option = if on { "remount,ro" } else { "remount,rw" };
        mount([OsStr::new("-o"), OsStr::new(option), self.0.as_os_str()])
    }

    /// Takes all the room that is left, in a file there.
    pub fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        filler
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount<const N: usize>(arguments: [&OsStr; N]) -> bool {
    let status = Command::new("mount")
        .args(arguments)
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
