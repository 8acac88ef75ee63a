//! One transaction over three targets (one with an owner, a mode and attributes of its own; one that is new; a plain one)
//! and two services, and what must be so after a crash in the middle of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use appconfigd::protocol::Digest;
use nix::unistd::geteuid;
use serde_json::{Value, json};

use crate::world::{Server, World, metadata, wait_for};

const CHECK: &str = include_str!("../../fixtures/crash/check");
const TELL: &str = include_str!("../../fixtures/crash/tell");

pub const TARGETS: [&str; 3] = ["/etc/one/a.conf", "/etc/two/b.conf", "/etc/three/c.conf"];
/// The versions of the targets before the transaction, `-` for none.
pub const OLD: &str = "v1 - v1";

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
    let world = World::new();
    for (name, text) in [("check", CHECK), ("tell", TELL)] {
        let path = world.write(name, text);
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    world.deploy("shop/prod/app.txt", "v1\n");
    let server = Server::start(&world);
    write_settings(&world, &server, "", "");
    world.output(&["once"]);
    assert_eq!(versions(&world), OLD, "{}", world.log());
    let special = world.target(TARGETS[0]);
    if geteuid().is_root() {
        chown(&special, Some(1234), Some(2345)).unwrap();
    }
    fs::set_permissions(&special, PermissionsExt::from_mode(0o604)).unwrap();

    // The second version also feeds a target that is not there yet.
    let version = format!("{}\n", fate.version());
    world.deploy("shop/prod/app.txt", &version);
    world.deploy("shop/prod/extra.txt", &version);
    let target = "  /etc/two/b.conf: {from: extra, notify: [one, two]}\n";
    write_settings(&world, &server, "  extra:\n", target);
    wait_until_due(&world);
    (world, server)
}

fn write_settings(world: &World, server: &Server, profile: &str, target: &str) {
    let commands = world.path("");
    let commands = commands.to_str().unwrap();
    world.settings(
        server,
        &format!(
            "profiles:
  app:
{profile}targets:
  /etc/one/a.conf: {{from: app, notify: one}}
  /etc/three/c.conf: {{from: app, notify: two}}
{target}services:
  one:
    check: [{commands}check]
    command: [{commands}tell, one, root/etc/one/a.conf, root/etc/two/b.conf]
  two:
    command: [{commands}tell, two, root/etc/two/b.conf, root/etc/three/c.conf]
"
        ),
    );
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
        Stays => format!("{0} {0} {0}", fate.version()),
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
    world.deploy("shop/prod/app.txt", "v3\n");
    world.deploy("shop/prod/extra.txt", "v3\n");
    settled(world, what, fate, "v3 v3 v3");
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(daemon.stop(), Some(0), "{what}");
    assert_eq!(own(world), Vec::<PathBuf>::new(), "{what}");
}

/// Waits until it is settled.
fn settled(world: &World, what: &str, fate: Fate, wanted: &str) {
    let what = format!("{what}: {wanted:?}");
    let done = catch_unwind(AssertUnwindSafe(|| {
        wait_for(&what, || is_settled(world, wanted).then_some(()));
    }));
    assert!(
        done.is_ok(),
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
    let seen = |targets: [usize; 2]| {
        let seen = targets.map(|target| words[target]);
        let seen: Vec<&str> = seen.into_iter().filter(|word| *word != "-").collect();
        seen.join(" ")
    };
    if stands(world)
        != [
            wanted.to_owned(),
            seen([0, 1]),
            seen([1, 2]),
            "0 0".to_owned(),
        ]
    {
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

/// Every target is one complete version with the right owner and mode.
pub fn whole(world: &World, fate: Fate) {
    let known = ["v1", fate.version(), "v3", "-"];
    for word in versions(world).split(' ') {
        assert!(known.contains(&word), "torn: {:?}", versions(world));
    }
    let us = geteuid().as_raw();
    let group = nix::unistd::getegid().as_raw();
    for target in TARGETS {
        let path = world.target(target);
        if !path.exists() {
            continue;
        }
        let wanted = match target {
            "/etc/one/a.conf" if us == 0 => (1234, 2345, 0o604),
            "/etc/one/a.conf" => (us, group, 0o604),
            _ => (us, group, 0o644),
        };
        assert_eq!(metadata(&path), wanted, "{target}");
    }
}

/// The first line of each target, `-` where there is none.
pub fn versions(world: &World) -> String {
    let version = |target: &str| match fs::read_to_string(world.target(target)) {
        Ok(text) if text.ends_with('\n') => text.trim_end().to_owned(),
        Ok(text) => format!("{text:?}"),
        Err(_) => "-".to_owned(),
    };
    TARGETS.map(version).join(" ")
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
    let parents = TARGETS.map(|target| world.target(target));
    let parents = parents.iter().filter_map(|path| path.parent());
    let own = parents.map(|path: &Path| path.join(".appconfigd"));
    own.filter(|path| path.exists()).collect()
}
