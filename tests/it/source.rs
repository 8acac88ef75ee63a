//! The source and the poller as a library, against scripted servers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use appconfigd::clock::Clock;
use appconfigd::poll::{Polled, Poller};
use appconfigd::settings::{
    AssumeRole, AwsSettings, Profile, ProfileName, Settings, SourceSettings, Validate,
};
use appconfigd::source::{FaultKind, Source};

use crate::double::{Double, assumed_role, configuration, reply, started};

fn settings(source: SourceSettings) -> Settings {
    Settings {
        file: PathBuf::from("/etc/appconfigd/appconfigd.yaml"),
        directory: PathBuf::from("/etc/appconfigd"),
        source,
        root: None,
        ready_timeout: Duration::from_secs(300),
        stop_timeout: Duration::from_secs(30),
        metrics: None,
        profiles: BTreeMap::new(),
        targets: BTreeMap::new(),
        services: BTreeMap::new(),
        watches: BTreeMap::new(),
    }
}

fn profile(assume_role: Option<AssumeRole>) -> Profile {
    Profile {
        name: ProfileName::from("limits"),
        application: "shop".into(),
        environment: "prod".into(),
        configuration_profile: "limits".into(),
        poll_interval: Duration::from_secs(2),
        required: true,
        sensitive: false,
        validate: Validate::default(),
        assume_role,
    }
}

async fn local(server: &Double) -> Source {
    let directory = PathBuf::from("/srv/configurations");
    let settings = settings(SourceSettings::Local { directory });
    Source::new(&settings, Some(server.url()))
        .await
        .expect("a source")
}

#[tokio::test]
async fn a_local_source_asks_nobody_for_credentials_and_is_known_by_its_directory() {
    let server = Double::start(|request, _| {
        if request.starts_session() {
            started("one")
        } else {
            configuration("two", b"{}")
        }
    });
    let source = local(&server).await;
    let identity = source.identity(&profile(None)).0;
    assert_eq!(
        &*identity,
        r#"local="/srv/configurations" application="shop" environment="prod" configuration_profile="limits""#
    );
    let token = source.start_session(&profile(None)).await.expect("a token");
    let answer = source
        .get_latest(&profile(None), token)
        .await
        .expect("an answer");
    assert_eq!(answer.interval, Duration::from_secs(60));
    let configuration = answer.configuration.expect("a configuration");
    assert_eq!(
        (configuration.content_type(), configuration.label()),
        (Some("application/json"), Some("v1"))
    );
    let requests = server.requests();
    assert!(
        requests[0]
            .body
            .contains(r#""RequiredMinimumPollIntervalInSeconds":2"#),
        "{}",
        requests[0].body
    );
    assert!(
        requests[0]
            .header("authorization")
            .is_some_and(|value| value.contains("=local/"))
    );
}

#[tokio::test]
async fn intervals_that_make_no_sense_become_what_was_asked_for_or_a_day() {
    for (answered, kept) in [("0", 2), ("-5", 2), ("2147483647", 86_400), ("3", 3)] {
        let server = Double::start(move |request, _| {
            let headers = [
                ("Next-Poll-Configuration-Token", "two"),
                ("Next-Poll-Interval-In-Seconds", answered),
            ];
            if request.starts_session() {
                started("one")
            } else {
                reply("200 OK", &headers, b"")
            }
        });
        let source = local(&server).await;
        let token = source.start_session(&profile(None)).await.expect("a token");
        let answer = source
            .get_latest(&profile(None), token)
            .await
            .expect("an answer");
        assert_eq!(answer.interval, Duration::from_secs(kept), "{answered}");
        assert!(answer.configuration.is_none(), "empty is unchanged");
    }
}

#[tokio::test]
async fn a_poller_resumes_its_session_and_tells_a_deployment_from_a_first_delivery() {
    let server = Double::start(|request, before| {
        if request.starts_session() {
            return started("token-0");
        }
        configuration(&format!("token-{before}"), b"{}")
    });
    let (source, clock) = (local(&server).await, Clock::system());
    let profile = Arc::new(profile(None));
    let mut poller = Poller::new(profile.clone(), source.clone(), clock.clone(), None, None);
    assert_eq!(poller.earliest(), Duration::ZERO);
    assert!(matches!(
        poller.poll().await,
        Polled::Received { again: false, .. }
    ));
    assert_eq!(poller.interval(), Duration::from_secs(60));
    assert!(
        matches!(poller.poll().await, Polled::TooEarly),
        "not before its time"
    );
    assert_eq!(server.requests().len(), 2);

    // Two hours later, after a restart.
    let (saved, poll) = poller.saved();
    let later = Clock::of(move || {
        let mut now = clock.now();
        now.wall += Duration::from_secs(7200);
        now.steady += Duration::from_secs(7200);
        now
    });
    let mut poller = Poller::new(profile, source, later, saved, poll);
    assert!(matches!(
        poller.poll().await,
        Polled::Received { again: true, .. }
    ));
    assert_eq!(
        (server.starts(), server.tokens()),
        (1, vec!["token-0".into(), "token-1".into()])
    );
}

#[tokio::test]
async fn a_call_that_is_cut_off_counts_as_sent() {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let server = Double::start(move |request, _| {
        if request.starts_session() {
            return started("token-0");
        }
        // No answer until the test is over.
        let _ = wait.lock().expect("unpoisoned").recv();
        Vec::new()
    });
    let source = local(&server).await;
    let mut poller = Poller::new(Arc::new(profile(None)), source, Clock::system(), None, None);
    let mut polling = Box::pin(poller.poll());
    // Until the call has arrived.
    for _ in 0..500 {
        let slice = tokio::time::timeout(Duration::from_millis(20), &mut polling).await;
        assert!(slice.is_err(), "no answer comes");
        if !server.tokens().is_empty() {
            break;
        }
    }
    drop(polling);
    drop(done);
    assert!(poller.saved().0.expect("a session").sent);
}

#[tokio::test]
async fn a_connection_that_was_refused_spends_nothing() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let settings = settings(SourceSettings::Local {
        directory: "/x".into(),
    });
    let source = Source::new(&settings, Some(url)).await.expect("a source");
    let fault = source
        .start_session(&profile(None))
        .await
        .expect_err("nobody listens");
    assert_eq!((fault.kind, fault.sent), (FaultKind::Lost, false));
}

/// The environment belongs to a child process: this test runs the next one in one.
#[test]
fn a_role_is_assumed_with_its_external_id_at_its_own_endpoint() {
    let sts = Double::start(|request, _| {
        if request.body.contains("Denied") {
            let body = br#"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"#;
            return reply("403 Forbidden", &[("Content-Type", "text/xml")], body);
        }
        assumed_role()
    });
    let server = Double::start(|request, _| {
        if request.starts_session() {
            started("one")
        } else {
            configuration("two", b"{}")
        }
    });
    let directory = tempfile::tempdir().expect("a directory");
    let files = [
        ("config", "[profile other]\nregion = sa-east-1\n"),
        (
            "credentials",
            "[other]\naws_access_key_id = AKIDOTHER\naws_secret_access_key = s\n",
        ),
    ];
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).expect("written");
    }
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "--ignored", "source::in_a_child_with_a_role"])
        .env_clear()
        .envs([
            ("AWS_ACCESS_KEY_ID", "AKIDBASE"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL_STS", &sts.url()),
            ("TEST_ENDPOINT", &server.url()),
        ])
        .env("AWS_CONFIG_FILE", directory.path().join("config"))
        .env(
            "AWS_SHARED_CREDENTIALS_FILE",
            directory.path().join("credentials"),
        )
        .output()
        .expect("an end");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let asked = sts.requests();
    assert_eq!(asked.len(), 2, "each role once");
    assert!(
        asked[0]
            .header("authorization")
            .is_some_and(|value| value.contains("AKIDBASE/"))
    );
    for part in [
        "Action=AssumeRole",
        "ExternalId=ext-1",
        "RoleSessionName=host-7",
    ] {
        assert!(asked[0].body.contains(part), "{part}: {}", asked[0].body);
    }
    let signers: Vec<String> = server
        .requests()
        .iter()
        .filter_map(|request| request.header("authorization").map(str::to_owned))
        .collect();
    let expected = [
        "Credential=AKIDROLE/",
        "Credential=AKIDROLE/",
        "Credential=AKIDBASE/",
        "Credential=AKIDOTHER/",
    ];
    assert_eq!(signers.len(), expected.len());
    for (signer, expected) in signers.iter().zip(expected) {
        assert!(signer.contains(expected), "{expected}: {signer}");
    }
    assert!(signers[2].contains("/eu-west-1/"), "{}", signers[2]);
}

#[tokio::test]
#[ignore = "run in a child process with an environment of its own"]
async fn in_a_child_with_a_role() {
    let endpoint = std::env::var("TEST_ENDPOINT").expect("run by the test above");
    let aws = AwsSettings {
        endpoint_url: Some(endpoint.clone()),
        ..AwsSettings::default()
    };
    let source = Source::new(&settings(SourceSettings::Aws(aws)), None)
        .await
        .expect("a source");
    let role = AssumeRole {
        role_arn: "arn:aws:iam::123456789012:role/R".into(),
        external_id: Some("ext-1".into()),
        session_name: "host-7".into(),
    };
    let profile = self::profile(Some(role));
    let identity = source.identity(&profile).0;
    assert!(identity.starts_with(&format!(
        r#"endpoint="{endpoint}" region="eu-west-1" role="arn:aws:iam::123456789012:role/R" "#
    )));
    let token = source.start_session(&profile).await.expect("a token");
    source.get_latest(&profile, token).await.expect("an answer");
    source
        .start_session(&self::profile(None))
        .await
        .expect("a token without a role");

    let denied = AssumeRole {
        role_arn: "arn:aws:iam::123456789012:role/Denied".into(),
        external_id: None,
        session_name: "s".into(),
    };
    let fault = source
        .start_session(&self::profile(Some(denied)))
        .await
        .expect_err("denied");
    assert_eq!(
        (fault.kind, fault.sent),
        (FaultKind::Operator, false),
        "{}",
        fault.message
    );
    assert!(fault.message.contains("not you"), "{}", fault.message);

    let aws = AwsSettings {
        endpoint_url: Some(endpoint),
        credentials_profile: Some("other".into()),
        ..AwsSettings::default()
    };
    let source = Source::new(&settings(SourceSettings::Aws(aws)), None)
        .await
        .expect("a source");
    source
        .start_session(&self::profile(None))
        .await
        .expect("a token by another profile");
}

#[tokio::test]
async fn a_call_without_an_answer_ends_within_ten_seconds() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let settings = settings(SourceSettings::Local {
        directory: "/x".into(),
    });
    let source = Source::new(&settings, Some(url)).await.expect("a source");
    let profile = profile(None);
    let call = source.start_session(&profile);
    let ended = tokio::time::timeout(Duration::from_secs(20), call)
        .await
        .expect("an end");
    let fault = ended.expect_err("nobody answers");
    assert_eq!((fault.kind, fault.sent), (FaultKind::Lost, true));
}

#[tokio::test]
async fn the_call_of_a_poller_is_small_while_it_waits() {
    let server = Double::start(|_, _| Vec::new());
    let source = local(&server).await;
    let mut poller = Poller::new(Arc::new(profile(None)), source, Clock::system(), None, None);
    let size = std::mem::size_of_val(&poller.poll());
    assert!(size < 4096, "{size} bytes");
}
