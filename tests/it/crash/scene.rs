//! One transaction over five targets (a plain one; one that is new; one with an owner, a mode, an ACL and attributes of its
//! own; a directory target; one that is written in place) and two services, and what must be so after a crash in the
//! middle of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use appconfigd::protocol::Digest;
use nix::unistd::geteuid;
use serde_json::{Value, json};

use super::dress;
use super::found::{self, Found};
use crate::world::{Server, World, wait_for};

const CHECK: &str = include_str!("../../fixtures/crash/check");
const TELL: &str = include_str!("../../fixtures/crash/tell");

/// In the order in which they are linked and renamed: that of their paths.
pub const TARGETS: [&str; 5] = [
    "/etc/one/a.conf",
    "/etc/three/c.conf",
    "/etc/two/b.conf",
    "/etc/whole/d/",
    "/etc/written/e.conf",
];
/// The one with an owner, a mode, an ACL and attributes of its own.
pub const ADORNED: &str = TARGETS[0];
/// The only one that is not there before the transaction.
pub const ADDED: &str = TARGETS[2];
pub const DIRECTORY: &str = TARGETS[3];
pub const IN_PLACE: &str = TARGETS[4];
/// The versions of the targets before the transaction, `-` for none.
pub const OLD: &str = "v1 v1 - v1 v1";
/// How often patience is had: a whole matrix may share the machine.
const WAITS: usize = 3;
/// What each service reads, by number.
const READS: [&[usize]; 2] = [&[0, 2, 3], &[1, 2, 3, 4]];

/// What becomes of the second version when nobody dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is installed.
    Stays,
    /// The check refuses it: files go back, nobody was told.
    Refused,
    /// A service turns it down when it is told: files go back, both are told again.
    TurnedDown,
}

pub use Fate::{Refused, Stays, TurnedDown};

impl Fate {
    pub const ALL: [Fate; 3] = [Stays, Refused, TurnedDown];

    pub fn version(self) -> &'static str {
        match self {
            Stays => "v2",
            Refused => "bad-v2",
            TurnedDown => "worse-v2",
        }
    }
}

/// A world in which version one stands and the second version waits to be polled.
pub fn world_of(fate: Fate) -> (World, Server) {
    let (world, server) = world_of_nothing();
    world.deploy("shop/prod/app.txt", "v1\n");
    write_settings(&world, &server, false);
    world.output(&["once"]);
    assert_eq!(versions(&world), OLD, "{}", world.log());
    adorn(&world.target(ADORNED));
    let directory = world.target(DIRECTORY);
    for path in [directory.clone(), directory.join("x.conf")] {
        dress::note(&path);
    }
    remember(&world);

    // The second version also feeds a target that is not there yet.
    deploy(&world, fate.version());
    write_settings(&world, &server, true);
    wait_until_due(&world);
    (world, server)
}

/// A world in which nothing has ever run, and the version that stays waits. Others have made two of the files.
pub fn world_without_state() -> (World, Server) {
    let (world, server) = world_of_nothing();
    deploy(&world, "v1");
    write_settings(&world, &server, true);
    world.output(&["once"]);
    assert_eq!(versions(&world), all("v1"), "{}", world.log());
    adorn(&world.target(ADORNED));
    remember(&world);
    for state in [world.target("/var"), world.target("/etc/whole")] {
        fs::remove_dir_all(state).unwrap();
    }
    for target in TARGETS {
        if ![ADORNED, IN_PLACE, DIRECTORY].contains(&target) {
            fs::remove_file(world.target(target)).unwrap();
        }
    }
    for log in ["one.log", "two.log"] {
        fs::remove_file(world.path(log)).unwrap();
    }
    fs::create_dir(world.target("/etc/whole")).unwrap();
    deploy(&world, Stays.version());
    (world, server)
}

/// Nothing but the programs, and a source without any configuration.
fn world_of_nothing() -> (World, Server) {
    let world = World::new();
    for (name, text) in [("check", CHECK), ("tell", TELL)] {
        let path = world.write(name, text);
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let server = Server::start(&world);
    (world, server)
}

fn deploy(world: &World, version: &str) {
    for profile in ["app", "extra"] {
        world.deploy(&format!("shop/prod/{profile}.txt"), format!("{version}\n"));
    }
}

/// An owner, a mode and an ACL that no default has, and an attribute.
fn adorn(path: &Path) {
    if geteuid().is_root() {
        chown(path, Some(1234), Some(2345)).unwrap();
    }
    fs::set_permissions(path, PermissionsExt::from_mode(0o604)).unwrap();
    dress::note(path);
    dress::share(path);
}

/// Writes down what the targets wear now: it is never to change.
fn remember(world: &World) {
    let worn = TARGETS.map(|target| found::at(world, target).map(|found| found.worn));
    for (target, worn) in TARGETS.iter().zip(worn) {
        world.write(&worn_by(target), &format!("{:?}", worn.unwrap_or_default()));
    }
}

/// Where that is.
pub fn worn_by(target: &str) -> String {
    format!("worn/{}", target.trim_matches('/').replace('/', "-"))
}

/// With all targets, or without the one that is added.
fn write_settings(world: &World, server: &Server, with_all: bool) {
    let commands = world.path("");
    let commands = commands.to_str().unwrap();
    let (profile, target) = match with_all {
        true => (
            "  extra:\n",
            format!("  {ADDED}: {{from: extra, notify: [one, two]}}\n"),
        ),
        false => ("", String::new()),
    };
    world.settings(
        server,
        &format!(
            "profiles:
  app:
{profile}targets:
  /etc/one/a.conf: {{from: app, notify: one}}
  /etc/three/c.conf: {{from: app, notify: two}}
{target}  /etc/whole/d/:
    files:
      x.conf: {{from: app}}
      sub/y.conf: {{from: app, mode: 0640}}
    mode: 0750
    notify: [one, two]
  /etc/written/e.conf: {{from: app, in_place: true, notify: two}}
services:
  one:
    check: [{commands}check]
    command: [{commands}tell, one, {one}]
  two:
    command: [{commands}tell, two, {two}]
",
            one = files_of(0).join(", "),
            two = files_of(1).join(", "),
        ),
    );
}

/// What a service reads, as it names it.
fn files_of(service: usize) -> Vec<String> {
    let targets = READS[service].iter().map(|number| TARGETS[*number]);
    let files = targets.flat_map(|target| match target {
        DIRECTORY => vec![
            format!("root{DIRECTORY}x.conf"),
            format!("root{DIRECTORY}sub/y.conf"),
        ],
        target => vec![format!("root{target}")],
    });
    files.collect()
}

/// Waits until `app` may be polled: both profiles are then polled in one tick.
pub fn wait_until_due(world: &World) {
    let status = world.status().unwrap();
    let next = status["profiles"]["app"]["next_poll"].as_str().unwrap();
    let next: jiff::Timestamp = next.parse().unwrap();
    wait_for("the interval passes", || {
        (jiff::Timestamp::now() > next).then_some(())
    });
}

/// Below it lies all that the agent writes.
pub fn place(world: &World) -> PathBuf {
    world.path("root").canonicalize().unwrap()
}

/// Whether the second version is in the ledger, so that it needs no source any more.
pub fn is_received(world: &World, fate: Fate) -> bool {
    let version = Digest::of(format!("{}\n", fate.version()).as_bytes());
    let status = world.status().unwrap_or_default();
    let received = |profile: &str| status["profiles"][profile]["received"]["digest"].clone();
    ["app", "extra"]
        .map(received)
        .iter()
        .all(|digest| *digest == json!(version))
}

/// After the crash: things are put right, with or without the source; then the next version goes through.
pub fn recover(what: &str, fate: Fate, server_up: bool, world: &World, server: Server) {
    let address = server.address().to_owned();
    let server = if server_up {
        Some(server)
    } else {
        server.stop();
        None
    };
    let daemon = world.run();
    let wanted = match fate {
        Stays => all(fate.version()),
        Refused | TurnedDown => OLD.to_owned(),
    };
    settled(world, what, fate, &wanted);
    if fate != Stays {
        let status = world.wait_for_status("/profiles/app/state", &json!("quarantined"));
        let reason = &status["profiles"]["app"]["reason"];
        assert!(
            reason
                .as_str()
                .is_some_and(|text| text.contains("this version is")),
            "{what}: {reason}"
        );
    }
    settled(world, what, fate, &wanted);

    let _server = server.unwrap_or_else(|| Server::listen(world, &address));
    deploy(world, "v3");
    settled(world, what, fate, &all("v3"));
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(daemon.stop(), Some(0), "{what}");
    assert_eq!(own(world), Vec::<PathBuf>::new(), "{what}");
    assert_eq!(
        generations(world),
        2,
        "{what}: the live one, and the one before"
    );
}

/// All targets of one version.
pub fn all(version: &str) -> String {
    TARGETS.map(|_| version).join(" ")
}

/// Waits until it is settled.
fn settled(world: &World, what: &str, fate: Fate, wanted: &str) {
    let what = format!("{what}: {wanted:?}");
    let mut waits = (0..WAITS).map(|_| {
        catch_unwind(AssertUnwindSafe(|| {
            wait_for(&what, || is_settled(world, wanted).then_some(()));
        }))
    });
    assert!(
        waits.any(|waited| waited.is_ok()),
        "{what}; there is {:?}, status {:#}; log:\n{}",
        stands(world),
        world.status().unwrap_or(Value::Null),
        world.log()
    );
    whole(world, fate);
}

/// Whether the targets have these versions, every service has seen them, and nothing of ours is left.
pub fn is_settled(world: &World, wanted: &str) -> bool {
    let words: Vec<&str> = wanted.split(' ').collect();
    let seen = |service: usize| {
        let words = READS[service]
            .iter()
            .flat_map(|number| match TARGETS[*number] {
                // Two files are read of it.
                DIRECTORY => vec![words[*number]; 2],
                _ => vec![words[*number]],
            });
        let words: Vec<&str> = words.filter(|word| *word != "-").collect();
        words.join(" ")
    };
    if stands(world) != [wanted.to_owned(), seen(0), seen(1), "0 0".to_owned()] {
        return false;
    }
    let status = world.status().unwrap_or_default();
    // A service that turned a version down took the old one.
    let told = |name: &str| status["services"][name]["state"] == "acknowledged";
    told("one") && told("two")
}

/// The versions of the targets, what each service has seen, and how many names are staged and kept.
fn stands(world: &World) -> [String; 4] {
    let last = |name: &str| {
        let log = world.read(name).unwrap_or_default();
        log.lines().last().unwrap_or_default().trim().to_owned()
    };
    let own = format!("{} {}", names(world, "new-"), names(world, "old-"));
    [versions(world), last("one.log"), last("two.log"), own]
}

/// Every target is one complete version and wears what it wore. The one that is written in place may be half written.
pub fn whole(world: &World, fate: Fate) {
    let known = ["v1", fate.version(), "v3"];
    for target in TARGETS {
        let Some(Found { version, worn }) = found::at(world, target) else {
            continue;
        };
        let is_known = target == IN_PLACE || known.contains(&version.as_str());
        assert!(is_known, "torn: {target} is {version:?}");
        let before = world.read(&worn_by(target)).unwrap();
        let worn = format!("{worn:?}");
        match target {
            ADDED => assert_eq!(
                worn,
                format!("{:?}", vec![(PathBuf::new(), found::plain())]),
                "{target}"
            ),
            _ => assert_eq!(worn, before, "{target}"),
        }
    }
    let old = OLD.split(' ').zip(TARGETS);
    for (_, target) in old.filter(|(old, _)| *old != "-") {
        assert!(found::at(world, target).is_some(), "{target} is gone");
    }
}

/// The version of each target, `-` where there is none.
pub fn versions(world: &World) -> String {
    let version = |target: &str| {
        found::at(world, target).map_or_else(|| "-".to_owned(), |found| found.version)
    };
    TARGETS.map(version).join(" ")
}

/// How many generations of the directory target there are.
pub fn generations(world: &World) -> usize {
    let parent = world.target(DIRECTORY.trim_end_matches('/'));
    let names = fs::read_dir(parent.parent().unwrap()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.starts_with(".d.appconfigd."))
        .count()
}

pub fn versions_by_age(world: &World, fate: Fate) -> String {
    versions(world).replace(fate.version(), "new")
}

/// How many names in `.appconfigd/` begin so.
pub fn names(world: &World, prefix: &str) -> usize {
    let directories = own(world).into_iter();
    let names = directories
        .filter_map(|path| fs::read_dir(path).ok())
        .flatten();
    let names = names.filter_map(Result::ok);
    names
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with(prefix))
        .count()
}

/// The directories of ours that are there.
pub fn own(world: &World) -> Vec<PathBuf> {
    let parents = TARGETS.map(|target| world.target(target.trim_end_matches('/')));
    let parents = parents.iter().filter_map(|path| path.parent());
    let own = parents.map(|path: &Path| path.join(".appconfigd"));
    own.filter(|path| path.exists()).collect()
}
