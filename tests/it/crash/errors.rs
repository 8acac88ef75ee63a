//! Every call that can fail: it is made to, once, or together with all that follow until the fault goes.
//!
//! The agent goes on living, no target is ever anything but whole, and when the fault is gone the second version arrives and
//! its services learn of it. A fault while it starts may also end it, in words; then a new start does all that. A run in the
//! suite takes some of the calls; `scripts/errno-matrix` takes all.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};

use super::scene::{Fate, OLD, is_settled, place, versions, whole, world_of};
use super::tracer::{Act, Call, Traced, trace};
use crate::skip::skip;
use crate::world::{PATIENCE, Server, World, wait_for};

/// Most of a run is waiting for an interval to pass.
const SIDE_BY_SIDE: usize = 8;
/// A run in the suite takes one call in so many, others each time.
const SAMPLE: usize = 97;
/// How long a fault that stays does so after its first call.
const STAYS_FOR: Duration = Duration::from_millis(1500);

#[derive(Clone, Copy, Debug)]
struct Point {
    /// Of the call.
    number: usize,
    errno: Errno,
    stays: bool,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = if self.stays { " and all after it" } else { "" };
        write!(f, "{} at call {}{from}", self.errno, self.number)
    }
}

/// What a call of this name can fail with that is no fault of its caller.
fn errnos(name: &str) -> &'static [Errno] {
    use Errno::{EACCES, EAGAIN, EIO, EMFILE, ENOSPC, EROFS};
    match name {
        "openat" | "openat2" | "open" => &[EMFILE, EACCES, EIO, ENOSPC],
        "write" | "writev" | "pwrite64" | "ftruncate" | "fallocate" | "fsync" | "fdatasync" => {
            &[ENOSPC, EIO]
        }
        "mkdirat" | "mkdir" | "renameat" | "renameat2" | "rename" | "linkat" | "symlinkat" => {
            &[ENOSPC, EROFS, EACCES, EIO]
        }
        "unlinkat" | "unlink" | "rmdir" | "fchmod" | "fchown" | "fsetxattr" | "fremovexattr" => {
            &[EROFS, EACCES, EIO]
        }
        "pidfd_open" => &[EMFILE],
        // No thread, or no child.
        "clone" | "clone3" | "vfork" => &[EAGAIN],
        "wait4" | "waitid" | "kill" | "pidfd_send_signal" => &[],
        _ => &[EIO],
    }
}

/// What a tracer does with the calls of one run, and what became of it.
struct Fault {
    point: Point,
    seen: AtomicUsize,
    /// The call that failed first.
    at: Mutex<Option<(String, Instant)>>,
    healed: AtomicBool,
}

impl Fault {
    fn judge(&self, call: &Call, root: &std::path::Path) -> Act {
        let number = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        let fits = errnos(call.name).contains(&self.point.errno);
        let begun = self.at.lock().unwrap().is_some();
        let fails = match begun {
            false => number >= self.point.number && fits,
            true => self.point.stays && fits && !self.healed.load(Ordering::Relaxed),
        };
        if !fails {
            return Act::Happens;
        }
        let first = || (call.words(root), Instant::now());
        self.at.lock().unwrap().get_or_insert_with(first);
        Act::Fails(self.point.errno)
    }

    /// It has done what it was to do.
    fn is_over(&self) -> bool {
        let since = self.at.lock().unwrap().as_ref().map(|(_, since)| *since);
        since.is_some_and(|since| !self.point.stays || since.elapsed() > STAYS_FOR)
    }
}

fn run(world: &World) -> Command {
    world.command(&["run", "--log-level", "debug"])
}

/// The names of the calls of an undisturbed run, in their order.
fn undisturbed() -> Vec<&'static str> {
    let (world, _server) = world_of(Fate::Stays);
    let names: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let seen = Arc::clone(&names);
    let judge = move |call: &Call| {
        seen.lock().unwrap().push(call.name);
        Act::Happens
    };
    let traced = trace(run(&world), place(&world), judge);
    wait_for("the second version is settled", || {
        is_settled(&world, NEW).then_some(())
    });
    end(traced, "undisturbed");
    names.lock().unwrap().clone()
}

const NEW: &str = "v2 v2 v2 v2 v2";

fn end(traced: Traced, what: &str) {
    kill(traced.pid, Signal::SIGTERM).unwrap();
    assert_eq!(traced.wait(), Some(0), "{what}");
}

/// One run; the call that failed first.
fn fail(point: Point) -> Option<String> {
    let (world, _server) = world_of(Fate::Stays);
    let fault = Arc::new(Fault {
        point,
        seen: AtomicUsize::new(0),
        at: Mutex::default(),
        healed: AtomicBool::new(false),
    });
    let (judging, root) = (Arc::clone(&fault), place(&world));
    let judge = move |call: &Call| judging.judge(call, &root);
    let traced = trace(run(&world), place(&world), judge);
    let since = Instant::now();
    let settled = loop {
        whole(&world, Fate::Stays);
        if fault.is_over() {
            fault.healed.store(true, Ordering::Relaxed);
        }
        let begun = fault.at.lock().unwrap().is_some();
        let in_force = point.stays && begun && !fault.healed.load(Ordering::Relaxed);
        if traced.has_ended() {
            break false;
        }
        if is_settled(&world, NEW) && !in_force {
            break true;
        }
        let at = &fault.at;
        let first = at.lock().unwrap().clone();
        let is_late = since.elapsed() > 6 * PATIENCE;
        if is_late {
            let _ = kill(traced.pid, Signal::SIGKILL);
        }
        assert!(
            !is_late,
            "{point}: never settles; first {first:?}; there is {:?}; log:\n{}",
            versions(&world),
            world.log()
        );
        std::thread::park_timeout(Duration::from_millis(50));
    };
    let at = fault
        .at
        .lock()
        .unwrap()
        .as_ref()
        .map(|(call, _)| call.clone());
    let what = format!("{point}: {at:?}; log:\n{}", world.log());
    if settled {
        end(traced, &what);
    } else {
        let code = traced.wait();
        assert_eq!(code, Some(1), "{what}");
        // SQLite does not tell the number of the error. Other threads may have the last word.
        let places = [
            "/var/lib/appconfigd",
            "/run/appconfigd",
            "/var/lib`",
            "/var`",
            "(`ulimit -u`, `TasksMax=`)",
            "start a thread",
        ];
        let log = world.log();
        let mut said = log.lines().filter(|line| line.starts_with("error: "));
        let names_it =
            said.any(|line| places.iter().any(|at| line.contains(at)) && !line.contains("damaged"));
        assert!(names_it, "{what}");
        assert_eq!(versions(&world), OLD, "it did not even start; {what}");
        let daemon = world.run();
        wait_for(&what, || is_settled(&world, NEW).then_some(()));
        assert_eq!(daemon.stop(), Some(0), "{what}");
    }
    whole(&world, Fate::Stays);
    at
}

#[test]
fn a_call_that_fails_leaves_whole_files_and_is_got_over() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the tracer of the crash tests knows the calls of x86_64 only");
    }
    let stride = std::env::var("APPCONFIGD_ERRNO_STRIDE");
    let stride: usize = stride.map_or(SAMPLE, |stride| stride.parse().unwrap());
    let offset = std::env::var("APPCONFIGD_ERRNO_OFFSET").ok();
    let offset: Option<usize> = offset.map(|offset| offset.parse().unwrap());
    let drawn = usize::try_from(std::process::id()).unwrap();
    let offset = offset.unwrap_or(drawn) % stride;
    let names = undisturbed();
    let only = std::env::var("APPCONFIGD_ERRNO_CALL").unwrap_or_default();
    let numbered = names.iter().zip(1..);
    let numbered = numbered.filter(|(name, _)| name.starts_with(&only));
    let points = numbered.flat_map(|(name, number)| {
        let kinds = errnos(name)
            .iter()
            .flat_map(|errno| [(errno, false), (errno, true)]);
        kinds.map(move |(errno, stays)| Point {
            number,
            errno: *errno,
            stays,
        })
    });
    let waiting = Mutex::new(points.skip(offset).step_by(stride));
    let hit: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let failed: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(point) = { waiting.lock().unwrap().next() } {
                    match catch_unwind(AssertUnwindSafe(|| fail(point))) {
                        Ok(at) => {
                            let at = at
                                .map_or("nothing".to_owned(), |at| format!("{} {at}", point.errno));
                            *hit.lock().unwrap().entry(at).or_default() += 1;
                        }
                        Err(_) => failed.lock().unwrap().push(point.to_string()),
                    }
                }
            });
        }
    });
    let hit = hit.into_inner().unwrap();
    let failed = failed.into_inner().unwrap();
    eprintln!(
        "{} calls, {} runs, {} different failures, {} violations",
        names.len(),
        hit.values().sum::<usize>() + failed.len(),
        hit.len(),
        failed.len()
    );
    for (what, times) in &hit {
        eprintln!("  {times:4} {what}");
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_system_that_gives_no_threads_ends_the_start_in_words() {
    if !cfg!(target_arch = "x86_64") {
        return skip("the tracer of the crash tests knows the calls of x86_64 only");
    }
    for command in ["once", "run"] {
        let world = World::new();
        let lines = "profiles:\n  app:\ntargets:\n  /etc/app.conf: {from: app}\n";
        let server = Server::start(&world);
        world.settings(&server, lines);
        let judge = |call: &Call| match call.name {
            "clone" | "clone3" => Act::Fails(Errno::EAGAIN),
            _ => Act::Happens,
        };
        fs::create_dir_all(world.path("root")).unwrap();
        let traced = trace(world.command(&[command]), place(&world), judge);
        assert_eq!(traced.wait(), Some(1), "{command}: {}", world.log());
        let log = world.log();
        let said = "error: cannot start the runtime: Resource temporarily unavailable (os error 11); a limit on processes, \
                    threads or tasks may be too low (`ulimit -u`, `TasksMax=`)\n";
        assert_eq!(log, said, "{command}");
    }
}
