//! The unit that is shipped, installed where a package puts it, under a real systemd.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::world::{PROGRAM, Server, World, metadata, stderr, stdout, wait_for};

const UNIT: &str = include_str!("../../systemd/appconfigd.service");
const UNPRIVILEGED: &str = include_str!("../../systemd/appconfigd-unprivileged.conf");
const USER: &str = include_str!("../../packaging/sysusers.conf");

const NAME: &str = "appconfigd.service";
const UNITS: &str = "/etc/systemd/system";
const SETTINGS: &str = "/etc/appconfigd/appconfigd.yaml";
const FILE: &str = "/etc/shop/shop.conf";

/// There is one `appconfigd.service`.
static ALONE: Mutex<()> = Mutex::new(());

/// The program, its unit, a server to ask, and nothing of an earlier installation.
struct Installed {
    world: World,
    server: Server,
    _alone: MutexGuard<'static, ()>,
}

impl Installed {
    fn new() -> Installed {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        clean();
        fs::copy(PROGRAM, "/usr/bin/appconfigd").unwrap();
        fs::write(format!("{UNITS}/{NAME}"), UNIT).unwrap();
        for directory in ["/etc/appconfigd", "/etc/shop"] {
            fs::create_dir_all(directory).unwrap();
        }
        let world = World::new();
        world.deploy("shop/prod/shop.txt", "one");
        let server = Server::start(&world);
        let environment = "AWS_ACCESS_KEY_ID=AKIDEXAMPLE\nAWS_SECRET_ACCESS_KEY=secret\nAWS_EC2_METADATA_DISABLED=true\n";
        fs::write("/etc/appconfigd/environment", environment).unwrap();
        systemctl(&["daemon-reload"]);
        Installed {
            world,
            server,
            _alone: alone,
        }
    }

    /// The settings: the served source, a profile, its file, and these lines.
    fn settings(&self, head: &str, target: &str, services: &str) {
        let text = format!(
            "aws: {{region: eu-west-1, endpoint_url: \"{}\"}}\n{head}defaults: {{application: shop, environment: prod, poll_interval: 1s}}\nprofiles:\n  shop:\ntargets:\n  {FILE}: {{from: shop{target}}}\n{services}",
            self.server.endpoint()
        );
        fs::write(SETTINGS, text).unwrap();
    }

    fn drop_in(&self, name: &str, text: &str) {
        let directory = format!("{UNITS}/{NAME}.d");
        fs::create_dir_all(&directory).unwrap();
        fs::write(format!("{directory}/{name}"), text).unwrap();
        systemctl(&["daemon-reload"]);
    }

    fn starts(&self) {
        let started = asked(&["start", NAME]);
        assert!(started.status.success(), "{}", journal());
    }

    fn deploy(&self, text: &str) {
        self.world.deploy("shop/prod/shop.txt", text);
        wait_for(&format!("{text:?} is installed; {}", journal()), || {
            (fs::read_to_string(FILE).ok()? == text).then_some(())
        });
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        clean();
    }
}

fn clean() {
    let _ = asked(&["stop", NAME]);
    let _ = asked(&["reset-failed", NAME]);
    for directory in [
        "/etc/appconfigd",
        "/etc/shop",
        "/var/lib/appconfigd",
        "/etc/systemd/system/appconfigd.service.d",
    ] {
        let _ = fs::remove_dir_all(directory);
    }
}

fn asked(words: &[&str]) -> Output {
    Command::new("systemctl").args(words).output().unwrap()
}

fn systemctl(words: &[&str]) {
    let output = asked(words);
    assert!(
        output.status.success(),
        "systemctl {words:?}: {}",
        stderr(&output)
    );
}

/// A property of the unit.
fn shown(property: &str) -> String {
    let output = asked(&["show", "--value", "--property", property, NAME]);
    stdout(&output).trim().to_owned()
}

fn wait_for_property(property: &str, value: &str) {
    let what = || {
        format!(
            "{property} is {value}, and not {}; {}",
            shown(property),
            journal()
        )
    };
    let mut last = String::new();
    wait_for("the property has the value", || {
        last = shown(property);
        (last == value).then_some(())
    });
    assert_eq!(last, value, "{}", what());
}

fn journal() -> String {
    let output = Command::new("journalctl")
        .args(["--no-pager", "--lines=40", "--unit", NAME])
        .output()
        .unwrap();
    stdout(&output)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn appconfigd(words: &[&str]) -> Output {
    Command::new("/usr/bin/appconfigd")
        .args(words)
        .output()
        .unwrap()
}

#[test]
#[ignore = "needs systemd as PID 1: scripts/test-systemd"]
fn systemd_has_nothing_to_say_about_the_unit_and_the_exposure_is_what_is_promised() {
    let installed = Installed::new();
    let verify = || {
        let output = Command::new("systemd-analyze")
            .args(["verify", "--recursive-errors=yes", "--man=no"])
            .arg(format!("{UNITS}/{NAME}"))
            .output()
            .unwrap();
        let said = stdout(&output) + &stderr(&output);
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
    };
    // In tenths.
    let exposure = || {
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true"])
            .arg(format!("{UNITS}/{NAME}"))
            .output()
            .unwrap();
        let text = stdout(&output);
        let line = text.lines().last().unwrap();
        let figure = line.split(": ").nth(1).unwrap().split(' ').next().unwrap();
        (figure.parse::<f64>().unwrap() * 10.0).round()
    };
    verify();
    assert!(exposure() <= 31.0, "{}", exposure());
    installed.drop_in("10-unprivileged.conf", UNPRIVILEGED);
    verify();
    assert!(exposure() <= 15.0, "{}", exposure());
}

#[test]
#[ignore = "needs systemd as PID 1: scripts/test-systemd"]
fn under_systemd_the_unit_starts_with_its_files_reloads_restarts_and_stops() {
    let installed = Installed::new();
    // No settings: nothing to do, and no failure.
    installed.starts();
    assert_eq!(shown("ActiveState"), "inactive");
    assert_eq!(shown("ConditionResult"), "no");

    installed.settings("", "", "");
    installed.starts();
    assert_eq!(read(FILE), "one", "READY comes with the file");
    wait_for("the status line", || {
        shown("StatusText").starts_with("healthy: ").then_some(())
    });
    assert_eq!(
        metadata(Path::new("/var/lib/appconfigd")),
        (0, 0, 0o700),
        "the state is root's alone"
    );

    // A reload that is refused fails, and changes nothing.
    let pid = shown("MainPID");
    let sound = read(SETTINGS);
    fs::write(SETTINGS, "profiles: [").unwrap();
    assert!(!asked(&["reload", NAME]).status.success());
    assert_eq!(shown("ActiveState"), "active");
    installed.deploy("two");
    fs::write(
        SETTINGS,
        sound.replace("from: shop", "from: shop, mode: 0600"),
    )
    .unwrap();
    systemctl(&["reload", NAME]);
    wait_for("the mode of the new settings", || {
        (metadata(Path::new(FILE)).2 == 0o600).then_some(())
    });
    assert_eq!(shown("MainPID"), pid);

    // Killed it comes back, and goes on with its session; restarted as by a package, too.
    systemctl(&["kill", "--signal=KILL", NAME]);
    wait_for_property("NRestarts", "1");
    wait_for_property("ActiveState", "active");
    installed.deploy("three");
    systemctl(&["restart", NAME]);
    installed.deploy("four");
    assert_eq!(installed.server.count("shop/prod/shop", "start"), 1);

    systemctl(&["stop", NAME]);
    assert_eq!(shown("Result"), "success");
    assert_eq!(shown("ActiveState"), "inactive");
    assert_eq!(read(FILE), "four");
}

#[test]
#[ignore = "needs systemd as PID 1: scripts/test-systemd"]
fn systemd_does_not_restart_what_a_restart_cannot_mend_and_waits_as_long_as_the_settings_say() {
    let installed = Installed::new();
    fs::write(SETTINGS, "profiles: [").unwrap();
    assert!(!asked(&["start", NAME]).status.success());
    assert_eq!(shown("ExecMainStatus"), "78");
    assert_eq!(shown("ActiveState"), "failed");
    assert_eq!(shown("NRestarts"), "0");

    // Longer than the unit allows; then 75, and another try.
    installed.drop_in(
        "limits.conf",
        "[Service]\nTimeoutStartSec=1s\nRestartSec=1s\n",
    );
    installed.settings("ready_timeout: 3s\n", "", "");
    installed.world.withdraw("shop/prod/shop.txt");
    assert!(!asked(&["start", NAME]).status.success());
    wait_for("75", || (shown("ExecMainStatus") == "75").then_some(()));
    wait_for("another try", || (shown("NRestarts") != "0").then_some(()));
    installed.deploy("one");
    wait_for_property("ActiveState", "active");
}

#[test]
#[ignore = "needs systemd as PID 1: scripts/test-systemd"]
fn the_watchdog_of_systemd_bites_a_frozen_process() {
    let installed = Installed::new();
    installed.settings("", "", "");
    installed.drop_in("watchdog.conf", "[Service]\nWatchdogSec=2s\n");
    installed.starts();
    let pid = shown("MainPID");
    systemctl(&["kill", "--kill-who=main", "--signal=STOP", NAME]);
    wait_for_property("NRestarts", "1");
    wait_for_property("ActiveState", "active");
    assert_ne!(shown("MainPID"), pid);
    assert!(journal().contains("Watchdog timeout"), "{}", journal());
    installed.deploy("two");
}

#[test]
#[ignore = "needs systemd as PID 1: scripts/test-systemd"]
fn the_unprivileged_drop_in_of_systemd_does_its_job_with_what_systemd_dropin_prints() {
    let installed = Installed::new();
    fs::create_dir_all("/etc/sysusers.d").unwrap();
    fs::write("/etc/sysusers.d/appconfigd.conf", USER).unwrap();
    let made = Command::new("systemd-sysusers").status().unwrap();
    assert!(made.success());
    let user = nix::unistd::User::from_name("appconfigd").unwrap().unwrap();
    nix::unistd::chown("/etc/shop", Some(user.uid), Some(user.gid)).unwrap();
    let beside = "/etc/beside-shop";
    fs::create_dir_all(beside).unwrap();
    fs::set_permissions(beside, fs::Permissions::from_mode(0o777)).unwrap();
    let tell = "services:\n  teller: {command: [cp, /etc/shop/shop.conf, /run/appconfigd/told]}\n";
    installed.settings("", ", notify: teller", tell);
    installed.drop_in("10-unprivileged.conf", UNPRIVILEGED);

    // Without the directory it may write nowhere; `check --host` says so, and `systemd-dropin` prints what helps.
    let warned = stderr(&appconfigd(&["check", "--host"]));
    assert!(
        warned.contains("warning: `appconfigd.service` may not write to `/etc/shop`"),
        "{warned}"
    );
    let printed = appconfigd(&["systemd-dropin"]);
    assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
    installed.drop_in("20-settings.conf", &stdout(&printed));
    let warned = stderr(&appconfigd(&["check", "--host"]));
    assert_eq!(warned, "");

    installed.starts();
    assert_eq!(read(FILE), "one");
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    assert_eq!(metadata(Path::new(FILE)), (uid, gid, 0o644));
    assert_eq!(
        metadata(Path::new("/var/lib/appconfigd")),
        (uid, gid, 0o700)
    );
    installed.deploy("two");
    wait_for("the service is told", || {
        (read("/run/appconfigd/told") == "two").then_some(())
    });
    systemctl(&["reload", NAME]);
    let status = appconfigd(&["status"]);
    assert_eq!(status.status.code(), Some(0), "{}", stdout(&status));
    // The sandbox holds: a directory that everybody may write to is not ours to write to.
    let pid = shown("MainPID");
    let tried = Command::new("nsenter")
        .args(["--target", &pid, "--mount", "--", "touch"])
        .arg(format!("{beside}/file"))
        .output()
        .unwrap();
    assert!(
        stderr(&tried).contains("Read-only file system"),
        "{}",
        stderr(&tried)
    );
    systemctl(&["stop", NAME]);
    assert_eq!(shown("Result"), "success");
}
