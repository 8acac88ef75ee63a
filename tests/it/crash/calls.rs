//! The system calls that the tracer knows, by their numbers on this architecture.

use nix::libc;

/// What a call is about.
#[derive(Clone, Copy, Debug)]
pub enum Operand {
    /// A descriptor, at this place among the arguments.
    Descriptor(usize),
    /// A path, seen from the current directory.
    Path(usize),
    /// A descriptor of a directory, and the path that follows it.
    At(usize),
}

use Operand::{At, Descriptor, Path};

#[derive(Debug)]
pub struct Known {
    pub number: i64,
    pub name: &'static str,
    /// None: it is about a process.
    pub operands: &'static [Operand],
    /// A crash before it and a crash after it leave different things behind.
    pub changes: bool,
}

const fn changes(number: i64, name: &'static str, operands: &'static [Operand]) -> Known {
    Known {
        number,
        name,
        operands,
        changes: true,
    }
}

const fn looks(number: i64, name: &'static str, operands: &'static [Operand]) -> Known {
    Known {
        number,
        name,
        operands,
        changes: false,
    }
}

const KNOWN: &[Known] = &[
    changes(libc::SYS_openat, "openat", &[At(0)]),
    changes(libc::SYS_open, "open", &[Path(0)]),
    changes(libc::SYS_mkdirat, "mkdirat", &[At(0)]),
    changes(libc::SYS_mkdir, "mkdir", &[Path(0)]),
    changes(libc::SYS_unlinkat, "unlinkat", &[At(0)]),
    changes(libc::SYS_unlink, "unlink", &[Path(0)]),
    changes(libc::SYS_rmdir, "rmdir", &[Path(0)]),
    changes(libc::SYS_renameat, "renameat", &[At(0), At(2)]),
    changes(libc::SYS_renameat2, "renameat2", &[At(0), At(2)]),
    changes(libc::SYS_rename, "rename", &[Path(0), Path(1)]),
    changes(libc::SYS_linkat, "linkat", &[At(0), At(2)]),
    changes(libc::SYS_symlinkat, "symlinkat", &[At(1)]),
    changes(libc::SYS_write, "write", &[Descriptor(0)]),
    changes(libc::SYS_writev, "writev", &[Descriptor(0)]),
    changes(libc::SYS_pwrite64, "pwrite64", &[Descriptor(0)]),
    changes(libc::SYS_ftruncate, "ftruncate", &[Descriptor(0)]),
    changes(libc::SYS_fallocate, "fallocate", &[Descriptor(0)]),
    changes(libc::SYS_fsync, "fsync", &[Descriptor(0)]),
    changes(libc::SYS_fdatasync, "fdatasync", &[Descriptor(0)]),
    changes(libc::SYS_fchmod, "fchmod", &[Descriptor(0)]),
    changes(libc::SYS_fchmodat, "fchmodat", &[At(0)]),
    changes(libc::SYS_chmod, "chmod", &[Path(0)]),
    changes(libc::SYS_fchown, "fchown", &[Descriptor(0)]),
    changes(libc::SYS_fchownat, "fchownat", &[At(0)]),
    changes(libc::SYS_utimensat, "utimensat", &[At(0)]),
    changes(
        libc::SYS_copy_file_range,
        "copy_file_range",
        &[Descriptor(2), Descriptor(0)],
    ),
    changes(
        libc::SYS_sendfile,
        "sendfile",
        &[Descriptor(0), Descriptor(1)],
    ),
    changes(libc::SYS_fsetxattr, "fsetxattr", &[Descriptor(0)]),
    changes(libc::SYS_setxattr, "setxattr", &[Path(0)]),
    changes(libc::SYS_lsetxattr, "lsetxattr", &[Path(0)]),
    changes(libc::SYS_fremovexattr, "fremovexattr", &[Descriptor(0)]),
    changes(libc::SYS_removexattr, "removexattr", &[Path(0)]),
    changes(libc::SYS_clone, "clone", &[]),
    changes(libc::SYS_clone3, "clone3", &[]),
    changes(libc::SYS_vfork, "vfork", &[]),
    changes(libc::SYS_kill, "kill", &[]),
    changes(libc::SYS_pidfd_send_signal, "pidfd_send_signal", &[]),
    changes(libc::SYS_wait4, "wait4", &[]),
    changes(libc::SYS_waitid, "waitid", &[]),
    looks(libc::SYS_openat2, "openat2", &[At(0)]),
    looks(libc::SYS_read, "read", &[Descriptor(0)]),
    looks(libc::SYS_pread64, "pread64", &[Descriptor(0)]),
    looks(libc::SYS_fstat, "fstat", &[Descriptor(0)]),
    looks(libc::SYS_newfstatat, "newfstatat", &[At(0)]),
    looks(libc::SYS_statx, "statx", &[At(0)]),
    looks(libc::SYS_getdents64, "getdents64", &[Descriptor(0)]),
    looks(libc::SYS_flistxattr, "flistxattr", &[Descriptor(0)]),
    looks(libc::SYS_fgetxattr, "fgetxattr", &[Descriptor(0)]),
    looks(libc::SYS_pidfd_open, "pidfd_open", &[]),
];

pub fn known(number: u64) -> Option<&'static Known> {
    let number = i64::try_from(number).ok()?;
    KNOWN.iter().find(|known| known.number == number)
}
