use std::time::Duration;

use appconfigd::clock::Clock;
use appconfigd::protocol::wire::ErrorCode;
use appconfigd::server::{Options, Server, TokenReuse};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::exchange::{Answer, ask, runtime, send};
use super::in_time;
use super::parts::find;

/// What a request may be answered with, whatever it is; 429 and 500 only after a fault has been asked for.
const STATUSES: [u16; 10] = [100, 200, 201, 204, 400, 404, 405, 413, 414, 431];
const CODES: [ErrorCode; 8] = [
    ErrorCode::BadRequest,
    ErrorCode::ResourceNotFound,
    ErrorCode::Throttling,
    ErrorCode::InternalServer,
    ErrorCode::Serialization,
    ErrorCode::UnknownOperation,
    ErrorCode::MethodNotAllowed,
    ErrorCode::RequestTooLarge,
];

thread_local! {
    static RUNTIME: Runtime = runtime();
    static DIRECTORY: TempDir = directory();
}

/// What a client may send to the embedded server, as bytes on a connection of their own: every answer has a status that
/// is documented; an error is one of the service's, with the code that goes with its status and a message, and none is
/// an internal one that nobody asked for; the connection ends when the client ends it; and the server goes on.
pub fn hold(bytes: &[u8]) {
    in_time("answering", || {
        RUNTIME.with(|runtime| runtime.block_on(held(bytes)));
    });
}

async fn held(bytes: &[u8]) {
    let server = start(true).await;
    let address = server.address();
    let stream = TcpStream::connect(address).await.expect("a connection");
    let to_head = find(bytes, b"HEAD ").is_some();
    let with_faults = find(bytes, b"/_local/faults").is_some();
    for answer in send(stream, bytes).await {
        sound(&answer, with_faults, to_head);
        // Its answer has a length and no body: what comes behind it cannot be told.
        if to_head {
            break;
        }
    }
    let mut stream = TcpStream::connect(address).await.expect("it still listens");
    let calls = b"GET /_local/calls HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(ask(&mut stream, calls).await.status, 200, "its counts");
    if !with_faults {
        let started = ask(&mut stream, &start_request("limits")).await;
        assert_eq!(started.status, 201, "{started:?}");
    }
    server.stop().await;
}

fn sound(answer: &Answer, with_faults: bool, to_head: bool) {
    let fault = with_faults && [429, 500].contains(&answer.status);
    assert!(STATUSES.contains(&answer.status) || fault, "{answer:?}");
    // Without an id it is the HTTP library that did not understand.
    let ours = answer.header("x-amzn-requestid").is_some();
    if let Some(name) = answer.header("x-amzn-errortype") {
        let code = CODES.iter().find(|code| code.name() == name);
        let code = code.unwrap_or_else(|| panic!("no such code: {answer:?}"));
        assert_eq!(code.status(), answer.status, "{answer:?}");
        if to_head {
            return;
        }
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let message = body.get("Message").and_then(|message| message.as_str());
        assert!(message.is_some_and(|message| !message.is_empty()), "{body}");
    } else {
        assert!(!ours || answer.status < 400, "no code: {answer:?}");
    }
}

/// A server of this thread's directory; its runtime must be running.
pub async fn start(controls: bool) -> Server {
    let options = Options {
        directory: DIRECTORY.with(|directory| directory.path().to_owned()),
        listen: ([127, 0, 0, 1], 0).into(),
        controls,
        allow_remote: false,
        token_reuse: TokenReuse::Reject,
        minimum_interval: Duration::from_secs(15),
    };
    let server = Server::start(options, Clock::system()).await;
    server.expect("a server")
}

/// An honest StartConfigurationSession.
pub fn start_request(profile: &str) -> Vec<u8> {
    let body = serde_json::json!({
        "ApplicationIdentifier": "shop",
        "EnvironmentIdentifier": "prod",
        "ConfigurationProfileIdentifier": profile,
    });
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST /configurationsessions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn directory() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let below = directory.path().join("shop/prod");
    std::fs::create_dir_all(&below).expect("a directory");
    std::fs::write(below.join("limits.json"), "{\"rate\": 10}").expect("a file");
    std::fs::write(below.join("notes.txt"), "one\n").expect("a file");
    directory
}
