mod commands;
mod options;
mod pid_files;
mod probes;
mod real_systemd;
mod requests;
mod units;
mod whose;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use super::*;
use crate::settings::{OnFailure, Principal, Probe, ServiceName, Signal};

const LONG: Duration = Duration::from_secs(30);

/// A directory where commands run and fakes live, and the services in it.
struct Place {
    directory: tempfile::TempDir,
    services: Services,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let path = format!("{}/bin:/usr/bin:/bin", directory.path().display());
        let surroundings = Surroundings {
            directory: directory.path().to_owned(),
            variables: vec![("PATH".to_owned(), path)],
            ..Surroundings::default()
        };
        let services = Services::new(None, surroundings);
        Place {
            directory,
            services,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// An executable script. Written by a child: were it open for writing in this process, which starts children all
    /// the time, one of them could hold it open still while it is executed.
    fn script(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path("bin")).unwrap();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "cat >\"$0\" && chmod 755 \"$0\""])
            .arg(self.path("bin").join(name))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        assert!(child.wait().unwrap().success());
    }
}

fn service(notify: Notify) -> Service {
    Service {
        name: ServiceName::from("shop"),
        check: None,
        notify,
        probe: None,
        on_failure: OnFailure::Rollback,
        timeout: LONG,
        commands: Default::default(),
        conditions: Default::default(),
        pace: Default::default(),
        give_up_after: None,
    }
}

fn sh(line: &str) -> Command {
    Command::Shell(line.to_owned())
}

fn argv(parts: &[&str]) -> Command {
    Command::Argv(parts.iter().map(|part| (*part).to_owned()).collect())
}

/// Files that were there before anything that these tests start, and before the services.
fn long_ago() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

#[track_caller]
fn rejected(verdict: Verdict) -> String {
    match verdict {
        Verdict::Rejected(text) => one_line(text),
        other => panic!("not rejected: {other:?}"),
    }
}

#[track_caller]
fn undecided(verdict: Verdict) -> String {
    match verdict {
        Verdict::Undecided(text) => one_line(text),
        other => panic!("not undecided: {other:?}"),
    }
}

#[track_caller]
fn nobody(verdict: Verdict) -> String {
    match verdict {
        Verdict::Nobody(text) => one_line(text),
        other => panic!("not `Nobody`: {other:?}"),
    }
}

#[track_caller]
fn not_running(verdict: Verdict) -> String {
    match verdict {
        Verdict::NotRunning(text) => one_line(text),
        other => panic!("not `NotRunning`: {other:?}"),
    }
}

#[track_caller]
fn one_line(text: String) -> String {
    assert!(
        !text.chars().any(char::is_control) && text.len() < 800,
        "{text}"
    );
    text
}

async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < LONG, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
