//! A daemon with nothing to do does nothing.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::skip::skip;
use crate::world::{World, wait_for};

/// What the runtime's timers do for a poll that is far away, from time to time.
const TIMERS: [&str; 2] = ["epoll_wait", "epoll_pwait"];
const MOST_TIMERS: usize = 4;
/// Threads that are traced begin what they waited in anew.
const BEGINS: f64 = 0.5;
const WINDOW: Duration = Duration::from_secs(4);

#[test]
fn a_daemon_with_no_poll_due_looks_at_no_file_asks_nobody_and_hardly_wakes() {
    let straced = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .output();
    if !straced.is_ok_and(|output| output.status.success()) {
        return skip("strace is not installed, or may not trace here");
    }
    let mut lines = "profiles:\n".to_owned();
    let mut targets = "targets:\n".to_owned();
    let mut store = Vec::new();
    for number in 0..20 {
        lines += &format!("  p{number}: {{poll_interval: 1h}}\n");
        targets += &format!("  /etc/many/{number}: {{from: p{number}, notify: app}}\n");
        store.push(format!("shop/prod/p{number}.txt"));
    }
    lines += &targets;
    lines += "services:\n  app: {command: {shell: \"echo >> told\"}}\n";
    let store: Vec<_> = store.iter().map(|file| (file.as_str(), "text")).collect();
    let (world, _server) = World::served(&store, &lines);
    let daemon = world.run();
    for number in 0..20 {
        world.wait_for_target(&format!("/etc/many/{number}"), "text");
    }
    wait_for("the service is told", || world.read("told"));
    // What is left of the start ends by itself, the look after the last event among it: not all of it in the first window.
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen = calls(&world, daemon.pid());
        if seen.is_empty() {
            break;
        }
    }
    let timers = seen.iter().filter(|call| TIMERS.contains(&call.as_str()));
    let asleep = timers.count() == seen.len() && seen.len() <= MOST_TIMERS;
    assert!(asleep, "a daemon with nothing to do: {seen:?}");
    assert_eq!(daemon.stop(), Some(0));
}

/// The names of the system calls that all its threads begin in a window.
fn calls(world: &World, daemon: Pid) -> Vec<String> {
    let file = world.path("calls");
    let mut strace = Command::new("strace")
        .args(["-f", "-ttt", "-o"])
        .arg(&file)
        .args(["-p", &daemon.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let read = || fs::read_to_string(&file).unwrap_or_default();
    wait_for("the tracer is there", || (!read().is_empty()).then_some(()));
    std::thread::park_timeout(WINDOW);
    let id = i32::try_from(strace.id()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
    strace.wait().unwrap();
    // `THREAD TIME CALL(…` or `THREAD TIME <... CALL resumed>…`, which is the end of one that has been counted.
    let text = read();
    let lines = text.lines().map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let time: f64 = words.next().unwrap().parse().unwrap();
        (time, words.next().unwrap())
    });
    let lines: Vec<(f64, &str)> = lines.collect();
    let begin = lines.first().map_or(0.0, |(time, _)| time + BEGINS);
    let late = lines.iter().filter(|(time, _)| *time > begin);
    late.filter_map(|(_, call)| Some(call.split_once('(')?.0.to_owned()))
        .collect()
}
