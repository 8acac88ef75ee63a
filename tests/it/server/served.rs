//! The program serving a directory of its own, and a client without an SDK.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::world::{PATIENCE, PROGRAM, listening, wait_for};

/// A served directory with one configuration, `shop/prod/limits.json`.
pub struct Served {
    pub child: Child,
    pub address: String,
    pub directory: tempfile::TempDir,
}

impl Served {
    pub fn new(arguments: &[&str]) -> Served {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("shop/prod")).unwrap();
        fs::write(
            directory.path().join("shop/prod/limits.json"),
            "{\"limit\": 1}",
        )
        .unwrap();
        let mut serve = Command::new(PROGRAM);
        serve
            .args(["serve", "--directory"])
            .arg(directory.path())
            .args(arguments);
        let (child, address) = listening(&mut serve);
        Served {
            child,
            address,
            directory,
        }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("shop/prod").join(name)
    }

    pub fn send(&self, method: &str, path: &str, body: &str) -> Option<Answer> {
        Answer::of(&self.bytes(method, path, body))
    }

    /// Everything that comes back until the connection ends.
    pub fn bytes(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // a reset ends the answer as well
        let _ = stream.read_to_end(&mut bytes);
        bytes
    }

    pub fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, path, body).expect("an answer")
    }

    pub fn try_start(&self, application: &str, environment: &str, profile: &str) -> Answer {
        let body = json!({
            "ApplicationIdentifier": application,
            "EnvironmentIdentifier": environment,
            "ConfigurationProfileIdentifier": profile,
        });
        self.call("POST", "/configurationsessions", &body.to_string())
    }

    pub fn start(&self) -> String {
        let answer = self.try_start("shop", "prod", "limits");
        assert_eq!(answer.status, 201);
        answer.json()["InitialConfigurationToken"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub fn get(&self, token: &str) -> Answer {
        self.call("GET", &get_path(token), "")
    }

    pub fn faults(&self, faults: Value) {
        let answer = self.call(
            "PUT",
            "/_local/faults",
            &json!({ "faults": faults }).to_string(),
        );
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    pub fn advance(&self, seconds: u64) {
        let answer = self.call(
            "PUT",
            "/_local/clock",
            &json!({ "advance_seconds": seconds }).to_string(),
        );
        assert_eq!(answer.status, 204);
    }

    pub fn counts(&self) -> Value {
        self.call("GET", "/_local/calls", "").json()["profiles"]["shop/prod/limits"].clone()
    }

    pub fn stop_with(&mut self, signal: Signal) -> Option<i32> {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            signal,
        )
        .unwrap();
        let status = wait_for("the server ends", || self.child.try_wait().unwrap());
        status.code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn of(bytes: &[u8]) -> Option<Answer> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer {
            status,
            head,
            body: bytes[end + 4..].to_vec(),
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .into_iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn next(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        self.header("next-poll-configuration-token")
            .unwrap()
            .to_owned()
    }

    pub fn problem(&self) -> Value {
        assert_eq!(
            (self.status, self.header("x-amzn-errortype")),
            (400, Some("BadRequestException"))
        );
        assert_eq!(self.json()["Reason"], "InvalidParameters");
        self.json()["Details"]["InvalidParameters"]["ConfigurationToken"]["Problem"].clone()
    }
}

pub fn get_path(token: &str) -> String {
    let token = percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC);
    format!("/configuration?configuration_token={token}")
}

pub fn refused(arguments: &[&str], directory: &Path) -> Output {
    Command::new(PROGRAM)
        .args(["serve", "--directory"])
        .arg(directory)
        .args(arguments)
        .output()
        .unwrap()
}
