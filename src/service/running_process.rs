//! What /proc says of a process (proc_pid_stat(5), proc_pid_status(5)).

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use rustix::process::Signal;

/// One process at one moment. Belongs to the process that a pidfd names only if that still takes signals afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunningProcess {
    /// Since boot, suspend included; rounded down to 10 ms.
    pub started: Duration,
    /// Real and effective.
    pub users: [u32; 2],
    /// The number of the process that started it, or that took it over.
    pub parent: i32,
    /// It lives in a PID namespace below ours: in a container.
    pub nested: bool,
    /// Caught or ignored; bit n-1 is signal n.
    handled: u64,
    /// Blocked at this moment.
    blocked: u64,
}

/// What to do about a process that runs and is not seen.
pub const HIDDEN: &str = "/proc does not show it; mount /proc, or let this user see others' processes (`hidepid=`, `ProtectProc=`)";

/// What a signal would do to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The process has said what is to happen, the signal is harmless by default, or it is meant to end or stop.
    Borne,
    /// It waits: for signalfd or sigwait, or only until a moment is over in which the process (mostly while it starts
    /// a child) lets no signal through.
    Held,
    Deadly,
}

/// Ticks a second in /proc, on every architecture that Linux still has.
const TICKS: u64 = 100;

impl RunningProcess {
    /// `None` where there is no such process, or only a zombie.
    pub fn read(pid: i32) -> Option<RunningProcess> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        RunningProcess::parse(&stat, &status)
    }

    /// Whether there is such a process of which /proc says nothing: it is not mounted, or not for this user's eyes.
    pub fn is_hidden(pid: i32) -> bool {
        !Path::new(&format!("/proc/{pid}")).exists()
            && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
    }

    pub fn effect_of(&self, signal: Signal) -> Effect {
        let by_default = match signal {
            Signal::CHILD | Signal::CONT | Signal::URG | Signal::WINCH => Effect::Borne,
            Signal::TERM | Signal::INT | Signal::QUIT | Signal::KILL => Effect::Borne,
            Signal::STOP | Signal::TSTP | Signal::TTIN | Signal::TTOU => Effect::Borne,
            _ => Effect::Deadly,
        };
        let number = u32::try_from(signal.as_raw()).unwrap_or_default();
        let bit = 1u64.checked_shl(number.wrapping_sub(1)).unwrap_or_default();
        if self.handled & bit != 0 {
            Effect::Borne
        } else if self.blocked & bit != 0 && by_default == Effect::Deadly {
            Effect::Held
        } else {
            by_default
        }
    }

    /// Whether one of the process's threads waits in sigwait(3). The kernel shows the signals that it waits for as not
    /// blocked, and delivers them to it all the same. `false` also where the kernel does not tell.
    pub fn waits_for_signals(pid: i32) -> bool {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            return false;
        };
        threads.flatten().any(|thread| {
            std::fs::read_to_string(thread.path().join("wchan"))
                .is_ok_and(|place| place.contains("sigtimedwait"))
        })
    }

    fn parse(stat: &str, status: &str) -> Option<RunningProcess> {
        // The command's name in parentheses may hold anything, parentheses too.
        let (_, after) = stat.rsplit_once(") ")?;
        let mut fields = after.split(' ');
        if matches!(fields.next()?, "Z" | "X" | "x") {
            return None;
        }
        // Field 22 of the file; the state is field 3, the parent field 4.
        let parent = fields.next()?.parse().ok()?;
        let ticks: u64 = fields.nth(17)?.parse().ok()?;
        let of = |key: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .map(str::trim)
        };
        let mask = |key: &str| u64::from_str_radix(of(key)?, 16).ok();
        let mut users = of("Uid:")?.split_whitespace().map(|id| id.parse().ok());
        Some(RunningProcess {
            started: Duration::from_millis(ticks.checked_mul(1000 / TICKS)?),
            users: [users.next()??, users.next()??],
            parent,
            nested: of("NSpid:").is_some_and(|numbers| numbers.split_whitespace().count() > 1),
            handled: mask("SigCgt:")? | mask("SigIgn:")?,
            blocked: mask("SigBlk:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_files_of_proc_are_read() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 99 1";
        let status = "Name:\ta\nUid:\t1000\t33\t0\t0\nSigBlk:\t0000000000000200\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000001\n";
        let process = RunningProcess::parse(stat, status).unwrap();
        assert_eq!(process.started, Duration::from_millis(123_450));
        assert_eq!(process.users, [1000, 33]);
        assert_eq!((process.parent, process.nested), (1, false));
        let nested = format!("{status}NSpid:\t42\t1\n");
        assert!(RunningProcess::parse(stat, &nested).unwrap().nested);
        assert_eq!(process.effect_of(Signal::HUP), Effect::Borne, "caught");
        assert_eq!(process.effect_of(Signal::USR1), Effect::Held);
        assert_eq!(process.effect_of(Signal::USR2), Effect::Deadly);
        assert_eq!(process.effect_of(Signal::WINCH), Effect::Borne);
        assert_eq!(
            RunningProcess::parse(&stat.replace(") S", ") Z"), status),
            None
        );
    }

    #[test]
    fn we_run_and_started_before_now() {
        let now = crate::clock::Clock::system().now().steady;
        let own = RunningProcess::read(std::process::id() as i32).unwrap();
        assert!(own.started <= now && now - own.started < Duration::from_secs(3600));
    }

    proptest! {
        #[test]
        fn nothing_in_these_files_makes_the_reader_panic(stat in ".*", status in ".*", ticks in any::<u64>()) {
            let _ = RunningProcess::parse(&stat, &status);
            let long = format!("1 (x) S 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 {ticks} 0");
            let _ = RunningProcess::parse(&long, "Uid: 1 1\nSigBlk: 0\nSigIgn: 0\nSigCgt: 0");
        }
    }
}
