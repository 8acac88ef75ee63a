//! Both operations below every SDK.

use std::fs;

use serde_json::{Value, json};

use super::served::Served;

#[test]
fn a_session_goes_from_start_to_unchanged_to_changed() {
    let served = Served::new(&["--controls"]);
    let first = served.get(&served.start());
    assert_eq!(first.text(), "{\"limit\": 1}");
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(first.header("next-poll-interval-in-seconds"), Some("60"));
    assert_eq!(first.header("version-label"), None);
    assert_eq!(first.header("x-amzn-requestid").map(str::len), Some(36));
    served.advance(60);
    let second = served.get(&first.next());
    assert_eq!((second.status, second.body.len()), (200, 0));
    assert_eq!(second.header("content-length"), Some("0"));
    assert!(second.header("content-type").is_none() && second.header("version-label").is_none());
    assert!(second.next() != first.next());
    fs::write(served.file("limits.json"), "{\"limit\": 2}").unwrap();
    served.advance(60);
    assert_eq!(served.get(&second.next()).text(), "{\"limit\": 2}");
}

#[test]
fn every_session_gets_a_change_in_full_once() {
    let served = Served::new(&["--controls"]);
    let mut tokens: Vec<String> = (0..5).map(|_| served.get(&served.start()).next()).collect();
    fs::write(served.file("limits.json"), "new").unwrap();
    for expected in ["new", "", ""] {
        served.advance(60);
        tokens = tokens
            .iter()
            .map(|token| served.get(token))
            .map(|answer| {
                assert_eq!(answer.text(), expected);
                answer.next()
            })
            .collect();
    }
}

#[test]
fn a_used_up_a_forged_and_a_malformed_token_are_corrupted() {
    let served = Served::new(&["--controls"]);
    let token = served.start();
    served.get(&token);
    served.advance(60);
    let too_long = "x".repeat(8_193);
    let forged = token.replace("AYADe", "AYADf");
    for wrong in [token.as_str(), &forged, "x", "", "a b", &too_long] {
        let answer = served.get(wrong);
        assert_eq!(answer.problem(), "Corrupted");
        assert_eq!(answer.json()["Message"], "Token not valid");
    }
    assert_eq!(
        served.call("GET", "/configuration", "").problem(),
        "Corrupted"
    );
    assert_eq!(
        served
            .call("GET", "/configuration?configuration_token=%FF%FE", "")
            .problem(),
        "Corrupted"
    );
    assert_eq!(served.counts()["rejected"], 1);
}

#[test]
fn a_token_that_is_not_percent_encoded_is_not_taken() {
    let served = Served::new(&[]);
    let token = served.start();
    let raw = served.call(
        "GET",
        &format!("/configuration?configuration_token={token}"),
        "",
    );
    assert_eq!(raw.problem(), "Corrupted");
    assert_eq!(served.get(&token).status, 200);
}

#[test]
fn a_token_older_than_24_hours_is_expired() {
    let served = Served::new(&["--controls"]);
    let (young, old) = (served.start(), served.start());
    served.advance(24 * 60 * 60 - 60);
    assert_eq!(served.get(&young).status, 200);
    served.advance(62);
    assert_eq!(served.get(&old).problem(), "Expired");
}

#[test]
fn an_early_poll_is_refused_and_the_token_stays_good() {
    let served = Served::new(&["--controls"]);
    let next = served.get(&served.start()).next();
    for _ in 0..3 {
        let early = served.get(&next);
        assert_eq!(early.problem(), "PollIntervalNotSatisfied");
        assert_eq!(early.json()["Message"], "Request too early");
    }
    served.advance(60);
    assert_eq!(served.get(&next).status, 200);
    assert_eq!(
        served.counts(),
        json!({"start": 1, "get": 5, "received": 1, "early": 3, "rejected": 0})
    );
    assert_eq!(served.call("DELETE", "/_local/calls", "").status, 204);
    assert_eq!(served.counts(), Value::Null);
}

#[test]
fn a_used_token_brings_the_same_again_where_reuse_is_accepted() {
    let served = Served::new(&["--token-reuse", "accept"]);
    let token = served.start();
    assert_eq!(served.get(&token).body, served.get(&token).body);
    assert_eq!(served.get(&token).text(), "{\"limit\": 1}");
}

#[test]
fn each_missing_resource_is_named_with_the_member_that_refers_to_it() {
    let served = Served::new(&["--controls"]);
    let cases = [
        (
            ("none", "prod", "limits"),
            "Application",
            json!({"ApplicationIdentifier": "none"}),
        ),
        (
            ("shop", "none", "limits"),
            "Environment",
            json!({"EnvironmentIdentifier": "none"}),
        ),
        (
            ("shop", "prod", "none"),
            "ConfigurationProfile",
            json!({"ConfigurationProfileIdentifier": "none"}),
        ),
    ];
    for ((application, environment, profile), resource, referenced_by) in cases {
        let answer = served.try_start(application, environment, profile);
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (404, Some("ResourceNotFoundException"))
        );
        assert_eq!(answer.json()["ResourceType"], resource);
        assert_eq!(answer.json()["ReferencedBy"], referenced_by);
    }
    let token = served.start();
    fs::remove_file(served.file("limits.json")).unwrap();
    let gone = served.get(&token);
    assert_eq!(
        (gone.status, gone.json()["ResourceType"].clone()),
        (404, json!("Configuration"))
    );
    fs::write(served.file("limits.json"), "back").unwrap();
    assert_eq!(served.get(&token).text(), "back", "the token was not spent");
}

#[test]
fn other_verbs_and_paths_are_json_errors() {
    let served = Served::new(&[]);
    let cases = [
        ("POST", "/configuration", 405),
        ("PUT", "/configurationsessions", 405),
        ("GET", "/configurationsessions", 405),
        ("GET", "/", 404),
        ("POST", "/", 404),
        ("GET", "/_local/calls", 404),
        ("PUT", "/_local/clock", 404),
    ];
    for (method, path, status) in cases {
        let answer = served.call(method, path, "");
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(
            answer.json()["Message"].is_string() && answer.header("x-amzn-errortype").is_some()
        );
    }
    assert_eq!(served.call("HEAD", "/configuration", "").status, 405);
}

#[test]
fn a_malformed_body_is_a_serialization_exception_and_a_wrong_interval_has_no_details() {
    let served = Served::new(&["--minimum-interval", "2s"]);
    let answer = served.call("POST", "/configurationsessions", "{");
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (400, Some("SerializationException"))
    );
    answer.json();
    let asking = |seconds: i64| {
        let body = json!({"ApplicationIdentifier": "shop", "EnvironmentIdentifier": "prod",
            "ConfigurationProfileIdentifier": "limits", "RequiredMinimumPollIntervalInSeconds": seconds});
        served.call("POST", "/configurationsessions", &body.to_string())
    };
    for wrong in [1, 0, -5, 86_401] {
        let answer = asking(wrong);
        assert_eq!(answer.problem(), Value::Null);
        assert_eq!(answer.json().get("Details"), None);
    }
    let token = asking(2).json()["InitialConfigurationToken"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        served.get(&token).header("next-poll-interval-in-seconds"),
        Some("2")
    );
    assert_eq!(
        served
            .call("POST", "/configurationsessions", &" ".repeat(70_000))
            .status,
        413
    );
}

#[test]
fn without_a_declared_interval_it_is_60_seconds_or_the_minimum() {
    let served = Served::new(&["--minimum-interval", "2m"]);
    assert_eq!(
        served
            .get(&served.start())
            .header("next-poll-interval-in-seconds"),
        Some("120")
    );
}
