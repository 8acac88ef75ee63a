//! As whom, where and with what a service's commands run.

use super::*;
use crate::settings::{CommandOptions, Sandbox};

/// A command service with these options.
fn with(command: Command, options: CommandOptions) -> Service {
    Service {
        commands: options,
        ..service(Notify::Command(command))
    }
}

async fn tell(place: &Place, service: &Service) -> Verdict {
    place.services.notify(service, long_ago(), &[]).await
}

fn as_user(user: Principal, group: Option<u32>) -> CommandOptions {
    CommandOptions {
        user: Some(user),
        group: group.map(Principal::Id),
        ..CommandOptions::default()
    }
}

fn without_root() -> bool {
    let without = !nix::unistd::geteuid().is_root();
    if without {
        eprintln!("skipped: needs root to become somebody else");
    }
    without
}

fn nobody_user() -> Principal {
    Principal::Name("nobody".to_owned())
}

#[tokio::test]
async fn a_command_runs_as_the_user_with_its_groups_home_and_no_capability() {
    if without_root() {
        return;
    }
    let place = Place::new();
    let line = "test \"$(id -un)\" = nobody || exit 10
        test \"$(id -G)\" = \"$(id -G nobody)\" || exit 11
        test \"$USER $LOGNAME\" = 'nobody nobody' || exit 12
        test \"$HOME\" = \"$(getent passwd nobody | cut -d: -f6)\" || exit 13
        ! grep -E '^Cap(Inh|Prm|Eff|Amb):' /proc/self/status | grep -qv 0000000000000000 || exit 14
        test $$ = \"$(ps -o pgid= -p $$ | tr -d ' ')\" || exit 15";
    let service = with(sh(line), as_user(nobody_user(), None));
    assert_eq!(tell(&place, &service).await, Verdict::Accepted);
    let alone = "test \"$(id -u) $(id -G)\" = '54321 54322'";
    let service = with(sh(alone), as_user(Principal::Id(54321), Some(54322)));
    assert_eq!(tell(&place, &service).await, Verdict::Accepted);
    // check and probe as well
    let mut service = with(argv(&["true"]), as_user(nobody_user(), None));
    service.check = Some(sh("test \"$(id -un)\" != nobody"));
    rejected(place.services.check(&service, &[]).await);
    service.probe = Some(Probe {
        ask: ProbeAsk::Command(sh("test \"$(id -un)\" = nobody")),
        within: LONG,
        successes: 1,
        delay: Duration::ZERO,
        interval: LONG / 2,
    });
    assert_eq!(place.services.probe(&service, &[]).await, Verdict::Accepted);
}

#[tokio::test]
async fn a_no_of_another_user_is_a_no_and_what_it_could_not_start_is_none() {
    if without_root() {
        return;
    }
    let place = Place::new();
    let service = |command| with(command, as_user(nobody_user(), None));
    assert!(rejected(tell(&place, &service(sh("exit 3"))).await).contains("status 3"));
    place.script("torn", "#!/no/such/interpreter\n");
    let path = place.path("bin/torn").display().to_string();
    undecided(tell(&place, &service(argv(&[&path]))).await);
    let mut hanging = service(sh("trap '' TERM; while :; do sleep 0.05; done"));
    hanging.timeout = Duration::from_millis(300);
    hanging.commands.grace = Duration::from_millis(100);
    let start = Instant::now();
    assert!(undecided(tell(&place, &hanging).await).contains("was stopped"));
    assert!(start.elapsed() < LONG / 2);
}

#[tokio::test]
async fn whom_nobody_can_become_is_said_before_anything_runs() {
    if without_root() {
        return;
    }
    let place = Place::new();
    for (options, what) in [
        (as_user(Principal::Id(54321), None), "add `group`"),
        (
            as_user(Principal::Name("no-such-user-here".to_owned()), None),
            "no user `no-such-user-here`; create it",
        ),
    ] {
        let service = with(sh("echo ran >ran"), options);
        let text = undecided(tell(&place, &service).await);
        assert!(text.contains(what), "{text}");
    }
    assert_eq!(place.read("ran"), "");
    let nowhere = Surroundings {
        variables: vec![("PATH".to_owned(), "/nowhere".to_owned())],
        ..Surroundings::default()
    };
    let services = Services::new(None, nowhere);
    let service = with(sh("true"), as_user(nobody_user(), None));
    let text = services.missing_program(&service).unwrap();
    assert_eq!(
        text,
        "`command`: cannot find `setpriv` in PATH, by which `user` and `group` are set; install it (Debian and Fedora have it in util-linux)"
    );
}

#[tokio::test]
async fn directory_umask_and_variables_are_the_declared_ones() {
    let place = Place::new();
    fs::create_dir(place.path("here")).unwrap();
    let options = CommandOptions {
        working_directory: Some(place.path("here")),
        umask: Some(0o137),
        environment: vec!["CARGO_MANIFEST_DIR".to_owned(), "NOT_SET_HERE".to_owned()],
        ..CommandOptions::default()
    };
    let line = "echo \"$APPCONFIGD_SERVICE ${CARGO_MANIFEST_DIR-no} ${CARGO-no} ${NOT_SET_HERE-no} $(umask)\" >told; stat -c %a told >>told";
    let service = with(sh(line), options.clone());
    assert_eq!(tell(&place, &service).await, Verdict::Accepted);
    let own = env!("CARGO_MANIFEST_DIR");
    assert_eq!(
        place.read("here/told"),
        format!("shop {own} no no 0137\n640\n")
    );
    // An argv as it is written, and a status as it is.
    let words = [
        "sh",
        "-c",
        "test \"$1\" = 'a  \"b\" $c' && exit 7",
        "x",
        "a  \"b\" $c",
    ];
    let text = rejected(tell(&place, &with(argv(&words), options)).await);
    assert!(text.contains("exited with status 7"), "{text}");
}

/// Does as systemd does with a command line: two dollars are one, one is a variable's.
const SYSTEMD_RUN: &str = r#"#!/bin/sh
d=$(dirname "$0")/..
while [ "$1" != -- ]; do echo "$1" >>"$d/options"; shift; done
shift
for word; do shift; set -- "$@" "$(printf %s "$word" | sed 's/\$\$/$/g')"; done
exec "$@"
"#;

#[tokio::test]
async fn a_command_without_sandbox_runs_in_a_unit_of_its_own_that_is_stopped_in_time() {
    let place = Place::new();
    place.script("systemd-run", SYSTEMD_RUN);
    place.script(
        "systemctl",
        "#!/bin/sh\necho \"$*\" >>\"$(dirname \"$0\")/../calls\"\n",
    );
    let options = CommandOptions {
        sandbox: Sandbox::None,
        umask: Some(0o027),
        ..CommandOptions::default()
    };
    let service = with(sh("echo \"$APPCONFIGD_SERVICE\" >told; exit 4"), options);
    assert!(rejected(tell(&place, &service).await).contains("exited with status 4"));
    assert_eq!(place.read("told"), "shop\n");
    let written = place.read("options");
    for option in [
        "--pipe",
        "--wait",
        "--collect",
        "--property=RuntimeMaxSec=31",
        "--property=TimeoutStopSec=5",
        "--property=UMask=0027",
        "--setenv=APPCONFIGD_SERVICE=shop",
    ] {
        assert!(written.lines().any(|line| line == option), "{written}");
    }
    let could_not = Service {
        notify: Notify::Command(sh("exit 203")),
        ..service.clone()
    };
    undecided(tell(&place, &could_not).await);
    let mut hanging = Service {
        notify: Notify::Command(sh("sleep 30")),
        ..service
    };
    hanging.timeout = Duration::from_millis(300);
    assert!(undecided(tell(&place, &hanging).await).contains("was stopped"));
}
