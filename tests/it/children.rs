//! What the programs that appconfigd starts are given.

use std::process::Command;

use crate::world::{PROGRAM, Server, World};

#[test]
fn a_child_gets_no_descriptor_that_whoever_started_the_program_left_open() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "1");
    let server = Server::start(&world);
    world.settings(
        &server,
        "profiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\n\
         services:\n  app: {command: [sh, -c, \"ls -l /proc/self/fd > told\"]}\n",
    );
    world.write("left-open", "");
    let once = world.command(&["once"]);
    let mut careless = Command::new("sh");
    careless
        .args(["-c", "exec 7<left-open 9<left-open; exec \"$@\"", "sh"])
        .args([PROGRAM, "once"])
        .current_dir(world.path("."))
        .env_clear()
        .envs(
            once.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    let output = careless.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = world.read("told").unwrap();
    assert!(told.contains("/dev/null"), "{told}");
    assert!(!told.contains("left-open"), "{told}");
}
