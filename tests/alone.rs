//! What holds on a machine that has time for it: cargo runs test binaries one after the other, so nothing else of ours runs
//! beside this one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says no by panicking; these lints exempt test functions, but not the functions that tests share"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests write files, start processes and measure time around the program; the program itself may not"
)]

#[path = "it/world.rs"]
#[expect(dead_code, reason = "shared with the other integration tests")]
mod world;

use serde_json::json;
use world::{Server, World, wait_for};

/// Answers that come more than 300 ms apart make transactions of their own.
#[test]
fn three_hundred_profiles_that_change_at_once_are_one_notification() {
    use std::fmt::Write;
    const MANY: usize = 300;
    let (mut profiles, mut targets) = (String::new(), String::new());
    let world = World::new();
    for number in 0..MANY {
        world.deploy(&format!("shop/prod/p{number}.txt"), "one");
        writeln!(profiles, "  p{number}:").unwrap();
        writeln!(
            targets,
            "  /etc/app/{number}: {{from: p{number}, notify: app}}"
        )
        .unwrap();
    }
    let server = Server::start(&world);
    world.settings(
        &server,
        &format!("profiles:\n{profiles}targets:\n{targets}services:\n  app: {{command: [sh, -c, echo told >> told]}}\n"),
    );
    let all = |text: &str| {
        wait_for(&format!("all have {text}"), || {
            (0..MANY)
                .all(|number| {
                    let file = world.target(&format!("/etc/app/{number}"));
                    std::fs::read_to_string(file).is_ok_and(|found| found == text)
                })
                .then_some(())
        });
    };
    let daemon = world.run();
    all("one");
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(world.read("told").unwrap(), "told\n");
    // Changed behind its back, they are all due when it starts: start is a tick.
    assert_eq!(daemon.stop(), Some(0));
    let stopped = std::time::Instant::now();
    for number in 0..MANY {
        world.deploy(&format!("shop/prod/p{number}.txt"), "two");
    }
    wait_for("the intervals have passed", || {
        (stopped.elapsed() > std::time::Duration::from_secs(1)).then_some(())
    });
    let daemon = world.run();
    all("two");
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(world.read("told").unwrap(), "told\ntold\n");
    assert_eq!(daemon.stop(), Some(0));
}
