//! `run` against `serve`: the main job.

use serde_json::json;

use crate::world::{Server, World, wait_for};

#[test]
fn a_change_reaches_the_file_and_the_service_is_told_once() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", r#"{"limit": 1}"#);
    let server = Server::start(&world);
    world.settings(
        &server,
        "profiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {command: [sh, -c, echo told >> told]}\n",
    );
    let daemon = world.run();
    world.wait_for_target("/etc/app/limits.json", r#"{"limit": 1}"#);
    wait_for("the service is told", || {
        (world.read("told")? == "told\n").then_some(())
    });
    world.deploy("shop/prod/limits.json", r#"{"limit": 2}"#);
    world.wait_for_target("/etc/app/limits.json", r#"{"limit": 2}"#);
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    assert_eq!(world.read("told").unwrap(), "told\ntold\n");
    assert_eq!(daemon.stop(), Some(0));
}
