//! A child that is measured: what the kernel says of it, and its end.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// A running process; killed when dropped.
pub struct Process(pub Child);

/// Megabytes, of 1,000,000 bytes.
pub struct Memory {
    pub resident: f64,
    /// Not pages of files: heap and stacks.
    pub anonymous: f64,
    pub threads: u64,
}

impl Process {
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Processor time of all its threads, those that have ended too, without its children.
    pub fn processor(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // The name may hold anything, but ends with the last parenthesis.
        let after = stat.rsplit_once(')').unwrap().1;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let a_second = sysconf(SysconfVar::CLK_TCK).unwrap().unwrap();
        Duration::from_secs_f64(ticks as f64 / a_second as f64)
    }

    pub fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let field = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Memory {
            resident: field("VmRSS:") as f64 * 1_024.0 / 1e6,
            anonymous: field("RssAnon:") as f64 * 1_024.0 / 1e6,
            threads: field("Threads:"),
        }
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Ends it in order, within a minute.
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let since = Instant::now();
        while self.0.try_wait().unwrap().is_none() && since.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
