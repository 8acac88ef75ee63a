//! Faults, counts and sessions.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::served::{Served, get_path};
use crate::world::PATIENCE;

#[test]
fn throttling_and_internal_errors_do_not_spend_the_token() {
    let served = Served::new(&["--controls"]);
    let token = served.start();
    for (kind, status, code) in [
        ("throttle", 429, "ThrottlingException"),
        ("internal_error", 500, "InternalServerException"),
    ] {
        served.faults(json!([{"kind": kind, "operation": "get", "count": 2}]));
        for _ in 0..2 {
            let answer = served.get(&token);
            assert_eq!(
                (answer.status, answer.header("x-amzn-errortype")),
                (status, Some(code))
            );
            assert!(answer.json()["Message"].is_string());
        }
    }
    assert_eq!(served.get(&token).status, 200);
}

#[test]
fn drop_before_cuts_the_connection_and_keeps_the_token() {
    let served = Served::new(&["--controls"]);
    let token = served.start();
    served.faults(json!([{"kind": "drop_before", "count": 1, "profile": "shop/prod/limits"}]));
    assert_eq!(served.bytes("GET", &get_path(&token), ""), b"");
    assert_eq!(served.get(&token).status, 200);
}

#[test]
fn drop_after_cuts_the_connection_and_spends_the_token() {
    let served = Served::new(&["--controls"]);
    let token = served.start();
    served.faults(json!([{"kind": "drop_after", "operation": "get", "count": 1}]));
    assert_eq!(served.bytes("GET", &get_path(&token), ""), b"");
    assert_eq!(served.get(&token).problem(), "Corrupted");
    assert_eq!(served.counts()["received"], 1);
}

#[test]
fn truncate_promises_the_whole_body_sends_less_and_spends_the_token() {
    let served = Served::new(&["--controls"]);
    fs::write(served.file("limits.json"), "x".repeat(1_000_000)).unwrap();
    for sent in [0, 100, 999_999, 5_000_000] {
        let token = served.start();
        served.faults(json!([{"kind": "truncate", "operation": "get", "count": 1, "bytes": sent}]));
        let answer = served.get(&token);
        assert_eq!(answer.header("content-length"), Some("1000000"));
        assert_eq!(answer.body.len(), sent.min(999_999));
        assert_eq!(served.get(&token).problem(), "Corrupted");
    }
}

#[test]
fn delay_holds_the_answer_back_and_the_call_does_not_happen_if_the_client_goes() {
    let served = Served::new(&["--controls"]);
    let token = served.start();
    served.faults(json!([{"kind": "delay", "delay_ms": 300, "count": 1}]));
    let since = Instant::now();
    let next = served.get(&token).next();
    assert!(since.elapsed() >= Duration::from_millis(300));
    served.advance(60);
    served.faults(json!([{"kind": "delay", "delay_ms": 200, "count": 1}]));
    let mut impatient = TcpStream::connect(&served.address).unwrap();
    write!(
        impatient,
        "GET {} HTTP/1.1\r\nHost: x\r\n\r\n",
        get_path(&next)
    )
    .unwrap();
    // the fault is used up as soon as the call has come in
    let since = Instant::now();
    while served.call("GET", "/_local/faults", "").json() != json!({"faults": []}) {
        assert!(since.elapsed() < PATIENCE);
    }
    drop(impatient);
    served.faults(json!([{"kind": "delay", "delay_ms": 400, "count": 1}]));
    assert_eq!(
        served.get(&next).status,
        200,
        "later than the abandoned call would have been"
    );
}

#[test]
fn faults_are_replaced_shown_and_counted_down_and_unknown_ones_refused() {
    let served = Served::new(&["--controls"]);
    served.faults(json!([{"kind": "throttle", "count": 3}, {"kind": "delay", "operation": "start", "delay_ms": 1}]));
    served.call("GET", "/configuration", "");
    let left = served.call("GET", "/_local/faults", "").json();
    assert_eq!(
        (
            left["faults"][0]["count"].clone(),
            left["faults"].as_array().unwrap().len()
        ),
        (json!(2), 2)
    );
    for wrong in [
        "{}",
        "",
        r#"{"faults": [{"kind": "explode"}]}"#,
        r#"{"faults": [{"kind": "delay", "seconds": 1}]}"#,
    ] {
        assert_eq!(
            served.call("PUT", "/_local/faults", wrong).status,
            400,
            "{wrong}"
        );
    }
    for wrong in [
        "{}",
        r#"{"advance_seconds": -1}"#,
        r#"{"advance_seconds": 99999999999}"#,
    ] {
        assert_eq!(
            served.call("PUT", "/_local/clock", wrong).status,
            400,
            "{wrong}"
        );
    }
    served.faults(json!([]));
    assert_eq!(
        served.call("GET", "/_local/faults", "").json(),
        json!({"faults": []})
    );
}

#[test]
fn sessions_are_shown_with_what_they_hold_and_never_with_tokens() {
    let served = Served::new(&["--controls"]);
    let token = served.start();
    served.get(&token);
    let answer = served.call("GET", "/_local/sessions", "");
    let session = &answer.json()[0];
    assert_eq!(session["profile"], "shop/prod/limits");
    assert_eq!(session["interval_seconds"], 60);
    let digest = appconfigd::protocol::Digest::of(b"{\"limit\": 1}").to_string();
    assert_eq!(session["delivered_digest"], digest.as_str());
    for time in ["started_at", "last_poll_at"] {
        session[time]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap();
    }
    assert!(!answer.text().contains(&token[..20]));
}
