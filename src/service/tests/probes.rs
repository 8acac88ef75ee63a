use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers one connection after the other with these texts, the last one for ever; an empty one is no answer at all.
async fn answering(texts: &'static [&'static str]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://{}/healthz?token=secret",
        listener.local_addr().unwrap()
    );
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let nth = count.fetch_add(1, Ordering::SeqCst);
            let text = texts[nth.min(texts.len() - 1)];
            let mut request = [0; 1024];
            let _ = connection.read(&mut request).await;
            if text.is_empty() {
                silent.push(connection);
            } else {
                let answer = format!("HTTP/1.1 {text}\r\ncontent-length: 0\r\n\r\n");
                let _ = connection.write_all(answer.as_bytes()).await;
            }
        }
    });
    (url, asked)
}

fn probe(ask: ProbeAsk, within: Duration, successes: u32) -> Service {
    let mut service = service(Notify::Command(argv(&["true"])));
    service.probe = Some(Probe {
        ask,
        within,
        successes,
        delay: Duration::ZERO,
        interval: Duration::from_millis(10),
    });
    service
}

fn http(url: &str, within: Duration, successes: u32) -> Service {
    probe(ProbeAsk::Http(url.to_owned()), within, successes)
}

/// Long enough for a program to start and end, also on a machine that has much to do.
const SHORT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn no_probe_accepts_and_has_no_baseline() {
    let place = Place::new();
    let service = service(Notify::Command(argv(&["false"])));
    assert_eq!(place.services.probe(&service, &[]).await, Verdict::Accepted);
    assert_eq!(place.services.try_probe(&service).await, None);
}

#[tokio::test]
async fn successes_must_come_in_a_row() {
    let place = Place::new();
    let (url, asked) = answering(&["200 OK", "500 No", "204 None", "299 Fine", "500 No"]).await;
    let verdict = place.services.probe(&http(&url, LONG, 2), &[]).await;
    assert_eq!(verdict, Verdict::Accepted);
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_service_that_answers_otherwise_is_rejected_with_the_last_failure() {
    let place = Place::new();
    let (url, asked) = answering(&["500 No"]).await;
    let text = rejected(place.services.probe(&http(&url, SHORT, 1), &[]).await);
    assert!(text.contains("answered 500"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert!(asked.load(Ordering::SeqCst) > 1, "it was tried again");
}

#[tokio::test]
async fn too_few_successes_are_told_of() {
    let place = Place::new();
    let (url, _) = answering(&["200 OK"]).await;
    let text = rejected(
        place
            .services
            .probe(&http(&url, SHORT, 1_000_000), &[])
            .await,
    );
    assert!(text.contains("1000000 times in a row within 1s") && text.contains("succeeded"));
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_is_no_success() {
    let place = Place::new();
    let (there, reached) = answering(&["200 OK"]).await;
    let answer: &'static str = format!("302 Found\r\nlocation: {there}").leak();
    let (url, _) = answering(vec![answer].leak()).await;
    let text = rejected(place.services.probe(&http(&url, SHORT, 1), &[]).await);
    assert!(text.contains("answered 302"), "{text}");
    assert_eq!(reached.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_service_that_never_answers_is_given_up_in_time() {
    let place = Place::new();
    let (url, _) = answering(&[""]).await;
    let start = Instant::now();
    let text = rejected(place.services.probe(&http(&url, SHORT, 1), &[]).await);
    assert!(text.contains("gave no answer within"), "{text}");
    assert!(start.elapsed() < LONG / 2);
    let baseline = place
        .services
        .try_probe(&http(&url, SHORT, 1))
        .await
        .unwrap();
    assert!(baseline.unwrap_err().contains("gave no answer within 1s"));
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_rejected() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:secret@{}/", listener.local_addr().unwrap());
    drop(listener);
    let text = rejected(place.services.probe(&http(&url, SHORT, 1), &[]).await);
    assert!(
        text.contains("refused") && !text.contains("secret"),
        "{text}"
    );
}

#[tokio::test]
async fn the_baseline_is_one_try() {
    let place = Place::new();
    let (url, asked) = answering(&["200 OK", "500 No"]).await;
    let service = http(&url, LONG, 5);
    assert_eq!(place.services.try_probe(&service).await, Some(Ok(())));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(place.services.try_probe(&service).await.unwrap().is_err());
}

#[tokio::test]
async fn a_probe_command_is_tried_until_it_exits_with_0() {
    let place = Place::new();
    let command = sh("echo x >>tried; test $(wc -l <tried) -ge 3");
    let service = probe(ProbeAsk::Command(command), LONG, 1);
    assert_eq!(place.services.probe(&service, &[]).await, Verdict::Accepted);
    assert_eq!(place.read("tried"), "x\nx\nx\n");
}

#[tokio::test]
async fn a_probe_command_that_hangs_or_fails_is_rejected_and_one_that_cannot_start_is_not() {
    let place = Place::new();
    let whole = async |command| {
        place
            .services
            .probe(&probe(ProbeAsk::Command(command), SHORT, 1), &[])
            .await
    };
    assert!(rejected(whole(sh("sleep 30")).await).contains("did not end within"));
    assert!(rejected(whole(sh("echo bad; exit 2")).await).contains("status 2: bad"));
    undecided(whole(argv(&["no-such-program-here"])).await);
}

#[tokio::test]
async fn the_delay_comes_before_the_first_try() {
    let place = Place::new();
    let mut service = probe(ProbeAsk::Command(argv(&["true"])), LONG, 1);
    service.probe.as_mut().unwrap().delay = SHORT;
    let start = Instant::now();
    assert_eq!(place.services.probe(&service, &[]).await, Verdict::Accepted);
    assert!(start.elapsed() >= SHORT);
}

#[tokio::test]
async fn tls_can_be_set_up_whoever_was_first() {
    let place = Place::new();
    let (url, _) = answering(&["200 OK"]).await;
    let secure = url.replace("http://", "https://");
    // Not a TLS server: that it is asked at all shows that there is a client.
    let text = rejected(place.services.probe(&http(&secure, SHORT, 1), &[]).await);
    assert!(
        text.contains("cannot be asked") || text.contains("gave no answer"),
        "{text}"
    );
}
