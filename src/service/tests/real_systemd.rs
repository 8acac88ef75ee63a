use super::*;

/// Makes units in /run/systemd/system, so only for a machine that can be thrown away.
#[tokio::test]
#[ignore = "needs systemd as PID 1, and changes its units: scripts/test-systemd"]
async fn real_units_are_judged_as_systemd_judges_them() {
    let units = [
        ("good", "ExecStart=/bin/sleep 1000\nExecReload=/bin/true"),
        (
            "refuses",
            "ExecStart=/bin/sleep 1000\nExecReload=/bin/false",
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
    assert!(rejected(told("refuses", reload).await).contains("Job for t-refuses.service failed"));
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
