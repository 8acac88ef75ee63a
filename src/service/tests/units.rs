use super::*;

/// Writes down its calls, shows `state`, and runs `job` for everything else.
const SYSTEMCTL: &str = r#"#!/bin/sh
d=$(dirname "$0")/..
echo "$*" >>"$d/calls"
test "$1" = --no-ask-password || exit 9
case $2 in
  show) cat "$d/state"; test ! -e "$d/mute" || { cat "$d/mute" >&2; exit 1; } ;;
  is-system-running) cat "$d/system" 2>/dev/null || echo running ;;
  reset-failed) : ;;
  *) . "$d/job" ;;
esac
"#;

fn place(active: &str, job: &str) -> Place {
    let place = Place::new();
    place.script("systemctl", SYSTEMCTL);
    place.write("state", &state(active, "x", 0));
    place.write("job", job);
    place
}

fn state(active: &str, sub: &str, main_pid: u32) -> String {
    format!(
        "MainPID={main_pid}\nResult=success\nLoadState=loaded\nActiveState={active}\nSubState={sub}\nJob=\n"
    )
}

fn unit(verb: ReloadVerb) -> Service {
    service(Notify::Reload {
        unit: "shop.service".to_owned(),
        verb,
    })
}

async fn reload(place: &Place) -> Verdict {
    let service = unit(ReloadVerb::Reload);
    place.services.notify(&service, long_ago(), &[]).await
}

#[tokio::test]
async fn a_unit_that_runs_is_asked_for_its_state_and_reloaded() {
    let place = place("active", "exit 0");
    assert_eq!(reload(&place).await, Verdict::Accepted);
    let calls = place.read("calls");
    let calls: Vec<&str> = calls.lines().collect();
    assert!(
        calls[0].starts_with("--no-ask-password show -p LoadState,"),
        "{calls:?}"
    );
    assert_eq!(calls[1], "--no-ask-password reload -- shop.service");
}

#[tokio::test]
async fn each_verb_is_systemds_own() {
    let place = place("active", "exit 0");
    let verbs = [
        (ReloadVerb::Restart, "restart"),
        (ReloadVerb::ReloadOrRestart, "reload-or-restart"),
        (ReloadVerb::TryRestart, "try-restart"),
        (ReloadVerb::TryReloadOrRestart, "try-reload-or-restart"),
        (ReloadVerb::Start, "start"),
    ];
    for (verb, word) in verbs {
        let verdict = place.services.notify(&unit(verb), long_ago(), &[]).await;
        assert_eq!(verdict, Verdict::Accepted);
        let call = format!("--no-ask-password {word} -- shop.service\n");
        assert!(place.read("calls").contains(&call));
    }
}

#[tokio::test]
async fn a_unit_that_does_not_run_is_left_alone_and_reads_the_files_when_it_starts() {
    for active in ["inactive", "failed", "deactivating"] {
        let place = place(active, "exit 0");
        let text = not_running(reload(&place).await);
        assert!(text.contains("reads the files when it starts"), "{text}");
        assert_eq!(place.read("calls").lines().count(), 1);
        assert_eq!(
            place.services.running(&unit(ReloadVerb::Reload)).await,
            Running::No
        );
    }
    let place = place("activating", "exit 0");
    place.write("state", &state("activating", "auto-restart", 0));
    not_running(reload(&place).await);
}

#[tokio::test]
async fn a_start_job_that_waits_is_told_of() {
    let place = place("inactive", "exit 0");
    place.write(
        "state",
        &state("inactive", "dead", 0).replace("Job=", "Job=962"),
    );
    assert!(not_running(reload(&place).await).contains("a job of it waits"));
}

#[tokio::test]
async fn only_the_verb_start_is_for_units_that_do_not_run() {
    let place = place("inactive", "exit 0");
    for verb in [
        ReloadVerb::Restart,
        ReloadVerb::TryRestart,
        ReloadVerb::ReloadOrRestart,
    ] {
        not_running(place.services.notify(&unit(verb), long_ago(), &[]).await);
    }
    let verdict = place
        .services
        .notify(&unit(ReloadVerb::Start), long_ago(), &[])
        .await;
    assert_eq!(verdict, Verdict::Accepted);
}

#[tokio::test]
async fn a_failed_job_rejects_with_systemds_reason() {
    let failed = "echo 'Job for shop.service failed because the control process exited with error code.' >&2; exit 1";
    let place = place("active", failed);
    let text = rejected(reload(&place).await);
    assert!(text.contains("`systemctl reload shop.service`: Job for shop.service failed because"));
    place.write("system", "stopping\n");
    assert!(undecided(reload(&place).await).contains("going down"));
}

#[tokio::test]
async fn what_is_not_the_units_own_failure_is_undecided_and_says_what_to_do() {
    let cases = [
        (
            "Failed to reload shop.service: Interactive authentication required.",
            "polkit",
        ),
        ("Failed to reload shop.service: Access denied", "polkit"),
        ("Job for shop.service canceled.", "canceled"),
        ("Job for shop.service timed out.", "timed out"),
        (
            "Dependency job for shop.service failed. See 'journalctl -xe' for details.",
            "Dependency",
        ),
        (
            "Failed to reload shop.service: Job type reload is not applicable for unit shop.service.",
            "ExecReload=",
        ),
        (
            "Failed to connect to bus: Host is down",
            "cannot be reached",
        ),
    ];
    for (said, told) in cases {
        let place = place("active", &format!("echo \"{said}\" >&2; exit 1"));
        let text = undecided(reload(&place).await);
        assert!(text.contains(told), "{text}");
    }
}

#[tokio::test]
async fn a_job_that_hangs_is_undecided_at_its_limit() {
    let place = place("active", "exec sleep 30");
    let mut service = unit(ReloadVerb::Reload);
    service.timeout = Duration::from_secs(1);
    let text = undecided(place.services.notify(&service, long_ago(), &[]).await);
    assert!(text.contains("did not end within 1s"), "{text}");
}

#[tokio::test]
async fn a_unit_that_ran_and_does_not_after_its_reload_rejects() {
    let dies = "sed -i s/=active/=failed/ \"$d/state\"";
    let place = place("active", dies);
    let text = rejected(reload(&place).await);
    assert!(
        text.contains("unit `shop.service` is failed (x) after `systemctl reload`"),
        "{text}"
    );
}

#[tokio::test]
async fn without_systemd_or_systemctl_or_the_unit_nothing_is_decided() {
    let place = place("active", "exit 0");
    place.write("state", "");
    let booted = "System has not been booted with systemd as init system (PID 1). Can't operate.\n";
    place.write("mute", booted);
    let text = undecided(reload(&place).await);
    assert!(text.contains("by `signal` or `command`"), "{text}");
    assert_eq!(
        place.services.running(&unit(ReloadVerb::Reload)).await,
        Running::Unknown
    );

    fs::remove_file(place.path("mute")).unwrap();
    place.write(
        "state",
        &state("inactive", "dead", 0).replace("=loaded", "=not-found"),
    );
    assert!(undecided(reload(&place).await).contains("knows no unit `shop.service`"));

    let variables = vec![("PATH".to_owned(), "/nowhere".to_owned())];
    let nowhere = Surroundings {
        directory: PathBuf::new(),
        variables,
        ..Surroundings::default()
    };
    let services = Services::new(None, nowhere);
    let verdict = services
        .notify(&unit(ReloadVerb::Reload), long_ago(), &[])
        .await;
    assert!(undecided(verdict).contains("`systemctl`"));
}

#[tokio::test]
async fn a_unit_that_failed_is_started_again() {
    let place = place("failed", "sed -i s/=failed/=active/ \"$d/state\"");
    let service = unit(ReloadVerb::Reload);
    assert_eq!(
        place.services.start_again(&service).await,
        Verdict::Accepted
    );
    let calls = place.read("calls");
    let reset = calls.find("reset-failed -- shop.service").unwrap();
    assert!(reset < calls.find("start -- shop.service").unwrap());
    assert_eq!(place.services.running(&service).await, Running::Yes);
    place.write("job", "sed -i s/=active/=failed/ \"$d/state\"");
    rejected(place.services.start_again(&service).await);
}

#[tokio::test]
async fn the_main_process_of_a_unit_is_signalled() {
    let place = place("active", "exit 0");
    let mut daemon = std::process::Command::new("sh")
        .args([
            "-c",
            "trap 'echo hup >>got' HUP; echo >ready; while :; do sleep 0.01; done",
        ])
        .current_dir(place.directory.path())
        .spawn()
        .unwrap();
    until("the daemon is ready", || exists(&place.path("ready"))).await;
    let hup = Signal {
        name: "HUP".to_owned(),
        number: 1,
    };
    let to = SignalTarget::Unit("shop.service".to_owned());
    let service = service(Notify::Signal {
        signal: hup,
        to,
        whose: Whose::default(),
    });
    let told = async || place.services.notify(&service, long_ago(), &[]).await;

    place.write("state", &state("active", "running", 0));
    assert!(undecided(told().await).contains("no main process"));
    place.write("state", &state("active", "running", daemon.id()));
    assert_eq!(told().await, Verdict::Accepted);
    until("the signal arrived", || place.read("got") == "hup\n").await;
    place.write("state", &state("inactive", "dead", daemon.id()));
    not_running(told().await);
    daemon.kill().unwrap();
    place.write("state", &state("active", "running", daemon.id()));
    until("the daemon is dead", || {
        running_process::RunningProcess::read(daemon.id() as i32).is_none()
    })
    .await;
    assert!(
        undecided(told().await).contains("does not run"),
        "a zombie is nobody"
    );
    daemon.wait().unwrap();
}

#[tokio::test]
async fn what_the_unit_wrote_stands_beside_systemds_reason_where_it_can_be_read() {
    let place = place("active", "echo 'Job for shop.service failed.' >&2; exit 1");
    let journal = "#!/bin/sh\necho \"$*\" >\"$(dirname \"$0\")/../asked\"\nprintf 'line 3:\\n\\033[31munknown word\\n'\n";
    place.script("journalctl", journal);
    let text = rejected(reload(&place).await);
    assert!(
        text.ends_with("failed.; it wrote: line 3:; \\u{1b}[31munknown word"),
        "{text}"
    );
    let asked = place.read("asked");
    assert!(
        asked.contains("--lines=5 --since=-1s _SYSTEMD_UNIT=shop.service"),
        "{asked}"
    );
    place.script("journalctl", "#!/bin/sh\necho secret; exit 1\n");
    assert!(rejected(reload(&place).await).ends_with("Job for shop.service failed."));
}
