//! Drift: targets that somebody else changes while the daemon runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use serde_json::json;

use crate::stand::unwrapped;
use crate::world::{Daemon, Server, World, metadata, wait_for};

const FILE: &str = "/etc/app/limits.json";
const KEPT: &str = "a file that was not ours is kept in history: sha256:";

/// A daemon with `limits.json` installed; `more` are further keys of the target.
fn installed(more: &str) -> (World, Server, Daemon) {
    let lines = format!(
        "profiles:\n  limits: {{}}\ntargets:\n  {FILE}: {{from: limits, notify: app{more}}}\nservices:\n  app: {{command: [sh, -c, echo told >> told]}}\n"
    );
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{\"n\": 1}");
    let server = Server::start(&world);
    world.settings(&server, &lines);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    if !more.contains("ignore") {
        wait_for_watch(&world);
    }
    (world, server, daemon)
}

/// Until the directories are watched: what happens before is seen as well, only later.
fn wait_for_watch(world: &World) {
    wait_for("the targets are watched", || {
        world.log().contains("targets are watched").then_some(())
    });
}

fn told(world: &World) -> usize {
    world.read("told").unwrap_or_default().lines().count()
}

fn text(world: &World) -> String {
    let screen = String::from_utf8(world.output(&["status"]).stdout).unwrap();
    unwrapped(&screen).join("\n")
}

fn wait_for_log(world: &World, words: &str) {
    wait_for(
        &format!("the log says {words:?}, and not only\n{}", world.log()),
        || world.log().contains(words).then_some(()),
    );
}

fn rename_over(file: &PathBuf, bytes: &str) {
    let other = file.with_extension("theirs");
    fs::write(&other, bytes).unwrap();
    fs::rename(other, file).unwrap();
}

#[test]
fn bytes_that_somebody_writes_are_kept_in_history_and_put_back_and_the_service_is_told() {
    let (world, _server, daemon) = installed(", mode: 0640");
    let file = world.target(FILE);
    fs::write(&file, "by hand").unwrap();
    wait_for("told of the first", || (told(&world) == 2).then_some(()));
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\"n\": 1}");
    assert!(text(&world).contains(KEPT), "{}", text(&world));
    let log = world.log();
    assert!(log.contains(&format!("`appconfigd hold {FILE}`")), "{log}");
    assert!(log.contains("found_mode=0640"), "{log}");
    rename_over(&file, "by an editor");
    wait_for("told of the second", || (told(&world) == 3).then_some(()));
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\"n\": 1}");
    assert_eq!(metadata(&file).2, 0o640);
    fs::remove_file(&file).unwrap();
    wait_for("told of the third", || (told(&world) == 4).then_some(()));
    assert_eq!(metadata(&file).2, 0o640);
    assert_eq!(text(&world).matches(KEPT).count(), 2);
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_declared_mode_is_repaired_and_nobody_is_told() {
    let (world, _server, _daemon) = installed(", mode: 0640");
    let file = world.target(FILE);
    let before = metadata(&file);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    wait_for("the mode is back", || {
        (metadata(&file) == before).then_some(())
    });
    wait_for_log(&world, "owner, group or mode repaired");
    assert!(world.log().contains("found_mode=0604"), "{}", world.log());
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(told(&world), 1);
}

#[test]
fn a_mode_that_nobody_declared_is_the_files_until_somebody_puts_another_file_there() {
    let (world, _server, _daemon) = installed("");
    let file = world.target(FILE);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    world.wait_for_status("/state", &json!("healthy"));
    let before = metadata(&file);
    assert_eq!(before.2, 0o640);
    rename_over(&file, "by hand");
    world.wait_for_target(FILE, "{\"n\": 1}");
    assert_eq!(metadata(&file), before);
    wait_for("told", || (told(&world) == 2).then_some(()));
}

#[test]
fn under_report_an_edit_stays_and_is_said_and_a_missing_file_is_put_back() {
    let (world, _server, _daemon) = installed(", on_drift: report");
    let file = world.target(FILE);
    fs::write(&file, "by hand").unwrap();
    wait_for_log(&world, "left alone until the next version");
    let pointer = format!("/targets/{}/state", FILE.replace('/', "~1"));
    world.wait_for_status(&pointer, &json!("drifted"));
    assert_eq!(world.output(&["status"]).status.code(), Some(2));
    assert!(
        text(&world).contains("on_drift: report"),
        "{}",
        text(&world)
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "by hand");
    fs::remove_file(&file).unwrap();
    world.wait_for_target(FILE, "{\"n\": 1}");
    fs::write(&file, "again by hand").unwrap();
    wait_for("said again", || {
        let log = world.log();
        (log.matches("left alone until the next version").count() == 2).then_some(())
    });
    // A new version is installed in any case, and the edit kept first.
    world.deploy("shop/prod/limits.json", "{\"n\": 2}");
    world.wait_for_target(FILE, "{\"n\": 2}");
    world.wait_for_status("/state", &json!("healthy"));
    assert!(text(&world).contains(KEPT), "{}", text(&world));
    assert_eq!(told(&world), 3);
}

#[test]
fn under_ignore_nothing_is_touched_until_the_next_version_or_start() {
    let (world, _server, daemon) = installed(", on_drift: ignore");
    let file = world.target(FILE);
    fs::write(&file, "by hand").unwrap();
    let pointer = format!("/targets/{}/state", FILE.replace('/', "~1"));
    let status = world.wait_for_status(&pointer, &json!("drifted"));
    assert_eq!(status["state"], "healthy");
    world.deploy("shop/prod/limits.json", "{\"n\": 2}");
    world.wait_for_target(FILE, "{\"n\": 2}");
    assert!(text(&world).contains(KEPT), "{}", text(&world));
    world.wait_for_status("/state", &json!("healthy"));
    fs::write(&file, "again by hand").unwrap();
    assert_eq!(daemon.stop(), Some(0));
    let daemon = world.run();
    let pid = json!(daemon.pid().as_raw());
    let status = world.wait_for_status("/daemon/pid", &pid);
    assert_eq!(status["state"], "healthy");
    assert_eq!(fs::read_to_string(&file).unwrap(), "again by hand");
    assert_eq!(daemon.stop(), Some(0));
    fs::remove_file(&file).unwrap();
    let _daemon = world.run();
    world.wait_for_target(FILE, "{\"n\": 2}");
}

#[test]
fn a_link_or_a_directory_in_the_files_place_is_left_with_the_reason_until_it_is_gone() {
    let (world, _server, _daemon) = installed("");
    let file = world.target(FILE);
    let elsewhere = world.path("elsewhere");
    fs::write(&elsewhere, "theirs").unwrap();
    fs::remove_file(&file).unwrap();
    symlink(&elsewhere, &file).unwrap();
    wait_for_log(&world, "it is a symbolic link");
    let pointer = format!("/targets/{}/state", FILE.replace('/', "~1"));
    world.wait_for_status(&pointer, &json!("drifted"));
    assert!(
        text(&world).contains("it is a symbolic link"),
        "{}",
        text(&world)
    );
    fs::remove_file(&file).unwrap();
    world.wait_for_target(FILE, "{\"n\": 1}");
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "theirs");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    wait_for_log(&world, "it is a directory");
    fs::remove_dir(&file).unwrap();
    world.wait_for_target(FILE, "{\"n\": 1}");
    world.wait_for_status("/state", &json!("healthy"));
}

#[test]
fn a_directory_that_is_removed_and_made_again_has_its_file_again() {
    let (world, _server, _daemon) = installed("");
    let directory = world.target("/etc/app");
    for _ in 0..2 {
        fs::remove_dir_all(&directory).unwrap();
        let waits = format!("cannot open `{}`", directory.display());
        wait_for("it is missed", || {
            text(&world).contains(&waits).then_some(())
        });
        fs::create_dir(&directory).unwrap();
        world.wait_for_target(FILE, "{\"n\": 1}");
        world.wait_for_status("/state", &json!("healthy"));
    }
}

#[test]
fn a_directory_that_is_emptied_is_filled_by_one_transaction() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{}");
    let server = Server::start(&world);
    let mut lines = "profiles:\n  limits: {}\ntargets:\n".to_owned();
    for number in 0..20 {
        lines += &format!("  /run/app/{number}.json: {{from: limits, notify: app}}\n");
    }
    lines += "services:\n  app: {command: [sh, -c, echo told >> told]}\n";
    world.settings(&server, &lines);
    let _daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    wait_for_watch(&world);
    for number in 0..20 {
        fs::remove_file(world.target(&format!("/run/app/{number}.json"))).unwrap();
    }
    for number in 0..20 {
        world.wait_for_target(&format!("/run/app/{number}.json"), "{}");
    }
    wait_for("told again", || (told(&world) >= 2).then_some(()));
    world.wait_for_status("/state", &json!("healthy"));
    // A second time only where the machine was so slow that removing took its time.
    assert!(told(&world) <= 3, "{}", told(&world));
}

#[test]
fn a_link_above_the_target_that_leads_elsewhere_from_now_on_is_followed() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{}");
    let server = Server::start(&world);
    let volume = world.target("/srv/volume");
    for generation in ["..one", "..two"] {
        fs::create_dir_all(volume.join(generation).join("conf")).unwrap();
    }
    symlink("..one", volume.join("..data")).unwrap();
    symlink("..data/conf", volume.join("conf")).unwrap();
    world.write(
        "lines",
        "profiles:\n  limits: {}\ntargets:\n  /srv/volume/conf/limits.json: {from: limits}\n",
    );
    world.settings(&server, &world.read("lines").unwrap());
    let _daemon = world.run();
    let one = volume.join("..one/conf/limits.json");
    wait_for("installed", || one.exists().then_some(()));
    wait_for_watch(&world);
    for generation in ["..two", "..one", "..two"] {
        let _ = fs::remove_file(volume.join(generation).join("conf/limits.json"));
        symlink(generation, volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
        let file = volume.join(generation).join("conf/limits.json");
        wait_for("it is there as well", || file.exists().then_some(()));
    }
    // The new directory is watched.
    let two = volume.join("..two/conf/limits.json");
    world.wait_for_status("/state", &json!("healthy"));
    fs::remove_file(&two).unwrap();
    wait_for("it is put back", || two.exists().then_some(()));
}

#[test]
fn a_file_behind_a_link_that_is_followed_is_watched_where_it_lies() {
    let (world, _server, _daemon) = installed(", symlink: follow");
    let file = world.target(FILE);
    for name in ["one", "two"] {
        let elsewhere = world.target(&format!("/srv/{name}.json"));
        fs::create_dir_all(elsewhere.parent().unwrap()).unwrap();
        fs::write(&elsewhere, "{}").unwrap();
        let link = file.with_extension("link");
        symlink(format!("/srv/{name}.json"), &link).unwrap();
        fs::rename(link, &file).unwrap();
        wait_for("written behind the link", || {
            (fs::read_to_string(&elsewhere).ok()? == "{\"n\": 1}").then_some(())
        });
        world.wait_for_status("/state", &json!("healthy"));
        fs::write(&elsewhere, "by hand").unwrap();
        wait_for("put back behind the link", || {
            (fs::read_to_string(&elsewhere).ok()? == "{\"n\": 1}").then_some(())
        });
    }
}

#[test]
fn an_edit_during_a_transaction_is_judged_when_it_has_ended() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{\"n\": 1}");
    let server = Server::start(&world);
    world.settings(
        &server,
        &format!(
            "profiles:\n  limits: {{}}\ntargets:\n  {FILE}: {{from: limits, notify: app}}\nservices:\n  app: {{command: [sh, -c, \"echo told >> told; while test -e busy; do sleep 0.1; done\"]}}\n"
        ),
    );
    let _daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    wait_for_watch(&world);
    world.write("busy", "");
    world.deploy("shop/prod/limits.json", "{\"n\": 2}");
    wait_for("the notification runs", || {
        (told(&world) == 2).then_some(())
    });
    let file = world.target(FILE);
    fs::write(&file, "by hand").unwrap();
    fs::remove_file(world.path("busy")).unwrap();
    wait_for("told again", || (told(&world) == 3).then_some(()));
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\"n\": 2}");
    assert!(text(&world).contains(KEPT), "{}", text(&world));
}

#[test]
fn a_fight_with_another_writer_is_said_once_and_given_a_rest() {
    let (world, _server, _daemon) = installed("");
    let file = world.target(FILE);
    let words = "somebody else writes it again and again";
    let mut rounds = 0;
    wait_for("the fight is noticed", || {
        if fs::read_to_string(&file).ok()? != "theirs" {
            rename_over(&file, "theirs");
            rounds += 1;
        }
        world.log().contains(words).then_some(())
    });
    assert!((4..=6).contains(&rounds), "{rounds}");
    fs::write(&file, "theirs").unwrap();
    wait_for("status says so", || {
        text(&world).contains(words).then_some(())
    });
    assert_eq!(world.log().matches(words).count(), 1);
    // A new version is no part of the fight.
    world.deploy("shop/prod/limits.json", "{\"n\": 2}");
    world.wait_for_target(FILE, "{\"n\": 2}");
}

#[test]
fn a_swap_of_our_own_is_followed_by_no_other_plan() {
    let (world, _server, _daemon) = installed("");
    let looked = |world: &World| world.log().matches("targets looked at").count();
    let before = looked(&world);
    world.deploy("shop/prod/limits.json", "{\"n\": 2}");
    world.wait_for_target(FILE, "{\"n\": 2}");
    wait_for("the swap was noticed", || {
        (looked(&world) > before).then_some(())
    });
    world.wait_for_status("/state", &json!("healthy"));
    assert!(!world.log().contains("drifted="), "{}", world.log());
    assert_eq!(told(&world), 2);
}
