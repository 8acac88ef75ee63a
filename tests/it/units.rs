//! Units and the service manager, played by a script and a socket: who waits for whom.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde_json::json;

use crate::world::{Server, World, wait_for};

/// A manager that makes the job of a unit wait for ours, as it does for one that is ordered after us.
const SYSTEMCTL: &str = r#"#!/bin/sh
[ "$1" = --no-ask-password ] && shift
case $1 in
show)
    printf '%s\n' LoadState=loaded ActiveState=active SubState=running Job= Result=success MainPID=1
    ;;
*)
    i=0
    while [ ! -e ready ]; do
        i=$((i + 1))
        if [ $i -gt 1000 ]; then
            echo "before READY: $*" >>jobs
            exit 1
        fi
        sleep 0.01
    done
    echo "$*: $(cat root/etc/app.conf)" >>jobs
    ;;
esac
"#;

#[test]
fn ready_is_said_before_the_first_unit_job_and_not_before_the_file_stands() {
    let world = World::new();
    let script = world.write("bin/systemctl", SYSTEMCTL);
    fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
    let socket = world.path("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    let server = Server::start(&world);
    world.settings(
        &server,
        "profiles:\n  app:\ntargets:\n  /etc/app.conf: {from: app, notify: {reload: {unit: app.service}}}\n",
    );
    let mut command = world.command(&["run", "--log-level", "debug"]);
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{}:{path}", world.path("bin").display()))
        .env("NOTIFY_SOCKET", &socket);
    let daemon = world.run_by(command);
    let mut told = String::new();
    let mut heard = |word: &str| {
        let mut datagram = [0; 4096];
        match manager.recv(&mut datagram) {
            Ok(length) => {
                told += &String::from_utf8_lossy(&datagram[..length]);
                told += "\n";
            }
            Err(error) => assert!(matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut
            )),
        }
        told.lines().any(|line| line == word)
    };

    // nothing to install: two polls, and no READY
    wait_for("two polls in vain", || {
        assert!(!heard("READY=1"), "READY without a file");
        let log = world.log();
        (log.matches("poll failed").count() >= 2).then_some(())
    });
    world.deploy("shop/prod/app.txt", "one\n");
    wait_for("READY", || heard("READY=1").then_some(()));
    assert_eq!(
        fs::read_to_string(world.target("/etc/app.conf")).unwrap(),
        "one\n"
    );
    assert_eq!(world.read("jobs"), None);
    world.write("ready", "");
    wait_for("the unit is reloaded", || {
        (world.read("jobs")? == "reload -- app.service: one\n").then_some(())
    });
    world.wait_for_status("/state", &json!("healthy"));

    // a stop is said, too
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    wait_for("STOPPING", || heard("STOPPING=1").then_some(()));
    assert_eq!(daemon.stop(), Some(0));
}
