//! A peer that does to each profile what its script says, over a bare socket: answers without end, halves, silence.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::double::{error, reply, started};

/// What happens to one call.
#[derive(Clone)]
pub enum Play {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then this for ever.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, then nothing, for as long as the caller waits.
    Stalled(Vec<u8>),
    /// These bytes, then one at a time.
    Dripping(Vec<u8>),
    /// As `Bytes`, but for the start of a session; every token is refused, so that one is needed.
    Start(Vec<u8>),
}

/// By profile; a profile without a play gets the honest body.
#[derive(Default)]
struct Script {
    plays: HashMap<String, Play>,
    honest: Vec<u8>,
    calls: HashMap<String, usize>,
}

pub struct Peer {
    port: u16,
    script: Arc<Mutex<Script>>,
}

impl Peer {
    /// The thread ends with the test process.
    pub fn start(honest: &[u8]) -> Peer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Script {
            honest: honest.to_owned(),
            ..Script::default()
        };
        let script = Arc::new(Mutex::new(script));
        let peer = Peer {
            port,
            script: Arc::clone(&script),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let script = Arc::clone(&script);
                // The caller may go at any moment.
                std::thread::spawn(move || play(stream, &script));
            }
        });
        peer
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn plays(&self, profile: &str, play: Play) {
        let mut script = self.script.lock().unwrap();
        script.plays.insert(profile.to_owned(), play);
    }

    /// From now on every call of every profile brings this.
    pub fn is_honest(&self, body: &[u8]) {
        let mut script = self.script.lock().unwrap();
        script.plays.clear();
        script.honest = body.to_owned();
    }

    pub fn calls(&self, profile: &str) -> usize {
        let script = self.script.lock().unwrap();
        script.calls.get(profile).copied().unwrap_or(0)
    }
}

/// A sound answer, with a token that says whose it is.
pub fn sound(profile: &str, body: &[u8]) -> Vec<u8> {
    with_headers(profile, &[], body)
}

/// The same with other headers in the place of its own; an empty value leaves one out.
pub fn with_headers(profile: &str, others: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let token = token(profile);
    let mut headers = vec![
        ("Next-Poll-Configuration-Token", token.as_str()),
        ("Next-Poll-Interval-In-Seconds", "1"),
        ("Content-Type", "application/json"),
        ("Version-Label", "v1"),
    ];
    headers.retain(|(name, _)| others.iter().all(|(other, _)| other != name));
    headers.extend(others.iter().filter(|(_, value)| !value.is_empty()));
    reply("200 OK", &headers, body)
}

/// As [`with_headers`], without any length.
pub fn head(profile: &str, others: &[(&str, &str)]) -> Vec<u8> {
    let answer = String::from_utf8(with_headers(profile, others, b"")).unwrap();
    answer.replace("Content-Length: 0\r\n", "").into_bytes()
}

fn token(profile: &str) -> String {
    format!("token-of-{profile}-end")
}

fn play(mut stream: TcpStream, script: &Mutex<Script>) -> Option<()> {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    let request = read(&mut stream)?;
    let starts = request.starts_with("POST");
    let profile = match starts {
        true => after(&request, "\"ConfigurationProfileIdentifier\":\"", '"')?,
        false => after(&request, "configuration_token=token-of-", '-')?,
    };
    let (play, honest) = {
        let mut script = script.lock().unwrap();
        *script.calls.entry(profile.clone()).or_default() += 1;
        let play = script.plays.get(&profile).cloned();
        (play, sound(&profile, &script.honest))
    };
    let refused = || {
        let more = r#", "Reason": "InvalidParameters", "Details": {"InvalidParameters": {"ConfigurationToken": {"Problem": "Expired"}}}"#;
        error("400 Bad Request", "BadRequestException", "Expired", more)
    };
    let _ = stream.write_all(&match (play, starts) {
        (None, false) => honest,
        (Some(Play::Start(bytes)), true) => bytes,
        (Some(Play::Start(_)), false) => refused(),
        (_, true) => started(&token(&profile)),
        (Some(Play::Bytes(bytes)), false) => bytes,
        (Some(Play::Endless(first, more)), false) => {
            let more = more.repeat(64 * 1024 / more.len());
            stream.write_all(&first).ok()?;
            loop {
                stream.write_all(&more).ok()?;
            }
        }
        (Some(Play::Stalled(bytes)), false) => {
            stream.write_all(&bytes).ok()?;
            // Until the caller has gone.
            let _ = stream.set_read_timeout(None);
            let _ = stream.read(&mut [0]);
            return None;
        }
        (Some(Play::Dripping(bytes)), false) => {
            stream.write_all(&bytes).ok()?;
            loop {
                stream.write_all(b"x").ok()?;
                std::thread::park_timeout(Duration::from_millis(200));
            }
        }
    });
    Some(())
}

/// Head and body of a request, as they are.
fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = after(&head.to_ascii_lowercase(), "content-length: ", '\r');
            let length = length.unwrap_or_else(|| "0".to_owned());
            if body.len() >= length.trim().parse().unwrap_or(0) {
                return Some(text);
            }
        }
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
}

/// What stands after a mark, as far as the next `end`.
fn after(text: &str, mark: &str, end: char) -> Option<String> {
    let (_, rest) = text.split_once(mark)?;
    Some(rest.split(end).next()?.to_owned())
}
