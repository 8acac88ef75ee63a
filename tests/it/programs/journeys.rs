//! The journeys: one body each, whatever the program.

use std::fs;
use std::process::Command;

use super::program::{Kind, Program};
use super::site::{Site, Version, version};
use crate::stand::is_like;
use crate::world::wait_for;

/// Makes a test of every journey for a program.
macro_rules! journeys {
    ($kind:ident) => {
        super::journeys::journeys!(
            $kind:
            a_good_change_is_served_and_the_file_keeps_owner_mode_acl_and_attributes
            what_the_checker_turns_down_goes_back_and_the_program_is_never_told
            what_the_probe_turns_down_goes_back_and_the_program_is_told_of_both
            under_keep_what_the_probe_turns_down_stays_and_the_program_is_told_again
            a_probe_that_failed_before_does_not_count_against_a_version
            a_version_that_finds_the_program_stopped_is_told_when_it_runs_again
            a_missing_checker_is_found_out_before_anything_is_swapped
            a_checker_that_hangs_is_ended_and_asked_again_and_condemns_nothing
            of_three_files_none_changes_while_the_second_cannot_be_written
            of_three_files_the_first_goes_back_when_the_second_cannot_be_renamed
            of_two_profiles_that_change_together_the_good_one_goes_live
        );
    };
    ($kind:ident: $($journey:ident)*) => {
        $(
            #[test]
            fn $journey() {
                super::journeys::$journey($kind);
            }
        )*
    };
}
pub(super) use journeys;

pub use super::several::*;

/// What the log says of every new configuration.
pub(super) const RECEIVED: &str = "INFO received profiles=site digest=…";

pub fn a_good_change_is_served_and_the_file_keeps_owner_mode_acl_and_attributes(kind: Kind) {
    let Some((site, daemon)) = Site::serving(kind) else {
        return;
    };
    let before = site.portrait();
    let two = version("two");
    site.deploy(two);
    site.wait_for("two");
    site.healthy(two);
    let after = site.portrait();
    assert_eq!(after.text, site.text(two));
    assert_eq!(after.dress, before.dress);
    assert_ne!(
        after.inode, before.inode,
        "a file is replaced, not written into"
    );
    site.told(1);
    let (name, path) = (kind.name, kind.target("site"));
    site.logged(&[
        RECEIVED,
        &format!("INFO installed targets={path} versions=\"site …\" services={name}"),
        &format!("INFO service notified service={name} result=accepted"),
    ]);
    assert_eq!(daemon.stop(), Some(0));
    site.files(&["site"]);
}

pub fn what_the_checker_turns_down_goes_back_and_the_program_is_never_told(kind: Kind) {
    let Some((site, daemon)) = Site::serving(kind) else {
        return;
    };
    let before = site.portrait();
    let (one, two, three) = (
        version("one"),
        version("two").with(kind.nonsense),
        version("three"),
    );
    site.deploy(two);
    let name = kind.name;
    let words = format!(
        "check of service `{name}`: `…` exited with status 1: …{}…",
        kind.complaint
    );
    site.kept(one, "quarantined", two, &words, "accepted");
    wait_for("the file is back", || {
        (site.portrait() == before).then_some(())
    });
    assert_eq!(site.program.get("/").unwrap(), (200, "one".to_owned()));

    // it stays away, without a word more
    site.two_polls();
    let path = kind.target("site");
    site.logged(&[
        RECEIVED,
        &format!("WARN going back targets={path} reason=…"),
        &format!(
            "ERROR went back to the previous version targets={path} reason=… quarantined=true"
        ),
    ]);
    site.told(0);
    assert_eq!(site.portrait(), before);

    site.deploy(three);
    site.wait_for("three");
    site.healthy(three);
    site.told(1);
    assert_eq!(site.portrait().dress, before.dress);
    assert_eq!(daemon.stop(), Some(0));
    site.files(&["site"]);
}

pub fn what_the_probe_turns_down_goes_back_and_the_program_is_told_of_both(kind: Kind) {
    let Some((site, daemon)) = Site::serving(kind) else {
        return;
    };
    let before = site.portrait();
    let (one, two, three) = (version("one"), version("two").ill(), version("three"));
    site.deploy(two);
    let (name, path) = (kind.name, kind.target("site"));
    let words = format!(
        "probe of service `{name}`: probe did not succeed 2 times in a row within …: `http://127.0.0.1:{}/healthz` …500…",
        site.program.port
    );
    let result = format!("went back ({words}); accepted");
    site.kept(one, "quarantined", two, &words, &result);
    wait_for("the file is back", || {
        (site.portrait() == before).then_some(())
    });
    site.wait_for("one");
    site.told(2);
    site.two_polls();
    site.logged(&[
        RECEIVED,
        &format!("WARN going back targets={path} reason=…"),
        &format!(
            "ERROR went back to the previous version targets={path} reason=… quarantined=true"
        ),
        &format!("INFO service notified service={name} result=\"{result}\""),
    ]);

    site.deploy(three);
    site.wait_for("three");
    site.healthy(three);
    site.told(3);
    assert_eq!(site.portrait().dress, before.dress);
    assert_eq!(daemon.stop(), Some(0));
    site.files(&["site"]);
}

pub fn under_keep_what_the_probe_turns_down_stays_and_the_program_is_told_again(kind: Kind) {
    let Some((mut site, daemon)) = Site::serving(kind) else {
        return;
    };
    let before = site.portrait();
    site.change_settings("    probe:", "    on_failure: keep\n    probe:");
    site.mark();
    let (two, three) = (version("two").ill(), version("three"));
    site.deploy(two);
    let (name, path) = (kind.name, kind.target("site"));
    let (body, text) = (two.body(), site.text(two));
    let reason = "probe did not succeed 2 times in a row within …500…";
    site.stand("failed")
        .profile("site", "current", Some(&body), Some(&body), "")
        .target(&path, "in_sync", Some(&text), &[])
        .service(name, "failed", reason)
        .holds();
    let stands = site.portrait();
    assert_eq!((&stands.text, &stands.dress), (&text, &before.dress));
    site.wait_for("two");
    let failed =
        format!("ERROR service failed service={name} result=\"{reason}\" retry_in_seconds=…");
    let installed = format!("INFO installed targets={path} versions=\"site …\" services={name}");
    // it is told again and again
    site.logged_first(&[RECEIVED, &installed, &failed, &failed]);
    assert_eq!(site.portrait(), stands);

    site.deploy(three);
    site.wait_for("three");
    site.healthy(three);
    assert_eq!(site.portrait().dress, before.dress);
    assert_eq!(daemon.stop(), Some(0));
    site.files(&["site"]);
}

pub fn a_probe_that_failed_before_does_not_count_against_a_version(kind: Kind) {
    let (one, two, three) = (version("one").ill(), version("two").ill(), version("three"));
    // Before the first version nothing of the site answers, and the first version does not answer well.
    let Some(mut site) = Site::new(kind, one) else {
        return;
    };
    let daemon = site.world.run();
    let path = kind.target("site");
    let undecided = "accepted; probe undecided: probe did not succeed …500… (it failed before the change as well)";
    let stands = |site: &Site, version: Version| {
        let (body, text) = (version.body(), site.text(version));
        site.stand("healthy")
            .profile("site", "current", Some(&body), Some(&body), "")
            .target(&path, "in_sync", Some(&text), &[])
            .service(kind.name, "acknowledged", undecided)
            .holds();
    };
    stands(&site, one);
    site.wait_for("one");
    site.mark();
    site.deploy(two);
    stands(&site, two);
    site.wait_for("two");
    site.told(1);
    let name = kind.name;
    site.logged(&[
        RECEIVED,
        &format!("INFO installed targets={path} versions=\"site …\" services={name}"),
        &format!("INFO service notified service={name} result=\"{undecided}\""),
    ]);

    // Once it has answered well it counts again.
    site.deploy(three);
    site.wait_for("three");
    site.healthy(three);
    let before = site.portrait();
    let four = version("four").ill();
    site.deploy(four);
    site.kept(
        three,
        "quarantined",
        four,
        "probe of service …500…",
        "went back (probe of service …500…); accepted",
    );
    wait_for("the file is back", || {
        (site.portrait() == before).then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
    site.files(&["site"]);
}

pub fn a_version_that_finds_the_program_stopped_is_told_when_it_runs_again(kind: Kind) {
    let Some((mut site, daemon)) = Site::serving(kind) else {
        return;
    };
    let before = site.portrait();
    site.program.stop();
    let (two, three) = (version("two"), version("three"));
    site.deploy(two);
    let (name, path) = (kind.name, kind.target("site"));
    let nobody = format!("nobody to signal yet: …{name}.pid…");
    let (body, text) = (two.body(), site.text(two));
    let pending = || {
        site.stand("degraded")
            .profile("site", "current", Some(&body), Some(&body), "")
            .target(&path, "in_sync", Some(&text), &[])
            .service(name, "pending", &nobody)
            .holds();
    };
    // nothing goes back because of a program that nobody has started, and the obligation stands
    pending();
    let stands = site.portrait();
    assert_eq!((&stands.text, &stands.dress), (&text, &before.dress));
    site.logged_first(&[
        RECEIVED,
        &format!("INFO installed targets={path} versions=\"site …\" services={name}"),
        &format!(
            "WARN service still has to be notified service={name} result=\"{nobody}\" retry_in_seconds=…"
        ),
    ]);

    // the agent goes through a restart of its own meanwhile: the obligation is on disk
    assert_eq!(daemon.stop(), Some(0));
    let daemon = site.world.run();
    let pid = serde_json::json!(daemon.pid().as_raw());
    site.world.wait_for_status("/daemon/pid", &pid);
    pending();
    assert_eq!(site.portrait(), stands);

    let port = site.program.port;
    site.program = Program::listen(&kind, &site.world, port)
        .unwrap_or_else(|| panic!("port {port} was taken while the program was stopped"));
    site.healthy(two);
    assert_eq!(site.program.get("/").unwrap(), (200, "two".to_owned()));
    assert_eq!(site.portrait(), stands);

    // and it is told of the next one as ever
    site.mark();
    site.deploy(three);
    site.wait_for("three");
    site.healthy(three);
    site.told(1);
    assert_eq!(site.portrait().dress, before.dress);
    assert_eq!(daemon.stop(), Some(0));
    site.files(&["site"]);
}

pub fn a_missing_checker_is_found_out_before_anything_is_swapped(kind: Kind) {
    let Some((mut site, daemon)) = Site::serving(kind) else {
        return;
    };
    let before = site.portrait();
    let checker = site.world.path("bin/checker");
    let words = kind.check(&site.world);
    let program = serde_json::json!(words[0]).to_string();
    site.change_settings(&program, &serde_json::json!(checker).to_string());
    site.mark();
    let (one, two) = (version("one"), version("two"));
    site.deploy(two);
    let reason = format!(
        "service `{}`: `check`: cannot find the program `{}`; install it, or correct the command",
        kind.name,
        checker.display()
    );
    let path = kind.target("site");
    let text = site.text(one);
    site.stand("degraded")
        .profile(
            "site",
            "waiting",
            Some(&one.body()),
            Some(&two.body()),
            &format!("target `{path}`: {reason}"),
        )
        .target(&path, "in_sync", Some(&text), &[&reason])
        .service(kind.name, "acknowledged", "accepted")
        .holds();
    assert_eq!(site.portrait(), before, "nothing was swapped");
    site.logged_first(&[
        RECEIVED,
        &format!(
            "WARN target left as it is target_path={path} reason=\"{reason}\" retry_in_seconds=…"
        ),
    ]);
    site.told(0);

    // nobody has to deploy it again
    fs::create_dir(site.world.path("bin")).unwrap();
    std::os::unix::fs::symlink(which(&words[0]), &checker).unwrap();
    site.wait_for("two");
    site.healthy(two);
    site.told(1);
    assert_eq!(site.portrait().dress, before.dress);
    assert_eq!(daemon.stop(), Some(0));
    site.files(&["site"]);
}

pub fn a_checker_that_hangs_is_ended_and_asked_again_and_condemns_nothing(kind: Kind) {
    let Some((mut site, daemon)) = Site::serving(kind) else {
        return;
    };
    let before = site.portrait();
    site.world.write(
        "checker",
        "#!/bin/sh\nif [ -e hangs ]; then\n    echo $$ >hanging\n    sleep 600\nfi\nexec \"$@\"\n",
    );
    let check = site.check();
    let hanging = format!("[sh, checker, {}, timeout: 1s", &check[1..]);
    site.change_settings(&check, &hanging.replace("], timeout", "]\n    timeout"));
    site.mark();
    site.world.write("hangs", "");
    let (one, two) = (version("one"), version("two"));
    site.deploy(two);
    let (name, path) = (kind.name, kind.target("site"));
    let reason =
        format!("check of service `{name}`: `sh checker …` did not end within 1s and was stopped");
    let text = site.text(one);
    site.stand("degraded")
        .profile(
            "site",
            "waiting",
            Some(&one.body()),
            Some(&two.body()),
            &format!("target `{path}`: {reason}"),
        )
        .target(&path, "in_sync", Some(&text), &[&reason])
        .service(name, "acknowledged", "accepted")
        .holds();
    wait_for("the file is back", || {
        (site.portrait() == before).then_some(())
    });
    let back = |log: &[String]| {
        log.iter()
            .filter(|line| line.starts_with("ERROR went back"))
            .count()
    };
    wait_for("it is asked again", || {
        (back(&site.log()) >= 2).then_some(())
    });
    let log = site.log();
    let round = [
        format!(
            "WARN target left as it is target_path={path} reason=\"{reason}\" retry_in_seconds=…"
        ),
        format!("WARN going back targets={path} reason=\"{reason}\""),
        format!(
            "ERROR went back to the previous version targets={path} reason=\"{reason}\" quarantined=false"
        ),
    ];
    let expected = std::iter::once(RECEIVED).chain(round.iter().map(String::as_str).cycle());
    assert!(
        log.iter()
            .zip(expected)
            .all(|(line, pattern)| is_like(line, pattern)),
        "{log:#?}"
    );
    site.told(0);

    fs::remove_file(site.world.path("hangs")).unwrap();
    site.wait_for("two");
    site.healthy(two);
    site.told(1);
    assert_eq!(site.portrait().dress, before.dress);
    assert_eq!(daemon.stop(), Some(0));
    site.files(&["site"]);
    let last = site.world.read("hanging").unwrap();
    let there = fs::exists(format!("/proc/{}", last.trim())).unwrap();
    assert!(!there, "the checker {last} is still there");
}

/// The program's file.
fn which(program: &str) -> String {
    let shell = format!("PATH=$PATH:/usr/sbin; command -v {program}");
    let output = Command::new("sh").args(["-c", &shell]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
