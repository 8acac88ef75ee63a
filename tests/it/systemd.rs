//! The daemon itself as a unit of a real systemd, beside a unit that is ordered after it.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::world::{PROGRAM, Server, World, wait_for};

/// Writes down what it reads when it starts and whenever it is reloaded.
const APP: &str = "[Unit]
Wants=DAEMON
After=DAEMON
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo \"start: $(cat TARGET)\" >>SEEN'
ExecReload=/bin/sh -c 'echo \"reload: $(cat TARGET)\" >>SEEN'
";

const DAEMON: &str = "[Service]
Type=notify
NotifyAccess=main
TimeoutStartSec=20
WorkingDirectory=WORLD
Environment=AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=secret AWS_EC2_METADATA_DISABLED=true
ExecStart=PROGRAM run --settings appconfigd.yaml --log-level debug
StandardError=append:WORLD/run.log
";

/// Units below /run; stopped and removed when dropped.
struct Units(Vec<String>);

impl Units {
    fn write(units: &[(&str, String)]) -> Units {
        fs::create_dir_all("/run/systemd/system").unwrap();
        for (name, text) in units {
            fs::write(format!("/run/systemd/system/{name}"), text).unwrap();
        }
        systemctl(&["daemon-reload"]);
        Units(units.iter().map(|(name, _)| (*name).to_owned()).collect())
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Command::new("systemctl").args(["stop", name]).status();
            let _ = fs::remove_file(format!("/run/systemd/system/{name}"));
        }
    }
}

fn systemctl(words: &[&str]) {
    let status = Command::new("systemctl").args(words).status().unwrap();
    assert!(status.success(), "systemctl {words:?}");
}

#[test]
#[ignore = "needs systemd as PID 1: scripts/test-systemd"]
fn a_unit_that_is_ordered_after_the_daemon_finds_its_file_and_its_reload_blocks_no_start() {
    let world = World::new();
    world.deploy("shop/prod/app.txt", "one");
    let server = Server::start(&world);
    let (daemon, app) = ("daemon-of-a-test.service", "app-of-a-test.service");
    let lines = format!(
        "profiles:\n  app:\ntargets:\n  /etc/app.conf: {{from: app, notify: app}}\nservices:\n  app: {{reload: {{unit: {app}}}}}\n"
    );
    world.settings(&server, &lines);
    let filled = |text: &str| {
        text.replace("PROGRAM", PROGRAM)
            .replace(
                "WORLD",
                world.path("").to_str().unwrap().trim_end_matches('/'),
            )
            .replace("DAEMON", daemon)
            .replace("TARGET", world.target("/etc/app.conf").to_str().unwrap())
            .replace("SEEN", world.path("seen").to_str().unwrap())
    };
    let _units = Units::write(&[(app, filled(APP)), (daemon, filled(DAEMON))]);

    let seen = || world.read("seen").unwrap_or_default();
    let last = |line: &str| {
        wait_for(&format!("{line:?}, and not only {:?}", seen()), || {
            (seen().lines().last()? == line).then_some(())
        });
    };
    // Both at once, as at boot: the app starts when the file stands. Where it was quicker than the question whether it
    // runs it is told once more.
    systemctl(&["start", app]);
    assert!(seen().starts_with("start: one\n"), "{}", world.log());
    world.wait_for_status("/state", &json!("healthy"));
    assert!(seen().lines().all(|line| line.ends_with(": one")));

    world.deploy("shop/prod/app.txt", "two");
    last("reload: two");
    world.wait_for_status("/services/app/state", &json!("acknowledged"));

    // A version that is found at the start of the daemon, while the app runs: the reload's job waits for READY, and
    // READY for the files only.
    systemctl(&["kill", "--signal=KILL", daemon]);
    wait_for("the daemon is dead", || {
        let asked = Command::new("systemctl")
            .args(["is-failed", "--quiet", daemon])
            .status();
        asked.unwrap().success().then_some(())
    });
    let active = Command::new("systemctl")
        .args(["is-active", "--quiet", app])
        .status();
    assert!(active.unwrap().success(), "the app runs on");
    world.deploy("shop/prod/app.txt", "three");
    systemctl(&["start", daemon]);
    last("reload: three");
    assert_eq!(seen().matches("start: ").count(), 1, "{}", seen());
    world.wait_for_status("/state", &json!("healthy"));
    world.wait_for_target("/etc/app.conf", "three");
}
