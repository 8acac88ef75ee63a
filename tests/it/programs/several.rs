//! Journeys of several files, and of several profiles, in one transaction.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::journeys::RECEIVED;
use super::program::Kind;
use super::site::{Site, Version, version};
use crate::portrait::{Portrait, adorn};
use crate::skip::skip;
use crate::stand::{Stand, is_like};
use crate::world::{Daemon, wait_for};

/// Two pages beside the site, all three from the same profile: `site`, `page-1`, `page-2`.
fn three_files(kind: Kind) -> Option<(Site, Daemon)> {
    let (mut site, daemon) = Site::serving(kind)?;
    let name = kind.name;
    let mut lines = String::new();
    for page in ["page-1", "page-2"] {
        let template = kind.page.replace("NAME", page);
        site.world.write(&format!("{page}.j2"), &template);
        lines += &format!(
            "  {}: {{from: site, template: {page}.j2, notify: {name}}}\n",
            kind.target(page)
        );
    }
    let services = format!("services:\n  {name}:");
    site.change_settings(&services, &format!("{lines}{services}"));
    three_healthy(&site, version("one"));
    for page in ["page-1", "page-2"] {
        adorn(&site.file(page));
    }
    // The daemon has seen it, and leaves it so.
    three_healthy(&site, version("one"));
    site.mark();
    Some((site, daemon))
}

fn page(kind: Kind, name: &str, version: Version) -> String {
    version.rendered(&kind.page.replace("NAME", name))
}

fn three_healthy(site: &Site, version: Version) {
    three_stand(site, "healthy", version, version, "", &[""; 3]).holds();
    for name in ["page-1", "page-2"] {
        let answer = (200, version.greeting.to_owned());
        wait_for(name, || {
            (site.program.get(&format!("/{name}"))? == answer).then_some(())
        });
    }
    site.wait_for(version.greeting);
}

fn three_stand<'a>(
    site: &'a Site,
    health: &str,
    installed: Version,
    received: Version,
    reason: &str,
    notes: &[&str; 3],
) -> Stand<'a> {
    let kind = site.kind;
    let state = if reason.is_empty() {
        "current"
    } else {
        "waiting"
    };
    let mut stand = site.stand(health).profile(
        "site",
        state,
        Some(&installed.body()),
        Some(&received.body()),
        reason,
    );
    let texts = [
        ("site", site.text(installed)),
        ("page-1", page(kind, "page-1", installed)),
        ("page-2", page(kind, "page-2", installed)),
    ];
    for ((name, text), note) in texts.iter().zip(notes) {
        let notes = std::slice::from_ref(note);
        let notes = if note.is_empty() { &[] } else { notes };
        stand = stand.target(&kind.target(name), "in_sync", Some(text), notes);
    }
    stand.service(kind.name, "acknowledged", "accepted")
}

fn portraits(site: &Site) -> [Portrait; 3] {
    ["site", "page-1", "page-2"].map(|name| Portrait::of(&site.file(name)))
}

pub fn of_three_files_none_changes_while_the_second_cannot_be_written(kind: Kind) {
    let Some((site, daemon)) = three_files(kind) else {
        return;
    };
    let before = portraits(&site);
    let second = site.file("page-1");
    let Some(_immutable) = Immutable::make(&second) else {
        return skip("no file can be made immutable here");
    };
    let (one, two) = (version("one"), version("two"));
    site.deploy(two);
    let reason = format!("…`{}`… immutable…", second.display());
    let path = kind.target("page-1");
    three_stand(
        &site,
        "degraded",
        one,
        two,
        &format!("target `{path}`: {reason}"),
        &["", &reason, ""],
    )
    .holds();
    assert_eq!(portraits(&site), before);
    site.two_polls();
    assert!(
        site.log().iter().all(|line| is_like(line, RECEIVED)
            || line.starts_with(&format!("WARN target left as it is target_path={path} "))),
        "{:#?}",
        site.log()
    );
    site.told(0);

    drop(_immutable);
    three_healthy(&site, two);
    site.told(1);
    assert_eq!(
        portraits(&site).map(|one| one.dress),
        before.map(|one| one.dress)
    );
    assert_eq!(daemon.stop(), Some(0));
    site.files(&["page-1", "page-2", "site"]);
}

pub fn of_three_files_the_first_goes_back_when_the_second_cannot_be_renamed(kind: Kind) {
    if !traces() {
        return skip("strace does not work here");
    }
    let Some((mut site, daemon)) = three_files(kind) else {
        return;
    };
    let before = portraits(&site);
    assert_eq!(daemon.stop(), Some(0));
    let (one, two) = (version("one"), version("two"));
    site.deploy(two);
    // After a while the kernel says EIO to whatever would be renamed in the second file's directory.
    let second = site.file("page-1");
    let inner = site.world.command(&["run", "--log-level", "debug"]);
    let mut command = Command::new("strace");
    command
        .args(["-f", "-q", "-o", "/dev/null", "-P"])
        .arg(second.parent().unwrap())
        .args([
            "-e",
            "inject=rename,renameat,renameat2:error=EIO:delay_enter=500000",
        ])
        // A strace that is killed, with a test that fails, leaves nobody behind.
        .args(["setpriv", "--pdeathsig", "KILL"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(site.world.path(""))
        .env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap());
    }
    site.mark();
    let daemon = site.world.run_by(command);
    let first = site.file("site");
    wait_for("the first is swapped", || {
        (fs::read_to_string(&first).ok()? == site.text(two)).then_some(())
    });
    let reason = format!(
        "cannot rename into `{}`; look for disk errors in the kernel's log: Input/output error (os error 5)",
        second.display()
    );
    let [path_of_site, page_1, page_2] = ["site", "page-1", "page-2"].map(|name| kind.target(name));
    three_stand(
        &site,
        "degraded",
        one,
        two,
        &format!("target `{page_1}`: {reason}"),
        &["", &reason, ""],
    )
    .holds();
    wait_for("the first is back, the third was never touched", || {
        (portraits(&site) == before).then_some(())
    });
    for name in ["/", "/page-1", "/page-2"] {
        assert_eq!(site.program.get(name).unwrap(), (200, "one".to_owned()));
    }
    site.told(0);
    let left = |path: &str| {
        format!(
            "WARN target left as it is target_path={path} reason=\"{reason}\" retry_in_seconds=…"
        )
    };
    let all = format!("{path_of_site}, {page_1}, {page_2}");
    site.logged_first(&[
        RECEIVED,
        &left(&page_1),
        &format!("WARN going back targets=\"{all}\" reason=\"{reason}\""),
        &format!(
            "ERROR went back to the previous version targets=\"{all}\" reason=\"{reason}\" quarantined=false"
        ),
    ]);
    // strace ends with the daemon.
    let pid = site.world.status().unwrap()["daemon"]["pid"]
        .as_i64()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let mut daemon = daemon;
    assert_eq!(daemon.wait(), Some(0));

    // the version goes live at the next start, and nobody has to deploy it again
    let daemon = site.world.run();
    three_healthy(&site, two);
    site.told(1);
    assert_eq!(
        portraits(&site).map(|one| one.dress),
        before.map(|one| one.dress)
    );
    assert_eq!(daemon.stop(), Some(0));
    site.files(&["page-1", "page-2", "site"]);
}

pub fn of_two_profiles_that_change_together_the_good_one_goes_live(kind: Kind) {
    let Some((mut site, daemon)) = Site::serving(kind) else {
        return;
    };
    let name = kind.name;
    site.world
        .write("page-1.j2", &kind.page.replace("NAME", "page-1"));
    site.world
        .deploy("shop/prod/more.json", version("one").body());
    let line = format!(
        "  {}: {{from: more, template: page-1.j2, notify: {name}}}\n",
        kind.target("page-1")
    );
    let services = format!("services:\n  {name}:");
    site.lines = site.lines.replace(&services, &format!("{line}{services}"));
    site.change_settings(
        "profiles:\n",
        "profiles:\n  more: {validate: {format: json}}\n",
    );
    let (one, two) = (version("one"), version("two"));
    let stand = |health: &str, of_more: (&str, &str, &str), of_site: Version| {
        let (state, received, reason) = of_more;
        let (more, body) = (one.body(), of_site.body());
        let (first, second) = (page(kind, "page-1", one), site.text(of_site));
        site.stand(health)
            .profile("more", state, Some(&more), Some(received), reason)
            .profile("site", "current", Some(&body), Some(&body), "")
            .target(&kind.target("page-1"), "in_sync", Some(&first), &[])
            .target(&kind.target("site"), "in_sync", Some(&second), &[])
            .service(name, "acknowledged", "accepted")
            .holds();
    };
    stand("healthy", ("current", &one.body(), ""), one);
    let first = Portrait::of(&site.file("page-1"));
    let dress = site.portrait().dress;
    // both are asked for in the first tick after a start
    assert_eq!(daemon.stop(), Some(0));
    site.deploy(two);
    site.world.deploy("shop/prod/more.json", "{\"greeting\": ");
    let before = site.world.log().len();
    let reloads = kind.reloads(&site.world);
    let daemon = site.world.run();
    stand("degraded", ("refused", "{\"greeting\": ", "…"), two);
    site.wait_for("two");
    assert_eq!(
        site.program.get("/page-1").unwrap(),
        (200, "one".to_owned())
    );
    assert_eq!(Portrait::of(&site.file("page-1")), first);
    assert_eq!(site.portrait().dress, dress);
    assert_eq!(kind.reloads(&site.world), reloads + 1, "one notification");
    let log = site.world.log()[before..].to_owned();
    let said = |words: &str| log.matches(words).count();
    assert_eq!(
        (
            said(" version refused "),
            said(" installed "),
            said(" going back ")
        ),
        (1, 1, 0),
        "{log}"
    );
    assert_eq!(daemon.stop(), Some(0));
    site.files(&["page-1", "site"]);
}

/// A file that nobody can change, root neither, until this is dropped.
struct Immutable<'a>(&'a Path);

impl Immutable<'_> {
    fn make(path: &Path) -> Option<Immutable<'_>> {
        let done = Command::new("chattr")
            .arg("+i")
            .arg(path)
            .stderr(Stdio::null())
            .status();
        done.is_ok_and(|status| status.success())
            .then_some(Immutable(path))
    }
}

impl Drop for Immutable<'_> {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").arg(self.0).status();
    }
}

fn traces() -> bool {
    let done = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status();
    done.is_ok_and(|status| status.success())
}
