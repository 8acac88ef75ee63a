use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Child;

use super::*;

pub fn hup(pid_file: PathBuf) -> Service {
    service(Notify::Signal {
        signal: Signal {
            name: "HUP".to_owned(),
            number: 1,
        },
        to: SignalTarget::PidFile(pid_file),
        whose: Whose::default(),
    })
}

/// A shell program that writes `pid` when it is ready, killed at the end of the test.
pub struct Daemon(pub Child);

impl Daemon {
    pub async fn start(place: &Place, setup: &str) -> Daemon {
        let line = format!(
            "{setup}; umask 022; echo $$ >pid.tmp; mv pid.tmp pid; while :; do sleep 0.01; done"
        );
        let child = std::process::Command::new("sh")
            .args(["-c", &line])
            .current_dir(place.directory.path())
            .spawn()
            .unwrap();
        let own = format!("{}\n", child.id());
        until("the daemon is ready", || place.read("pid") == own).await;
        Daemon(child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub async fn told(place: &Place, since: Timestamp) -> Verdict {
    let service = hup(place.path("pid"));
    place.services.notify(&service, since, &[]).await
}

async fn running(place: &Place) -> Running {
    place.services.running(&hup(place.path("pid"))).await
}

#[tokio::test]
async fn a_pid_file_that_is_written_anew_is_no_end_and_one_that_stays_away_is() {
    let place = Place::new();
    let _daemon = Daemon::start(&place, "trap : HUP").await;
    let service = hup(place.path("pid"));
    assert!(!place.services.has_ended(&service).await);
    let number = place.read("pid");
    std::fs::write(place.path("pid"), "").unwrap();
    // It is looked at first, and written in the meantime.
    let (ended, ()) = tokio::join!(place.services.has_ended(&service), async {
        std::fs::write(place.path("pid"), number).unwrap();
    });
    assert!(!ended);
    std::fs::remove_file(place.path("pid")).unwrap();
    assert!(place.services.has_ended(&service).await);
}

#[tokio::test]
async fn the_process_in_the_file_is_signalled() {
    let place = Place::new();
    let _daemon = Daemon::start(&place, "trap 'echo hup >>got' HUP").await;
    assert_eq!(running(&place).await, Running::Yes);
    assert_eq!(told(&place, long_ago()).await, Verdict::Accepted);
    until("the signal arrived", || place.read("got") == "hup\n").await;
}

#[tokio::test]
async fn a_pid_file_lies_below_the_alternate_root() {
    let mut place = Place::new();
    let _daemon = Daemon::start(&place, "trap 'echo hup >>got' HUP").await;
    let root = Some(place.directory.path().to_owned());
    place.services = Services::new(root, Surroundings::default());
    let service = hup(PathBuf::from("/pid"));
    let verdict = place.services.notify(&service, long_ago(), &[]).await;
    assert_eq!(verdict, Verdict::Accepted);
}

#[tokio::test]
async fn a_process_that_started_after_the_files_is_not_signalled() {
    let place = Place::new();
    let since = Clock::system().now().wall;
    until("it is clearly later", || {
        Clock::system().now().wall.duration_since(since).as_millis() > 150
    })
    .await;
    // Without a handler: the signal would end it.
    let mut daemon = Daemon::start(&place, ":").await;
    assert_eq!(told(&place, since).await, Verdict::Accepted);
    assert_eq!(daemon.0.try_wait().unwrap(), None);
}

#[tokio::test]
async fn nobody_to_signal_yet_is_a_verdict_of_its_own() {
    let place = Place::new();
    assert!(nobody(told(&place, long_ago()).await).contains("there is no PID file"));
    assert_eq!(running(&place).await, Running::No);
    place.write("pid", " \n");
    assert!(nobody(told(&place, long_ago()).await).contains("is empty"));
    let mut daemon = Daemon::start(&place, ":").await;
    daemon.0.kill().unwrap();
    daemon.0.wait().unwrap();
    assert!(nobody(told(&place, long_ago()).await).contains("nobody to signal yet"));
    assert_eq!(running(&place).await, Running::No);
}

#[tokio::test]
async fn a_zombie_is_nobody() {
    let place = Place::new();
    let mut daemon = Daemon::start(&place, ":").await;
    daemon.0.kill().unwrap();
    let pid = daemon.0.id() as i32;
    until("it is a zombie", || {
        running_process::RunningProcess::read(pid).is_none()
    })
    .await;
    assert!(nobody(told(&place, long_ago()).await).contains("does not run"));
}

#[tokio::test]
async fn a_process_without_a_handler_is_spared() {
    let place = Place::new();
    let mut daemon = Daemon::start(&place, ":").await;
    let text = undecided(told(&place, long_ago()).await);
    assert!(text.contains("does not handle SIGHUP yet"), "{text}");
    assert_eq!(daemon.0.try_wait().unwrap(), None);
}

#[tokio::test]
async fn a_process_that_ignores_the_signal_lives() {
    let place = Place::new();
    let _daemon = Daemon::start(&place, "trap '' HUP").await;
    assert_eq!(told(&place, long_ago()).await, Verdict::Accepted);
}

#[tokio::test]
async fn a_process_that_ends_on_its_signal_rejects() {
    let place = Place::new();
    let _daemon = Daemon::start(&place, "trap 'exit 1' HUP").await;
    let text = rejected(told(&place, long_ago()).await);
    assert!(text.contains("ended when it was sent SIGHUP"), "{text}");
}

#[tokio::test]
async fn a_file_that_cannot_be_trusted_is_not_used() {
    let place = Place::new();
    let mut daemon = Daemon::start(&place, "trap 'exit 1' HUP").await;
    let pid = place.path("pid");
    for mode in [0o666, 0o664, 0o646] {
        fs::set_permissions(&pid, fs::Permissions::from_mode(mode)).unwrap();
        assert!(undecided(told(&place, long_ago()).await).contains("may write to it"));
    }
    assert_eq!(running(&place).await, Running::Unknown);
    fs::set_permissions(&pid, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(&pid, place.path("elsewhere")).unwrap();
    symlink(place.path("elsewhere"), &pid).unwrap();
    assert!(undecided(told(&place, long_ago()).await).contains("symbolic link"));
    fs::remove_file(&pid).unwrap();
    nix::unistd::mkfifo(&pid, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    assert!(undecided(told(&place, long_ago()).await).contains("not a regular file"));
    assert_eq!(daemon.0.try_wait().unwrap(), None, "nothing was sent");
}

#[tokio::test]
async fn a_file_of_a_third_user_is_not_used() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: needs root to give a file away");
    }
    let place = Place::new();
    let mut daemon = Daemon::start(&place, "trap 'exit 1' HUP").await;
    std::os::unix::fs::chown(place.path("pid"), Some(12345), None).unwrap();
    assert!(undecided(told(&place, long_ago()).await).contains("belongs to user 12345"));
    assert_eq!(daemon.0.try_wait().unwrap(), None);
}

#[tokio::test]
async fn no_number_but_that_of_another_process_is_signalled() {
    let place = Place::new();
    let own = std::process::id().to_string();
    let cases = [
        ("0", "never signalled"),
        ("1\n", "never signalled"),
        ("-1", "not the number"),
        ("-17", "not the number"),
        ("99999999999999999999", "not the number"),
        ("sshd", "not the number"),
        ("\u{0}\u{1b}", "not the number"),
        (own.as_str(), "this very process"),
    ];
    for (text, told_of) in cases {
        place.write("pid", text);
        let verdict = undecided(told(&place, long_ago()).await);
        assert!(verdict.contains(told_of), "{text:?}: {verdict}");
    }
    fs::remove_file(place.path("pid")).unwrap();
    fs::create_dir(place.path("pid")).unwrap();
    assert!(undecided(told(&place, long_ago()).await).contains("not a regular file"));
}

#[tokio::test]
async fn lines_after_the_number_are_not_read() {
    let place = Place::new();
    let daemon = Daemon::start(&place, "trap 'echo hup >>got' HUP").await;
    place.write("pid", &format!("{}\n/var/lib/data\n5432\n", daemon.0.id()));
    assert_eq!(told(&place, long_ago()).await, Verdict::Accepted);
}

#[tokio::test]
async fn a_real_time_signal_is_refused_in_words() {
    let place = Place::new();
    let signal = Signal {
        name: "RTMIN+1".to_owned(),
        number: 35,
    };
    let to = SignalTarget::PidFile(place.path("pid"));
    let service = service(Notify::Signal {
        signal,
        to,
        whose: Whose::default(),
    });
    let verdict = place.services.notify(&service, long_ago(), &[]).await;
    assert!(undecided(verdict).contains("RTMIN+1"));
}

#[tokio::test]
async fn a_process_that_waits_for_a_blocked_signal_is_signalled() {
    if std::process::Command::new("python3")
        .arg("-V")
        .output()
        .is_err()
    {
        return eprintln!("skipped: needs python3");
    }
    // By sigwait, which the kernel shows as not blocked; and by a descriptor or later, which it shows as blocked.
    for waiting in [
        "signal.sigwait([signal.SIGHUP])",
        "time.sleep(0.2); signal.sigwait([signal.SIGHUP])",
    ] {
        let place = Place::new();
        let program = format!(
            "import os, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
open('pid.tmp', 'w').write(str(os.getpid()))
os.chmod('pid.tmp', 0o644)
os.rename('pid.tmp', 'pid')
{waiting}
open('got', 'w').write('hup')
signal.pause()"
        );
        let child = std::process::Command::new("python3")
            .args(["-c", &program])
            .current_dir(place.directory.path())
            .spawn();
        let _daemon = Daemon(child.unwrap());
        until("the daemon is ready", || exists(&place.path("pid"))).await;
        assert_eq!(told(&place, long_ago()).await, Verdict::Accepted);
        until("the signal arrived", || place.read("got") == "hup").await;
    }
}
