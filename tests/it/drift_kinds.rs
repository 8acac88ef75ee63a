//! Every kind of drift: how long it takes until it is put back or said; what is an administrator's own affair.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use serde_json::{Value, json};

use appconfigd::protocol::Digest;

use crate::portrait::{Dress, Portrait, acl, adorn, attribute};
use crate::skip::skip;
use crate::world::{Daemon, Server, World, metadata, wait_for};

/// From the change to what comes of it.
const SOON: Duration = Duration::from_secs(2);
/// On a machine that is busy with other things one try may take longer. More than three are a fight.
const TRIES: usize = 3;

const BODY: &str = "{\"n\": 1}";

/// A daemon with these targets, each with its keys, made from one profile.
fn installed(targets: &[(String, &str)]) -> (World, Server, Daemon) {
    let world = World::new();
    world.deploy("shop/prod/limits.json", BODY);
    let server = Server::start(&world);
    let target =
        |(path, keys): &(String, &str)| format!("  {path}: {{from: limits, notify: app{keys}}}\n");
    let targets: String = targets.iter().map(target).collect();
    let lines = format!(
        "profiles:\n  limits: {{}}\ntargets:\n{targets}services:\n  app: {{command: [sh, -c, echo told >> told]}}\n"
    );
    world.settings(&server, &lines);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    wait_for("the targets are watched", || {
        world.log().contains("targets are watched").then_some(())
    });
    (world, server, daemon)
}

/// Somebody's change of a file. `false` where this machine cannot do it.
type Change = fn(&Path) -> bool;

fn overwrite(file: &Path) -> bool {
    fs::write(file, "by hand").is_ok()
}

fn rename_over(file: &Path) -> bool {
    let other = file.with_extension("theirs");
    fs::write(&other, "by an editor").unwrap();
    fs::rename(other, file).is_ok()
}

fn remove(file: &Path) -> bool {
    fs::remove_file(file).is_ok()
}

fn change_mode(file: &Path) -> bool {
    fs::set_permissions(file, fs::Permissions::from_mode(0o604)).is_ok()
}

fn change_owner(file: &Path) -> bool {
    geteuid().is_root() && chown(file, Some(4321), None).is_ok()
}

fn change_group(file: &Path) -> bool {
    geteuid().is_root() && chown(file, None, Some(4321)).is_ok()
}

/// The entry's mask shows in the mode.
fn widen_by_acl(file: &Path) -> bool {
    acl(file, "u:4321:rwx")
}

fn remove_parent(file: &Path) -> bool {
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
    fs::create_dir(file.parent().unwrap()).is_ok()
}

const CHANGES: [(&str, Change); 8] = [
    ("bytes", overwrite),
    ("renamed", rename_over),
    ("removed", remove),
    ("mode", change_mode),
    ("owner", change_owner),
    ("group", change_group),
    ("acl", widen_by_acl),
    ("parent", remove_parent),
];

fn path(name: &str) -> String {
    format!("/etc/{name}/limits.json")
}

/// Says how long it took until `fact`; of several tries the shortest.
fn soon(what: &str, mut make: impl FnMut(), mut fact: impl FnMut() -> bool) {
    let mut took = Vec::new();
    for _ in 0..TRIES {
        let since = Instant::now();
        make();
        wait_for(what, || fact().then_some(()));
        took.push(since.elapsed());
        if took.iter().any(|took| *took < SOON) {
            return;
        }
    }
    panic!("{what}: {took:?}");
}

#[test]
fn every_kind_of_drift_is_put_back_within_two_seconds() {
    let keys = match geteuid().is_root() {
        true => ", owner: 1234, group: 2345, mode: 0640",
        false => ", mode: 0640",
    };
    let targets: Vec<(String, &str)> = CHANGES.map(|(name, _)| (path(name), keys)).to_vec();
    let (world, _server, daemon) = installed(&targets);
    for (name, change) in CHANGES {
        let file = world.target(&path(name));
        let wanted = metadata(&file);
        let mut works = true;
        soon(
            name,
            || works = change(&file),
            || {
                fs::read_to_string(&file).is_ok_and(|text| text == BODY)
                    && metadata(&file) == wanted
            },
        );
        if !works {
            skip(&format!(
                "{name}: not possible here, nothing was to be put back"
            ));
        }
        world.wait_for_status("/state", &json!("healthy"));
        assert!(!file.with_file_name(".appconfigd").exists(), "{name}");
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn every_kind_of_drift_is_said_within_two_seconds_where_it_is_only_reported() {
    let keys = match geteuid().is_root() {
        true => ", on_drift: report, owner: 1234, group: 2345, mode: 0640",
        false => ", on_drift: report, mode: 0640",
    };
    let changes: Vec<_> = CHANGES
        .into_iter()
        .filter(|(name, _)| !["removed", "parent"].contains(name))
        .collect();
    let targets: Vec<(String, &str)> = changes.iter().map(|(name, _)| (path(name), keys)).collect();
    let (world, _server, daemon) = installed(&targets);
    for (name, change) in changes {
        let (path, file) = (path(name), world.target(&path(name)));
        let said = format!(
            "somebody else changed it: left alone until the next version target_path={path} "
        );
        let (works, before, tried) = (Cell::new(true), Cell::new(0), Cell::new(false));
        let times = || world.log().matches(&said).count();
        let wanted = metadata(&file);
        let mut after = None;
        soon(
            name,
            || {
                // After a try that took too long: a missing file is put back.
                if tried.replace(true) {
                    fs::remove_file(&file).unwrap();
                    wait_for("it is put back", || {
                        let text = fs::read_to_string(&file).ok()?;
                        (text == BODY && metadata(&file) == wanted).then_some(())
                    });
                    world.wait_for_status("/state", &json!("healthy"));
                }
                before.set(times());
                works.set(change(&file));
                after = Some(Portrait::of(&file));
            },
            || !works.get() || times() > before.get(),
        );
        if !works.get() {
            skip(&format!(
                "{name}: not possible here, nothing was to be said"
            ));
            continue;
        }
        let pointer = format!("/targets/{}/state", path.replace('/', "~1"));
        let status = world.wait_for_status(&pointer, &json!("drifted"));
        assert_eq!(status["state"], "degraded");
        assert_eq!(Portrait::of(&file), after.unwrap(), "{name} is left alone");
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn acl_and_attributes_are_the_administrators_and_go_along_with_every_version() {
    let target = "/etc/app/limits.json";
    let (world, _server, daemon) = installed(&[(target.to_owned(), "")]);
    let file = world.target(target);
    adorn(&file);
    let dress = Dress::of(&file);
    world.wait_for_status("/state", &json!("healthy"));
    assert!(attribute(&file, "more", "of theirs") || dress.attributes.is_empty());
    acl(&file, "g:4321:r");
    let dress = Dress::of(&file);
    let before = Portrait::of(&file);
    wait_for("it was looked at", || {
        let log = world.log();
        (log.matches("targets looked at").count() >= 1).then_some(())
    });
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(Portrait::of(&file), before);
    assert_eq!(world.read("told").unwrap(), "told\n");

    world.deploy("shop/prod/limits.json", "{}");
    world.wait_for_target(target, "{}");
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(Dress::of(&file), dress);
    // Bytes that somebody writes into the file are put back into what it was.
    fs::write(&file, "by hand").unwrap();
    world.wait_for_target(target, "{}");
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(Dress::of(&file), dress);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn acl_and_attributes_come_back_with_a_file_that_was_removed_or_replaced() {
    for in_place in ["", ", in_place: true"] {
        let target = "/etc/app/limits.json";
        let (world, _server, daemon) = installed(&[(target.to_owned(), in_place)]);
        let file = world.target(target);
        adorn(&file);
        let dress = Dress::of(&file);
        // What the administrator gave the file is known from its next version on at the latest.
        world.deploy("shop/prod/limits.json", "{}");
        world.wait_for_target(target, "{}");
        world.wait_for_status("/state", &json!("healthy"));
        for change in [remove, rename_over, remove_parent] {
            assert!(change(&file));
            wait_for("the file that was there", || {
                let text = fs::read_to_string(&file).ok()?;
                (text == "{}" && Dress::of(&file) == dress).then_some(())
            });
            world.wait_for_status("/state", &json!("healthy"));
        }
        assert_eq!(daemon.stop(), Some(0));
    }
}

/// The files of `history PATH --json` with what came of them, the newest first.
fn found(world: &World, path: &str) -> Vec<Value> {
    let output = world.output(&["history", path, "--json"]);
    let history: Value = serde_json::from_slice(&output.stdout).unwrap();
    history["targets"][path]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

#[test]
fn an_edit_is_found_again_in_history_hold_keeps_it_and_release_brings_the_newest() {
    let target = "/etc/app/limits.json";
    let (world, server, daemon) = installed(&[(target.to_owned(), "")]);
    let file = world.target(target);
    let ask = |arguments: &[&str]| {
        let output = world.output(arguments);
        let said =
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    };
    let digest = |text: &str| json!(Digest::of(text.as_bytes()).to_string());
    fs::write(&file, "first edit\n").unwrap();
    world.wait_for_target(target, BODY);
    world.wait_for_status("/state", &json!("healthy"));
    let digests = || -> Vec<Value> {
        found(&world, target)
            .iter()
            .map(|one| one["digest"].clone())
            .collect()
    };
    assert_eq!(digests(), [digest("first edit\n")]);
    let (code, said) = ask(&["diff", target]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("-first edit\n+{\"n\": 1}"), "{said}");

    assert_eq!(ask(&["hold", target]).0, 0);
    fs::write(&file, "second edit\n").unwrap();
    let edited = Portrait::of(&file);
    world.deploy("shop/prod/limits.json", "{}");
    wait_for("the new version has been received", || {
        (server.count("shop/prod/limits", "received") == 2).then_some(())
    });
    let status = world.wait_for_status("/profiles/limits/state", &json!("held"));
    assert_eq!(status["targets"][target]["state"], "drifted");
    assert_eq!(status["state"], "degraded");
    assert_eq!(Portrait::of(&file), edited);
    assert_eq!(digests(), [digest("first edit\n")], "nothing was replaced");

    let (code, said) = ask(&["release", target]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "{}");
    assert_eq!(digests(), [digest("second edit\n"), digest("first edit\n")]);
    let (_, said) = ask(&["diff", target]);
    assert!(said.contains("-second edit\n+{}"), "{said}");
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(daemon.stop(), Some(0));
}
