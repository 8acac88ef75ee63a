//! Metrics and health: what they say is what `status` says, and what happened is counted.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::sources::root;
use crate::world::{PATIENCE, Server, World, wait_for};

const LINES: &str = "profiles:\n  limits: {validate: {format: json}}\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {command: [sh, -c, 'echo told >> told']}\n";

fn world(metrics: &str) -> (World, Server) {
    let lines = format!("metrics: {metrics}\n{LINES}");
    World::served(&[("shop/prod/limits.json", "[1]")], &lines)
}

/// Where the log says that metrics are told, as an address.
fn told_at(world: &World) -> String {
    wait_for("where metrics are told", || {
        let log = world.log();
        let (_, rest) = log.rsplit_once("http://127.0.0.1:").filter(|(before, _)| {
            before
                .lines()
                .last()
                .is_some_and(|line| line.contains("metrics are told"))
        })?;
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some(format!("127.0.0.1:{port}"))
    })
}

/// Head and body of an answer.
fn ask(mut stream: impl Read + Write, path: &str) -> (String, String) {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn get(address: &str, path: &str) -> (String, String) {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(stream, path)
}

/// The value of a series.
fn value(page: &str, series: &str) -> Option<f64> {
    let mut lines = page.lines();
    lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn metrics_say_what_status_says_and_count_what_happened() {
    let (world, _server) = world("{listen: \"127.0.0.1:0\"}");
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    let address = told_at(&world);
    let (head, page) = get(&address, "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(
        head.contains("application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    assert!(page.ends_with("# EOF\n"), "{page}");
    let is = |series: &str, expected: f64| {
        assert_eq!(value(&page, series), Some(expected), "{series}\n{page}");
    };
    is("appconfigd_health{state=\"healthy\"}", 1.0);
    is("appconfigd_health{state=\"failed\"}", 0.0);
    is(
        "appconfigd_profile_state{profile=\"limits\",state=\"current\"}",
        1.0,
    );
    is(
        "appconfigd_profile_state{profile=\"limits\",state=\"refused\"}",
        0.0,
    );
    is(
        "appconfigd_target_state{target=\"/etc/app/limits.json\",state=\"in_sync\"}",
        1.0,
    );
    is(
        "appconfigd_service_state{service=\"app\",state=\"acknowledged\"}",
        1.0,
    );
    is("appconfigd_transactions_total{result=\"installed\"}", 1.0);
    is("appconfigd_change_to_notified_seconds_count", 1.0);
    is(
        "appconfigd_notifications_total{service=\"app\",result=\"acknowledged\"}",
        1.0,
    );
    is(
        "appconfigd_polls_total{profile=\"limits\",result=\"configuration\"}",
        1.0,
    );
    let installed = value(
        &page,
        "appconfigd_profile_installed_time_seconds{profile=\"limits\"}",
    );
    assert!(installed.unwrap() > 1_700_000_000.0, "{page}");

    world.deploy("shop/prod/limits.json", "[1");
    world.wait_for_status("/profiles/limits/state", &json!("refused"));
    fs::write(world.target("/etc/app/limits.json"), "drifted").unwrap();
    let page = wait_for("drift and refusal are counted", || {
        let (_, page) = get(&address, "/metrics");
        let drifts = value(
            &page,
            "appconfigd_drifts_total{target=\"/etc/app/limits.json\"}",
        );
        drifts.is_some_and(|drifts| drifts >= 1.0).then_some(page)
    });
    let is = |series: &str, expected: f64| {
        assert_eq!(value(&page, series), Some(expected), "{series}\n{page}");
    };
    is("appconfigd_transactions_total{result=\"refused\"}", 1.0);
    is(
        "appconfigd_profile_state{profile=\"limits\",state=\"refused\"}",
        1.0,
    );
    // The page about them names what there is.
    let described = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let rows = described
        .lines()
        .filter_map(|line| line.strip_prefix("| `appconfigd_")?.split_once("` |"));
    let mut named = 0;
    for (name, row) in rows {
        let start = format!("appconfigd_{name}");
        let series: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with(&start))
            .collect();
        assert!(!series.is_empty(), "no `{start}` in\n{page}");
        let words = row.split(" | ").nth(1).unwrap_or_default();
        let words = words.split(", as ").next().unwrap_or_default();
        let states = words.split('`').skip(1).step_by(2);
        for state in states.filter(|_| row.contains("`state`")) {
            let label = format!("state=\"{state}\"");
            let there = series.iter().any(|line| line.contains(&label));
            assert!(there, "no {label} of `{start}`");
        }
        named += 1;
    }
    assert_eq!(named, 14, "metrics in docs/operations.md");
    // What a version says is nobody's business here.
    assert!(!page.contains("sha256"), "{page}");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn health_and_readiness_have_reasons() {
    let (world, server) = world("{listen: \"127.0.0.1:0\"}");
    server.faults(json!([{"kind": "internal_error", "operation": "start", "count": 1_000_000}]));
    let daemon = world.run();
    let address = told_at(&world);
    let (head, body) = get(&address, "/healthz");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body, "alive\n");
    let body = wait_for("the reason", || {
        let (head, body) = get(&address, "/readyz");
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        body.contains("limits: ").then_some(body)
    });
    assert!(body.starts_with("not ready yet\n"), "{body}");
    assert!(body.ends_with("next: appconfigd status\n"), "{body}");
    server.faults(json!([]));
    wait_for("ready", || {
        let (head, body) = get(&address, "/readyz");
        (head.starts_with("HTTP/1.1 200 ") && body == "ready\n").then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn metrics_move_with_a_reload_and_nothing_else_minds_if_they_cannot() {
    let (world, server) = world("{listen: /run/metrics.sock}");
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    let socket = world.target("/run/metrics.sock");
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let (head, page) = ask(UnixStream::connect(&socket).unwrap(), "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(
        value(&page, "appconfigd_transactions_total{result=\"installed\"}"),
        Some(1.0)
    );

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    world.settings(
        &server,
        &format!("metrics: {{listen: \"{address}\"}}\n{LINES}"),
    );
    let reloaded = world.output(&["reload"]);
    assert_eq!(reloaded.status.code(), Some(0), "{}", world.log());
    assert!(!socket.exists());
    wait_for("it is said", || {
        world
            .log()
            .contains("correct `metrics.listen` and reload")
            .then_some(())
    });
    world.deploy("shop/prod/limits.json", "[2]");
    world.wait_for_target("/etc/app/limits.json", "[2]");

    world.settings(
        &server,
        &format!("metrics: {{listen: \"127.0.0.1:0\"}}\n{LINES}"),
    );
    let reloaded = world.output(&["reload"]);
    assert_eq!(reloaded.status.code(), Some(0), "{}", world.log());
    // What was counted before is still counted.
    let (_, page) = get(&told_at(&world), "/metrics");
    assert_eq!(
        value(&page, "appconfigd_transactions_total{result=\"installed\"}"),
        Some(2.0)
    );
    assert_eq!(daemon.stop(), Some(0));
}
