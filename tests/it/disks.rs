//! Targets whose file system has no room, or is read-only: the others go on, and these do when they can.

use std::fs;

use serde_json::json;

use crate::mount::Mount;
use crate::skip::skip;
use crate::world::{Server, World, stderr, wait_for};

/// Three targets of one service; the second lies on a disk of its own.
const FILES: [&str; 3] = ["/etc/one/a.txt", "/data/b.txt", "/etc/two/c.txt"];

/// `from`: the profile of each target.
fn world(from: [&str; 3]) -> Option<(World, Server, Mount)> {
    let world = World::new();
    let disk = Mount::tmpfs(&world.target("/data"), "256k")?;
    let server = Server::start(&world);
    let mut profiles = from.to_vec();
    profiles.dedup();
    let mut lines = format!("profiles:\n  {}:\ntargets:\n", profiles.join(":\n  "));
    for (path, profile) in FILES.iter().zip(from) {
        lines += &format!("  {path}: {{from: {profile}, notify: app}}\n");
    }
    lines += "services:\n  app: {command: {shell: \"for file in root/etc/one/a.txt root/data/b.txt root/etc/two/c.txt; do head -c3 $file; echo; done >> told\"}}\n";
    world.settings(&server, &lines);
    deploy(&world, &profiles, "one");
    Some((world, server, disk))
}

fn deploy(world: &World, profiles: &[&str], version: &str) {
    for profile in profiles {
        // More than the room that a small file takes.
        let text = version.to_owned() + &"x".repeat(20_000);
        world.deploy(&format!("shop/prod/{profile}.txt"), text);
    }
}

/// The first three letters of each target.
fn stand(world: &World) -> [String; 3] {
    FILES.map(|path| {
        let text = fs::read_to_string(world.target(path)).unwrap_or_default();
        text.chars().take(3).collect()
    })
}

fn wait_for_stand(world: &World, expected: [&str; 3]) {
    wait_for(&format!("{expected:?}"), || {
        (stand(world) == expected).then_some(())
    });
}

fn reason(world: &World, profile: &str) -> Option<String> {
    let status = world.status()?;
    let reason = status["profiles"][profile]["reason"].as_str()?;
    Some(reason.to_owned())
}

/// How the disk fails, the words that say so, and how it is mended.
type Failure = (fn(&Mount), &'static str, fn(&Mount, &World));

const FAILURES: [Failure; 2] = [
    (
        |disk| {
            disk.fill();
        },
        "make room",
        |_, world| fs::remove_file(world.target("/data/filler")).unwrap(),
    ),
    (
        |disk| assert!(disk.read_only(true)),
        "read-only",
        |disk, _| assert!(disk.read_only(false)),
    ),
];

#[test]
fn a_disk_that_cannot_be_written_holds_up_its_own_profile_only_and_that_goes_on_by_itself() {
    for (fail, words, mend) in FAILURES {
        let Some((world, _server, disk)) = world(["p", "q", "r"]) else {
            return skip("file systems cannot be mounted here");
        };
        let daemon = world.run();
        world.wait_for_status("/state", &json!("healthy"));
        fail(&disk);
        deploy(&world, &["p", "q", "r"], "two");
        wait_for_stand(&world, ["two", "one", "two"]);
        wait_for(&format!("the status says {words:?}"), || {
            reason(&world, "q")?.contains(words).then_some(())
        });
        assert_eq!(world.status().unwrap()["profiles"]["p"]["state"], "current");
        mend(&disk, &world);
        wait_for_stand(&world, ["two", "two", "two"]);
        world.wait_for_status("/state", &json!("healthy"));
        let told = world.read("told").unwrap();
        assert!(told.ends_with("two\ntwo\ntwo\n"), "{told}");
        assert!(told.contains("two\none\ntwo\n"), "{told}");
        assert_eq!(daemon.stop(), Some(0));
        assert_eq!(fs::read_dir(world.target("/data")).unwrap().count(), 1);
    }
}

#[test]
fn of_a_profile_whose_second_target_cannot_be_written_no_target_is_swapped() {
    for (fail, words, mend) in FAILURES {
        let Some((world, _server, disk)) = world(["p", "p", "p"]) else {
            return skip("file systems cannot be mounted here");
        };
        let daemon = world.run();
        world.wait_for_status("/state", &json!("healthy"));
        let told = world.read("told").unwrap();
        fail(&disk);
        deploy(&world, &["p"], "two");
        wait_for(&format!("the status says {words:?}"), || {
            reason(&world, "p")?.contains(words).then_some(())
        });
        assert_eq!(stand(&world), ["one", "one", "one"]);
        assert_eq!(world.read("told").unwrap(), told);
        for directory in ["/etc/one", "/etc/two"] {
            wait_for("nothing staged is left", || {
                let entries = fs::read_dir(world.target(directory)).unwrap();
                (entries.count() == 1).then_some(())
            });
        }
        mend(&disk, &world);
        wait_for_stand(&world, ["two", "two", "two"]);
        world.wait_for_status("/state", &json!("healthy"));
        assert_eq!(daemon.stop(), Some(0));
    }
}

#[test]
fn fetch_to_a_disk_without_room_replaces_neither_of_its_files() {
    let world = World::new();
    let Some(disk) = Mount::tmpfs(&world.path("disk"), "256k") else {
        return skip("file systems cannot be mounted here");
    };
    world.deploy("shop/prod/p.txt", "x".repeat(20_000));
    let server = Server::start(&world);
    world.write("disk/p.txt", "old");
    world.write("about.json", "old");
    let filler = disk.fill();
    let fetch = || {
        let endpoint = server.endpoint();
        let files = ["--output", "disk/p.txt", "--metadata", "about.json"];
        let words = ["fetch", "shop", "prod", "p", "--endpoint-url", &endpoint];
        world.output(&[words.as_slice(), &files].concat())
    };
    let output = fetch();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["/disk/p.txt`", "make room", "the file was not replaced"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let stand = || ["disk/p.txt", "about.json"].map(|file| world.read(file).unwrap().len());
    assert_eq!(stand(), [3, 3]);
    assert_eq!(fs::read_dir(world.path("disk")).unwrap().count(), 2);
    fs::remove_file(filler).unwrap();
    let output = fetch();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stand()[0], 20_000);
}
