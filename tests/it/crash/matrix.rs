//! Every call at which a crash can leave something else behind: the agent is killed at each, one run a call.
//!
//! A run in the suite takes some of them; `scripts/crash-matrix` takes all.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::scene::{Fate, is_received, place, recover, whole, world_of};
use super::tracer::{Act, Call, trace};
use crate::skip::skip;
use crate::world::World;

/// Most of a run is waiting for an interval to pass.
const SIDE_BY_SIDE: usize = 8;
/// A run in the suite takes one call in so many, others each time.
const SAMPLE: usize = 67;
/// How many calls more than an undisturbed one a run may make.
const MORE: usize = 10;

/// Where the agent is killed: the number of a call, and where the run that recovers is killed again.
#[derive(Clone, Copy, Debug)]
struct Point {
    fate: Fate,
    first: usize,
    second: Option<usize>,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, killed at call {}", self.fate, self.first)?;
        match self.second {
            Some(second) => write!(f, " and, recovering, at call {second}"),
            None => Ok(()),
        }
    }
}

/// How many calls of an undisturbed run leave something else behind.
fn undisturbed(fate: Fate) -> usize {
    let (world, _server) = world_of(fate);
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&calls);
    let judge = move |call: &Call| {
        seen.fetch_add(usize::from(call.changes), Ordering::Relaxed);
        Act::Happens
    };
    let code = trace(once(&world), place(&world), judge).wait();
    assert!(code.is_some(), "it ends by itself");
    calls.load(Ordering::Relaxed)
}

fn once(world: &World) -> Command {
    world.command(&["once", "--log-level", "debug"])
}

/// Kills `once` at its call of this number; what it was killed at, `None` if it made fewer.
fn kill_at(world: &World, number: usize) -> Option<String> {
    let at: Arc<Mutex<Option<String>>> = Arc::default();
    let (killed, root) = (Arc::clone(&at), place(world));
    let mut seen = 0;
    let judge = move |call: &Call| {
        if !call.changes {
            return Act::Happens;
        }
        seen += 1;
        if seen < number {
            return Act::Happens;
        }
        killed
            .lock()
            .unwrap()
            .get_or_insert_with(|| call.words(&root));
        Act::Kills
    };
    let code = trace(once(world), place(world), judge).wait();
    let at = at.lock().unwrap().clone();
    assert_eq!(code.is_none(), at.is_some(), "{at:?}, exit code {code:?}");
    at
}

/// One run; the calls at which the agent was killed.
fn crash(point: Point, server_up: bool) -> Vec<String> {
    let (world, server) = world_of(point.fate);
    let mut killed = Vec::new();
    for number in [Some(point.first), point.second].into_iter().flatten() {
        killed.extend(kill_at(&world, number));
        whole(&world, point.fate);
    }
    let server_up = server_up || !is_received(&world, point.fate);
    let what = format!("{point}: {killed:?}, server up: {server_up}");
    recover(&what, point.fate, server_up, &world, server);
    killed
}

/// Points in the order in which the calls are made, each without a second kill and with one; every `stride`th, beginning
/// with `offset`.
fn points(fate: Fate, calls: usize, stride: usize, offset: usize) -> impl Iterator<Item = Point> {
    // A few more: one run makes some calls more than another.
    let firsts = 1..=calls + MORE;
    // Another one for each, so that all of them together are killed everywhere.
    let twice =
        move |first: usize| [None, Some(1 + first * 7 % calls)].map(|second| (first, second));
    let points = firsts.flat_map(twice).skip(offset).step_by(stride);
    points.map(move |(first, second)| Point {
        fate,
        first,
        second,
    })
}

#[test]
fn a_kill_at_any_call_leaves_whole_files_and_no_service_uninformed() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the tracer of the crash tests knows the calls of x86_64 only");
    }
    let stride = std::env::var("APPCONFIGD_CRASH_STRIDE");
    let stride: usize = stride.map_or(SAMPLE, |stride| stride.parse().unwrap());
    let offset = usize::try_from(std::process::id()).unwrap() % stride;
    let recorded = Fate::ALL.map(|fate| (fate, undisturbed(fate)));
    let points = recorded
        .iter()
        .flat_map(|(fate, calls)| points(*fate, *calls, stride, offset));
    let waiting = Mutex::new(points.enumerate());
    let killed: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let failed: Mutex<Vec<String>> = Mutex::default();
    let runs = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((number, point)) = { waiting.lock().unwrap().next() } {
                    let run = runs.fetch_add(1, Ordering::Relaxed);
                    if run % 100 == 99 {
                        eprintln!("{} runs", run + 1);
                    }
                    let server_up = number % 3 != 0;
                    match catch_unwind(AssertUnwindSafe(|| crash(point, server_up))) {
                        Ok(calls) => {
                            let mut killed = killed.lock().unwrap();
                            for call in calls {
                                *killed.entry(call).or_default() += 1;
                            }
                        }
                        Err(_) => failed.lock().unwrap().push(point.to_string()),
                    }
                }
            });
        }
    });
    let killed = killed.into_inner().unwrap();
    let failed = failed.into_inner().unwrap();
    eprintln!(
        "{} runs, {} kills at {} different calls, {} violations",
        runs.into_inner(),
        killed.values().sum::<usize>(),
        killed.len(),
        failed.len()
    );
    for (call, times) in &killed {
        eprintln!("  {times:4} {call}");
    }
    assert!(
        killed.len() > 10 || stride > SAMPLE,
        "hardly anything was killed"
    );
    assert!(failed.is_empty(), "{failed:#?}");
}
