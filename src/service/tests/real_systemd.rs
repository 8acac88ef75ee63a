use super::*;

/// Makes units in /run/systemd/system, so only for a machine that can be thrown away.
#[tokio::test]
#[ignore = "needs systemd as PID 1, and changes its units: scripts/test-systemd"]
async fn real_units_are_judged_as_systemd_judges_them() {
    let units = [
        ("good", "ExecStart=/bin/sleep 1000\nExecReload=/bin/true"),
        (
            "refuses",
            "ExecStart=/bin/sleep 1000\nExecReload=/bin/sh -c 'echo no such word; exit 1'",
        ),
        ("fixed", "ExecStart=/bin/sleep 1000"),
        (
            "dies",
            "ExecStart=/bin/sleep 1000\nExecReload=/bin/sh -c 'kill -KILL $MAINPID; sleep 0.3'",
        ),
        (
            "slow",
            "ExecStart=/bin/sleep 1000\nExecReload=/bin/sleep 60",
        ),
        (
            "again",
            "ExecStart=/bin/false\nRestart=always\nRestartSec=1000",
        ),
        ("stopped", "ExecStart=/bin/sleep 1000"),
        (
            "hup",
            "ExecStart=/bin/sh -c \"trap 'echo >/run/hup' HUP; while :; do sleep 0.01; done\"",
        ),
    ];
    for (name, text) in units {
        let path = format!("/run/systemd/system/t-{name}.service");
        fs::write(path, format!("[Service]\n{text}\n")).unwrap();
    }
    let systemctl = |words: &str| {
        let mut command = std::process::Command::new("systemctl");
        command.args(words.split(' ')).status().unwrap();
    };
    systemctl("daemon-reload");
    systemctl("start t-good t-refuses t-fixed t-dies t-slow t-again t-hup");

    let place = Place::new();
    let unit = |name: &str, verb| {
        let unit = format!("t-{name}.service");
        let mut service = service(Notify::Reload { unit, verb });
        service.timeout = Duration::from_secs(2);
        service
    };
    let told = async |name: &str, verb| {
        let verdict = place
            .services
            .notify(&unit(name, verb), long_ago(), &[])
            .await;
        println!("{name}: {verdict:?}");
        verdict
    };
    let reload = ReloadVerb::Reload;
    assert_eq!(told("good", reload).await, Verdict::Accepted);
    assert_eq!(told("good", ReloadVerb::Restart).await, Verdict::Accepted);
    let refused = rejected(told("refuses", reload).await);
    assert!(refused.contains("Job for t-refuses.service failed"));
    assert!(refused.contains("it wrote: no such word"), "{refused}");
    assert!(undecided(told("fixed", reload).await).contains("ExecReload="));
    assert!(undecided(told("slow", reload).await).contains("did not end within 2s"));
    assert!(undecided(told("unknown", reload).await).contains("knows no unit"));
    not_running(told("again", reload).await);
    not_running(told("stopped", reload).await);
    rejected(told("dies", reload).await);
    assert_eq!(
        place.services.running(&unit("dies", reload)).await,
        Running::No
    );
    assert_eq!(
        place.services.start_again(&unit("dies", reload)).await,
        Verdict::Accepted
    );
    assert_eq!(
        place.services.running(&unit("dies", reload)).await,
        Running::Yes
    );
    assert_eq!(told("stopped", ReloadVerb::Start).await, Verdict::Accepted);
    for _ in 0..8 {
        if told("fixed", ReloadVerb::Restart).await != Verdict::Accepted {
            break;
        }
    }
    assert_eq!(
        place.services.running(&unit("fixed", reload)).await,
        Running::No
    );
    assert_eq!(
        place.services.start_again(&unit("fixed", reload)).await,
        Verdict::Accepted
    );

    let signal = Signal {
        name: "HUP".to_owned(),
        number: 1,
    };
    let to = SignalTarget::Unit("t-hup.service".to_owned());
    let hup = service(Notify::Signal {
        signal,
        to,
        whose: Whose::default(),
    });
    let verdict = place.services.notify(&hup, long_ago(), &[]).await;
    assert_eq!(verdict, Verdict::Accepted);
    until("the signal arrived", || exists(Path::new("/run/hup"))).await;
}

#[tokio::test]
#[ignore = "needs systemd as PID 1, and changes its units: scripts/test-systemd"]
async fn a_command_without_sandbox_is_judged_as_any_other_and_leaves_no_unit() {
    let place = Place::new();
    let free = |command| {
        let mut service = service(Notify::Command(command));
        service.commands.sandbox = crate::settings::Sandbox::None;
        service
    };
    let told = async |service: &Service| {
        let verdict = place.services.notify(service, long_ago(), &[]).await;
        println!("{verdict:?}");
        verdict
    };
    let file = place.path("free").display().to_string();
    let line = format!("cat /proc/self/cgroup >{file}; echo \"$APPCONFIGD_SERVICE\" >>{file}");
    assert_eq!(told(&free(sh(&line))).await, Verdict::Accepted);
    let written = place.read("free");
    assert!(
        written.contains("/appconfigd-run-") && written.ends_with("shop\n"),
        "{written}"
    );
    let text = rejected(told(&free(sh("echo said by it; exit 7"))).await);
    assert!(text.ends_with("exited with status 7: said by it"), "{text}");
    let words = [
        "sh",
        "-c",
        "test \"$1\" = '$HOME ${HOME} %n'",
        "x",
        "$HOME ${HOME} %n",
    ];
    assert_eq!(told(&free(argv(&words))).await, Verdict::Accepted);
    undecided(told(&free(sh("kill -9 $$"))).await);
    let mut nobody = free(argv(&[place.path("free").to_str().unwrap()]));
    undecided(told(&nobody).await);
    nobody.commands.user = Some(Principal::Name("nobody".to_owned()));
    nobody.notify = Notify::Command(sh("test \"$(id -un)\" = nobody"));
    assert_eq!(told(&nobody).await, Verdict::Accepted);
    let mut hanging = free(sh("trap '' TERM; while :; do sleep 0.05; done"));
    hanging.timeout = Duration::from_secs(1);
    hanging.commands.grace = Duration::from_secs(1);
    assert!(undecided(told(&hanging).await).contains("was stopped"));
    let units = || {
        let listed = std::process::Command::new("systemctl")
            .args(["list-units", "--all", "--no-legend", "appconfigd-run-*"])
            .output()
            .unwrap();
        String::from_utf8(listed.stdout).unwrap()
    };
    // systemd drops a unit that has ended some time after it has ended.
    let since = std::time::Instant::now();
    while !units().is_empty() && since.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(units(), "");
}
