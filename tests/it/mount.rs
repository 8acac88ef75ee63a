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

    /// `upper` over `lower`, with `work`, all three in this directory. `None` where mounting is not allowed.
    pub fn overlay(at: &Path, layers: &Path) -> Option<Mount> {
        std::fs::create_dir_all(at).unwrap();
        let layers = layers.display();
        let options =
            format!("lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/work");
        mount([
            OsStr::new("-t"),
            OsStr::new("overlay"),
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

/// A file system that can be made to hang: whoever writes to it waits. Goes on, and is gone, with the value.
pub struct Frozen(Mount);

impl Frozen {
    /// `None` where there is no loop device, or mounting is not allowed.
    pub fn mount(image: &Path, at: &Path) -> Option<Frozen> {
        std::fs::create_dir_all(at).unwrap();
        std::fs::File::create(image)
            .unwrap()
            .set_len(16 << 20)
            .unwrap();
        let made = Command::new("mkfs.ext4")
            .arg("-q")
            .arg(image)
            .stderr(Stdio::null())
            .status();
        let options = [
            OsStr::new("-o"),
            OsStr::new("loop"),
            image.as_os_str(),
            at.as_os_str(),
        ];
        let mounted = made.is_ok_and(|status| status.success()) && mount(options);
        mounted.then(|| Frozen(Mount(at.to_owned())))
    }

    pub fn freeze(&self) {
        assert!(self.fsfreeze("-f"), "it does not freeze");
    }

    fn fsfreeze(&self, how: &str) -> bool {
        let status = Command::new("fsfreeze")
            .arg(how)
            .arg(&self.0.0)
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.fsfreeze("-u");
    }
}
