//! `status`: its JSON key by key, its exit codes, with a daemon and without.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::stand::unwrapped;
use crate::world::{Server, World, wait_for};

const LINES: &str = "profiles:\n  limits: {validate: {format: json}}\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {command: [sh, -c, echo told >> told]}\n";

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn exact(status: &Value) {
    let expect = |value: &Value, names: &[&str]| {
        assert_eq!(keys(value), names.iter().copied().collect(), "{value}");
    };
    expect(
        status,
        &[
            "schema", "daemon", "state", "profiles", "targets", "services", "watches",
        ],
    );
    if !status["daemon"].is_null() {
        expect(&status["daemon"], &["pid", "version", "started_at"]);
    }
    for profile in status["profiles"].as_object().unwrap().values() {
        expect(
            profile,
            &[
                "state",
                "installed",
                "received",
                "reason",
                "last_poll",
                "next_poll",
            ],
        );
        for version in ["installed", "received"] {
            if !profile[version].is_null() {
                expect(&profile[version], &["digest", "label", "since"]);
                let digest = profile[version]["digest"].as_str().unwrap();
                assert!(
                    digest.starts_with("sha256:") && digest.len() == 71,
                    "{digest}"
                );
                let since = profile[version]["since"].as_str().unwrap();
                assert!(since.ends_with('Z'), "{since}");
            }
        }
    }
    for target in status["targets"].as_object().unwrap().values() {
        expect(target, &["state", "digest"]);
    }
    for service in status["services"].as_object().unwrap().values() {
        expect(service, &["state", "since", "last_result", "next_attempt"]);
    }
    for watch in status["watches"].as_object().unwrap().values() {
        expect(watch, &["changed", "pending"]);
    }
}

fn code(world: &World) -> i32 {
    world.output(&["status"]).status.code().unwrap()
}

fn text(world: &World) -> String {
    let screen = String::from_utf8(world.output(&["status"]).stdout).unwrap();
    unwrapped(&screen).join("\n")
}

#[test]
fn the_json_has_exactly_the_keys_of_the_contract_with_and_without_a_daemon() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{}");
    let server = Server::start(&world);
    world.settings(&server, LINES);
    let never = world.status().unwrap();
    exact(&never);
    assert_eq!(never["daemon"], Value::Null);
    assert_eq!(never["state"], "failed");
    assert_eq!(code(&world), 3);
    let daemon = world.run();
    let healthy = world.wait_for_status("/state", &json!("healthy"));
    exact(&healthy);
    assert_eq!(healthy["schema"], 1);
    assert_eq!(healthy["daemon"]["pid"], daemon.pid().as_raw());
    assert_eq!(healthy["profiles"]["limits"]["state"], "current");
    assert_eq!(
        healthy["targets"]["/etc/app/limits.json"]["state"],
        "in_sync"
    );
    assert_eq!(healthy["services"]["app"]["state"], "acknowledged");
    assert_eq!(code(&world), 0);
    world.deploy("shop/prod/limits.json", "{");
    let refused = world.wait_for_status("/profiles/limits/state", &json!("refused"));
    exact(&refused);
    assert_eq!(refused["state"], "degraded");
    assert_eq!(code(&world), 2);
    assert_eq!(daemon.stop(), Some(0));
    let offline = world.status().unwrap();
    exact(&offline);
    assert_eq!(offline["daemon"], Value::Null);
    assert_eq!(offline["profiles"]["limits"]["state"], "refused");
    assert_eq!(offline["targets"], refused["targets"]);
    assert_eq!(offline["services"], refused["services"]);
    assert_eq!(code(&world), 3);
}

#[test]
fn nothing_installed_is_1() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{");
    let server = Server::start(&world);
    world.settings(&server, LINES);
    let _daemon = world.run();
    world.wait_for_status("/profiles/limits/state", &json!("refused"));
    assert_eq!(code(&world), 1);
}

#[test]
fn without_a_daemon_local_settings_show_the_ledger_as_well() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{}");
    fs::create_dir_all(world.target("/etc")).unwrap();
    world.write(
        "appconfigd.yaml",
        "local: {directory: store}\nroot: root\nprofiles:\n  limits: {application: shop, environment: prod}\ntargets:\n  /etc/limits.json: {from: limits}\n",
    );
    assert_eq!(world.output(&["once"]).status.code(), Some(0));
    let status = world.status().unwrap();
    assert_eq!(status["profiles"]["limits"]["state"], "current");
}

#[test]
fn a_file_that_was_not_ours_is_kept_and_status_says_so() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{}");
    let server = Server::start(&world);
    world.settings(&server, LINES);
    fs::write(world.target("/etc/app/limits.json"), "by hand").unwrap();
    let daemon = world.run();
    exact(&world.wait_for_status("/state", &json!("healthy")));
    let line = "a file that was not ours is kept in history: sha256:";
    assert!(text(&world).contains(line), "{}", text(&world));
    assert_eq!(daemon.stop(), Some(0));
    assert!(text(&world).contains(line), "{}", text(&world));
}

#[test]
fn the_control_socket_is_for_its_owner_only_and_one_that_was_left_is_replaced() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{}");
    let server = Server::start(&world);
    world.settings(&server, LINES);
    let socket = world.target("/run/appconfigd/control.sock");
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(socket.as_path()), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
    daemon.kill();
    assert!(socket.exists());
    assert_eq!(world.status().unwrap()["daemon"], Value::Null);
    let daemon = world.run();
    wait_for("the new daemon answers", || {
        (world.status()?["daemon"]["pid"] == daemon.pid().as_raw()).then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn a_runtime_directory_that_is_too_deep_is_said_with_what_to_do() {
    let world = World::new();
    let server = Server::start(&world);
    world.settings(&server, "profiles:\n  limits:\n");
    let deep = format!("/{}", "x".repeat(110));
    let output = world.output(&["status", "--runtime-directory", &deep]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("give a shorter `--runtime-directory`"),
        "{told}"
    );
}
