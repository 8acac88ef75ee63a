//! What can go wrong while a target is written: the step, the path, the next step for the operator.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use crate::settings::TargetPath;

/// Every variant names the path. The cause is in `source()` only; [`InstallError::errno`] gives its number.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InstallError {
    #[error("cannot {step} `{}`{}", path.display(), advice(source))]
    Step {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: Arc<io::Error>,
    },
    #[error(
        "cannot open `{}`, the directory of `{}`; create it, declare `parents: {{}}` to have it made, or correct the target's path",
        directory.display(),
        path.display()
    )]
    NoDirectory {
        directory: PathBuf,
        path: PathBuf,
        #[source]
        source: Arc<io::Error>,
    },
    #[error("cannot use `{}` as a target: it is {found}, not a regular file; {}", path.display(), found.next_step())]
    NotAFile { path: PathBuf, found: Kind },
    #[error(
        "cannot replace `{}`: the file is a mount of its own, and such a file cannot be replaced atomically; \
         declare the target `in_place: true`, or mount its directory instead",
        path.display()
    )]
    Mounted { path: PathBuf },
    #[error(
        "cannot replace `{}`: it is a mount of its own; unmount it, or mount the directory above it instead",
        path.display()
    )]
    MountedDirectory { path: PathBuf },
    #[error(
        "cannot replace `{}`: it is a real directory, not a link of ours; declare the target `adopt: true` to have it taken \
         over (it is kept as the previous generation), or move it away",
        path.display()
    )]
    RealDirectory { path: PathBuf },
    #[error(
        "cannot take over `{}`: its file system cannot exchange a directory for a link; move the directory away, \
         or mount another file system there",
        path.display()
    )]
    NoExchange { path: PathBuf },
    #[error(
        "cannot use `{}` as a directory target: it is {found}, neither a directory nor a link; move it away, \
         or correct the target's path",
        path.display()
    )]
    NotADirectory { path: PathBuf, found: Kind },
    #[error(
        "cannot look into `{}`: there are more directories in each other than a configuration has; remove them",
        path.display()
    )]
    TooDeep { path: PathBuf },
    #[error(
        "cannot replace `{}`: the file is immutable or append-only; take the attribute off with `chattr -i -a`, \
         or remove the target",
        path.display()
    )]
    Immutable { path: PathBuf },
    #[error(
        "cannot follow the link `{}`: it leads to `{}`, which cannot be a target; correct the link",
        path.display(),
        to.display()
    )]
    LeadsAway { path: PathBuf, to: PathBuf },
    #[error(
        "cannot use the way to `{}`: it belongs to uid {owner}, and `{}` before it to uid {from_owner}, who can lead us \
         elsewhere; correct the owners, or declare the target `unsafe_path: true`",
        path.display(),
        from.display()
    )]
    UnsafePath {
        path: PathBuf,
        owner: u32,
        from: PathBuf,
        from_owner: u32,
    },
    #[error(
        "cannot stage in `{}`: it is {found}, not a directory of ours; remove it, the name is reserved",
        path.display()
    )]
    Occupied { path: PathBuf, found: Kind },
    #[error(
        "cannot stage in `{}`: it belongs to uid {owner}, not to us (uid {us}); remove it, \
         or run as the user who owns it",
        path.display()
    )]
    OtherOwner { path: PathBuf, owner: u32, us: u32 },
    #[error("cannot set the owner of `{}`: there is no user `{name}`; create the user, or correct `owner`", path.display())]
    NoUser { path: PathBuf, name: String },
    #[error("cannot set the group of `{}`: there is no group `{name}`; create the group, or correct `group`", path.display())]
    NoGroup { path: PathBuf, name: String },
    #[error(
        "cannot set mode {mode:04o} on `{}`: the kernel dropped bits of it; join the group or run as root, \
         or leave the set-id bits out of `mode`",
        path.display()
    )]
    ModeRefused { path: PathBuf, mode: u32 },
    #[error("cannot read `{}` to keep it: it is larger than {limit} bytes; move it away", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error(
        "cannot rename into `{}`: its staged file is gone, and the target is not the new version; stage it again",
        path.display()
    )]
    StagedGone { path: PathBuf },
}

impl InstallError {
    /// The file or directory that the attempt was about.
    pub fn path(&self) -> &Path {
        match self {
            InstallError::Step { path, .. }
            | InstallError::NoDirectory { path, .. }
            | InstallError::NotAFile { path, .. }
            | InstallError::Mounted { path }
            | InstallError::MountedDirectory { path }
            | InstallError::RealDirectory { path }
            | InstallError::NoExchange { path }
            | InstallError::NotADirectory { path, .. }
            | InstallError::TooDeep { path }
            | InstallError::UnsafePath { path, .. }
            | InstallError::LeadsAway { path, .. }
            | InstallError::Immutable { path }
            | InstallError::Occupied { path, .. }
            | InstallError::OtherOwner { path, .. }
            | InstallError::NoUser { path, .. }
            | InstallError::NoGroup { path, .. }
            | InstallError::ModeRefused { path, .. }
            | InstallError::TooLarge { path, .. }
            | InstallError::StagedGone { path } => path,
        }
    }

    /// The kernel's error number, where the kernel said no.
    pub fn errno(&self) -> Option<i32> {
        match self {
            InstallError::Step { source, .. } | InstallError::NoDirectory { source, .. } => {
                source.raw_os_error()
            }
            InstallError::NotAFile { .. }
            | InstallError::Mounted { .. }
            | InstallError::MountedDirectory { .. }
            | InstallError::RealDirectory { .. }
            | InstallError::NoExchange { .. }
            | InstallError::NotADirectory { .. }
            | InstallError::TooDeep { .. }
            | InstallError::UnsafePath { .. }
            | InstallError::LeadsAway { .. }
            | InstallError::Immutable { .. }
            | InstallError::Occupied { .. }
            | InstallError::OtherOwner { .. }
            | InstallError::NoUser { .. }
            | InstallError::NoGroup { .. }
            | InstallError::ModeRefused { .. }
            | InstallError::TooLarge { .. }
            | InstallError::StagedGone { .. } => None,
        }
    }

    pub(super) fn is(&self, errno: Errno) -> bool {
        self.errno() == Some(errno.raw_os_error())
    }

    /// Adapts a failed call for `map_err`.
    pub(super) fn at<E: Into<io::Error>>(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> InstallError {
        let path = path.into();
        move |error| InstallError::Step {
            step,
            path,
            source: Arc::new(error.into()),
        }
    }
}

/// What lies where a file belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Symlink,
    Directory,
    Fifo,
    Socket,
    Device,
    Unknown,
}

impl Kind {
    pub(super) fn of(mode: rustix::fs::RawMode) -> Kind {
        use rustix::fs::FileType;
        match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Symlink,
            FileType::Directory => Kind::Directory,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::CharacterDevice | FileType::BlockDevice => Kind::Device,
            FileType::Unknown => Kind::Unknown,
        }
    }

    fn next_step(self) -> &'static str {
        match self {
            Kind::Symlink => {
                "declare the target `symlink: follow`, name the file that the link leads to, or remove the link"
            }
            Kind::Directory => "name a file inside it as the target, or remove the directory",
            Kind::File | Kind::Fifo | Kind::Socket | Kind::Device | Kind::Unknown => {
                "correct the target's path"
            }
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::File => "a regular file",
            Kind::Symlink => "a symbolic link",
            Kind::Directory => "a directory",
            Kind::Fifo => "a named pipe",
            Kind::Socket => "a socket",
            Kind::Device => "a device",
            Kind::Unknown => "something unknown",
        })
    }
}

/// The next step for the causes that operators meet.
fn advice(source: &io::Error) -> &'static str {
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC) => "; make room (blocks or inodes) on its file system",
        Some(Errno::DQUOT) => "; raise the quota or make room",
        Some(Errno::ROFS) => {
            "; its file system is read-only here, and neither a rename nor `in_place: true` can do without writing beside the file: \
             mount the directory writable, or list it in the unit's `ReadWritePaths=`"
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            "; run as a user who may do this (root, or with the capability), or change the target's directory, owner or mode"
        }
        Some(Errno::XDEV) => {
            "; it and `.appconfigd` beside it are on different mounts: unmount `.appconfigd`, or declare the target `in_place: true`"
        }
        Some(Errno::BUSY) => {
            "; it is a mount of its own or in use: declare the target `in_place: true`, or mount its directory instead of the file"
        }
        Some(Errno::LOOP) => "; its links lead round in a circle: correct them",
        Some(Errno::NAMETOOLONG) => "; shorten the name: file systems allow 255 bytes",
        Some(Errno::NOSYS) => {
            "; an alternate root needs Linux 5.6 or later, and a sandbox that allows openat2"
        }
        Some(Errno::IO) => "; look for disk errors in the kernel's log",
        Some(Errno::FBIG) => {
            "; raise the limit of file sizes (`LimitFSIZE=`), or use a file system that holds such files"
        }
        Some(Errno::MFILE | Errno::NFILE) => "; raise the limit of open files (`LimitNOFILE=`)",
        _ => "",
    }
}

/// A swap that stopped, and at which targets: others of the transaction may do well without them.
#[derive(Clone, Debug)]
pub struct NotSwapped {
    pub targets: Vec<TargetPath>,
    pub error: InstallError,
}
