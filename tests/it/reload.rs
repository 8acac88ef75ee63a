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

#[test]
fn a_target_is_added_and_another_queue_never_notices() {
    let (world, server) = world();
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    let more = "  /etc/app/more.json: {from: two, notify: second}\n";
    world.settings(&server, &lines(&format!("{ONE}{TWO}{more}")));
    assert_eq!(reload(&world).status.code(), Some(0));
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
    assert!(
        world.log().contains("unchanged=1 replaced=1 started=1"),
        "{}",
        world.log()
    );
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
    assert_eq!(reload(&world).status.code(), Some(0));
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
