//! `reload` and SIGHUP: what differs is replaced, what does not never notices.

use std::process::Output;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::world::{Server, World, wait_for};

const ONE: &str = "  /etc/app/one.json: {from: one, notify: first}\n";
const TWO: &str = "  /etc/app/two.json: {from: two, notify: second}\n";

fn lines(targets: &str) -> String {
    format!(
        "profiles:\n  one:\n  two:\ntargets:\n{targets}services:\n  first: {{command: [sh, -c, echo told >> first]}}\n  second: {{command: [sh, -c, echo told >> second]}}\n"
    )
}

fn world() -> (World, Server) {
    let world = World::new();
    world.deploy("shop/prod/one.json", r#"{"name": "one"}"#);
    world.deploy("shop/prod/two.json", r#"{"name": "two"}"#);
    let server = Server::start(&world);
    world.settings(&server, &lines(&format!("{ONE}{TWO}")));
    (world, server)
}

fn reload(world: &World) -> Output {
    world.output(&["reload"])
}

/// What a reload that is applied says it did.
fn did(world: &World) -> String {
    let output = reload(world);
    assert_eq!(output.status.code(), Some(0), "{}", world.log());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_target_is_added_and_another_queue_never_notices() {
    let (world, server) = world();
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    let more = "  /etc/app/more.json: {from: two, notify: second}\n";
    world.settings(&server, &lines(&format!("{ONE}{TWO}{more}")));
    assert_eq!(did(&world), "added target /etc/app/more.json\n");
    world.wait_for_target("/etc/app/more.json", r#"{"name": "two"}"#);
    wait_for("the second service is told of it", || {
        (world.read("second")? == "told\ntold\n").then_some(())
    });
    let polled = server.count("shop/prod/one", "get");
    wait_for("the first profile is polled on", || {
        (server.count("shop/prod/one", "get") > polled).then_some(())
    });
    assert_eq!(world.read("first").unwrap(), "told\n");
    for profile in ["shop/prod/one", "shop/prod/two"] {
        assert_eq!(server.count(profile, "start"), 1, "{profile}");
        assert_eq!(server.count(profile, "received"), 1, "{profile}");
    }
    let said =
        "settings reloaded added=\"target /etc/app/more.json\" unchanged=1 replaced=1 started=1";
    assert!(world.log().contains(said), "{}", world.log());
    assert_eq!(did(&world), "nothing differs\n");
    let said = "settings reloaded unchanged=2 replaced=0 started=0";
    assert!(world.log().contains(said), "{}", world.log());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_target_that_leaves_keeps_its_file_and_is_not_told_of_any_more() {
    let (world, server) = world();
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    world.settings(&server, &lines(ONE));
    daemon.signal(Signal::SIGHUP);
    wait_for("the target has left the status", || {
        world.status()?["targets"]
            .get("/etc/app/two.json")
            .is_none()
            .then_some(())
    });
    world.deploy("shop/prod/two.json", "{}");
    wait_for("the new version has been received", || {
        (server.count("shop/prod/two", "received") == 2).then_some(())
    });
    world.wait_for_status("/state", &json!("healthy"));
    world.wait_for_target("/etc/app/two.json", r#"{"name": "two"}"#);
    assert_eq!(world.read("second").unwrap(), "told\n");
    // Added again it is a first install.
    world.settings(&server, &lines(&format!("{ONE}{TWO}")));
    assert_eq!(reload(&world).status.code(), Some(0));
    world.wait_for_target("/etc/app/two.json", "{}");
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(world.read("second").unwrap(), "told\ntold\n");
    assert_eq!(world.read("first").unwrap(), "told\n");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_changed_template_is_rendered_anew_without_a_poll_and_touches_no_other_queue() {
    let (world, server) = world();
    let target = "  /etc/app/two.txt: {from: two, template: two.j2, notify: second}\n";
    world.write("two.j2", "name {{ config.name }}");
    world.settings(&server, &lines(&format!("{ONE}{target}")));
    let daemon = world.run();
    world.wait_for_target("/etc/app/two.txt", "name two");
    world.wait_for_status("/state", &json!("healthy"));
    world.write("two.j2", "named {{ config.name }}");
    assert_eq!(did(&world), "changed target /etc/app/two.txt\n");
    world.wait_for_target("/etc/app/two.txt", "named two");
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(world.read("second").unwrap(), "told\ntold\n");
    assert_eq!(world.read("first").unwrap(), "told\n");
    assert!(
        world.log().contains("unchanged=1 replaced=1 started=1"),
        "{}",
        world.log()
    );
    assert_eq!(server.count("shop/prod/two", "received"), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_bad_file_changes_nothing_and_its_problems_are_printed() {
    let (world, server) = world();
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    let good = world.read("appconfigd.yaml").unwrap();
    world.write(
        "appconfigd.yaml",
        &good.replace("from: one", "from: nobody"),
    );
    let output = reload(&world);
    let problems = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{problems}");
    assert!(problems.contains("appconfigd.yaml:"), "{problems}");
    assert!(problems.contains("nobody"), "{problems}");
    assert!(problems.trim_end().ends_with("1 error"), "{problems}");
    // A daemon answers while its file is wrong.
    assert_eq!(world.output(&["status"]).status.code(), Some(0));
    assert_eq!(world.output(&["refresh"]).status.code(), Some(0));
    daemon.signal(Signal::SIGHUP);
    wait_for("the signal's reload is refused", || {
        (world.log().matches("settings not reloaded").count() == 2).then_some(())
    });
    world.deploy("shop/prod/one.json", "{}");
    world.wait_for_target("/etc/app/one.json", "{}");
    assert_eq!(server.count("shop/prod/one", "start"), 1);
    world.write("appconfigd.yaml", &good);
    assert_eq!(reload(&world).status.code(), Some(0));
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(reload(&world).status.code(), Some(3));
}

#[test]
fn a_drop_in_is_taken_in_by_a_reload() {
    let (world, server) = world();
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    world.write(
        "appconfigd.d/10-more.yaml",
        "targets:\n  /etc/app/more.json: {from: one}\n",
    );
    assert_eq!(reload(&world).status.code(), Some(0));
    world.wait_for_target("/etc/app/more.json", r#"{"name": "one"}"#);
    assert_eq!(server.count("shop/prod/one", "start"), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_reload_while_a_service_is_slow_leaves_status_and_stop_alive() {
    let (world, server) = world();
    let slow = lines(ONE).replace("echo told >> first", "echo told >> first; exec sleep 600");
    let slow = slow.replace("exec sleep 600]}", "exec sleep 600], timeout: 4s}");
    world.settings(&server, &slow);
    let daemon = world.run();
    wait_for("the slow service is being told", || world.read("first"));
    world.settings(&server, &lines(TWO));
    daemon.signal(Signal::SIGHUP);
    wait_for("status answers", || {
        world.status()?["daemon"].as_object().map(|_| ())
    });
    world.wait_for_target("/etc/app/two.json", r#"{"name": "two"}"#);
    assert_eq!(daemon.stop(), Some(0));
}

/// `two` by a template that a check looks at; version one stands.
fn templated() -> (World, Server, crate::world::Daemon) {
    let (world, server) = world();
    let lines = "profiles:\n  two:\ntargets:\n  /etc/app/two.txt: {from: two, template: two.j2, notify: second}\nservices:\n  second: {check: [sh, -c, \"! grep bad root/etc/app/two.txt\"], command: [sh, -c, echo told >> second]}\n";
    world.write("two.j2", "name {{ config.name }}");
    world.settings(&server, lines);
    let daemon = world.run();
    world.wait_for_target("/etc/app/two.txt", "name two");
    world.wait_for_status("/state", &json!("healthy"));
    (world, server, daemon)
}

/// Mends the template while nobody can be polled: `text` is there at once, and the service told.
fn mended(
    world: &World,
    server: Server,
    daemon: &crate::world::Daemon,
    template: &str,
    text: &str,
) {
    let status = world.status().unwrap();
    let received = status["profiles"]["two"]["received"]["digest"].clone();
    assert_ne!(status["profiles"]["two"]["installed"]["digest"], received);
    assert_eq!(world.read("second").unwrap(), "told\n");
    let polls = server.count("shop/prod/two", "received");
    assert_eq!(polls, 2, "one deployment, delivered once");
    server.stop();
    world.write("two.j2", template);
    daemon.signal(Signal::SIGHUP);
    world.wait_for_target("/etc/app/two.txt", text);
    let status = world.wait_for_status("/profiles/two/installed/digest", &received);
    assert_eq!(status["services"]["second"]["state"], "acknowledged");
    assert_eq!(status["targets"]["/etc/app/two.txt"]["state"], "in_sync");
    assert_eq!(world.read("second").unwrap(), "told\ntold\n");
}

#[test]
fn a_refused_version_goes_live_when_its_template_is_mended_without_a_poll() {
    let (world, server, daemon) = templated();
    world.deploy("shop/prod/two.json", r#"{"title": "three"}"#);
    let status = world.wait_for_status("/profiles/two/state", &json!("refused"));
    let reason = status["profiles"]["two"]["reason"].as_str().unwrap();
    assert!(reason.contains("two.j2"), "{reason}");
    world.wait_for_target("/etc/app/two.txt", "name two");
    mended(
        &world,
        server,
        &daemon,
        "name {{ config.title }}",
        "name three",
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_quarantined_version_goes_live_when_its_template_is_mended_without_a_poll() {
    let (world, server, daemon) = templated();
    world.deploy("shop/prod/two.json", r#"{"name": "bad"}"#);
    world.wait_for_status("/profiles/two/state", &json!("quarantined"));
    world.wait_for_target("/etc/app/two.txt", "name two");
    // Rendered to the same bytes it is the same outcome, and stays away.
    world.write("two.j2", "name {{ config['name'] }}");
    assert_eq!(reload(&world).status.code(), Some(0));
    world.wait_for_status("/profiles/two/state", &json!("quarantined"));
    world.wait_for_target("/etc/app/two.txt", "name two");
    mended(
        &world,
        server,
        &daemon,
        "name {{ config.name | upper }}",
        "name BAD",
    );
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_reload_waits_for_the_transaction_that_runs_and_cuts_nothing_short() {
    let (world, server) = world();
    let slow = "command: [sh, -c, \"echo begun >> first; while test -e busy; do sleep 0.05; done; echo ended >> first\"]";
    let before = lines(ONE).replace("command: [sh, -c, echo told >> first]", slow);
    world.settings(&server, &before);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    world.write("busy", "");
    world.deploy("shop/prod/one.json", "{}");
    wait_for("the service is being told", || {
        (world.read("first")? == "begun\nended\nbegun\n").then_some(())
    });
    let more = "  /etc/app/more.json: {from: one, notify: first}\n";
    let after = lines(&format!("{ONE}{more}{TWO}"));
    world.settings(&server, &after);
    let mut asked = world.command(&["reload"]).spawn().unwrap();
    // Status answers meanwhile, as of the old settings; nothing of the new ones has begun.
    wait_for("the reload has been asked for", || {
        world
            .log()
            .contains("queues that differ end what they are at")
            .then_some(())
    });
    for _ in 0..3 {
        let status = world.status().unwrap();
        assert_eq!(
            status["targets"].as_object().unwrap().len(),
            1,
            "{status:#}"
        );
        assert!(asked.try_wait().unwrap().is_none(), "it waits");
    }
    assert!(!world.target("/etc/app/more.json").exists());
    std::fs::remove_file(world.path("busy")).unwrap();
    assert_eq!(asked.wait().unwrap().code(), Some(0));
    world.wait_for_target("/etc/app/more.json", "{}");
    world.wait_for_status("/state", &json!("healthy"));
    // The old command came to its end and counted: the new one was told of the new file only.
    assert_eq!(
        world.read("first").unwrap(),
        "begun\nended\nbegun\nended\ntold\n"
    );
    assert_eq!(server.count("shop/prod/one", "start"), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_renamed_profile_keeps_its_session_and_another_identity_begins_anew() {
    let (world, server) = world();
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    let renamed = lines(&format!("{ONE}{TWO}"))
        .replace("  one:\n", "  uno: {configuration_profile: one}\n")
        .replace("from: one", "from: uno");
    world.settings(&server, &renamed);
    let expected = "added profile uno\nchanged target /etc/app/one.json\nremoved profile one\n";
    assert_eq!(did(&world), expected);
    let status = world.wait_for_status("/profiles/uno/state", &json!("current"));
    assert!(status["profiles"].get("one").is_none());
    let polls = server.count("shop/prod/one", "get");
    wait_for("the renamed profile is polled on", || {
        (server.count("shop/prod/one", "get") > polls).then_some(())
    });
    assert_eq!(server.count("shop/prod/one", "start"), 1);
    assert_eq!(server.count("shop/prod/one", "received"), 1);
    assert_eq!(world.read("first").unwrap(), "told\n");

    // The same name for something else: none of the old state counts, and a version of its own is installed.
    world.deploy("shop/prod/other.json", r#"{"name": "other"}"#);
    world.settings(
        &server,
        &renamed.replace("configuration_profile: one", "configuration_profile: other"),
    );
    assert_eq!(reload(&world).status.code(), Some(0));
    world.wait_for_target("/etc/app/one.json", r#"{"name": "other"}"#);
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(server.count("shop/prod/other", "start"), 1);
    assert_eq!(
        server.count("shop/prod/two", "start"),
        1,
        "its session was kept"
    );
    assert_eq!(world.read("first").unwrap(), "told\ntold\n");
    assert_eq!(world.read("second").unwrap(), "told\n");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn settings_that_hang_keep_neither_the_files_nor_the_end_waiting() {
    let (world, server) = world();
    let path = world.path("appconfigd.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    world.write("appconfigd.yaml", &format!("stop_timeout: 1s\n{text}"));
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    // As a file on a server that is away: nobody ever writes to it.
    std::fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    daemon.signal(Signal::SIGHUP);
    world.deploy("shop/prod/one.json", r#"{"name": "new"}"#);
    world.wait_for_target("/etc/app/one.json", r#"{"name": "new"}"#);
    assert_eq!(daemon.stop(), Some(0));
    server.stop();
}
