//! A program that is configured by files and serves HTTP: how it is started, checked, told, stopped.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{PATIENCE, World, wait_for};

/// The files of one transaction lie in several directories.
pub const DIRECTORIES: [&str; 3] = ["conf.d", "more.d", "pages.d"];

/// What the journeys have to know of one of the programs.
#[derive(Clone, Copy)]
pub struct Kind {
    /// The program's and the service's.
    pub name: &'static str,
    /// Of its files.
    pub suffix: &'static str,
    /// The main file, which includes what is in the [`DIRECTORIES`] beside it. PREFIX, RUN and PORT are put in.
    pub configuration: &'static str,
    /// The template of what answers `/` with a greeting and `/healthz` with a status.
    pub site: &'static str,
    /// The template of what answers `/NAME` with a greeting.
    pub page: &'static str,
    /// The flag that shows its version.
    pub version: &'static str,
    /// The arguments that have the files in a directory checked.
    pub check: fn(&str) -> Vec<String>,
    /// The arguments that have them served, in the foreground, with a PID file in the second directory.
    pub serve: fn(&str, &str) -> Vec<String>,
    /// What its log says once it serves.
    pub serves: &'static str,
    pub signal: &'static str,
    /// What its log says of each reload.
    pub reloads: &'static str,
    /// A line that its checker turns down, and in which words.
    pub nonsense: &'static str,
    pub complaint: &'static str,
    /// The keys of the probe's pace. A worker of before the reload may answer for a while.
    pub probe: &'static str,
}

impl Kind {
    /// The program, also where it is in a directory that only root has in its PATH.
    pub fn program(&self) -> Option<String> {
        let name = self.name;
        let mut places = [
            name.to_owned(),
            format!("/usr/sbin/{name}"),
            format!("/usr/local/sbin/{name}"),
        ]
        .into_iter();
        places.find(|place| {
            let asked = Command::new(place)
                .arg(self.version)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            asked.is_ok_and(|status| status.success())
        })
    }

    /// The directory of its main file, below a world's root.
    pub fn prefix(&self) -> String {
        format!("/etc/{}", self.name)
    }

    /// The target that holds `site`, or the page of this name. In this order: the site, `page-1`, `page-2`.
    pub fn target(&self, name: &str) -> String {
        let directory = match name {
            "page-1" => "more.d",
            "page-2" => "pages.d",
            _ => "conf.d",
        };
        format!("{}/{directory}/{name}.{}", self.prefix(), self.suffix)
    }

    /// The words of its checker.
    pub fn check(&self, world: &World) -> Vec<String> {
        let prefix = world.target(&self.prefix());
        let arguments = (self.check)(prefix.to_str().unwrap());
        std::iter::once(self.program().unwrap())
            .chain(arguments)
            .collect()
    }

    fn log(&self, world: &World) -> String {
        fs::read_to_string(world.target(&self.prefix()).join("error.log")).unwrap_or_default()
    }

    /// How often it has loaded its files again.
    pub fn reloads(&self, world: &World) -> usize {
        self.log(world).matches(self.reloads).count()
    }
}

/// One that runs below a world's root; ended when dropped.
pub struct Program {
    child: Child,
    pub port: u16,
}

impl Program {
    /// A port that is free now may be taken in a moment: another one is tried then.
    pub fn start(kind: &Kind, world: &World) -> Program {
        (0..20)
            .find_map(|_| Program::listen(kind, world, free_port()))
            .expect("no port stays free long enough")
    }

    pub fn listen(kind: &Kind, world: &World, port: u16) -> Option<Program> {
        let (prefix, run) = (world.target(&kind.prefix()), world.target("/run"));
        for directory in DIRECTORIES {
            fs::create_dir_all(prefix.join(directory)).unwrap();
        }
        fs::create_dir_all(&run).unwrap();
        let (directory, run) = (prefix.to_str().unwrap(), run.to_str().unwrap());
        let text = kind
            .configuration
            .replace("PREFIX", directory)
            .replace("RUN", run)
            .replace("PORT", &port.to_string());
        fs::write(prefix.join(format!("{}.{}", kind.name, kind.suffix)), text).unwrap();
        let log = prefix.join("error.log");
        let _ = fs::remove_file(&log);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let mut child = Command::new(kind.program().unwrap())
            .args((kind.serve)(directory, run))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let up = wait_for(&format!("{} listens or ends", kind.name), || {
            if child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            // its own line in the log: another program may answer on a port that was snatched
            (kind.log(world).contains(kind.serves)
                && TcpStream::connect(("127.0.0.1", port)).is_ok())
            .then_some(true)
        });
        up.then_some(Program { child, port })
    }

    /// The status and the body of an answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    pub fn stop(&mut self) {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        wait_for("the program ends", || self.child.try_wait().unwrap());
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A master ends its workers only when it is asked.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill(self.pid(), Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
