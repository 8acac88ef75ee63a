//! An unchanged poll by the real client, and the same request by hand over one connection. Both wait for the embedded
//! server on loopback, which is part of what is measured.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use appconfigd::clock::{Clock, Now};
use appconfigd::server::{Options, Server, TokenReuse};
use appconfigd::settings::ProfileName;
use appconfigd::source::Source;
use divan::Bencher;
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::settings;

/// A server on a thread of its own. For it two seconds pass between any two looks at the clock: no poll is too early.
struct Served {
    directory: TempDir,
    runtime: Runtime,
    server: Server,
}

fn serve() -> Served {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    fs::create_dir_all(store.join("shop/prod")).unwrap();
    fs::write(store.join("shop/prod/limits.json"), "{}").unwrap();
    let looks = AtomicU64::new(0);
    let clock = Clock::of(move || {
        let steady = Duration::from_secs(2 * looks.fetch_add(1, Ordering::Relaxed));
        let wall = Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(steady).unwrap();
        Now { wall, steady }
    });
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let options = Options {
        directory: store,
        listen: ([127, 0, 0, 1], 0).into(),
        controls: false,
        allow_remote: false,
        token_reuse: TokenReuse::Reject,
        minimum_interval: Duration::from_secs(1),
    };
    let server = runtime.block_on(Server::start(options, clock)).unwrap();
    Served {
        directory,
        runtime,
        server,
    }
}

#[divan::bench]
fn unchanged_poll(bencher: Bencher<'_, '_>) {
    let served = serve();
    let lines = format!(
        "local: {{directory: {}}}\nprofiles: {{limits: {{poll_interval: 1s}}}}\ntargets: {{/limits.json: {{from: limits}}}}\n",
        served.directory.path().join("store").display()
    );
    let settings = settings(served.directory.path(), &lines);
    let profile = &settings.profiles[&ProfileName::from("limits")];
    let caller = Builder::new_current_thread().enable_all().build().unwrap();
    let source = caller.block_on(Source::new(&settings, Some(served.server.endpoint())));
    let source = source.unwrap();
    let token = caller.block_on(source.start_session(profile)).unwrap();
    let first = caller.block_on(source.get_latest(profile, token)).unwrap();
    let mut token = Some(first.token);
    bencher.bench_local(|| {
        let answer = source.get_latest(profile, token.take().unwrap());
        let answer = caller.block_on(answer).unwrap();
        assert!(answer.configuration.is_none());
        token = Some(answer.token);
    });
    served.runtime.block_on(served.server.stop());
}

#[divan::bench]
fn bare_request(bencher: Bencher<'_, '_>) {
    let served = serve();
    let mut stream = TcpStream::connect(served.server.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let body = r#"{"ApplicationIdentifier": "shop", "EnvironmentIdentifier": "prod", "ConfigurationProfileIdentifier": "limits", "RequiredMinimumPollIntervalInSeconds": 1}"#;
    let request = format!(
        "POST /configurationsessions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (_, body) = exchange(&mut stream, &mut reader, &request);
    let started: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let mut token = started["InitialConfigurationToken"]
        .as_str()
        .unwrap()
        .to_owned();
    bencher.bench_local(|| {
        let encoded = percent_encode(token.as_bytes(), NON_ALPHANUMERIC);
        let request =
            format!("GET /configuration?configuration_token={encoded} HTTP/1.1\r\nhost: a\r\n\r\n");
        token = exchange(&mut stream, &mut reader, &request).0.unwrap();
    });
    drop(stream);
    served.runtime.block_on(served.server.stop());
}

/// The next token and the body.
fn exchange(
    stream: &mut TcpStream,
    reader: &mut BufReader<TcpStream>,
    request: &str,
) -> (Option<String>, Vec<u8>) {
    stream.write_all(request.as_bytes()).unwrap();
    let (mut token, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "next-poll-configuration-token" => token = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    std::io::Read::read_exact(reader, &mut body).unwrap();
    (token, body)
}
