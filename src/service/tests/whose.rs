//! Whom a signal may reach: by executable and user, by the age of a PID file, and where it lies.

use std::os::unix::fs::PermissionsExt;
use std::process::Child;

use super::pid_files::{Daemon, hup, told};
use super::*;

/// A shell under a name of its own, so that nobody else runs it.
fn program(place: &Place) -> PathBuf {
    let file = place.path("shopd");
    let copied = std::process::Command::new("cp")
        .args(["-L", "/bin/sh"])
        .arg(&file)
        .status();
    assert!(copied.unwrap().success());
    file
}

/// The program with two workers that run it as well and have no handler.
async fn master(place: &Place, file: &Path, name: &str) -> Master {
    let line = format!(
        "trap 'echo hup >>{name}' HUP; for i in 1 2; do \"$0\" -c 'echo >>workers; while :; do sleep 0.01; done' & done; while :; do sleep 0.01; done"
    );
    let mut starting = std::process::Command::new(file);
    std::os::unix::process::CommandExt::process_group(&mut starting, 0);
    let before = place.read("workers").lines().count();
    let master = starting
        .args(["-c", &line])
        .arg(file)
        .current_dir(place.directory.path())
        .spawn();
    let master = Master(master.unwrap());
    until("its workers run", || {
        place.read("workers").lines().count() == before + 2
    })
    .await;
    master
}

/// Killed with its workers at the end of a test.
struct Master(Child);

impl Drop for Master {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

fn runs(file: &Path, user: Option<Principal>) -> Service {
    let signal = Signal {
        name: "HUP".to_owned(),
        number: 1,
    };
    let to = SignalTarget::Executable(file.to_owned());
    let whose = Whose {
        executable: Some(file.to_owned()),
        user,
    };
    service(Notify::Signal { signal, to, whose })
}

async fn tell(place: &Place, service: &Service) -> Verdict {
    place.services.notify(service, long_ago(), &[]).await
}

#[tokio::test]
async fn the_master_among_those_that_run_a_file_is_signalled_and_its_workers_are_not() {
    let place = Place::new();
    let file = program(&place);
    let shop = runs(&file, None);
    assert!(nobody(tell(&place, &shop).await).contains("no process of user"));
    assert_eq!(place.services.running(&shop).await, Running::No);
    let mut one = master(&place, &file, "one").await;
    assert_eq!(tell(&place, &shop).await, Verdict::Accepted);
    until("the signal arrived", || place.read("one") == "hup\n").await;
    assert_eq!(place.services.running(&shop).await, Running::Yes);
    // Replaced by a package while it runs; and by another name of it.
    fs::remove_file(&file).unwrap();
    program(&place);
    std::os::unix::fs::symlink("shopd", place.path("link")).unwrap();
    let linked = runs(&place.path("link"), None);
    assert_eq!(tell(&place, &linked).await, Verdict::Accepted);
    until("the signal arrived", || place.read("one") == "hup\nhup\n").await;
    assert_eq!(one.0.try_wait().unwrap(), None);
}

#[tokio::test]
async fn several_masters_are_none_until_somebody_says_which() {
    let place = Place::new();
    let file = program(&place);
    let one = master(&place, &file, "one").await;
    let two = master(&place, &file, "two").await;
    let shop = runs(&file, None);
    let text = undecided(tell(&place, &shop).await);
    for part in [one.0.id(), two.0.id()] {
        assert!(text.contains(&part.to_string()), "{text}");
    }
    assert!(text.contains("`pid_file` or `unit`"), "{text}");
    assert_eq!(place.services.running(&shop).await, Running::Unknown);
    assert_eq!(place.read("one") + &place.read("two"), "");
}

#[tokio::test]
async fn only_processes_of_the_declared_user_count() {
    let place = Place::new();
    let file = program(&place);
    let _one = master(&place, &file, "one").await;
    let other = runs(&file, Some(Principal::Id(54321)));
    assert!(nobody(tell(&place, &other).await).contains("user 54321"));
    let ours = nix::unistd::geteuid().as_raw();
    let ours = runs(&file, Some(Principal::Id(ours)));
    assert_eq!(tell(&place, &ours).await, Verdict::Accepted);
    let unknown = runs(&file, Some(Principal::Name("no-such-user-here".to_owned())));
    assert!(undecided(tell(&place, &unknown).await).contains("no user `no-such-user-here`"));
}

#[tokio::test]
async fn a_process_that_is_not_what_was_declared_is_nobody() {
    let place = Place::new();
    let _daemon = Daemon::start(&place, "trap 'echo hup >>got' HUP").await;
    let declared = |executable: Option<PathBuf>, user: Option<u32>| {
        let mut service = hup(place.path("pid"));
        if let Notify::Signal { whose, .. } = &mut service.notify {
            whose.executable = executable;
            whose.user = user.map(Principal::Id);
        }
        service
    };
    let other = declared(Some("/usr/bin/env".into()), None);
    let text = nobody(tell(&place, &other).await);
    assert!(
        text.contains("` runs `/") && text.contains("`, not `/usr/bin/env`"),
        "{text}"
    );
    assert_eq!(place.services.running(&other).await, Running::No);
    let other = declared(None, Some(54321));
    assert!(nobody(tell(&place, &other).await).contains("not as user 54321"));
    assert_eq!(place.read("got"), "");
    let ours = nix::unistd::geteuid().as_raw();
    let right = declared(Some("/bin/sh".into()), Some(ours));
    assert_eq!(tell(&place, &right).await, Verdict::Accepted);
    until("the signal arrived", || place.read("got") == "hup\n").await;
}

#[tokio::test]
async fn a_process_that_is_younger_than_its_pid_file_has_been_given_the_number_of_another() {
    let place = Place::new();
    let _daemon = Daemon::start(&place, "trap 'echo hup >>got' HUP").await;
    let file = fs::File::options()
        .append(true)
        .open(place.path("pid"))
        .unwrap();
    let now: std::time::SystemTime = Clock::system().now().wall.into();
    file.set_modified(now - Duration::from_secs(10)).unwrap();
    let text = undecided(told(&place, long_ago()).await);
    assert!(text.contains("started after it was written"), "{text}");
    assert_eq!(place.read("got"), "");
    // What it runs tells as well, whatever the clocks say.
    let mut service = hup(place.path("pid"));
    if let Notify::Signal { whose, .. } = &mut service.notify {
        whose.executable = Some("/bin/sh".into());
    }
    assert_eq!(tell(&place, &service).await, Verdict::Accepted);
}

#[tokio::test]
async fn a_pid_file_that_somebody_else_could_have_put_there_is_not_used() {
    let place = Place::new();
    let mut daemon = Daemon::start(&place, "trap 'exit 1' HUP").await;
    let directory = place.directory.path();
    for mode in [0o777, 0o757] {
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
        let text = undecided(told(&place, long_ago()).await);
        assert!(text.contains("may write in there"), "{text}");
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    fs::hard_link(place.path("pid"), place.path("second")).unwrap();
    assert!(undecided(told(&place, long_ago()).await).contains("several names"));
    assert_eq!(daemon.0.try_wait().unwrap(), None);
    fs::remove_file(place.path("second")).unwrap();
    // Where nobody can replace what is another one's, only the owner counts.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(rejected(told(&place, long_ago()).await).contains("ended when it was sent SIGHUP"));
}
