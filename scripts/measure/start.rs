//! From nothing to all files, and all files at once, beside the bare loop in the same run.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::table::{Row, median, milliseconds};
use crate::world::{Shape, TELL, Told, World};
use crate::{Plan, bare};

const LIMIT: Duration = Duration::from_secs(120);
/// Of a deployed configuration.
const BYTES: usize = 1_024;

/// The first start: from the program's start to all files on disk and one service told.
pub fn first(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for (targets, profiles) in [(1, 1), (100, 100), (1_000, 1_000), (1_000, 1)] {
        let world = World::new(plan);
        world.deploy(profiles, 1);
        let (server, address) = world.serve();
        let shape = Shape {
            targets,
            profiles,
            interval: "60s",
            told: Told::One,
        };
        world.settings(&address, &shape, TELL, "");
        let (mut took, mut floor, mut told) = (Vec::new(), Vec::new(), 0);
        let what = format!("first start, {targets} targets of {profiles} profiles");
        let mut never = false;
        for _ in 0..plan.pick(7, 3) {
            floor.push(milliseconds(bare::files(
                &world.path("bare"),
                targets,
                BYTES,
            )));
            world.clear();
            let since = Instant::now();
            let daemon = world.run();
            let there = world.wait(&shape, 1, since, LIMIT);
            told = told.max(world.told());
            daemon.stop();
            match there {
                Some(there) => took.push(milliseconds(there)),
                None => never = true,
            }
        }
        drop(server);
        if never {
            rows.push(Row::failed(what, "ms", format!("not within {LIMIT:?}")));
            continue;
        }
        let (took, floor) = (median(&mut took), median(&mut floor));
        let mut row = Row::new(what, "ms", took);
        // A second, and twice the floor; process start and the first calls are no part of a budget of few files.
        if targets == 1_000 {
            // In memory the loop has nothing to wait for, and twice of nothing is no budget.
            let of_floor = if in_memory(plan) {
                f64::MAX
            } else {
                2.0 * floor
            };
            row = row.within(of_floor.min(1_000.0));
        }
        rows.push(row.beside(format!(
            "bare loop {floor:.1} ms, {:.2}×; told at most {told}×",
            took / floor
        )));
    }
    rows
}

fn in_memory(plan: &Plan) -> bool {
    let found = statfs(&plan.directory).unwrap();
    found.filesystem_type() == TMPFS_MAGIC
}

/// All profiles change at once: the daemon is stopped while they are deployed, and is timed from its going on.
pub fn together(plan: &Plan) -> Vec<Row> {
    let world = World::new(plan);
    let count = 1_000;
    world.deploy(count, 1);
    let (_server, address) = world.serve();
    let shape = Shape {
        targets: count,
        profiles: count,
        interval: "1s",
        told: Told::One,
    };
    world.settings(&address, &shape, TELL, "");
    let what = "1,000 profiles change at once: all files, service told";
    let daemon = world.run();
    let Some(_) = world.wait(&shape, 1, Instant::now(), LIMIT) else {
        return vec![Row::failed(what, "ms", "never started".into())];
    };
    let (mut took, mut floor) = (Vec::new(), Vec::new());
    let rounds = plan.pick(7, 3);
    for round in 0..rounds {
        // What is told must be told by then, so that the next version is one more line.
        std::thread::sleep(Duration::from_secs(2));
        floor.push(milliseconds(bare::files(&world.path("bare"), count, BYTES)));
        daemon.signal(Signal::SIGSTOP);
        let stopped = Instant::now();
        world.deploy(count, world.told() + 1);
        world.wait_for_deployments((round + 2) * count);
        // Every poll is due when it goes on.
        std::thread::sleep(Duration::from_millis(1_500).saturating_sub(stopped.elapsed()));
        let version = world.told() + 1;
        let since = Instant::now();
        daemon.signal(Signal::SIGCONT);
        match world.wait(&shape, version, since, LIMIT) {
            Some(there) => took.push(milliseconds(there)),
            None => return vec![Row::failed(what, "ms", format!("not within {LIMIT:?}"))],
        }
    }
    let told = world.told() - 1;
    let (took, floor) = (median(&mut took), median(&mut floor));
    let beside = format!(
        "bare loop {floor:.1} ms, {:.2}×; told {told}× in {rounds} rounds",
        took / floor
    );
    vec![Row::new(what, "ms", took).within(1_000.0).beside(beside)]
}
