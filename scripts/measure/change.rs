//! From the last byte of a new configuration to the start of the program that is told of it.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::table::{Row, milliseconds, percentile};
use crate::world::{Shape, Told, World, sync};
use crate::{Plan, bare, double};

const PATIENCE: Duration = Duration::from_secs(60);
const BYTES: usize = 4_096;

/// The clock that all processes share.
pub fn now() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap())
}

/// What this program does as the service's command: says when it began.
pub fn stamp(socket: &str) {
    let began = u64::try_from(now().as_nanos()).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    // An error: nobody measures any more.
    let _ = sender.send_to(&began.to_le_bytes(), socket);
}

/// When the next command began.
fn next(stamps: &UnixDatagram) -> Option<Duration> {
    let mut bytes = [0; 8];
    stamps.recv(&mut bytes).ok()?;
    Some(Duration::from_nanos(u64::from_le_bytes(bytes)))
}

pub fn notified(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for targets in [1, 1_000] {
        let what = format!("change to told, 4 KiB, {targets} targets declared");
        match samples(plan, targets) {
            Ok((mut ours, mut floor)) => {
                for (share, name, budget) in [(0.5, "p50", 5.0), (0.99, "p99", 20.0)] {
                    let figure = percentile(&mut ours, share);
                    let bare = percentile(&mut floor, share);
                    let row = Row::new(format!("{what}, {name}"), "ms", figure).within(budget);
                    rows.push(row.beside(format!(
                        "bare replace and start {bare:.2} ms; {} samples, worst {:.1}",
                        ours.len(),
                        ours[ours.len() - 1]
                    )));
                }
            }
            Err(why) => rows.push(Row::failed(what, "ms", why)),
        }
    }
    rows
}

/// Milliseconds of ours, and of a bare replacement and start of the same command.
fn samples(plan: &Plan, targets: usize) -> Result<(Vec<f64>, Vec<f64>), String> {
    let world = World::new(plan);
    let (sender, sent) = mpsc::channel();
    let address = double::serve(sender);
    let socket = world.path("stamps");
    let stamps = UnixDatagram::bind(&socket).unwrap();
    stamps.set_read_timeout(Some(PATIENCE)).unwrap();
    let this = std::env::current_exe().unwrap();
    let command = [this.to_str().unwrap(), "--stamp", socket.to_str().unwrap()];
    let command_line = serde_json::to_string(&command).unwrap();
    let shape = Shape {
        targets,
        profiles: targets,
        interval: "1h",
        told: Told::One,
    };
    world.settings(&address, &shape, &command_line, "{poll_interval: 1s}");
    let daemon = world.run();
    // The first start, and the seconds after it.
    let ready = "nobody was told";
    next(&stamps).ok_or(ready)?;
    let begin = now() + plan.pick(Duration::from_secs(10), Duration::from_secs(3));
    let mut ours = Vec::new();
    let mut told = Duration::ZERO;
    while ours.len() < plan.pick(300, 30) {
        let last_byte = sent.recv_timeout(PATIENCE).map_err(|_| "no poll came")?;
        while told < last_byte {
            told = next(&stamps).ok_or(ready)?;
        }
        if last_byte > begin {
            ours.push(milliseconds(told - last_byte));
        }
    }
    daemon.stop();
    Ok((ours, floor(&world.path("bare"), &stamps, &command)))
}

fn floor(directory: &Path, stamps: &UnixDatagram, command: &[&str]) -> Vec<f64> {
    while stamps_wait(stamps) {}
    std::fs::create_dir_all(directory.join(".staged")).unwrap();
    let body = vec![b'x'; BYTES];
    let round = || {
        let from = now();
        bare::replace(directory, "file", &body);
        sync(directory);
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .spawn()
            .unwrap();
        let told = next(stamps).unwrap();
        child.wait().unwrap();
        milliseconds(told - from)
    };
    (0..100).map(|_| round()).collect()
}

/// Takes what has come late; whether there was anything.
fn stamps_wait(stamps: &UnixDatagram) -> bool {
    stamps.set_nonblocking(true).unwrap();
    let there = next(stamps).is_some();
    stamps.set_nonblocking(false).unwrap();
    there
}
