use appconfigd::server::Server;
use appconfigd::source::Token;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, percent_encode};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::exchange::{Answer, ask, runtime};
use super::in_time;
use super::server::{start, start_request};

thread_local! {
    static HERE: (Runtime, Server) = {
        let runtime = runtime();
        let server = runtime.block_on(start(false));
        (runtime, server)
    };
}

/// What a client may send as a token: `{token}`, `{first}`, `{last}`, `{lower}` and `{reversed}` stand for the token of
/// a living session, its halves and what it is not; behind `raw:` it goes into the request as it is, else encoded. No
/// token is taken but the one that was given, as it was given; another one is 400 and uses nothing up; the true one is
/// taken once. And the client takes for a token what the service's model allows, and never shows it.
pub fn hold(bytes: &[u8]) {
    in_time("a token", || {
        HERE.with(|(runtime, server)| runtime.block_on(held(server, bytes)));
    });
}

async fn held(server: &Server, bytes: &[u8]) {
    let mut stream = TcpStream::connect(server.address())
        .await
        .expect("a server");
    let started = ask(&mut stream, &start_request("limits")).await;
    assert_eq!(started.status, 201, "{started:?}");
    let body: serde_json::Value = serde_json::from_slice(&started.body).expect("JSON");
    let token = body["InitialConfigurationToken"].as_str().expect("a token");

    let (written, raw) = match bytes.strip_prefix(b"raw:") {
        Some(rest) if rest.iter().all(|byte| byte.is_ascii_graphic()) => (rest, true),
        _ => (bytes, false),
    };
    // Longer ones are the HTTP library's to refuse.
    let sent = filled_in(&written[..written.len().min(16 * 1024)], token);
    client_side(&sent);
    let (query, meant) = if raw {
        let first = sent.split(|byte| *byte == b'&' || *byte == b'#').next();
        let first = first.unwrap_or_default().to_vec();
        let spaced: Vec<u8> = first
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect();
        let decoded: Vec<u8> = percent_decode(&spaced).collect();
        (String::from_utf8_lossy(&sent).into_owned(), decoded)
    } else {
        let encoded = percent_encode(&sent, NON_ALPHANUMERIC).to_string();
        (encoded, sent)
    };
    let answer = get(server, &query).await;
    let true_one = meant == token.as_bytes();
    assert_eq!(answer.status == 200, true_one, "{answer:?}");
    if !true_one {
        assert!([400, 414, 431].contains(&answer.status), "{answer:?}");
        assert!(answer.header("next-poll-configuration-token").is_none());
        let encoded = percent_encode(token.as_bytes(), NON_ALPHANUMERIC).to_string();
        let answer = get(server, &encoded).await;
        assert_eq!(answer.status, 200, "a false token used up the true one");
    }
    let encoded = percent_encode(token.as_bytes(), NON_ALPHANUMERIC).to_string();
    let answer = get(server, &encoded).await;
    assert_eq!(answer.status, 400, "a token was taken a second time");
}

async fn get(server: &Server, token: &str) -> Answer {
    let mut stream = TcpStream::connect(server.address())
        .await
        .expect("a server");
    let request =
        format!("GET /configuration?configuration_token={token} HTTP/1.1\r\nhost: a\r\n\r\n");
    ask(&mut stream, request.as_bytes()).await
}

fn filled_in(written: &[u8], token: &str) -> Vec<u8> {
    let Ok(written) = std::str::from_utf8(written) else {
        return written.to_vec();
    };
    let (first, last) = token.split_at(token.len() / 2);
    let reversed: String = token.chars().rev().collect();
    let filled = written
        .replace("{first}", first)
        .replace("{last}", last)
        .replace("{lower}", &token.to_lowercase())
        .replace("{reversed}", &reversed)
        .replace("{token}", token);
    filled.into_bytes()
}

fn client_side(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let length = text.chars().count();
    let bare = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    let token = Token::new(text.to_owned());
    assert_eq!(token.is_some(), (1..=8192).contains(&length) && bare);
    // A token may itself be what is shown in place of any.
    let shown = format!("{:?}", Token::new("another token".replace(' ', "-")));
    if length > 8 && token.is_some() {
        assert_eq!(format!("{token:?}"), shown, "a token is shown");
    }
}
