//! The programs as units of a real systemd: jobs that are cancelled, that fail, that end the unit; a unit that is stopped.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use super::haproxy::HAPROXY;
use super::journeys::RECEIVED;
use super::nginx::NGINX;
use super::program::Kind;
use super::site::{Site, Version, version};
use crate::world::{Daemon, wait_for};

/// The unit's reload: waits, refuses or kills as it is told to; otherwise signals the program.
const RELOAD: &str = "#!/bin/sh
# reload PID
while [ -e DIRECTORY/slow ]; do sleep 0.02; done
if grep -q '# refused' FILE; then
    exit 1
fi
if grep -q '# deadly' FILE; then
    kill -KILL $1
    exit 0
fi
kill -SIGNAL $1
";

/// A unit below /run that runs one of the programs; stopped and removed when dropped.
struct Unit {
    name: String,
}

impl Unit {
    fn path(&self) -> PathBuf {
        PathBuf::from("/run/systemd/system").join(&self.name)
    }

    fn state(&self) -> String {
        let output = Command::new("systemctl")
            .args(["is-active", &self.name])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The number of the job that systemd has for the unit.
    fn job(&self) -> Option<String> {
        let output = Command::new("systemctl")
            .args(["list-jobs", "--no-legend"])
            .output()
            .unwrap();
        let jobs = String::from_utf8(output.stdout).unwrap();
        let job = jobs.lines().find(|line| line.contains(&self.name))?;
        job.split_whitespace().next().map(str::to_owned)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = Command::new("systemctl")
            .args(["stop", &self.name])
            .status();
        let _ = fs::remove_file(self.path());
    }
}

fn systemctl(words: &[&str]) {
    let status = Command::new("systemctl").args(words).status().unwrap();
    assert!(status.success(), "systemctl {words:?}");
}

/// Version one is served by a unit, and a daemon reloads the unit. No `check`: only the job says no.
fn serving(kind: Kind) -> Option<(Site, Daemon, Unit)> {
    let mut site = Site::new(kind, version("one"))?;
    site.program.stop();
    let unit = Unit {
        name: format!("{}-at-{}.service", kind.name, site.program.port),
    };
    let world = &site.world;
    let (prefix, run) = (world.target(&kind.prefix()), world.target("/run"));
    let reload = RELOAD
        .replace(
            "DIRECTORY",
            world.path("").to_str().unwrap().trim_end_matches('/'),
        )
        .replace("FILE", site.file("site").to_str().unwrap())
        .replace("SIGNAL", kind.signal);
    let reload = world.write("reload", &reload);
    let prefix = prefix.to_str().unwrap();
    let words = (kind.serve)(prefix, run.to_str().unwrap());
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    let text = format!(
        "[Service]\nExecStart=/usr/sbin/{} {}\nExecReload=/bin/sh {} $MAINPID\nStandardError=append:{prefix}/error.log\nTimeoutStopSec=5\n",
        kind.name,
        words.join(" "),
        reload.display()
    );
    fs::create_dir_all("/run/systemd/system").unwrap();
    fs::write(unit.path(), text).unwrap();
    systemctl(&["daemon-reload"]);
    systemctl(&["start", &unit.name]);
    wait_for("the unit answers", || site.program.get("/"));
    let check = format!("    check: {}\n", site.check());
    let signal = format!(
        "signal: {{name: {}, pid_file: /run/{}.pid}}",
        kind.signal, kind.name
    );
    assert!(
        site.lines.contains(&check) && site.lines.contains(&signal),
        "{}",
        site.lines
    );
    site.lines = site
        .lines
        .replace(&check, "")
        .replace(&signal, &format!("reload: {{unit: {}}}", unit.name));
    site.write_settings();
    let (site, daemon) = site.serves(version("one"));
    Some((site, daemon, unit))
}

/// Deploys a version, and cancels the job in which the unit takes its time to load it.
fn cancel_reload_of(site: &Site, unit: &Unit, version: Version) {
    site.world.write("slow", "");
    site.deploy(version);
    let job = wait_for("systemd reloads the unit", || unit.job());
    systemctl(&["cancel", &job]);
}

fn cancelled(site: &Site, unit: &Unit, version: Version) {
    let (body, text) = (version.body(), site.text(version));
    let result = format!("`systemctl reload {0}`: Job for {0} canceled.", unit.name);
    site.stand("degraded")
        .profile("site", "current", Some(&body), Some(&body), "")
        .target(&site.kind.target("site"), "in_sync", Some(&text), &[])
        .service(site.kind.name, "pending", &result)
        .holds();
}

#[test]
#[ignore = "needs systemd as PID 1: scripts/test-systemd"]
fn a_reload_job_that_is_cancelled_leaves_the_version_and_its_way_back_until_the_unit_has_spoken() {
    for kind in [NGINX, HAPROXY] {
        let Some((mut site, daemon, unit)) = serving(kind) else {
            continue;
        };
        let before = site.portrait();
        let two = version("two");
        cancel_reload_of(&site, &unit, two);
        cancelled(&site, &unit, two);
        let stands = site.portrait();
        assert_eq!(
            (&stands.text, &stands.dress),
            (&site.text(two), &before.dress)
        );
        let (name, path) = (kind.name, kind.target("site"));
        let result = format!("`systemctl reload {0}`: Job for {0} canceled.", unit.name);
        site.logged(&[
            RECEIVED,
            &format!("INFO installed targets={path} versions=\"site …\" services={name}"),
            &format!("WARN service still has to be notified service={name} result=\"{result}\" retry_in_seconds=…"),
        ]);
        // the old file itself is kept, not a copy
        let own = site.file("site").with_file_name(".appconfigd");
        let kept: Vec<_> = fs::read_dir(&own)
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().ino())
            .collect();
        assert_eq!(kept, [before.inode]);

        fs::remove_file(site.world.path("slow")).unwrap();
        site.wait_for("two");
        site.healthy(two);
        assert_eq!(site.portrait(), stands);
        site.files(&["site"]);

        // a no that comes late is a no
        site.mark();
        let three = version("three").with("# refused");
        cancel_reload_of(&site, &unit, three);
        cancelled(&site, &unit, three);
        fs::remove_file(site.world.path("slow")).unwrap();
        let reason = format!(
            "service `{name}`: `systemctl reload {0}`: Job for {0} failed…",
            unit.name
        );
        let result = format!("went back ({reason}); accepted");
        site.kept(two, "quarantined", three, &reason, &result);
        wait_for("the file is back", || {
            (site.portrait() == stands).then_some(())
        });
        assert_eq!(site.program.get("/").unwrap(), (200, "two".to_owned()));
        assert_eq!(daemon.stop(), Some(0));
        site.files(&["site"]);
    }
}

#[test]
#[ignore = "needs systemd as PID 1: scripts/test-systemd"]
fn a_reload_job_that_fails_goes_back_and_the_unit_is_reloaded_again() {
    for kind in [NGINX, HAPROXY] {
        let Some((site, daemon, unit)) = serving(kind) else {
            continue;
        };
        let before = site.portrait();
        let (one, two) = (version("one"), version("two").with("# refused"));
        site.deploy(two);
        let (name, path) = (kind.name, kind.target("site"));
        let reason = format!(
            "service `{name}`: `systemctl reload {0}`: Job for {0} failed…",
            unit.name
        );
        let result = format!("went back ({reason}); accepted");
        site.kept(one, "quarantined", two, &reason, &result);
        wait_for("the file is back", || {
            (site.portrait() == before).then_some(())
        });
        site.two_polls();
        site.told(1);
        site.logged(&[
            RECEIVED,
            &format!("WARN going back targets={path} reason=\"{reason}\""),
            &format!("ERROR went back to the previous version targets={path} reason=\"{reason}\" quarantined=true"),
            &format!("INFO service notified service={name} result=\"{result}\""),
        ]);
        assert_eq!(site.program.get("/").unwrap(), (200, "one".to_owned()));
        assert_eq!(daemon.stop(), Some(0));
        site.files(&["site"]);
    }
}

#[test]
#[ignore = "needs systemd as PID 1: scripts/test-systemd"]
fn a_unit_that_dies_of_a_version_gets_the_old_file_and_is_started_again() {
    for kind in [NGINX, HAPROXY] {
        let Some((site, daemon, unit)) = serving(kind) else {
            continue;
        };
        let before = site.portrait();
        let (one, two) = (version("one"), version("two").with("# deadly"));
        site.deploy(two);
        let reason = format!("service `{}`: …", kind.name);
        let result = format!("went back ({reason}); accepted");
        site.kept(one, "quarantined", two, &reason, &result);
        wait_for("the file is back", || {
            (site.portrait() == before).then_some(())
        });
        assert_eq!(unit.state(), "active");
        site.wait_for("one");
        assert_eq!(daemon.stop(), Some(0));
        site.files(&["site"]);
    }
}

#[test]
#[ignore = "needs systemd as PID 1: scripts/test-systemd"]
fn a_unit_that_is_stopped_is_told_nothing_and_reads_the_file_when_it_starts() {
    for kind in [NGINX, HAPROXY] {
        let Some((mut site, daemon, unit)) = serving(kind) else {
            continue;
        };
        let before = site.portrait();
        systemctl(&["stop", &unit.name]);
        site.mark();
        let (two, three) = (version("two"), version("three"));
        site.deploy(two);
        let (name, path) = (kind.name, kind.target("site"));
        let result = format!(
            "unit `{}` is inactive (dead): it reads the files when it starts",
            unit.name
        );
        let (body, text) = (two.body(), site.text(two));
        site.stand("healthy")
            .profile("site", "current", Some(&body), Some(&body), "")
            .target(&path, "in_sync", Some(&text), &[])
            .service(name, "not_running", &result)
            .holds();
        assert_eq!(site.portrait().dress, before.dress);
        site.logged(&[
            RECEIVED,
            &format!("INFO installed targets={path} versions=\"site …\" services={name}"),
            &format!("INFO service is not running service={name} result=\"{result}\""),
        ]);
        assert_eq!(unit.state(), "inactive", "nobody starts it");
        systemctl(&["start", &unit.name]);
        site.wait_for("two");
        site.told(0);
        site.deploy(three);
        site.wait_for("three");
        site.healthy(three);
        site.told(1);
        assert_eq!(daemon.stop(), Some(0));
        site.files(&["site"]);
    }
}
