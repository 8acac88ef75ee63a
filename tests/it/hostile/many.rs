//! Many of everything: a sample here; `scripts/measure-many` has the thousands, and prints what they cost.

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use crate::world::{Daemon, Server, World, wait_for};

/// Targets under one directory, all from one profile; and queues, each with a profile, a target and a service of its own.
struct Many {
    world: World,
    _server: Server,
    targets: usize,
    queues: usize,
}

impl Many {
    fn of(targets: usize, queues: usize) -> Many {
        let world = World::new();
        let server = Server::start(&world);
        let mut profiles = "profiles:\n  shared:\n".to_owned();
        let mut files = "targets:\n".to_owned();
        let mut services = String::new();
        for number in 0..targets {
            writeln!(files, "  /etc/many/{number}: {{from: shared}}").unwrap();
        }
        if queues > 0 {
            services.push_str("services:\n");
        }
        for number in 0..queues {
            writeln!(profiles, "  q{number}:").unwrap();
            writeln!(
                files,
                "  /etc/queues/{number}: {{from: q{number}, notify: s{number}}}"
            )
            .unwrap();
            let line = format!("  s{number}: {{command: {{shell: echo {number} >> told}}}}");
            writeln!(services, "{line}").unwrap();
        }
        world.settings(&server, &format!("{profiles}{files}{services}"));
        Many {
            world,
            _server: server,
            targets,
            queues,
        }
    }

    fn deploy(&self, text: &str) {
        self.world.deploy("shop/prod/shared.txt", text);
        for number in 0..self.queues {
            self.world.deploy(&format!("shop/prod/q{number}.txt"), text);
        }
    }

    /// Until every file has this text and every service has been told so many times; how long that took.
    fn wait(&self, text: &str, times: usize) -> Duration {
        let since = Instant::now();
        let limit = Duration::from_secs(60) + Duration::from_millis(200) * self.many();
        let mut left = Vec::new();
        for (directory, number) in [("many", self.targets), ("queues", self.queues)] {
            left.extend(
                (0..number).map(|one| self.world.target(&format!("/etc/{directory}/{one}"))),
            );
        }
        loop {
            left.retain(|file| fs::read_to_string(file).ok().as_deref() != Some(text));
            let told = self.world.read("told").unwrap_or_default();
            if left.is_empty() && told.lines().count() >= times * self.queues {
                return since.elapsed();
            }
            let first = left.first();
            assert!(since.elapsed() < limit, "{} left: {first:?}", left.len());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn many(&self) -> u32 {
        u32::try_from(self.targets + self.queues).unwrap()
    }
}

/// The most memory that it has had, in MiB.
fn peak(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse::<u64>().unwrap() / 1024
}

fn number(variable: &str, usually: usize) -> usize {
    let given = std::env::var(variable).ok();
    given.map_or(usually, |given| given.parse().unwrap())
}

#[test]
fn hundreds_of_targets_in_one_directory_and_of_queues_follow_and_each_service_is_told_once() {
    let many = Many::of(number("MANY_TARGETS", 300), number("MANY_QUEUES", 30));
    many.deploy("one");
    let daemon = many.world.run_by(many.world.command(&["run"]));
    let first = many.wait("one", 1);
    many.deploy("two");
    let change = many.wait("two", 2);
    let asked = Instant::now();
    let status = many.world.output(&["status"]);
    let status_took = asked.elapsed();
    assert!(status.status.success(), "{status:?}");
    let told = many.world.read("told").unwrap();
    for number in 0..many.queues {
        let times = told.lines().filter(|line| *line == number.to_string());
        assert_eq!(times.count(), 2, "service {number}");
    }
    if many.targets > 0 {
        wait_for("nothing is left beside them", || {
            let entries = fs::read_dir(many.world.target("/etc/many")).unwrap();
            (entries.count() == many.targets).then_some(())
        });
    }
    let peak = peak(&daemon);
    assert!(peak < 64 + u64::from(many.many()) / 10, "{peak} MiB");
    assert_eq!(daemon.stop(), Some(0));
    println!(
        "{} targets, {} queues: all there after {:.1} s, a change {:.1} s, status {:.1} s, at most {peak} MiB",
        many.targets,
        many.queues,
        first.as_secs_f64(),
        change.as_secs_f64(),
        status_took.as_secs_f64(),
    );
}

/// The kernel starts no program with a variable of 128 KiB.
#[test]
fn a_service_of_more_paths_than_a_variable_can_hold_is_told_which_list_is_left_out() {
    let world = World::new();
    let server = Server::start(&world);
    world.deploy("shop/prod/shared.txt", "one");
    let long = "x".repeat(240);
    let mut lines = "profiles: {shared: {}}\ntargets:\n".to_owned();
    for number in 0..550 {
        writeln!(
            lines,
            "  /etc/{long}/{number}: {{from: shared, notify: app}}"
        )
        .unwrap();
    }
    let tell =
        r#"echo "${APPCONFIGD_TARGETS-unset} $APPCONFIGD_OMITTED $APPCONFIGD_PROFILES" >>told"#;
    writeln!(lines, "services: {{app: {{command: {{shell: '{tell}'}}}}}}").unwrap();
    world.settings(&server, &lines);
    let once = world.output(&["once"]);
    assert!(once.status.success(), "{once:?}");
    assert_eq!(
        world.read("told").as_deref(),
        Some("unset APPCONFIGD_TARGETS shared\n")
    );
}
