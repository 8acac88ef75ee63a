//! Changes of which the kernel says nothing: more at once than its queue holds, and file systems without events.

use std::fs;
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::mount::Mount;
use crate::skip::skip;
use crate::world::{World, wait_for};

const LINES: &str = "profiles:\n  app:\ntargets:\n  /etc/app/app.txt: {from: app, notify: web}\nwatches:\n  others: {paths: [/etc/other/*.pem], notify: web}\nservices:\n  web: {command: [sh, -c, echo told >> web]}\n";

fn told(world: &World) -> usize {
    world.read("web").unwrap_or_default().lines().count()
}

fn wait_for_look(world: &World) {
    wait_for("the watch has been looked at", || {
        let log = world.log();
        log.contains("watched files looked at watch=others")
            .then_some(())
    });
}

/// The kernel's limit, where it can be read.
fn queued_events() -> usize {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
    limit
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(16_384)
}

#[test]
fn a_change_behind_more_events_than_the_kernel_keeps_is_noticed_in_targets_and_watches() {
    let limit = queued_events();
    if limit > 200_000 {
        return skip("fs.inotify.max_queued_events is too large to be filled in a test");
    }
    let (world, _server) = World::served(&[("shop/prod/app.txt", "ours")], LINES);
    fs::create_dir_all(world.target("/etc/other")).unwrap();
    let watched = world.target("/etc/other/web.pem");
    fs::write(&watched, "one").unwrap();
    let daemon = world.run();
    world.wait_for_target("/etc/app/app.txt", "ours");
    wait_for_look(&world);
    world.wait_for_status("/services/web/state", &json!("acknowledged"));
    let before = told(&world);
    // It reads no events meanwhile.
    daemon.signal(Signal::SIGSTOP);
    for directory in ["/etc/other", "/etc/app"] {
        let flood = world.target(directory).join("flood.pem");
        // Two at least of each: made, and gone.
        for _ in 0..=limit / 2 {
            fs::File::create(&flood).unwrap();
            fs::remove_file(&flood).unwrap();
        }
    }
    fs::write(&watched, "two").unwrap();
    fs::write(world.target("/etc/app/app.txt"), "theirs").unwrap();
    daemon.signal(Signal::SIGCONT);
    world.wait_for_target("/etc/app/app.txt", "ours");
    wait_for("it is said", || {
        let said = "the kernel has dropped events of files";
        world.log().contains(said).then_some(())
    });
    // The drift and the watch may be told together.
    wait_for("both are told", || {
        let log = world.log();
        let both = log.contains("somebody else changed it")
            && log.contains("watched files have changed watch=others");
        (both && told(&world) > before).then_some(())
    });
    world.wait_for_status("/services/web/state", &json!("acknowledged"));
    assert!(told(&world) <= before + 2, "{}", world.log());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_file_system_without_events_is_looked_at_slowly() {
    let world = World::new();
    let layers = world.path("layers");
    let Some(_tmpfs) = Mount::tmpfs(&layers, "1m") else {
        return skip("no file system can be mounted");
    };
    for directory in ["lower", "upper", "work"] {
        fs::create_dir_all(layers.join(directory)).unwrap();
    }
    fs::write(layers.join("upper/web.pem"), "one").unwrap();
    let at = world.target("/etc/other");
    let Some(_overlay) = Mount::overlay(&at, &layers) else {
        return skip("no overlay can be mounted");
    };
    world.write(
        "appconfigd.yaml",
        &format!(
            "aws: {{region: eu-west-1, endpoint_url: \"http://127.0.0.1:9\"}}\nroot: root\n{}",
            &LINES[LINES.find("watches:").unwrap()..]
        ),
    );
    let daemon = world.run();
    wait_for_look(&world);
    // In the layer below, of which the mounted file system has no events.
    let since = Instant::now();
    fs::write(layers.join("upper/web.pem"), "two two").unwrap();
    assert_eq!(fs::read_to_string(at.join("web.pem")).unwrap(), "two two");
    wait_for("the change is told", || (told(&world) > 0).then_some(()));
    assert_eq!(told(&world), 1, "{}", world.log());
    assert!(since.elapsed().as_secs() >= 1);
    world.wait_for_status("/services/web/state", &json!("acknowledged"));
    assert_eq!(daemon.stop(), Some(0));
}
