//! Processes that a service's command has left behind in our own unit: they end when we do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::running_process::RunningProcess;
use crate::settings::ServiceName;
use crate::words;

/// Finds them and says so, once each. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LeftBehind {
    /// Of our unit's control group; `None` where we are no unit, for then nobody ends them.
    members: Option<PathBuf>,
    /// By number and start.
    known: Arc<Mutex<BTreeSet<(i32, Duration)>>>,
}

/// What a command has started to end by itself, such as the rest of a pipeline, is given this time.
const LINGERS: Duration = Duration::from_secs(1);

const CGROUPS: &str = "/sys/fs/cgroup";

impl LeftBehind {
    pub fn of_our_unit() -> LeftBehind {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        LeftBehind::in_file(members(&own))
    }

    fn in_file(members: Option<PathBuf>) -> LeftBehind {
        LeftBehind {
            members,
            known: Arc::default(),
        }
    }

    /// Looks a little later, without keeping anybody waiting.
    pub fn look(&self, service: &ServiceName) {
        let Some(members) = self.members.clone() else {
            return;
        };
        let (known, service) = (Arc::clone(&self.known), service.clone());
        tokio::spawn(async move {
            sleep(LINGERS).await;
            for (pid, started, name) in orphans(&members, &service) {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                if known.insert((pid, started)) {
                    warn!(%service, pid, process = %name, "a command of the service left a process behind, which ends when appconfigd does; make it a unit of its own and notify that by `reload`");
                }
            }
        });
    }
}

/// The list of processes of the unit that a control group belongs to (`0::/system.slice/appconfigd.service`).
fn members(own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    path.ends_with(".service")
        .then(|| Path::new(CGROUPS).join(path).join("cgroup.procs"))
}

/// Those that carry the service's name in their environment and are not below us any more.
fn orphans(members: &Path, service: &ServiceName) -> Vec<(i32, Duration, String)> {
    let mark = format!("APPCONFIGD_SERVICE={service}").into_bytes();
    let listed = std::fs::read_to_string(members).unwrap_or_default();
    let pids = listed.lines().filter_map(|line| line.parse::<i32>().ok());
    let orphan = |pid: i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let marked = environment.split(|byte| *byte == 0).any(|it| it == mark);
        if !marked || is_below_us(pid) {
            return None;
        }
        let process = RunningProcess::read(pid)?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Some((pid, process.started, words::one_line(&name, 40)))
    };
    pids.filter_map(orphan).collect()
}

/// One of our commands runs still, and this is part of it.
fn is_below_us(pid: i32) -> bool {
    let ours = i32::try_from(std::process::id()).unwrap_or_default();
    let parent = |pid: &i32| {
        let parent = RunningProcess::read(*pid).map(|process| process.parent);
        parent.filter(|parent| *parent > 1)
    };
    // A chain of parents is not endless, but it can change while it is walked.
    let mut above = std::iter::successors(Some(pid), parent).take(64);
    above.any(|pid| pid == ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Surroundings, run};
    use crate::settings::Command;

    #[test]
    fn only_a_unit_has_somebody_who_ends_what_is_left() {
        let file = "/sys/fs/cgroup/system.slice/appconfigd.service/cgroup.procs";
        let own = "0::/system.slice/appconfigd.service\n";
        assert_eq!(members(own), Some(file.into()));
        for own in [
            "0::/\n",
            "0::/user.slice/session-1.scope\n",
            "",
            "1:cpu:/a.service\n",
        ] {
            assert_eq!(members(own), None, "{own}");
        }
    }

    #[tokio::test]
    async fn a_daemon_that_a_command_started_is_found_and_what_still_runs_below_us_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let mark = ("APPCONFIGD_SERVICE".to_owned(), "shop".to_owned());
        let surroundings = Surroundings {
            directory: directory.path().to_owned(),
            variables: vec![mark],
            ..Surroundings::default()
        };
        // What is still of the command's group when that ends is killed with it.
        let line = "setsid sh -c 'echo $$ >left; exec sleep 1000' >/dev/null 2>&1 &
            until [ -s left ]; do sleep 0.01; done";
        let limit = Duration::from_secs(30);
        run(&Command::Shell(line.to_owned()), &surroundings, limit)
            .await
            .unwrap();
        let left = std::fs::read_to_string(directory.path().join("left")).unwrap();
        let left: i32 = left.trim().parse().unwrap();
        // In the midst of its exec a process has no environment.
        let name = || std::fs::read_to_string(format!("/proc/{left}/comm")).unwrap();
        for _ in 0..3_000 {
            if name() == "sleep\n" {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let below = std::process::Command::new("sleep")
            .arg("1000")
            .env("APPCONFIGD_SERVICE", "shop")
            // Should the test fail, nobody waits for the end of its output.
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn();
        let mut below = below.unwrap();
        let members = directory.path().join("cgroup.procs");
        let all = format!("{left}\n{}\n{}\n", below.id(), std::process::id());
        std::fs::write(&members, all).unwrap();
        let pids = |service: &str| {
            let found = orphans(&members, &ServiceName::from(service));
            found.into_iter().map(|(pid, ..)| pid).collect::<Vec<_>>()
        };
        assert_eq!(pids("shop"), [left]);
        assert_eq!(pids("sho"), [0; 0]);
        below.kill().unwrap();
        below.wait().unwrap();
        let left = nix::unistd::Pid::from_raw(left);
        nix::sys::signal::kill(left, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
}
