//! Events over the control socket: one JSON document a line, the latest first of all, then, if asked for, what happens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use tokio::sync::{broadcast, mpsc};

use crate::telemetry::{Told, chronicle};

use super::control::ControlError;

/// Lines that wait for a listener who reads slowly; what comes meanwhile waits in the chronicle.
const WAITING: usize = 16;

/// The latest events; with `follow` the answer has no end.
pub(super) fn events(follow: bool) -> Body {
    let (latest, listener) = chronicle().listen();
    let (lines, body) = mpsc::channel(WAITING);
    tokio::spawn(tell(latest.into(), follow.then_some(listener), lines));
    Body::new(Lines(body))
}

async fn tell(
    mut latest: VecDeque<Arc<Told>>,
    mut listener: Option<broadcast::Receiver<Arc<Told>>>,
    lines: mpsc::Sender<Bytes>,
) {
    loop {
        let told = match (latest.pop_front(), &mut listener) {
            (Some(told), _) => told,
            (None, None) => return,
            (None, Some(listener)) => tokio::select! {
                // A reader that has gone ends this at once, not at the next event.
                () = lines.closed() => return,
                told = listener.recv() => match told {
                    Ok(told) => told,
                    Err(broadcast::error::RecvError::Lagged(missed)) => Arc::new(missing(missed)),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
            },
        };
        let Ok(mut line) = serde_json::to_vec(&*told) else {
            continue;
        };
        line.push(b'\n');
        if lines.send(Bytes::from(line)).await.is_err() {
            return;
        }
    }
}

/// In place of what a listener was too slow for.
fn missing(missed: u64) -> Told {
    let text = format!("{missed} events were missed: the reader was too slow");
    let event = serde_json::json!({"event": "missed", "level": "warn", "message": text});
    Told {
        number: 0,
        text,
        event,
    }
}

/// The other end: events as they come.
pub struct Events {
    answer: reqwest::Response,
    /// What has come of the next line.
    begun: Vec<u8>,
}

impl Events {
    pub(super) fn of(answer: reqwest::Response) -> Events {
        Events {
            answer,
            begun: Vec::new(),
        }
    }

    /// `None` where there are no more.
    pub async fn next(&mut self) -> Result<Option<Told>, ControlError> {
        loop {
            if let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.begun.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(told) => return Ok(Some(told)),
                    // Of a daemon of another version.
                    Err(_) => continue,
                }
            }
            let chunk = self.answer.chunk().await.map_err(ControlError::Silent)?;
            match chunk {
                Some(chunk) => self.begun.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

struct Lines(mpsc::Receiver<Bytes>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let line = self.0.poll_recv(context);
        line.map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
