//! Notifications by HTTP.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

use super::*;
use crate::settings::{HttpCall, HttpMethod};

/// Answers every connection with this; what was asked comes out of the channel.
async fn answering(answer: &'static str) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/-/reload?key=secret",
        listener.local_addr().unwrap()
    );
    let (asked, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            serve(connection, answer, &asked).await;
        }
    });
    (url, requests)
}

async fn serve(
    mut connection: impl AsyncReadExt + AsyncWriteExt + Unpin,
    answer: &str,
    asked: &mpsc::UnboundedSender<String>,
) {
    let mut request = vec![0; 4096];
    let mut read = 0;
    // The body of these tests ends in a dot; without one the head is all there is.
    while !request[..read].ends_with(b"\r\n\r\n") && !request[..read].ends_with(b".") {
        read += connection.read(&mut request[read..]).await.unwrap();
    }
    let _ = asked.send(String::from_utf8(request[..read].to_vec()).unwrap());
    if answer.is_empty() {
        // Held open, not answered.
        let _ = connection.read(&mut request).await;
    }
    let _ = connection.write_all(answer.as_bytes()).await;
    let _ = connection.shutdown().await;
}

fn call(url: &str) -> HttpCall {
    HttpCall {
        url: url.to_owned(),
        method: HttpMethod::Post,
        headers: Vec::new(),
        body: None,
        expect: Vec::new(),
        ca: None,
        unix_socket: None,
        timeout: None,
    }
}

async fn tell(call: HttpCall) -> Verdict {
    let place = Place::new();
    let service = service(Notify::Http(call));
    assert_eq!(place.services.missing_program(&service), None);
    assert_eq!(place.services.running(&service).await, Running::Unknown);
    place.services.notify(&service, long_ago(), &[]).await
}

#[tokio::test]
async fn the_request_is_the_declared_one_and_any_2xx_accepts() {
    let (url, mut asked) = answering("HTTP/1.1 204 Fine\r\n\r\n").await;
    assert_eq!(tell(call(&url)).await, Verdict::Accepted);
    let plain = asked.recv().await.unwrap();
    assert!(
        plain.starts_with("POST /-/reload?key=secret HTTP/1.1\r\n"),
        "{plain}"
    );
    let whole = HttpCall {
        method: HttpMethod::Put,
        headers: vec![("x-reload".to_owned(), "now and here".to_owned())],
        body: Some("the body.".to_owned()),
        ..call(&url)
    };
    assert_eq!(tell(whole).await, Verdict::Accepted);
    let put = asked.recv().await.unwrap();
    assert!(put.starts_with("PUT ") && put.contains("\r\nx-reload: now and here\r\n"));
    assert!(
        put.contains("\r\ncontent-length: 9\r\n") && put.ends_with("\r\n\r\nthe body."),
        "{put}"
    );
}

#[tokio::test]
async fn an_answer_that_is_not_expected_rejects_with_its_words_and_without_secrets() {
    let answer = "HTTP/1.1 500 No\r\ncontent-length: 19\r\n\r\nline 3:\n\tunknown \x1b[";
    let (url, _asked) = answering(answer).await;
    let text = rejected(tell(call(&url)).await);
    assert!(text.contains("/-/reload` answered 500"), "{text}");
    assert!(text.ends_with("line 3:; \\tunknown \\u{1b}["), "{text}");
    assert!(!text.contains("secret"), "{text}");
    let expect = vec![202, 500];
    let yes = HttpCall {
        expect,
        ..call(&url)
    };
    assert_eq!(tell(yes).await, Verdict::Accepted);
    let (url, _asked) = answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let expect = vec![204];
    let no = HttpCall {
        expect,
        ..call(&url)
    };
    rejected(tell(no).await);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_is_a_no() {
    let (there, mut reached) = answering("HTTP/1.1 200 OK\r\n\r\n").await;
    let answer = format!("HTTP/1.1 307 There\r\ncontent-length: 0\r\nlocation: {there}\r\n\r\n");
    let (url, _asked) = answering(answer.leak()).await;
    assert!(rejected(tell(call(&url)).await).contains("answered 307"));
    assert!(reached.try_recv().is_err());
}

#[tokio::test]
async fn what_has_not_looked_at_the_question_has_not_said_no() {
    for answer in [
        "HTTP/1.1 503 Starting\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 429 Slowly\r\ncontent-length: 0\r\n\r\n",
        "garbage\r\n\r\n",
    ] {
        let (url, _asked) = answering(answer).await;
        let text = undecided(tell(call(&url)).await);
        assert!(!text.contains("secret"), "{text}");
    }
    let (url, _asked) = answering("").await;
    let hanging = HttpCall {
        timeout: Some(Duration::from_millis(200)),
        ..call(&url)
    };
    let start = Instant::now();
    assert!(undecided(tell(hanging).await).contains("was not answered within 200ms"));
    assert!(start.elapsed() < LONG / 2);
}

#[tokio::test]
async fn a_no_whose_words_never_end_is_a_no_in_time() {
    let endless = "HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n5\r\nalas!\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let _ = connection.read(&mut [0; 4096]).await;
        let _ = connection.write_all(endless.as_bytes()).await;
        std::future::pending::<()>().await;
    });
    let slow = HttpCall {
        timeout: Some(Duration::from_millis(300)),
        ..call(&url)
    };
    let start = Instant::now();
    assert!(rejected(tell(slow).await).ends_with("alas!"));
    assert!(start.elapsed() < LONG / 2);
}

#[tokio::test]
async fn where_nobody_listens_nobody_is_there_to_be_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert!(nobody(tell(call(&url)).await).contains("refused"));
    let missing = HttpCall {
        unix_socket: Some("/nowhere/socket".into()),
        ..call(&url)
    };
    assert!(nobody(tell(missing).await).contains("on `/nowhere/socket`"));
}

#[tokio::test]
async fn a_unix_socket_is_asked_below_the_alternate_root() {
    let mut place = Place::new();
    let listener = UnixListener::bind(place.path("socket")).unwrap();
    let (asked, mut requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (connection, _) = listener.accept().await.unwrap();
        serve(connection, "HTTP/1.1 200 OK\r\n\r\n", &asked).await;
    });
    let root = Some(place.directory.path().to_owned());
    place.services = Services::new(root, Surroundings::default());
    let call = HttpCall {
        method: HttpMethod::Get,
        unix_socket: Some("/socket".into()),
        ..call("http://shop.internal/reload")
    };
    let service = service(Notify::Http(call));
    let verdict = place.services.notify(&service, long_ago(), &[]).await;
    assert_eq!(verdict, Verdict::Accepted);
    let request = requests.recv().await.unwrap();
    assert!(
        request.starts_with("GET /reload HTTP/1.1\r\n")
            && request.contains("\r\nhost: shop.internal\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn a_bundle_that_cannot_be_used_is_told_of_and_nobody_asked() {
    let place = Place::new();
    place.write("empty.pem", "");
    for (name, what) in [
        ("empty.pem", "no certificate"),
        ("missing.pem", "No such file"),
    ] {
        let call = HttpCall {
            ca: Some(place.path(name)),
            ..call("https://127.0.0.1:1/")
        };
        let text = undecided(tell(call).await);
        assert!(
            text.contains(what) && text.contains("named by `ca`"),
            "{text}"
        );
    }
}
