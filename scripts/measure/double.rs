//! A server that knows the moment in which the last byte of a configuration has left it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::change::now;

/// Answers for ever, on threads of its own. Profile `p0` changes with every poll, and each time the moment after the last
/// byte goes to `sent`; all others bring one configuration and then nothing. Returns the address.
pub fn serve(sent: Sender<Duration>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sent = sent.clone();
            // An error is the end of the connection.
            std::thread::spawn(move || answer(&stream, &sent));
        }
    });
    address
}

/// Requests of one connection, one after the other. A token is the profile's name and the number of its next poll.
fn answer(stream: &TcpStream, sent: &Sender<Duration>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        if first.starts_with("POST") {
            let asked: serde_json::Value = serde_json::from_slice(&body).ok()?;
            let profile = asked["ConfigurationProfileIdentifier"].as_str()?;
            let answer = format!("{{\"InitialConfigurationToken\": \"{profile}.0\"}}");
            write!(
                writer,
                "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            )
            .ok()?;
            continue;
        }
        let token = first.split("configuration_token=").nth(1)?;
        let token = token.split([' ', '&']).next()?;
        let (profile, number) = token.split_once('.')?;
        let number: u64 = number.parse().ok()?;
        let changes = profile == "p0";
        let body = match changes || number == 0 {
            true => format!("{number:>4096}"),
            false => String::new(),
        };
        let interval = if changes { 1 } else { 3_600 };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nNext-Poll-Configuration-Token: {profile}.{}\r\nNext-Poll-Interval-In-Seconds: {interval}\r\nContent-Length: {}\r\n\r\n{body}",
            number + 1,
            body.len()
        );
        writer.write_all(answer.as_bytes()).ok()?;
        if changes {
            sent.send(now()).ok()?;
        }
    }
}
