//! `watches`: services are told when files change that are not ours, once a change, and only when the bytes differ.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use crate::world::{Daemon, Server, World, stderr, stdout, wait_for};

/// A world with watches and no profile at all: nothing is polled, nobody is asked.
fn world(lines: &str) -> World {
    let world = World::new();
    settings(&world, lines);
    world
}

fn settings(world: &World, lines: &str) {
    let head = "aws: {region: eu-west-1, endpoint_url: \"http://127.0.0.1:9\"}\nroot: root\n";
    world.write("appconfigd.yaml", &format!("{head}{lines}"));
}

fn web(paths: &str) -> String {
    format!(
        "watches: {{certificates: {{paths: {paths}, notify: web}}}}\nservices: {{web: {{command: [sh, -c, echo told >> web]}}}}\n"
    )
}

/// Looks so far.
fn looks(world: &World) -> usize {
    let log = world.log();
    let looks = log.lines().filter(|line| line.contains("looked at"));
    looks.filter(|line| line.contains("watch=")).count()
}

/// Runs it and waits until the watch has been looked at.
fn run(world: &World) -> Daemon {
    let before = looks(world);
    let daemon = world.run();
    wait_for(&format!("a first look; log:\n{}", world.log()), || {
        (looks(world) > before).then_some(())
    });
    daemon
}

fn told(world: &World) -> usize {
    world.read("web").unwrap_or_default().lines().count()
}

fn wait_until_told(world: &World, times: usize) {
    wait_for(
        &format!("told {times} times; log:\n{}", world.log()),
        || (told(world) >= times).then_some(()),
    );
    assert_eq!(told(world), times, "{}", world.log());
    world.wait_for_status("/services/web/state", &json!("acknowledged"));
}

/// Waits for a look that ends without a notification.
fn nothing_told(world: &World, change: impl FnOnce()) {
    let (before, looked) = (told(world), looks(world));
    change();
    wait_for(&format!("another look; log:\n{}", world.log()), || {
        (looks(world) > looked).then_some(())
    });
    world.wait_for_status("/services/web/state", &json!("acknowledged"));
    assert_eq!(told(world), before, "{}", world.log());
}

fn put(world: &World, path: &str, text: &str) {
    let file = world.target(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn relink(to: &str, link: &Path) {
    let staged = link.with_file_name(".staged-link");
    symlink(to, &staged).unwrap();
    fs::rename(staged, link).unwrap();
}

#[test]
fn what_is_there_at_the_first_start_is_taken_for_known_and_each_change_of_bytes_is_told_once() {
    let world = world(&web("/etc/ssl/web.pem"));
    put(&world, "/etc/ssl/web.pem", "one");
    let daemon = run(&world);
    assert_eq!(told(&world), 0);
    // Over it, in place
    put(&world, "/etc/ssl/web.pem", "two");
    wait_until_told(&world, 1);
    // by a rename,
    put(&world, "/etc/ssl/.new", "three");
    let file = world.target("/etc/ssl/web.pem");
    fs::rename(world.target("/etc/ssl/.new"), &file).unwrap();
    wait_until_told(&world, 2);
    // without another byte,
    nothing_told(&world, || {
        put(&world, "/etc/ssl/.new", "three");
        fs::rename(world.target("/etc/ssl/.new"), &file).unwrap();
    });
    // and with its directory.
    fs::remove_dir_all(world.target("/etc/ssl")).unwrap();
    wait_until_told(&world, 3);
    put(&world, "/etc/ssl/web.pem", "three");
    wait_until_told(&world, 4);
    assert_eq!(daemon.stop(), Some(0));
    let log = world.log();
    assert!(
        log.contains("watched files have changed watch=certificates services=web"),
        "{log}"
    );
}

#[test]
fn a_change_while_nobody_ran_is_told_once_after_the_start() {
    let world = world(&web("/etc/ssl/web.pem"));
    put(&world, "/etc/ssl/web.pem", "one");
    assert_eq!(run(&world).stop(), Some(0));
    put(&world, "/etc/ssl/web.pem", "two");
    let plan = world.output(&["plan"]);
    assert_eq!(plan.status.code(), Some(2));
    let said = "files of watch `certificates` have changed";
    assert!(stdout(&plan).contains(said), "{plan:?}");
    let daemon = world.run();
    wait_until_told(&world, 1);
    daemon.kill();
    assert_eq!(run(&world).stop(), Some(0));
    assert_eq!(told(&world), 1, "{}", world.log());
    put(&world, "/etc/ssl/web.pem", "three");
    // The same by `once`.
    assert_eq!(world.output(&["once"]).status.code(), Some(0));
    assert_eq!(told(&world), 2);
    assert_eq!(world.output(&["once"]).status.code(), Some(0));
    assert_eq!(told(&world), 2);
}

#[test]
fn a_renewed_certificate_is_told_when_its_links_are_swapped() {
    let world = world(&web("[/etc/live/x.org/*.pem]"));
    for file in ["cert", "key"] {
        put(&world, &format!("/etc/archive/x.org/{file}1.pem"), "one");
        put(&world, &format!("/etc/archive/x.org/{file}2.pem"), "two");
    }
    fs::create_dir_all(world.target("/etc/live/x.org")).unwrap();
    let link = |number: usize| {
        for file in ["cert", "key"] {
            let live = world.target(&format!("/etc/live/x.org/{file}.pem"));
            relink(&format!("../../archive/x.org/{file}{number}.pem"), &live);
        }
    };
    link(1);
    let daemon = run(&world);
    link(2);
    wait_until_told(&world, 1);
    // What it leads to, written over.
    put(&world, "/etc/archive/x.org/key2.pem", "three");
    wait_until_told(&world, 2);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_volume_whose_data_link_is_swapped_is_one_change_of_all_its_files() {
    // A directory means its files.
    let world = world(&web("/mnt/config/"));
    let volume = world.target("/mnt/config");
    for version in ["1", "2", "3"] {
        for file in ["a", "b", "c"] {
            let text = format!("{file}{}", if version == "3" { "2" } else { version });
            put(
                &world,
                &format!("/mnt/config/..v{version}/{file}.json"),
                &text,
            );
        }
    }
    symlink("..v1", volume.join("..data")).unwrap();
    for file in ["a", "b", "c"] {
        symlink(
            format!("..data/{file}.json"),
            volume.join(format!("{file}.json")),
        )
        .unwrap();
    }
    let daemon = run(&world);
    relink("..v2", &volume.join("..data"));
    fs::remove_dir_all(volume.join("..v1")).unwrap();
    wait_until_told(&world, 1);
    // Another directory with the same bytes
    nothing_told(&world, || relink("..v3", &volume.join("..data")));
    // and a file more.
    put(&world, "/mnt/config/d.json", "d");
    wait_until_told(&world, 2);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn files_and_directories_that_come_later_are_noticed() {
    // The daemon's own state changes with every notification, and is no change.
    let world = world(&web("[/srv/**/tls/*.pem, /var/lib/**]"));
    let daemon = run(&world);
    assert!(
        world.log().contains("none of its files is there yet"),
        "{}",
        world.log()
    );
    put(&world, "/srv/a/b/tls/one.pem", "one");
    wait_until_told(&world, 1);
    // Hidden ones are not meant, other names neither.
    nothing_told(&world, || {
        put(&world, "/srv/a/b/tls/.hidden.pem", "x");
        put(&world, "/srv/a/b/tls/one.txt", "x");
        put(&world, "/srv/a/b/tls/one.pem", "one");
    });
    put(&world, "/srv/c/tls/two.pem", "two");
    wait_until_told(&world, 2);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_directory_above_that_is_replaced_is_noticed() {
    let world = world(&web("/srv/app/tls/web.pem"));
    put(&world, "/srv/app/tls/web.pem", "one");
    put(&world, "/srv/new/tls/web.pem", "two");
    let daemon = run(&world);
    fs::rename(world.target("/srv/app"), world.target("/srv/old")).unwrap();
    fs::rename(world.target("/srv/new"), world.target("/srv/app")).unwrap();
    wait_until_told(&world, 1);
    put(&world, "/srv/app/tls/web.pem", "three");
    wait_until_told(&world, 2);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_service_that_says_no_is_told_again_and_nothing_else_happens() {
    let world = world(
        "watches: {certificates: {paths: [/etc/web.pem], notify: [web]}}\nservices: {web: {command: [sh, -c, \"echo told >> web; grep -q good root/etc/web.pem\"]}}\n",
    );
    put(&world, "/etc/web.pem", "good 1");
    let daemon = run(&world);
    assert_eq!(world.output(&["plan"]).status.code(), Some(0));
    put(&world, "/etc/web.pem", "bad");
    let status = world.wait_for_status("/services/web/state", &json!("failed"));
    let watch = &status["watches"]["certificates"];
    assert_eq!(watch["pending"], json!(["web"]));
    assert!(watch["changed"].is_string(), "{status}");
    let plan = world.output(&["plan"]);
    let said = "it has not acknowledged watch `certificates`";
    assert!(stdout(&plan).contains(said), "{plan:?}");
    wait_for("it is told again", || (told(&world) > 1).then_some(()));
    assert_eq!(
        fs::read_to_string(world.target("/etc/web.pem")).unwrap(),
        "bad"
    );
    daemon.kill();
    // It is owed the news also when the file is again as it was.
    put(&world, "/etc/web.pem", "good 1");
    let before = told(&world);
    let daemon = world.run();
    world.wait_for_status("/services/web/state", &json!("acknowledged"));
    assert_eq!(told(&world), before + 1, "{}", world.log());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_watch_and_a_target_tell_the_same_service_each_for_itself_and_ours_is_no_change_of_others() {
    let world = World::new();
    world.deploy("shop/prod/app.json", "{}");
    let server = Server::start(&world);
    world.settings(
        &server,
        "profiles:\n  app:\ntargets:\n  /etc/app/app.json: {from: app, notify: web}\nwatches:\n  others: {paths: [/etc/app/*, /etc/app/web.pem], notify: web}\nservices:\n  web: {command: [sh, -c, echo told >> web]}\n",
    );
    put(&world, "/etc/app/web.pem", "one");
    let daemon = run(&world);
    wait_until_told(&world, 1);
    nothing_told(&world, || put(&world, "/etc/app/web.pem", "one"));
    world.deploy("shop/prod/app.json", "{\"a\": 1}");
    wait_until_told(&world, 2);
    put(&world, "/etc/app/web.pem", "two");
    wait_until_told(&world, 3);
    nothing_told(&world, || put(&world, "/etc/app/web.pem", "two"));
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_pace_holds_for_watches_too() {
    let world = world(
        "watches: {certificates: {paths: [/etc/web.pem], notify: [web]}}\nservices: {web: {command: [sh, -c, echo told >> web], min_interval: 1h}}\n",
    );
    put(&world, "/etc/web.pem", "one");
    let daemon = run(&world);
    put(&world, "/etc/web.pem", "two");
    wait_until_told(&world, 1);
    put(&world, "/etc/web.pem", "three");
    world.wait_for_status("/services/web/state", &json!("pending"));
    assert_eq!(told(&world), 1, "{}", world.log());
    // An operator does not wait.
    assert_eq!(
        world.output(&["retry"]).status.code(),
        Some(0),
        "{}",
        world.log()
    );
    wait_until_told(&world, 2);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn what_cannot_be_looked_at_is_said_and_told_when_it_can() {
    let world = world(&web("/etc/huge"));
    fs::create_dir_all(world.target("/etc")).unwrap();
    let huge = fs::File::create(world.target("/etc/huge")).unwrap();
    huge.set_len(65 * 1024 * 1024).unwrap();
    let daemon = world.run();
    wait_for("it is said", || {
        let log = world.log();
        (log.contains("`/etc/huge` is larger than 64 MiB") && looks(&world) > 0).then_some(())
    });
    let looked = looks(&world);
    huge.set_len(1).unwrap();
    wait_for("it is looked at", || (looks(&world) > looked).then_some(()));
    assert_eq!(told(&world), 0);
    put(&world, "/etc/huge", "two");
    wait_until_told(&world, 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn check_counts_watches_and_drop_ins_add_them() {
    let world = world(&web("/etc/web.pem"));
    world.write(
        "appconfigd.d/more.yaml",
        "watches: {more: {paths: [/etc/more/*], notify: web}}\n",
    );
    let output = world.output(&["check"]);
    assert!(
        stdout(&output).ends_with("ok: 0 profiles, 0 targets, 1 service, 2 watches\n"),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    world.write(
        "appconfigd.d/more.yaml",
        "watches: {certificates: {paths: [/etc/more/*], notify: web}}\n",
    );
    let output = world.output(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    let said = "the watch `certificates` stands in two files";
    assert!(stderr(&output).contains(said), "{}", stderr(&output));
}

#[test]
fn templates_what_they_include_and_schemas_are_taken_when_they_change_without_a_poll_or_a_reload() {
    let world = World::new();
    world.deploy("shop/prod/app.json", r#"{"name": "one"}"#);
    world.write("app.j2", "{% include \"part.j2\" %} {{ config.name }}");
    world.write("part.j2", "name");
    world.write("app.schema.json", r#"{"type": "object"}"#);
    let server = Server::start(&world);
    world.settings(
        &server,
        "profiles:\n  app: {validate: {schema: app.schema.json}}\ntargets:\n  /etc/app/app.txt: {from: app, template: app.j2, notify: web}\nservices:\n  web: {command: [sh, -c, echo told >> web]}\n",
    );
    let daemon = run(&world);
    world.wait_for_target("/etc/app/app.txt", "name one");
    wait_until_told(&world, 1);
    server.stop();
    world.write("part.j2", "called");
    world.wait_for_target("/etc/app/app.txt", "called one");
    wait_until_told(&world, 2);
    // One that is broken changes nothing, the next does.
    world.write("app.j2", "{{ config.name");
    wait_for("it is said", || {
        let said = "a template or schema has changed and cannot be used";
        world.log().contains(said).then_some(())
    });
    world.wait_for_target("/etc/app/app.txt", "called one");
    world.write("new.j2", "{{ config.name | upper }}");
    fs::rename(world.path("new.j2"), world.path("app.j2")).unwrap();
    world.wait_for_target("/etc/app/app.txt", "ONE");
    wait_until_told(&world, 3);
    world.write("app.schema.json", r#"{"type": "array"}"#);
    world.wait_for_status("/profiles/app/state", &json!("refused"));
    world.write("app.schema.json", r#"{"type": "object"}"#);
    wait_for("it is no longer refused", || {
        let state = world.status()?["profiles"]["app"]["state"].clone();
        (state != "refused").then_some(())
    });
    assert_eq!(told(&world), 3, "{}", world.log());
    let log = world.log();
    assert!(!log.contains("settings reloaded"), "{log}");
    assert_eq!(daemon.stop(), Some(0));
}
