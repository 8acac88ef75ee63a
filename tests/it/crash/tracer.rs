//! A tracer of our own (ptrace(2)): it sees every call of the agent's threads that changes a file, the ledger or a
//! process, in the order in which they happen, and may kill the agent or fail the call.
//!
//! strace can do the same, but counts by thread, and which thread does what is not the same in two runs. Here the call
//! number N is the Nth of this run, so a number is never missed. Programs that the agent starts are let go.

use std::collections::BTreeMap;
use std::fs;
use std::io::IoSliceMut;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::calls::{self, Operand};

/// A call at its entry: nothing of it has happened yet.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: &'static str,
    /// The files that it names, or has open.
    pub paths: Vec<PathBuf>,
    pub changes: bool,
    pub thread: Pid,
    pub arguments: [u64; 5],
}

impl Call {
    /// Without what differs from run to run; paths as seen from `place`.
    pub fn words(&self, place: &Path) -> String {
        let paths = self.paths.iter().map(|path| {
            let path = path.strip_prefix(place).unwrap_or(path);
            let mut words: Vec<String> = Vec::new();
            for name in path {
                let name = name.to_string_lossy();
                let is_drawn = words.last().is_some_and(|own| own == ".appconfigd");
                let shown = name.chars().take(if is_drawn { 4 } else { usize::MAX });
                let end = if is_drawn { "…" } else { "" };
                words.push(format!("{}{end}", shown.collect::<String>()));
            }
            words.join("/")
        });
        let paths: Vec<String> = paths.collect();
        format!("{} {}", self.name, paths.join(" "))
            .trim()
            .to_owned()
    }
}

/// Decides about calls, and may look at what has become of them.
pub trait Judge: Send + 'static {
    fn enters(&mut self, call: &Call) -> Act;

    /// The call has happened, or failed: a negative result.
    fn has_left(&mut self, _call: &Call, _result: i64) {}
}

impl<J: FnMut(&Call) -> Act + Send + 'static> Judge for J {
    fn enters(&mut self, call: &Call) -> Act {
        self(call)
    }
}

/// What becomes of a call.
pub enum Act {
    Happens,
    /// The agent is killed, and the call does not happen.
    Kills,
    Fails(Errno),
}

/// A process that is traced.
pub struct Traced {
    pub pid: Pid,
    tracing: JoinHandle<Option<i32>>,
}

/// Starts a command. `judge` is asked about every call that `calls` knows and that is about something below `place`, or
/// about a process.
pub fn trace(command: Command, place: PathBuf, judge: impl Judge) -> Traced {
    let (sender, receiver) = channel();
    // A thread of its own: when it ends, what the agent was about to start when it was killed is let go by the kernel.
    let tracing = std::thread::spawn(move || {
        let agent = start(&command);
        sender.send(agent).unwrap();
        let mut tracer = Tracer {
            agent,
            place,
            judge,
            failing: BTreeMap::new(),
            inside: BTreeMap::new(),
        };
        loop {
            match tracer.step() {
                Some(End::Code(code)) => return Some(code),
                Some(End::Killed) => return None,
                None => {}
            }
        }
    });
    let pid = receiver.recv().unwrap();
    Traced { pid, tracing }
}

impl Traced {
    pub fn has_ended(&self) -> bool {
        self.tracing.is_finished()
    }

    /// The exit code; `None` for a death by signal.
    pub fn wait(self) -> Option<i32> {
        self.tracing.join().unwrap()
    }
}

/// A stopped process that is traced from its first call on.
#[expect(
    clippy::zombie_processes,
    reason = "the tracer waits for it, as for each of its threads"
)]
fn start(command: &Command) -> Pid {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .env_clear();
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
        let mut log = fs::File::options();
        log.create(true).append(true);
        shell.stderr(log.open(directory.join("run.log")).unwrap());
    }
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap());
    }
    let child = shell.spawn().unwrap();
    let agent = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let stopped = waitpid(agent, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert_eq!(stopped, WaitStatus::Stopped(agent, Signal::SIGSTOP));
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(agent, options).unwrap();
    kill(agent, Signal::SIGCONT).unwrap();
    agent
}

enum End {
    Code(i32),
    Killed,
}

struct Tracer<J> {
    agent: Pid,
    place: PathBuf,
    judge: J,
    /// Threads in a call that is to fail.
    failing: BTreeMap<Pid, Errno>,
    /// Threads in a call that has been judged.
    inside: BTreeMap<Pid, Call>,
}

impl<J: Judge> Tracer<J> {
    fn step(&mut self) -> Option<End> {
        // This thread's own children only.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        match waitpid(None, Some(flags)).unwrap() {
            WaitStatus::PtraceSyscall(thread) => self.call(thread),
            WaitStatus::PtraceEvent(thread, _, _) if !self.is_agent(thread) => {
                let _ = ptrace::detach(thread, None);
            }
            WaitStatus::PtraceEvent(thread, _, _) => go_on(thread, None),
            WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal)),
            WaitStatus::Exited(thread, code) if thread == self.agent => {
                return Some(End::Code(code));
            }
            WaitStatus::Signaled(thread, _, _) if thread == self.agent => {
                return Some(End::Killed);
            }
            _ => {}
        }
        None
    }

    fn is_agent(&self, thread: Pid) -> bool {
        let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
        let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        group.is_some_and(|group| group.trim() == self.agent.to_string())
    }

    fn call(&mut self, thread: Pid) {
        // Gone by another thread's kill, or by exec.
        let Ok(mut registers) = ptrace::getregs(thread) else {
            return;
        };
        if let Some(errno) = self.failing.remove(&thread) {
            registers.rax = (-i64::from(errno as i32)).cast_unsigned();
            let _ = ptrace::setregs(thread, registers);
            return go_on(thread, None);
        }
        // Only at the entry: no call that is made here is unknown to the kernel.
        let entry = registers.rax.cast_signed() == -i64::from(Errno::ENOSYS as i32);
        if !entry {
            if let Some(call) = self.inside.remove(&thread) {
                self.judge.has_left(&call, registers.rax.cast_signed());
            }
            return go_on(thread, None);
        }
        let act = match self.known(thread, &registers) {
            Some(call) => {
                let act = self.judge.enters(&call);
                self.inside.insert(thread, call);
                act
            }
            None => Act::Happens,
        };
        match act {
            Act::Happens => {}
            Act::Kills => {
                let _ = kill(self.agent, Signal::SIGKILL);
            }
            Act::Fails(errno) => {
                registers.orig_rax = u64::MAX;
                ptrace::setregs(thread, registers).unwrap();
                self.failing.insert(thread, errno);
                self.inside.remove(&thread);
            }
        }
        go_on(thread, None);
    }

    /// The call, if it is one that matters here.
    fn known(&self, thread: Pid, registers: &nix::libc::user_regs_struct) -> Option<Call> {
        let known = calls::known(registers.orig_rax)?;
        let arguments = [
            registers.rdi,
            registers.rsi,
            registers.rdx,
            registers.r10,
            registers.r8,
        ];
        let paths: Vec<PathBuf> = known
            .operands
            .iter()
            .filter_map(|operand| self.path(thread, *operand, &arguments))
            .collect();
        let ours = paths.iter().any(|path| path.starts_with(&self.place));
        let creates = (nix::libc::O_CREAT | nix::libc::O_TRUNC) as u64;
        let only_opens = known.name == "openat" && arguments[2] & creates == 0;
        (ours || known.operands.is_empty()).then_some(Call {
            name: known.name,
            paths,
            changes: known.changes && !only_opens,
            thread,
            arguments,
        })
    }

    fn path(&self, thread: Pid, operand: Operand, arguments: &[u64]) -> Option<PathBuf> {
        let open = |descriptor: u64| {
            let descriptor = descriptor as i32;
            let link = match descriptor {
                nix::libc::AT_FDCWD => format!("/proc/{thread}/cwd"),
                _ => format!("/proc/{thread}/fd/{descriptor}"),
            };
            fs::read_link(link).ok()
        };
        match operand {
            Operand::Descriptor(at) => open(arguments[at]),
            Operand::Path(at) => {
                let path = text(thread, arguments[at])?;
                Some(open(nix::libc::AT_FDCWD as u64)?.join(path))
            }
            // No path is the descriptor itself.
            Operand::At(at) if arguments[at + 1] == 0 => open(arguments[at]),
            Operand::At(at) => {
                let path = text(thread, arguments[at + 1])?;
                Some(open(arguments[at])?.join(path))
            }
        }
    }
}

fn go_on(thread: Pid, signal: Option<Signal>) {
    // It may have been killed in the meantime.
    let _ = ptrace::syscall(thread, signal);
}

/// Bytes in the memory of another process.
pub fn bytes(thread: Pid, address: u64, len: u64) -> Vec<u8> {
    let base = usize::try_from(address).unwrap();
    let mut bytes = vec![0; usize::try_from(len).unwrap()];
    let len = bytes.len();
    let remote = RemoteIoVec { base, len };
    let read = process_vm_readv(thread, &mut [IoSliceMut::new(&mut bytes)], &[remote]).unwrap();
    assert_eq!(read, len, "it is about to be written");
    bytes
}

/// A string in the memory of another process.
fn text(thread: Pid, address: u64) -> Option<String> {
    const PAGE: usize = 4096;
    let mut bytes = Vec::new();
    let mut base = usize::try_from(address).ok()?;
    while bytes.len() < PAGE {
        // To the end of the page: the next one may not be there.
        let mut chunk = vec![0; PAGE - base % PAGE];
        let len = chunk.len();
        let remote = RemoteIoVec { base, len };
        let read = process_vm_readv(thread, &mut [IoSliceMut::new(&mut chunk)], &[remote]).ok()?;
        let end = chunk[..read].iter().position(|byte| *byte == 0);
        bytes.extend_from_slice(&chunk[..end.unwrap_or(read)]);
        if end.is_some() {
            return String::from_utf8(bytes).ok();
        }
        base += read;
    }
    None
}
