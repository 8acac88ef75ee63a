//! Start, refusal, end.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::json;

use super::served::{Served, refused};
use crate::world::{PROGRAM, listening};

#[test]
fn sigterm_and_sigint_end_the_server_with_0_even_with_connections_open() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut served = Served::new(&["--controls"]);
        served.faults(json!([{"kind": "delay", "delay_ms": 60_000}]));
        let idle = TcpStream::connect(&served.address).unwrap();
        let mut busy = TcpStream::connect(&served.address).unwrap();
        busy.write_all(b"GET /configuration HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        assert_eq!(served.stop_with(signal), Some(0));
        assert!(
            TcpStream::connect(&served.address).is_err(),
            "the port is free"
        );
        drop((idle, busy));
    }
}

#[test]
fn only_loopback_is_listened_on_unless_remote_is_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let output = refused(&["--listen", "0.0.0.0:0"], directory.path());
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("loopback") && text.contains("--allow-remote"),
        "{text}"
    );
    assert!(output.stdout.is_empty());
    let output = refused(&["--listen", "localhost:0"], directory.path());
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("not a name"), "{text}");
    let served = Served::new(&["--listen", "0.0.0.0:0", "--allow-remote"]);
    assert!(served.address.starts_with("0.0.0.0:"));
    assert_eq!(served.call("GET", "/configuration", "").status, 400);
}

#[test]
fn a_missing_directory_is_66_and_a_wrong_interval_64() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none");
    let output = refused(&[], &missing);
    assert_eq!(output.status.code(), Some(66));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains(missing.to_str().unwrap())
    );
    for interval in ["0s", "soon", "25h", "-1s"] {
        let argument = format!("--minimum-interval={interval}");
        assert_eq!(
            refused(&[&argument], directory.path()).status.code(),
            Some(64),
            "{interval}"
        );
    }
    assert_eq!(
        refused(&["--token-reuse", "maybe"], directory.path())
            .status
            .code(),
        Some(64)
    );
}

#[test]
fn two_files_for_one_profile_end_the_start_with_78() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("a/e")).unwrap();
    fs::write(directory.path().join("a/e/p.json"), "1").unwrap();
    fs::write(directory.path().join("a/e/p.yaml"), "1").unwrap();
    let output = refused(&[], directory.path());
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("p.json") && text.contains("p.yaml"), "{text}");
}

#[test]
fn a_port_that_is_taken_is_1() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = refused(&["--listen", &address], directory.path());
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains(&address) && text.contains("--listen"),
        "{text}"
    );
}

#[test]
fn logs_hold_neither_tokens_nor_configurations() {
    let mut command = Command::new(PROGRAM);
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("shop/prod")).unwrap();
    fs::write(directory.path().join("shop/prod/limits.json"), "top-secret").unwrap();
    command
        .args(["serve", "--directory"])
        .arg(directory.path())
        .env("APPCONFIGD_LOG_LEVEL", "trace")
        .stderr(Stdio::piped());
    let (child, address) = listening(&mut command);
    let mut served = Served {
        child,
        address,
        directory,
    };
    let token = served.start();
    assert_eq!(served.get(&token).text(), "top-secret");
    assert_eq!(served.stop_with(Signal::SIGTERM), Some(0));
    let mut log = String::new();
    served
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(
        !log.contains("top-secret") && !log.contains(&token[..20]),
        "{log}"
    );
}

#[test]
fn two_files_that_arise_later_keep_the_old_one_served() {
    let served = Served::new(&[]);
    let token = served.start();
    fs::write(served.file("limits.conf"), "other").unwrap();
    assert_eq!(served.get(&token).text(), "{\"limit\": 1}");
}
