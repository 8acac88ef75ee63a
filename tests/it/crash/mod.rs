//! SIGKILL in the middle of things: whatever the instant, files are whole and services learn of what stands.
//!
//! One transaction over five targets of every kind and two services. strace kills `once` as it enters a system call; a
//! restart without strace must put things right.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use nix::unistd::geteuid;
use serde_json::json;

use crate::portrait::{Portrait, adorn};
use crate::skip::skip;
use crate::stand;
use crate::world::{Server, World, wait_for};
use scene::{
    Fate, OLD, Refused, Stays, TurnedDown, names, recover, versions_by_age, whole, world_of,
};

mod calls;
mod dress;
mod errors;
mod found;
mod matrix;
mod power;
mod scene;
mod tracer;

const MURDER: &str = include_str!("../../fixtures/crash/murder");

/// Most of a run is waiting for an interval to pass.
const SIDE_BY_SIDE: usize = 6;
/// Commits may be joined, so the number of a ledger's system call is a good guess, not a fact.
const TRIES: usize = 5;

/// Where the agent dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    /// At the entry of the first call of this name with this path below `etc/`; without a path, the first of any.
    Call(&'static str, &'static str),
    /// At the entry of a call of this name with the ledger's log: the last one before the first link is 0.
    Ledger(&'static str, isize),
    /// While this program that the agent has started runs.
    Program(&'static str),
}

use Point::{Call, Ledger, Program};

/// What stands when the agent is dead: that it died where it should. The versions of the targets, `-` for none; the least
/// and the greatest number of staged names, which may depend on who was faster, and of kept names.
#[derive(Clone, Copy, Debug)]
struct Stand(&'static str, (usize, usize), (usize, usize));

const NEW: &str = "new new new new new";

/// The table. Targets are linked and renamed in the order of their paths.
#[rustfmt::skip]
const POINTS: &[(Fate, Point, Stand)] = &[
    // staging: side by side, so what the others have done is open
    (Stays, Call("mkdirat", "two"), Stand(OLD, (0, 4), (0, 0))),
    (Stays, Call("openat", "one/.appconfigd"), Stand(OLD, (0, 4), (0, 0))),
    (Stays, Call("fchmod", ""), Stand(OLD, (0, 4), (0, 0))),
    (Stays, Call("renameat2", "whole"), Stand(OLD, (0, 4), (0, 0))),
    // the intent: in the middle of its pages, and before they are durable
    (Stays, Ledger("pwrite64", -2), Stand(OLD, (4, 4), (0, 0))),
    (Stays, Ledger("fsync", 0), Stand(OLD, (4, 4), (0, 0))),
    // keeping what is there
    (Stays, Call("linkat", "one"), Stand(OLD, (4, 4), (0, 0))),
    (Stays, Call("fsync", "one/.appconfigd"), Stand(OLD, (4, 4), (1, 1))),
    (Stays, Call("linkat", "three"), Stand(OLD, (4, 4), (1, 1))),
    (Stays, Call("linkat", "whole"), Stand(OLD, (4, 4), (2, 2))),
    // the swap
    (Stays, Call("renameat", "one"), Stand(OLD, (4, 4), (4, 4))),
    (Stays, Call("renameat", "three"), Stand("new v1 - v1 v1", (3, 3), (4, 4))),
    (Stays, Call("renameat", "two"), Stand("new new - v1 v1", (2, 2), (4, 4))),
    (Stays, Call("renameat", "whole"), Stand("new new new v1 v1", (1, 1), (4, 4))),
    (Stays, Call("ftruncate", "written/e.conf"), Stand(NEW, (1, 1), (4, 4))),
    (Stays, Call("fsync", "two"), Stand(NEW, (1, 1), (4, 4))),
    // check and notifications
    (Stays, Program("check"), Stand(NEW, (1, 1), (4, 4))),
    (Stays, Program("one"), Stand(NEW, (1, 1), (4, 4))),
    (Stays, Program("two"), Stand(NEW, (1, 1), (4, 4))),
    // the end: not yet durable, and while the kept names go
    (Stays, Ledger("fsync", 1), Stand(NEW, (1, 1), (4, 4))),
    (Stays, Call("unlinkat", "one/.appconfigd"), Stand(NEW, (1, 1), (4, 4))),
    (Stays, Call("unlinkat", "three/.appconfigd"), Stand(NEW, (1, 1), (3, 3))),
    (Stays, Call("unlinkat", "three"), Stand(NEW, (1, 1), (2, 2))),
    // going back after the check
    (Refused, Call("renameat", "three"), Stand("new v1 - v1 v1", (3, 3), (4, 4))),
    (Refused, Program("check"), Stand(NEW, (1, 1), (4, 4))),
    (Refused, Ledger("fsync", 1), Stand(NEW, (1, 1), (4, 4))),
    (Refused, Call("unlinkat", "one/.appconfigd"), Stand("v1 new new new new", (1, 1), (3, 3))),
    (Refused, Call("unlinkat", "two"), Stand("v1 v1 new new new", (1, 1), (2, 2))),
    (Refused, Ledger("fsync", 2), Stand(OLD, (1, 1), (1, 1))),
    // going back after a notification
    (TurnedDown, Program("one"), Stand(NEW, (1, 1), (4, 4))),
    (TurnedDown, Ledger("fsync", 1), Stand(NEW, (1, 1), (4, 4))),
    (TurnedDown, Call("unlinkat", "one/.appconfigd"), Stand("v1 new new new new", (1, 1), (3, 3))),
    (TurnedDown, Ledger("fsync", 2), Stand(OLD, (1, 1), (1, 1))),
];

/// Killed, taken up again, and killed once more.
#[rustfmt::skip]
const TWICE: &[(Fate, Point, Point, Stand)] = &[
    (Stays, Call("renameat", "three"), Call("renameat", "one"), Stand("new v1 - v1 v1", (0, 5), (4, 4))),
    (Stays, Call("renameat", "two"), Call("renameat", "two"), Stand("new new - v1 v1", (0, 5), (4, 4))),
    (Stays, Program("two"), Program("one"), Stand(NEW, (0, 5), (4, 4))),
    (Refused, Call("unlinkat", "one/.appconfigd"), Call("renameat", "three"), Stand("v1 new new new new", (1, 1), (3, 3))),
    (TurnedDown, Call("unlinkat", "one/.appconfigd"), Call("unlinkat", "three/.appconfigd"), Stand("v1 v1 new new new", (1, 1), (2, 2))),
];

/// The number of the ledger's last call of a name before the first link, as it was recorded for one fate.
#[derive(Clone, Copy)]
struct Recorded {
    fate: Fate,
    pwrite64: usize,
    fsync: usize,
}

/// One run of the table.
#[derive(Clone, Copy)]
struct Run {
    fate: Fate,
    points: [Option<Point>; 2],
    stand: Stand,
    server_up: bool,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up = if self.server_up { "up" } else { "down" };
        let points: Vec<_> = self.points.iter().flatten().collect();
        write!(f, "{:?} {points:?}, server {up} afterwards", self.fate)
    }
}

#[test]
fn a_kill_at_any_point_leaves_whole_files_and_no_service_uninformed() {
    let straced = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    if !straced.is_ok_and(|status| status.success()) {
        return skip("strace is not installed, or may not trace here");
    }
    if !geteuid().is_root() {
        skip("not root: the owner that is kept is our own");
    }
    let recorded: Vec<Recorded> = Fate::ALL.into_iter().map(record).collect();
    let once = POINTS.iter().map(|(fate, point, stand)| Run {
        fate: *fate,
        points: [Some(*point), None],
        stand: *stand,
        server_up: true,
    });
    let twice = TWICE.iter().map(|(fate, first, second, stand)| Run {
        fate: *fate,
        points: [Some(*first), Some(*second)],
        stand: *stand,
        server_up: true,
    });
    let up: Vec<Run> = once.chain(twice).collect();
    let down = up.iter().map(|run| Run {
        server_up: false,
        ..*run
    });
    let runs: Mutex<VecDeque<Run>> = Mutex::new(up.iter().copied().chain(down).collect());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(run) = { runs.lock().unwrap().pop_front() } {
                    let done = catch_unwind(AssertUnwindSafe(|| crash(run, &recorded)));
                    if done.is_err() {
                        failed.lock().unwrap().push(run.to_string());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// `once` under strace.
fn strace(world: &World, arguments: &[String]) -> Option<i32> {
    let inner = world.command(&["once", "--log-level", "debug"]);
    let mut command = Command::new("strace");
    command
        // not with --seccomp-bpf: strace 6.1 then leaves injections out where -P passes over a call
        .args(["-f", "-q", "-y", "-o"])
        .arg(world.path("trace"))
        .args(arguments)
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(world.path(""))
        .env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap());
    }
    world.run_by(command).wait()
}

/// Counts the ledger's calls before the first link of an undisturbed transaction.
fn record(fate: Fate) -> Recorded {
    let (world, _server) = world_of(fate);
    strace(
        &world,
        &["-e".to_owned(), "trace=linkat,fsync,pwrite64".to_owned()],
    );
    let trace = world.read("trace").unwrap();
    let before = trace.lines().take_while(|line| !line.contains("linkat("));
    let before: Vec<&str> = before
        .filter(|line| line.contains("ledger.db-wal>"))
        .collect();
    let count = |call: &str| before.iter().filter(|line| line.contains(call)).count();
    let recorded = Recorded {
        fate,
        pwrite64: count(" pwrite64("),
        fsync: count(" fsync("),
    };
    assert!(trace.contains("linkat(") && recorded.fsync > 0, "{trace}");
    recorded
}

/// Kills the agent there; says whether it was killed.
fn kill_at(world: &World, fate: Fate, point: Point, recorded: &[Recorded]) -> bool {
    let (call, path, when) = match point {
        Program(name) => {
            world.write(&format!("kill-{name}"), "");
            let mut once = world.run_by(world.command(&["once", "--log-level", "debug"]));
            return once.wait().is_none() && !world.path(&format!("kill-{name}")).exists();
        }
        Call(call, "") => (call, None, 1),
        Call(call, path) => (call, Some(world.target("/etc").join(path)), 1),
        Ledger(call, offset) => {
            let recorded = recorded
                .iter()
                .find(|recorded| recorded.fate == fate)
                .unwrap();
            let last = match call {
                "fsync" => recorded.fsync,
                _ => recorded.pwrite64,
            };
            let path = world.target("/var/lib/appconfigd/ledger.db-wal");
            (call, Some(path), last.strict_add_signed(offset))
        }
    };
    let mut arguments = vec![
        "-e".to_owned(),
        format!("trace={call}"),
        "-e".to_owned(),
        format!("inject={call}:signal=KILL:when={when}"),
    ];
    if let Some(path) = path {
        arguments.extend(["-P".to_owned(), path.to_str().unwrap().to_owned()]);
    }
    let _ = fs::remove_file(world.path("trace"));
    let code = strace(world, &arguments);
    let trace = world.read("trace").unwrap_or_default();
    // The thread that was killed made this call last.
    let killed = trace
        .lines()
        .filter(|line| line.contains("killed by SIGKILL"));
    let killed = killed.filter_map(|line| line.split(' ').next());
    let mut last = killed.filter_map(|thread| {
        let own = |line: &&str| line.split(' ').next() == Some(thread) && line.contains('(');
        trace.lines().rfind(own)
    });
    code.is_none() && last.any(|line| line.contains(&format!("{call}(")))
}

fn crash(run: Run, recorded: &[Recorded]) {
    let mut seen = Vec::new();
    let mut anew: Option<Vec<Recorded>> = None;
    for attempt in 0..TRIES {
        // The recording itself may have been the odd one, with a poll's commit more or less before the intent.
        if attempt > 1 {
            anew = Some(Fate::ALL.into_iter().map(record).collect());
        }
        let recorded = anew.as_deref().unwrap_or(recorded);
        let (world, server) = world_of(run.fate);
        let points = run.points.iter().flatten();
        let mut hit = true;
        for point in points {
            hit = kill_at(&world, run.fate, *point, recorded);
            whole(&world, run.fate);
            if !hit {
                break;
            }
        }
        let stand = (
            versions_by_age(&world, run.fate),
            names(&world, "new-"),
            names(&world, "old-"),
        );
        let Stand(wanted, staged, kept) = run.stand;
        let within = |(least, greatest), number| least <= number && number <= greatest;
        hit &= stand.0 == wanted && within(staged, stand.1) && within(kept, stand.2);
        if hit {
            return recover(&run.to_string(), run.fate, run.server_up, &world, server);
        }
        seen.push((stand, world.read("trace")));
    }
    panic!("{run}: not hit; {seen:#?}");
}

#[test]
fn a_version_that_kills_the_agent_three_times_goes_back_and_stays_away() {
    let world = World::new();
    let murder = world.write("murder", MURDER);
    fs::set_permissions(&murder, PermissionsExt::from_mode(0o755)).unwrap();
    world.deploy("shop/prod/app.txt", "v1\n");
    let server = Server::start(&world);
    world.settings(
        &server,
        &format!(
            "profiles:\n  app:\ntargets:\n  /etc/app.conf: {{from: app, notify: {{command: [{}]}}}}\n",
            murder.display()
        ),
    );
    let mut daemon = world.run();
    wait_for("v1 is told", || {
        (world.read("told")? == "v1\n").then_some(())
    });
    let file = world.target("/etc/app.conf");
    adorn(&file);
    world.wait_for_status("/state", &json!("healthy"));
    let before = Portrait::of(&file);

    world.deploy("shop/prod/app.txt", "deadly\n");
    for attempt in 1..=3 {
        assert_eq!(daemon.wait(), None, "attempt {attempt} is killed");
        let deadly = Portrait::of(&file);
        assert_eq!(deadly.text, "deadly\n");
        assert_eq!(deadly.dress, before.dress);
        let taken_up = world
            .log()
            .matches("interrupted transaction is taken up again")
            .count();
        assert_eq!(taken_up, attempt - 1);
        daemon = world.run();
    }
    let told = "v1\nkilled\nkilled\nkilled\nv1\n";
    wait_for("the old version is told again", || {
        (world.read("told")? == told).then_some(())
    });
    assert_eq!(world.read("root/etc/app.conf").unwrap(), "v1\n");
    let stands = || {
        stand::Stand::new(&world, "degraded")
            .profile(
                "app",
                "quarantined",
                Some("v1\n"),
                Some("deadly\n"),
                "…interrupted three times…",
            )
            .target("/etc/app.conf", "in_sync", Some("v1\n"), &[])
            .service(
                "/etc/app.conf",
                "acknowledged",
                "went back (…interrupted three times…); accepted",
            )
            .holds();
        assert_eq!(Portrait::of(&file), before, "the file itself is back");
    };
    stands();
    let log = world.log();
    assert_eq!(
        log.matches(" ERROR went back to the previous version targets=/etc/app.conf ")
            .count(),
        1,
        "{log}"
    );

    // it stays away, across restarts and polls
    for _ in 0..2 {
        assert_eq!(daemon.stop(), Some(0));
        let polls = server.count("shop/prod/app", "get");
        daemon = world.run();
        wait_for("two more polls", || {
            (server.count("shop/prod/app", "get") >= polls + 2).then_some(())
        });
        stands();
    }
    assert_eq!(world.read("told").unwrap(), told);

    world.deploy("shop/prod/app.txt", "v3\n");
    world.wait_for_target("/etc/app.conf", "v3\n");
    wait_for("v3 is told", || {
        (world.read("told")? == format!("{told}v3\n")).then_some(())
    });
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(daemon.stop(), Some(0));
    assert!(!world.target("/etc/.appconfigd").exists());
}
