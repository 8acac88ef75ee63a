//! A served store, a root for files, settings, and the daemon between them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::Plan;
use crate::process::Process;

/// Which services there are: the shape of the queues follows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// One of all targets: everything is one queue.
    One,
    /// None: a queue for each target.
    Nobody,
}

pub struct World {
    directory: TempDir,
    program: PathBuf,
}

/// Of targets and profiles.
pub struct Shape {
    pub targets: usize,
    pub profiles: usize,
    pub interval: &'static str,
    pub told: Told,
}

/// What the unit sets: it keeps the allocator small.
fn of_the_unit() -> impl Iterator<Item = (&'static str, &'static str)> {
    let unit = include_str!("../../systemd/appconfigd.service");
    let lines = unit
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="));
    let words = lines.flat_map(str::split_ascii_whitespace);
    words.filter_map(|word| word.split_once('='))
}

impl World {
    pub fn new(plan: &Plan) -> World {
        let directory = tempfile::tempdir_in(&plan.directory).unwrap();
        fs::create_dir_all(directory.path().join("store/shop/prod")).unwrap();
        let program = plan.program.canonicalize().unwrap();
        let world = World { directory, program };
        world.clear();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Nothing has ever run here: no files, no state.
    pub fn clear(&self) {
        let _ = fs::remove_dir_all(self.path("root"));
        let _ = fs::remove_file(self.path("told"));
        fs::create_dir_all(self.path("root/etc/many")).unwrap();
    }

    pub fn serve(&self) -> (Process, String) {
        let mut child = Command::new(&self.program)
            .args([
                "serve",
                "--controls",
                "--minimum-interval",
                "1s",
                "--directory",
            ])
            .arg(self.path("store"))
            .stdout(Stdio::piped())
            .stderr(File::create(self.path("serve.log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap();
        (Process(child), address.to_owned())
    }

    /// A kibibyte for each profile.
    pub fn deploy(&self, profiles: usize, version: usize) {
        for number in 0..profiles {
            let staged = self.path("staged");
            fs::write(&staged, text(number, version)).unwrap();
            fs::rename(staged, self.path(&format!("store/shop/prod/p{number}.txt"))).unwrap();
        }
    }

    pub fn settings(&self, address: &str, shape: &Shape, command: &str, more: &str) {
        let mut text = format!(
            "aws: {{region: eu-west-1, endpoint_url: \"http://{address}\"}}\nroot: root\ndefaults: {{application: shop, environment: prod, poll_interval: {}}}\nprofiles:\n",
            shape.interval
        );
        for number in 0..shape.profiles {
            let of_the_first = if number == 0 { more } else { "" };
            writeln!(text, "  p{number}: {of_the_first}").unwrap();
        }
        text.push_str("targets:\n");
        let notify = match shape.told {
            Told::One => ", notify: app",
            Told::Nobody => "",
        };
        for number in 0..shape.targets {
            let from = number % shape.profiles;
            writeln!(text, "  /etc/many/{number}: {{from: p{from}{notify}}}").unwrap();
        }
        if shape.told == Told::One {
            writeln!(text, "services:\n  app: {{command: {command}}}").unwrap();
        }
        fs::write(self.path("appconfigd.yaml"), text).unwrap();
    }

    pub fn run(&self) -> Process {
        let mut command = Command::new(&self.program);
        let child = command
            .arg("run")
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("APPCONFIGD_SETTINGS", self.path("appconfigd.yaml"))
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(of_the_unit())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.path("run.log")).unwrap())
            .spawn();
        Process(child.unwrap())
    }

    /// How often the service has been told.
    pub fn told(&self) -> usize {
        let told = fs::read_to_string(self.path("told")).unwrap_or_default();
        told.lines().count()
    }

    /// Until every target has this version and the service (where there is one) was told; how long that took. `None`: the
    /// limit has passed.
    pub fn wait(
        &self,
        shape: &Shape,
        version: usize,
        since: Instant,
        limit: Duration,
    ) -> Option<Duration> {
        let before = if shape.told == Told::One { version } else { 0 };
        let mut left: Vec<usize> = (0..shape.targets).collect();
        loop {
            if self.told() >= before {
                let now = since.elapsed();
                left.retain(|number| {
                    let file = self.path(&format!("root/etc/many/{number}"));
                    let wanted = text(number % shape.profiles, version);
                    fs::read_to_string(file).ok() != Some(wanted)
                });
                if left.is_empty() {
                    return Some(now);
                }
            }
            if since.elapsed() > limit {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Until the server has seen so many deployments.
    pub fn wait_for_deployments(&self, count: usize) {
        let since = Instant::now();
        while fs::read_to_string(self.path("serve.log"))
            .unwrap()
            .matches("deployed")
            .count()
            < count
        {
            assert!(
                since.elapsed() < Duration::from_secs(60),
                "the server sees nothing"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The service's command: a line in `told` each time.
pub const TELL: &str = "{shell: \"echo >> told\"}";

fn text(number: usize, version: usize) -> String {
    format!("{number:>511}\n{version:>511}\n")
}

/// Calls of GetLatestConfiguration that the server has had.
pub fn polls(address: &str) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    let request =
        format!("GET /_local/calls HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = &answer[answer.find('{').unwrap()..=answer.rfind('}').unwrap()];
    let calls: Value = serde_json::from_str(body).unwrap();
    let profiles = calls["profiles"].as_object().unwrap();
    profiles
        .values()
        .map(|one| one["get"].as_u64().unwrap())
        .sum()
}

/// All of a file's directory is durable with it.
pub fn sync(directory: &Path) {
    File::open(directory).unwrap().sync_all().unwrap();
}
