//! Whoever answers in the service's place, one profile a kind: the file stays, the reason names the thing, memory and time
//! are bounded, and all is well as soon as the service is back.

use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::peer::{Peer, Play, head, sound, with_headers};
use crate::world::{Daemon, PATIENCE, World, wait_for};

const OLD: &str = r#"{"version": 1}"#;
const NEW: &str = r#"{"version": 2}"#;
const HEALED: &str = r#"{"version": 3}"#;
/// What all of it may cost at most, in KiB: four answers of 8 MiB are read at once.
const ROOM: u64 = 64 * 1024;

/// What becomes of an answer.
enum Outcome {
    /// The file stays, and this is in the reason.
    Refused(&'static str),
    /// It is a configuration all the same.
    Taken,
    /// Nothing has happened.
    Unchanged,
}

use Outcome::{Refused, Taken, Unchanged};

type Case = (&'static str, fn(&str) -> Play, Outcome);

/// One more header, or another value of one that is there.
fn headed(profile: &str, name: &str, value: &str) -> Play {
    Play::Bytes(with_headers(profile, &[(name, value)], NEW.as_bytes()))
}

/// A body after a head that has these lines instead of a length.
fn framed(profile: &str, lines: &str, body: &str) -> Vec<u8> {
    let head = String::from_utf8(head(profile, &[])).unwrap();
    let head = head.replace("\r\n\r\n", "\r\n");
    format!("{head}{lines}\r\n{body}").into_bytes()
}

fn begun(token: &str) -> Play {
    let body = format!(r#"{{"InitialConfigurationToken": {token}}}"#);
    let head = "HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Type: application/json";
    let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    Play::Start(answer.into_bytes())
}

const TOKEN: &str = "Next-Poll-Configuration-Token";
const INTERVAL: &str = "Next-Poll-Interval-In-Seconds";
const PAGE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: 28\r\n\r\n<html>please log in</html>\r\n";

const CASES: &[Case] = &[
    // Too much.
    (
        "announced",
        |p| Play::Bytes(framed(p, "Content-Length: 99999999999\r\n", "x")),
        Refused("larger than 8 MiB"),
    ),
    (
        "large",
        |p| Play::Bytes(sound(p, &vec![b'x'; 9 << 20])),
        Refused("larger than 8 MiB"),
    ),
    (
        "endless",
        |p| Play::Endless(head(p, &[]), b"x".to_vec()),
        Refused("larger than 8 MiB"),
    ),
    (
        "endless_chunks",
        |p| {
            Play::Endless(
                framed(p, "Transfer-Encoding: chunked\r\n", ""),
                b"1000\r\n"
                    .iter()
                    .copied()
                    .chain([b'x'; 4096])
                    .chain(*b"\r\n")
                    .collect(),
            )
        },
        Refused("larger than 8 MiB"),
    ),
    (
        "endless_chunk_head",
        |p| {
            Play::Endless(
                framed(p, "Transfer-Encoding: chunked\r\n", "1;"),
                b"x".to_vec(),
            )
        },
        Refused("chunk"),
    ),
    (
        "endless_trailers",
        |p| {
            Play::Endless(
                framed(p, "Transfer-Encoding: chunked\r\n", "0\r\n"),
                b"X-A: b\r\n".to_vec(),
            )
        },
        Refused("trailers"),
    ),
    (
        "endless_head",
        |_| Play::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-A: b\r\n".to_vec()),
        Refused("head is too large"),
    ),
    (
        "endless_line",
        |_| Play::Endless(b"HTTP/1.1 200 ".to_vec(), b"x".to_vec()),
        Refused("head is too large"),
    ),
    (
        "bomb",
        |p| Play::Bytes(with_headers(p, &[("Content-Encoding", "gzip")], &bomb())),
        Refused("encoded (Content-Encoding: gzip)"),
    ),
    (
        "encoded_oddly",
        |p| headed(p, "Content-Encoding", "br, x"),
        Refused("encoded (Content-Encoding: br, x)"),
    ),
    (
        "encoded_as_it_is",
        |p| headed(p, "Content-Encoding", "identity"),
        Taken,
    ),
    (
        "deep",
        |p| Play::Bytes(sound(p, &vec![b'['; 1 << 20])),
        Refused("recursion limit"),
    ),
    // Too little.
    (
        "nothing",
        |_| Play::Bytes(Vec::new()),
        Refused("connection closed"),
    ),
    (
        "cut_head",
        |_| Play::Bytes(b"HTTP/1.1 200 OK\r\nNext-Po".to_vec()),
        Refused("connection closed"),
    ),
    (
        "cut_body",
        |p| Play::Bytes(framed(p, "Content-Length: 100\r\n", r#"{"ver"#)),
        Refused("end of file before message length reached"),
    ),
    (
        "cut_chunk",
        |p| Play::Bytes(framed(p, "Transfer-Encoding: chunked\r\n", "20\r\n{\"ver")),
        Refused("the answer was lost"),
    ),
    (
        "short",
        |p| Play::Bytes(framed(p, "Content-Length: 5\r\n", NEW)),
        Refused("not JSON"),
    ),
    ("empty", |p| Play::Bytes(sound(p, b"")), Unchanged),
    // Too slow.
    (
        "silent",
        |_| Play::Stalled(Vec::new()),
        Refused("no answer in time"),
    ),
    (
        "stalled_head",
        |_| Play::Stalled(b"HTTP/1.1 200 OK\r\nNext-Po".to_vec()),
        Refused("no answer in time"),
    ),
    (
        "stalled_body",
        |p| Play::Stalled(framed(p, "Content-Length: 100\r\n", r#"{"ver"#)),
        Refused("no answer in time"),
    ),
    (
        "dripping",
        |p| Play::Dripping(framed(p, "Content-Length: 9999\r\n", "")),
        Refused("no answer in time"),
    ),
    // Lengths that are none.
    (
        "length_negative",
        |p| Play::Bytes(framed(p, "Content-Length: -5\r\n", NEW)),
        Refused("content-length"),
    ),
    (
        "length_too_long",
        |p| {
            Play::Bytes(framed(
                p,
                "Content-Length: 99999999999999999999999\r\n",
                NEW,
            ))
        },
        Refused("content-length"),
    ),
    (
        "length_twice",
        |p| {
            Play::Bytes(framed(
                p,
                "Content-Length: 3\r\nContent-Length: 14\r\n",
                NEW,
            ))
        },
        Refused("content-length"),
    ),
    // Somebody else.
    (
        "page",
        |_| Play::Bytes(PAGE.into()),
        Refused("an answer without a token"),
    ),
    (
        "page_with_a_token",
        |p| {
            Play::Bytes(with_headers(
                p,
                &[("Content-Type", "text/html")],
                b"<html>please log in</html>",
            ))
        },
        Refused("not JSON"),
    ),
    (
        "moved",
        |_| {
            Play::Bytes(b"HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec())
        },
        Refused("status 302"),
    ),
    (
        "no_http",
        |_| Play::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        Refused("the answer was lost"),
    ),
    (
        "start_page",
        |_| Play::Start(PAGE.into()),
        Refused("StartConfigurationSession"),
    ),
    // Tokens.
    (
        "token_missing",
        |p| headed(p, TOKEN, ""),
        Refused("an answer without a token"),
    ),
    (
        "token_huge",
        |p| headed(p, TOKEN, &"t".repeat(9000)),
        Refused("token (Next-Poll-Configuration-Token) cannot be one"),
    ),
    (
        "token_larger_than_a_head",
        |p| headed(p, TOKEN, &"t".repeat(2_000_000)),
        Refused("head is too large"),
    ),
    (
        "token_folded",
        |p| headed(p, TOKEN, "a\r\n b"),
        Refused("header"),
    ),
    (
        "token_with_a_tab",
        |p| headed(p, TOKEN, "a\tb"),
        Refused("token (Next-Poll-Configuration-Token) cannot be one"),
    ),
    (
        "start_token_with_a_line",
        |_| begun(r#""a\nb""#),
        Refused("cannot be a token"),
    ),
    (
        "start_token_with_nul",
        |_| begun(r#""a\u0000b""#),
        Refused("cannot be a token"),
    ),
    (
        "start_token_with_raw_nul",
        |_| begun("\"a\0b\""),
        Refused("cannot be read"),
    ),
    (
        "start_token_huge",
        |_| begun(&format!("{:?}", "t".repeat(100_000))),
        Refused("cannot be a token"),
    ),
    (
        "start_token_null",
        |_| begun("null"),
        Refused("has no token"),
    ),
    // Intervals.
    (
        "interval_greatest",
        |p| headed(p, INTERVAL, "2147483647"),
        Taken,
    ),
    ("interval_negative", |p| headed(p, INTERVAL, "-1"), Taken),
    ("interval_zero", |p| headed(p, INTERVAL, "0"), Taken),
    (
        "interval_beyond",
        |p| headed(p, INTERVAL, "99999999999"),
        Refused("cannot be read"),
    ),
    (
        "interval_in_words",
        |p| headed(p, INTERVAL, "soon"),
        Refused("cannot be read"),
    ),
    // Texts.
    (
        "label_with_controls",
        |p| headed(p, "Version-Label", "v\u{1b}[2J\u{7}"),
        Refused("header"),
    ),
    (
        "label_with_a_tab",
        |p| headed(p, "Version-Label", "v\t2"),
        Taken,
    ),
    (
        "label_long",
        |p| headed(p, "Version-Label", &"v".repeat(100_000)),
        Taken,
    ),
    (
        "nul_in_json",
        |p| Play::Bytes(sound(p, b"{\"version\": \"\0\"}")),
        Refused("a NUL character"),
    ),
];

/// 64 MiB that fit into 64 KiB.
fn bomb() -> Vec<u8> {
    let mut gzip = Command::new("sh");
    let zipped = gzip
        .args(["-c", "head -c 67108864 /dev/zero | gzip -1"])
        .output();
    zipped.unwrap().stdout
}

struct Scene {
    world: World,
    peer: Peer,
    daemon: Daemon,
}

impl Scene {
    /// `format`: what each profile's configuration must be. `first`: what the service answers at first.
    fn of(profiles: &[&str], format: &str, first: &str) -> Scene {
        let world = World::new();
        let peer = Peer::start(first.as_bytes());
        let mut text = format!(
            "aws: {{region: eu-west-1, endpoint_url: \"{}\"}}\nroot: root\ndefaults: {{application: shop, environment: prod, poll_interval: 1s}}\nprofiles:\n",
            peer.url()
        );
        for profile in profiles {
            writeln!(text, "  {profile}: {{validate: {{format: {format}}}}}").unwrap();
        }
        text += "targets:\n";
        for profile in profiles {
            writeln!(text, "  /etc/{profile}: {{from: {profile}}}").unwrap();
        }
        world.write("appconfigd.yaml", &text);
        fs::create_dir(world.target("/etc")).unwrap();
        let daemon = world.run();
        Scene {
            world,
            peer,
            daemon,
        }
    }

    fn file(&self, profile: &str) -> String {
        fs::read_to_string(self.world.target(&format!("/etc/{profile}"))).unwrap_or_default()
    }

    fn wait_for_all(&self, profiles: &[&str], body: &str) {
        let since = Instant::now();
        let without = || {
            let one = profiles.iter().filter(|one| self.file(one) != body);
            one.copied().collect::<Vec<_>>()
        };
        while !without().is_empty() {
            let late = since.elapsed() > PATIENCE;
            assert!(!late, "never {body}: {:?}\n{}", without(), self.world.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn reason(status: &Value, profile: &str) -> String {
        let reason = &status["profiles"][profile]["reason"];
        reason.as_str().unwrap_or_default().to_owned()
    }

    /// The most memory that the daemon has had, in KiB.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let number = line.unwrap().split_whitespace().nth(1).unwrap();
        number.parse().unwrap()
    }
}

#[test]
fn no_answer_costs_the_file_memory_or_time_and_each_is_named_and_got_over() {
    let names: Vec<&str> = CASES.iter().map(|(name, ..)| *name).collect();
    let scene = Scene::of(&names, "json", OLD);
    scene.wait_for_all(&names, OLD);
    let before = scene.peak();
    for (name, play, _) in CASES {
        scene.peer.plays(name, play(name));
    }
    let since = Instant::now();
    let mut left = names.clone();
    while !left.is_empty() {
        let status = scene.world.status().expect("a status");
        for (name, _, outcome) in CASES {
            let (file, reason) = (scene.file(name), Scene::reason(&status, name));
            let come = match outcome {
                Refused(words) => {
                    assert_eq!(file, OLD, "{name}");
                    reason.contains(words)
                }
                Taken => {
                    assert!(file == OLD || file == NEW, "{name}: {file}");
                    file == NEW
                }
                Unchanged => {
                    assert_eq!((file.as_str(), reason.as_str()), (OLD, ""), "{name}");
                    scene.peer.calls(name) > 3
                }
            };
            if come {
                left.retain(|one| one != name);
            } else if since.elapsed() > PATIENCE {
                panic!("{name}: {reason:?}, {file:?}");
            }
            let plain = reason.chars().all(|one| !one.is_control());
            assert!(plain && !reason.contains("token-of"), "{name}: {reason:?}");
            assert!(reason.len() < 1000, "{name}: {reason}");
        }
    }
    let peak = scene.peak();
    assert!(peak < before + ROOM, "{peak} KiB after {before}");
    scene.peer.is_honest(HEALED.as_bytes());
    // Who is told to come back in 68 years does so in a day.
    let patient = "interval_greatest";
    let others: Vec<&str> = names
        .iter()
        .copied()
        .filter(|one| *one != patient)
        .collect();
    scene.wait_for_all(&others, HEALED);
    let status = scene.world.wait_for_status("/state", &json!("healthy"));
    let next = status["profiles"][patient]["next_poll"].as_str().unwrap();
    let next: jiff::Timestamp = next.parse().unwrap();
    let hours = next.duration_since(jiff::Timestamp::now()).as_hours();
    assert!((22..=24).contains(&hours), "{next}");
    assert_eq!(scene.daemon.stop(), Some(0));
    let log = scene.world.log();
    let plain = |one: char| !one.is_control() || one == '\n';
    assert!(log.chars().all(plain) && !log.contains("token-of"));
}

#[test]
fn a_first_answer_that_is_empty_installs_nothing_and_is_said() {
    let scene = Scene::of(&["limits"], "json", "");
    let world = &scene.world;
    let status = wait_for("the status says it", || {
        let status = world.status()?;
        let reason = Scene::reason(&status, "limits");
        reason
            .contains("answered, but with nothing")
            .then_some(status)
    });
    assert_eq!(status["profiles"]["limits"]["state"], "waiting");
    assert!(!world.target("/etc/limits").exists());
    scene.peer.is_honest(HEALED.as_bytes());
    scene.wait_for_all(&["limits"], HEALED);
}

#[test]
fn bytes_that_a_proxy_has_packed_become_no_file_where_any_text_would() {
    let scene = Scene::of(&["limits"], "text", OLD);
    scene.wait_for_all(&["limits"], OLD);
    let packed = with_headers("limits", &[("Content-Encoding", "gzip")], NEW.as_bytes());
    scene.peer.plays("limits", Play::Bytes(packed));
    wait_for("the reason names it", || {
        assert_eq!(scene.file("limits"), OLD);
        let reason = Scene::reason(&scene.world.status()?, "limits");
        reason.contains("Content-Encoding: gzip").then_some(())
    });
    let fetched = scene
        .world
        .command(&["fetch", "shop", "prod", "limits", "--endpoint-url"])
        .arg(scene.peer.url())
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(fetched.status.code(), Some(1), "{fetched:?}");
    assert!(fetched.stdout.is_empty());
    scene.peer.is_honest(HEALED.as_bytes());
    scene.wait_for_all(&["limits"], HEALED);
}
