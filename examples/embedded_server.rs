//! The embedded server inside somebody's test: a directory, a port of its own, and a clock that the test moves.
//!
//! `cargo run --example embedded_server`

#![allow(
    clippy::print_stdout,
    reason = "an example shows what it does on standard output"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use appconfigd::clock::{Clock, Now};
use appconfigd::server::{Options, Server, TokenReuse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let environment = directory.path().join("shop/prod");
    std::fs::create_dir_all(&environment)?;
    let mut file = std::fs::File::create(environment.join("limits.json"))?;
    std::io::Write::write_all(&mut file, b"{\"limit\": 1}\n")?;

    // a clock that only this test moves: intervals and expiry follow it, nobody waits
    let ahead = Arc::new(Mutex::new(Duration::ZERO));
    let clock = {
        let ahead = Arc::clone(&ahead);
        Clock::of(move || {
            let now = Clock::system().now();
            let ahead = ahead.lock().map(|ahead| *ahead).unwrap_or_default();
            Now {
                wall: now.wall.saturating_add(ahead).unwrap_or(now.wall),
                steady: now.steady + ahead,
            }
        })
    };
    let options = Options {
        directory: directory.path().to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        controls: false,
        allow_remote: false,
        token_reuse: TokenReuse::Reject,
        minimum_interval: Duration::from_secs(15),
    };
    let server = Server::start(options, clock).await?;
    println!("AWS_ENDPOINT_URL_APPCONFIGDATA={}", server.endpoint());

    // any AWS SDK goes here; the bare protocol keeps the example short
    let start = r#"{"ApplicationIdentifier": "shop", "EnvironmentIdentifier": "prod", "ConfigurationProfileIdentifier": "limits"}"#;
    let answer = call(&server, "POST", "/configurationsessions", start).await?;
    let token = answer.split('"').nth(3).ok_or("no token")?.to_owned();
    let answer = call(&server, "GET", &path(&token), "").await?;
    print!("first poll: {}", body(&answer));
    let next = answer
        .lines()
        .find_map(|line| line.strip_prefix("next-poll-configuration-token: "));
    let next = path(next.ok_or("no next token")?);

    // the token of the answer is of no use before the interval has passed, and after a day
    println!(
        "too early: {}",
        body(&call(&server, "GET", &next, "").await?)
    );
    if let Ok(mut ahead) = ahead.lock() {
        *ahead += Duration::from_secs(25 * 60 * 60);
    }
    println!(
        "too late: {}",
        body(&call(&server, "GET", &next, "").await?)
    );
    server.stop().await;
    Ok(())
}

fn path(token: &str) -> String {
    let token = percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC);
    format!("/configuration?configuration_token={token}")
}

async fn call(server: &Server, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(server.address()).await?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}
