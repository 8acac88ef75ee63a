//! Directory targets: several files that change in one instant.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::skip::skip;
use crate::world::{Daemon, Server, World, wait_for};

const TARGET: &str = "/etc/app/conf.d/";

/// A world whose one target is a directory of two files, made from one profile.
fn world(more: &str, service: &str) -> (World, Server) {
    let world = World::new();
    let server = Server::start(&world);
    world.write("b.j2", "b of {{ config }}");
    declare(&world, &server, more, service);
    (world, server)
}

fn declare(world: &World, server: &Server, more: &str, service: &str) {
    let lines = format!(
        "profiles:
  limits:
targets:
  {TARGET}:
    files:
      a.conf: {{from: limits}}
      sub/b.conf: {{from: limits, template: b.j2, mode: 0640}}
    notify: app
{more}services:
  app: {{{service}}}
"
    );
    world.settings(server, &lines);
}

/// Writes down what is read when it is told, and does not want to be told of what is worse.
const TELL: &str = "command: {shell: \"cat root/etc/app/conf.d/a.conf >> told; echo >> told; ! grep -q worse root/etc/app/conf.d/a.conf\"}";
const CHECK: &str = "check: {shell: \"! grep -q bad root/etc/app/conf.d/sub/b.conf\"}, ";

fn service() -> String {
    format!("{CHECK}{TELL}")
}

fn deploy(world: &World, text: &str) {
    world.deploy("shop/prod/limits.txt", text);
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// `once` when the poll is due: sessions are kept, and so are their intervals.
fn once(world: &World, server: &Server) -> Output {
    due(world, server);
    world.output(&["once"])
}

fn due(world: &World, server: &Server) {
    server.advance(2);
    let status = world.status();
    let next = status.and_then(|status| {
        let next = status.pointer("/profiles/limits/next_poll")?.as_str()?;
        next.parse::<jiff::Timestamp>().ok()
    });
    if let Some(next) = next {
        wait_for("the interval passes", || {
            (jiff::Timestamp::now() > next).then_some(())
        });
    }
}

/// Both files, through the link.
fn reads(world: &World) -> Option<(String, String)> {
    let text = |name: &str| fs::read_to_string(world.target(TARGET).join(name)).ok();
    Some((text("a.conf")?, text("sub/b.conf")?))
}

fn version(text: &str) -> Option<(String, String)> {
    Some((text.to_owned(), format!("b of {text}")))
}

fn names(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.target("/etc/app")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn link(world: &World) -> String {
    let link = fs::read_link(world.target("/etc/app/conf.d")).unwrap();
    link.to_str().unwrap().to_owned()
}

fn told(world: &World) -> Vec<String> {
    let told = world.read("told").unwrap_or_default();
    told.lines().map(str::to_owned).collect()
}

#[test]
fn a_directory_is_made_changed_and_goes_back_as_a_whole() {
    let (world, server) = world("", &service());
    deploy(&world, "bad");
    let refused = once(&world, &server);
    assert_eq!(code(&refused), 1, "{}", text(&refused));
    assert_eq!(
        names(&world),
        Vec::<String>::new(),
        "the first version goes back to nothing"
    );
    for (number, good) in ["one", "two"].into_iter().enumerate() {
        deploy(&world, good);
        let made = once(&world, &server);
        assert_eq!(code(&made), 0, "{}", text(&made));
        assert_eq!(reads(&world), version(good));
        assert_eq!(link(&world), format!(".conf.d.appconfigd.{}", number + 1));
    }
    assert_eq!(
        names(&world),
        [".conf.d.appconfigd.1", ".conf.d.appconfigd.2", "conf.d"]
    );
    let mode = |name: &str| {
        fs::metadata(world.target(TARGET).join(name))
            .unwrap()
            .mode()
            & 0o7777
    };
    assert_eq!(
        [mode("."), mode("a.conf"), mode("sub"), mode("sub/b.conf")],
        [0o755, 0o644, 0o755, 0o640]
    );
    // The check says no; the service says no.
    for (bad, said) in [
        ("bad", "check of service `app`"),
        ("worse", "service `app`"),
    ] {
        deploy(&world, bad);
        let refused = once(&world, &server);
        assert_eq!(code(&refused), 1, "{}", text(&refused));
        assert!(text(&refused).contains(said), "{}", text(&refused));
        assert_eq!(reads(&world), version("two"));
        assert_eq!(
            names(&world),
            [".conf.d.appconfigd.1", ".conf.d.appconfigd.2", "conf.d"]
        );
    }
    assert_eq!(told(&world), ["one", "two", "worse", "two"]);
    let status = world.status().unwrap();
    assert_eq!(status["profiles"]["limits"]["state"], json!("quarantined"));
    assert_eq!(status["targets"][TARGET]["state"], json!("in_sync"));
    // The digest can be had without us.
    let tar = "tar --format=gnu --blocking-factor=1 --sort=name --mtime=@0 --numeric-owner -C root/etc/app/conf.d/ -c . | sha256sum";
    let sum = Command::new("sh")
        .args(["-c", tar])
        .current_dir(world.path(""))
        .output()
        .unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let digest = status["targets"][TARGET]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(digest, format!("sha256:{}", sum.split(' ').next().unwrap()));
}

#[test]
fn a_probe_that_says_no_brings_the_generation_before_back() {
    let probe = "probe: {command: [grep, -q, good, root/etc/app/conf.d/a.conf], within: 1s, interval: 100ms}";
    let (world, server) = world("", &format!("{TELL}, {probe}"));
    deploy(&world, "good");
    let made = once(&world, &server);
    assert_eq!(code(&made), 0, "{}", text(&made));
    deploy(&world, "other");
    let refused = once(&world, &server);
    assert_eq!(code(&refused), 1, "{}", text(&refused));
    assert!(
        text(&refused).contains("probe of service `app`"),
        "{}",
        text(&refused)
    );
    assert_eq!(reads(&world), version("good"));
    assert_eq!(told(&world), ["good", "other", "good"]);
    assert_eq!(names(&world), [".conf.d.appconfigd.1", "conf.d"]);
}

#[test]
fn a_staged_generation_is_judged_where_it_lies_before_anything_is_swapped() {
    let validate = "    validate_command: {shell: \"test -d {staged} && cat {staged}/sub/b.conf >> judged && ! grep -q bad {staged}/a.conf\"}\n";
    let (world, server) = world(validate, TELL);
    deploy(&world, "one");
    let made = once(&world, &server);
    assert_eq!(code(&made), 0, "{}", text(&made));
    deploy(&world, "bad");
    let refused = once(&world, &server);
    assert_eq!(code(&refused), 1, "{}", text(&refused));
    assert_eq!(world.read("judged").unwrap(), "b of oneb of bad");
    assert_eq!(
        (reads(&world), told(&world)),
        (version("one"), vec!["one".to_owned()])
    );
    assert_eq!(names(&world), [".conf.d.appconfigd.1", "conf.d"]);
    let status = world.status().unwrap();
    assert_eq!(status["profiles"]["limits"]["state"], json!("refused"));
}

#[test]
fn a_real_directory_is_taken_over_only_where_that_is_declared() {
    let (world, server) = world("", &service());
    deploy(&world, "bad");
    let theirs = world.target(TARGET).join("theirs.conf");
    fs::create_dir(world.target(TARGET)).unwrap();
    fs::write(&theirs, "by hand").unwrap();
    let refused = once(&world, &server);
    assert_ne!(code(&refused), 0, "{}", text(&refused));
    assert!(
        text(&refused).contains("`adopt: true`"),
        "{}",
        text(&refused)
    );
    assert_eq!(names(&world), ["conf.d"]);
    // One that goes back is the directory again, not a copy of it.
    let inode = fs::metadata(world.target(TARGET)).unwrap().ino();
    declare(&world, &server, "    adopt: true\n", &service());
    let planned = world.output(&["plan"]);
    assert_eq!(code(&planned), 2, "{}", text(&planned));
    let shown = text(&planned);
    assert!(shown.contains("-by hand"), "{shown}");
    assert!(shown.contains("would be taken over"), "{shown}");
    let back = once(&world, &server);
    assert_eq!(code(&back), 1, "{}", text(&back));
    assert_eq!(
        fs::symlink_metadata(world.target("/etc/app/conf.d"))
            .unwrap()
            .ino(),
        inode
    );
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "by hand");
    assert_eq!(names(&world), ["conf.d"]);
    deploy(&world, "one");
    let made = once(&world, &server);
    assert_eq!(code(&made), 0, "{}", text(&made));
    assert_eq!(reads(&world), version("one"));
    assert!(!theirs.exists());
    let previous = world.target("/etc/app/.conf.d.appconfigd.1");
    assert_eq!(
        fs::metadata(&previous).unwrap().ino(),
        inode,
        "it is the previous generation"
    );
    // What was in it is in history, and can be compared.
    let diff = world.output(&["diff", "/etc/app/conf.d"]);
    assert_eq!(code(&diff), 2, "{}", text(&diff));
    assert!(text(&diff).contains("-by hand"), "{}", text(&diff));
}

#[test]
fn a_plan_shows_every_file_that_would_change() {
    let (world, server) = world("", TELL);
    deploy(&world, "one\n");
    let planned = world.output(&["plan", "/etc/app/conf.d"]);
    assert_eq!(code(&planned), 2, "{}", text(&planned));
    assert!(
        text(&planned).contains("+++ /etc/app/conf.d/sub/b.conf\n"),
        "{}",
        text(&planned)
    );
    assert_eq!(names(&world), Vec::<String>::new(), "a plan makes nothing");
    assert_eq!(code(&once(&world, &server)), 0);
    world.write("b.j2", "B of {{ config }}");
    fs::set_permissions(
        world.target(TARGET).join("a.conf"),
        PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let planned = world.output(&["plan"]);
    assert_eq!(code(&planned), 2, "{}", text(&planned));
    let shown = text(&planned);
    for part in [
        "\n-b of one",
        "\n+B of one",
        "\na.conf: now file, owner",
        "mode 0600, then file",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("--- /etc/app/conf.d/a.conf"), "{shown}");
}

/// A daemon with version "one".
fn installed(more: &str) -> (World, Server, Daemon) {
    let (world, server) = world(more, &service());
    deploy(&world, "one");
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    // The generation is there when the directories are listed the second time.
    wait_for("the generation is watched", || {
        let log = world.log();
        let last = log
            .lines()
            .rfind(|line| line.contains("targets are watched"))?;
        last.contains("directories=3").then_some(())
    });
    (world, server, daemon)
}

fn wait_until_right(world: &World, generation: u32) {
    wait_for(&format!("a new generation; log:\n{}", world.log()), || {
        let link = fs::read_link(world.target("/etc/app/conf.d")).ok()?;
        let right = link == Path::new(&format!(".conf.d.appconfigd.{generation}"));
        (right && reads(world) == version("one")).then_some(())
    });
}

#[test]
fn drift_of_every_kind_is_restored_by_a_new_generation_and_kept_in_history() {
    let (world, _server, daemon) = installed("");
    let inside = |name: &str| world.target(TARGET).join(name);
    let drifts: [(&str, &dyn Fn()); 6] = [
        ("bytes", &|| {
            fs::write(inside("sub/b.conf"), "by hand").unwrap()
        }),
        ("one more", &|| {
            fs::write(inside("sub/more.conf"), "by hand").unwrap()
        }),
        ("one less", &|| fs::remove_file(inside("a.conf")).unwrap()),
        ("a mode", &|| {
            fs::set_permissions(inside("a.conf"), PermissionsExt::from_mode(0o600)).unwrap()
        }),
        ("another link", &|| {
            fs::remove_file(world.target("/etc/app/conf.d")).unwrap();
            symlink("/etc", world.target("/etc/app/conf.d")).unwrap();
        }),
        ("no link", &|| {
            fs::remove_file(world.target("/etc/app/conf.d")).unwrap()
        }),
    ];
    for (index, (what, drift)) in drifts.iter().enumerate() {
        drift();
        let generation = u32::try_from(index).unwrap() + 2;
        wait_until_right(&world, generation);
        wait_for(&format!("told of {what}"), || {
            (told(&world).len() == index + 2).then_some(())
        });
        world.wait_for_status("/state", &json!("healthy"));
        // More than three in a minute would be a fight.
        if index == 2 {
            break;
        }
    }
    let history = text(&world.output(&["history", TARGET]));
    assert_eq!(
        history.matches("somebody else changed").count(),
        3,
        "{history}"
    );
    assert_eq!(daemon.stop(), Some(0));
    let daemon = world.run();
    world.wait_for_status("/daemon/version", &json!(env!("CARGO_PKG_VERSION")));
    for (index, (_, drift)) in drifts.iter().enumerate().skip(3) {
        drift();
        wait_until_right(&world, u32::try_from(index).unwrap() + 2);
        world.wait_for_status("/state", &json!("healthy"));
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_directory_that_somebody_puts_there_is_reported_and_left_alone() {
    let (world, _server, daemon) = installed("");
    fs::remove_file(world.target("/etc/app/conf.d")).unwrap();
    fs::create_dir(world.target("/etc/app/conf.d")).unwrap();
    fs::write(world.target(TARGET).join("theirs"), "x").unwrap();
    let status = world.wait_for_status(
        &format!("/targets/{}/state", TARGET.replace('/', "~1")),
        &json!("drifted"),
    );
    assert_eq!(status["state"], json!("degraded"));
    wait_for("the log names the way", || {
        world.log().contains("`adopt: true`").then_some(())
    });
    assert_eq!(
        fs::read_to_string(world.target(TARGET).join("theirs")).unwrap(),
        "x"
    );
    fs::remove_dir_all(world.target("/etc/app/conf.d")).unwrap();
    wait_until_right(&world, 2);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn drift_that_is_to_be_reported_stays_and_a_held_directory_is_not_touched() {
    let (world, _server, daemon) = installed("    on_drift: report\n");
    let file = world.target(TARGET).join("a.conf");
    fs::write(&file, "by hand").unwrap();
    wait_for("it is reported", || {
        world
            .log()
            .contains("left alone until the next version")
            .then_some(())
    });
    assert_eq!(fs::read_to_string(&file).unwrap(), "by hand");
    // The slash may be left out.
    let held = world.output(&["hold", "/etc/app/conf.d"]);
    assert_eq!(code(&held), 0, "{}", text(&held));
    deploy(&world, "two");
    world.wait_for_status("/profiles/limits/received/digest", &json!(sha256("two")));
    assert_eq!(fs::read_to_string(&file).unwrap(), "by hand");
    let released = world.output(&["release", TARGET]);
    assert_eq!(code(&released), 0, "{}", text(&released));
    wait_for("the newest version", || {
        (reads(&world) == version("two")).then_some(())
    });
    let history = text(&world.output(&["history", TARGET]));
    assert!(history.contains("somebody else changed"), "{history}");
    let kept = world.output(&["forget", "/etc/app/conf.d"]);
    assert!(
        text(&kept).contains("is in the settings"),
        "{}",
        text(&kept)
    );
    assert_eq!(daemon.stop(), Some(0));
}

fn sha256(text: &str) -> String {
    let script = format!("printf %s {text} | sha256sum");
    let sum = Command::new("sh").args(["-c", &script]).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    format!("sha256:{}", sum.split(' ').next().unwrap())
}

#[test]
fn readers_see_one_generation_while_versions_flip() {
    let (world, _server, daemon) = installed("");
    let stop = AtomicBool::new(false);
    let path = world.target("/etc/app/conf.d");
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !stop.load(Ordering::Relaxed) {
                // Resolved once; the link leads somewhere at every instant.
                let generation = fs::canonicalize(&path).unwrap();
                let text = |name: &str| fs::read_to_string(generation.join(name)).ok();
                if let (Some(a), Some(b)) = (text("a.conf"), text("sub/b.conf")) {
                    assert_eq!(b, format!("b of {a}"), "two versions in one generation");
                    seen.insert(a);
                }
            }
            seen
        });
        for number in 2..8 {
            let text = format!("version {number}");
            deploy(&world, &text);
            wait_for(&format!("{text}; log:\n{}", world.log()), || {
                (reads(&world) == version(&text)).then_some(())
            });
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(seen.len() > 5, "{seen:?}");
    assert_eq!(daemon.stop(), Some(0));
}

/// What is there before the version that is interrupted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Nothing,
    Generation,
    Directory,
}

/// Where the agent dies: at the entry of the first call of this name with this path, which is below `etc/`, or an argument as it is.
const POINTS: &[(Before, &str, &str)] = &[
    (Before::Nothing, "symlinkat", "app/.appconfigd"),
    (Before::Nothing, "renameat", "conf.d"),
    (Before::Nothing, "fsync", "app"),
    (Before::Generation, "mkdirat", "app/.appconfigd"),
    (Before::Generation, "symlinkat", "app/.appconfigd"),
    (Before::Generation, "renameat2", "app/.appconfigd"),
    (Before::Generation, "fsync", "app/.appconfigd"),
    (Before::Generation, "linkat", "conf.d"),
    (Before::Generation, "renameat", "conf.d"),
    (Before::Generation, "unlinkat", "app/.appconfigd"),
    (Before::Generation, "unlinkat", "app"),
    (Before::Directory, "renameat2", "app/.appconfigd"),
    (Before::Directory, "renameat2", "conf.d"),
    (Before::Directory, "unlinkat", "app"),
];

#[test]
fn a_kill_at_any_point_leaves_one_whole_version_and_the_next_start_ends_it() {
    let straced = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .output();
    if !straced.is_ok_and(|output| output.status.success()) {
        return skip("strace is not installed, or may not trace here");
    }
    let runs = POINTS
        .iter()
        .flat_map(|point| [("two", *point), ("bad", *point)]);
    let runs: Mutex<VecDeque<_>> = Mutex::new(runs.collect());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some(run) = { runs.lock().unwrap().pop_front() } {
                    let done = catch_unwind(AssertUnwindSafe(|| crash(run.0, run.1)));
                    if done.is_err() {
                        failed.lock().unwrap().push(format!("{run:?}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
}

fn crash(next: &str, (before, call, path): (Before, &str, &str)) {
    let (world, server) = world("    adopt: true\n", &service());
    match before {
        Before::Nothing => {}
        Before::Generation => {
            deploy(&world, "one");
            assert_eq!(code(&once(&world, &server)), 0);
        }
        Before::Directory => {
            fs::create_dir_all(world.target(TARGET).join("sub")).unwrap();
            fs::write(world.target(TARGET).join("a.conf"), "one").unwrap();
            fs::write(world.target(TARGET).join("sub/b.conf"), "b of one").unwrap();
        }
    }
    let stood = reads(&world);
    deploy(&world, next);
    due(&world, &server);
    let inner = world.command(&["once"]);
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-q", "-o", "/dev/null", "-e"])
        .arg(format!("trace={call}"))
        .arg("-P")
        .arg(match path {
            "conf.d" => path.into(),
            below => world.target("/etc").join(below),
        })
        .arg("-e")
        .arg(format!("inject={call}:signal=KILL:when=1"))
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(world.path(""));
    for (name, value) in inner.get_envs() {
        strace.env(name, value.unwrap());
    }
    let killed = strace.output().unwrap();
    assert_eq!(
        killed.status.code(),
        None,
        "it was not killed: {}",
        text(&killed)
    );
    let stands = reads(&world);
    assert!(
        stands == stood || stands == version(next),
        "{stands:?} is no whole version"
    );
    let again = once(&world, &server);
    let (expected, exit) = match next {
        "bad" => (stood, 1),
        _ => (version(next), 0),
    };
    assert_eq!(reads(&world), expected, "{}", text(&again));
    assert_eq!(code(&again), exit, "{}", text(&again));
    let left = names(&world);
    assert!(!left.contains(&".appconfigd".to_owned()), "{left:?}");
    let generations = left
        .iter()
        .filter(|name| name.starts_with(".conf.d."))
        .count();
    let most = match (next, before) {
        ("bad", Before::Generation) => 1,
        ("bad", _) => 0,
        (_, Before::Nothing) => 1,
        _ => 2,
    };
    assert_eq!(generations, most, "{left:?}");
    if next == "bad" && before == Before::Directory {
        assert!(
            fs::symlink_metadata(world.target("/etc/app/conf.d"))
                .unwrap()
                .is_dir()
        );
    }
    if next != "bad" {
        assert_eq!(told(&world).last().map(String::as_str), Some(next));
    }
}

/// `once` where this shell line has changed the mounts first.
fn mounted(world: &World, server: &Server, line: &str) -> Output {
    due(world, server);
    let inner = world.command(&["once"]);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg(format!("cd \"$0\" && {line} && shift 0 && exec \"$@\""))
        .arg(world.target("/etc"))
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(world.path(""));
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap());
    }
    command.output().unwrap()
}

#[test]
fn mounts_that_stand_in_the_way_are_named_with_what_to_declare() {
    let unshared = Command::new("unshare").args(["--mount", "true"]).output();
    if !unshared.is_ok_and(|output| output.status.success()) {
        return skip("mount namespaces cannot be made here");
    }
    let (world, server) = world("    adopt: true\n", TELL);
    deploy(&world, "one");
    fs::create_dir(world.target("/etc/app/conf.d")).unwrap();
    let refused = mounted(&world, &server, "mount -t tmpfs none app/conf.d");
    assert_ne!(code(&refused), 0, "{}", text(&refused));
    assert!(
        text(&refused).contains("it is a mount of its own; unmount it"),
        "{}",
        text(&refused)
    );
    // A file between mounts.
    let lines = "profiles:\n  limits:\ntargets:\n  /etc/app/one.txt: {from: limits}\n";
    world.settings(&server, lines);
    fs::write(world.target("/etc/app/one.txt"), "old").unwrap();
    let read_only = mounted(
        &world,
        &server,
        "mount --bind app app && mount -o remount,bind,ro app",
    );
    assert_ne!(code(&read_only), 0, "{}", text(&read_only));
    assert!(
        text(&read_only).contains("neither a rename nor `in_place: true`"),
        "{}",
        text(&read_only)
    );
    let apart = mounted(
        &world,
        &server,
        "mkdir -p app/.appconfigd && mount -t tmpfs -o mode=0700 none app/.appconfigd",
    );
    assert_ne!(code(&apart), 0, "{}", text(&apart));
    assert!(
        text(&apart).contains("or declare the target `in_place: true`"),
        "{}",
        text(&apart)
    );
    assert_eq!(
        fs::read_to_string(world.target("/etc/app/one.txt")).unwrap(),
        "old"
    );
}
