//! HTTP as bytes: what no client would send, and what came back.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::PATIENCE;
use super::parts::find;

/// After so long without a byte nothing more is coming: the other end runs on the same thread.
const QUIET: Duration = Duration::from_millis(2);

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// A runtime on this thread.
pub fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

/// Sends bytes, then, when nothing more comes, the end; gives all that comes back. Holds that the other end closes.
pub async fn send(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Vec<Answer> {
    let exchange = async {
        // The other end may close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut received = Vec::new();
        while let Ok(Ok(1..)) = tokio::time::timeout(QUIET, stream.read_buf(&mut received)).await {}
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut received).await;
        received
    };
    let received = tokio::time::timeout(PATIENCE, exchange).await;
    answers(&received.expect("the connection ends when the client has ended it"))
}

/// Sends one whole request and reads its answer.
pub async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8]) -> Answer {
    let exchange = async {
        stream.write_all(request).await.expect("a request is taken");
        let mut received = Vec::new();
        loop {
            let count = stream.read_buf(&mut received).await.expect("an answer");
            if let Some((answer, _)) = first(&received) {
                return answer;
            }
            assert!(count > 0, "the answer broke off");
        }
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await;
    answer.expect("an answer in time")
}

fn answers(received: &[u8]) -> Vec<Answer> {
    let mut rest = received;
    let mut answers = Vec::new();
    while let Some((answer, length)) = first(rest) {
        rest = &rest[length..];
        answers.push(answer);
    }
    answers
}

/// The first answer, if it is whole, and its length.
fn first(received: &[u8]) -> Option<(Answer, usize)> {
    let head = find(received, b"\r\n\r\n")?;
    let body = head + 4;
    let head = String::from_utf8_lossy(&received[..head]).into_owned();
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let mut answer = Answer {
        status,
        head,
        body: Vec::new(),
    };
    let length = answer.header("content-length").unwrap_or("0").parse();
    let end = body + length.unwrap_or(0usize);
    answer.body = received.get(body..end)?.to_vec();
    Some((answer, end))
}
