use appconfigd::daemon::control::{Request, Server};
use appconfigd::daemon::forget::Forgotten;
use appconfigd::settings::TargetPath;
use appconfigd::transaction::{Holdable, Order};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::exchange::{ask, runtime, send};
use super::in_time;
use super::parts::find;

const STATUSES: [u16; 12] = [100, 200, 400, 404, 405, 408, 413, 414, 415, 422, 431, 503];

thread_local! {
    static RUNTIME: Runtime = runtime();
}

/// What may be written into the control socket: every answer has a status that the other end knows; what reaches the
/// daemon holds what its types promise, and nothing that changes anything reaches it without a POST; the connection ends
/// when the client ends it; and the socket goes on.
///
/// The daemon behind the socket is played: it refuses everything, since what it does with a sound order is tested where
/// orders are.
pub fn hold(bytes: &[u8]) {
    in_time("answering", || {
        RUNTIME.with(|runtime| runtime.block_on(held(bytes)));
    });
}

async fn held(bytes: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("control.sock");
    let (requests, received) = mpsc::channel(8);
    let server = Server::start(&path, requests).expect("a control socket");
    let daemon = tokio::spawn(play(received));
    let stream = UnixStream::connect(&path).await.expect("a connection");
    for answer in send(stream, bytes).await {
        assert!(STATUSES.contains(&answer.status), "{answer:?}");
    }
    let mut stream = UnixStream::connect(&path).await.expect("it still listens");
    let status = b"GET /status HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(
        ask(&mut stream, status).await.status,
        503,
        "the daemon is played"
    );
    drop(stream);
    server.stop().await;
    let changing = daemon.await.expect("what has reached the daemon is sound");
    assert!(
        changing == 0 || find(bytes, b"POST").is_some(),
        "changed without a POST"
    );
}

/// Refuses; counts what would have changed something.
async fn play(mut requests: mpsc::Receiver<Request>) -> usize {
    let mut changing = 0;
    while let Some(request) = requests.recv().await {
        changing += 1;
        match request {
            Request::Status(_)
            | Request::Declared(_)
            | Request::Pulse(_)
            | Request::Standing { .. } => changing -= 1,
            Request::Refresh { profiles, .. } => {
                for name in profiles.iter().flatten() {
                    assert!(!name.as_str().is_empty(), "a profile without a name");
                }
            }
            Request::Order { order, reply, .. } => {
                sound(&order);
                let _ = reply.send(None);
            }
            Request::Forget { reply, .. } => {
                let problem = "nothing of that name".to_owned();
                let _ = reply.send(Forgotten::Unknown { problem });
            }
            Request::Reload(reply) => {
                let _ = reply.send(Err("not now".to_owned()));
            }
        }
    }
    changing
}

fn sound(order: &Order) {
    let (profiles, target) = match order {
        Order::Retry { profiles } => (profiles.iter().flatten().collect(), None),
        Order::Rollback { profile, .. } => (vec![profile], None),
        Order::Hold { what, .. } | Order::Release { what } => match what {
            Holdable::Profile(profile) => (vec![profile], None),
            Holdable::Target(target) => (vec![], Some(target)),
        },
    };
    for profile in profiles {
        assert!(!profile.as_str().is_empty(), "a profile without a name");
    }
    if let Some(target) = target {
        let path = TargetPath::new(target.as_str());
        assert_eq!(path.as_ref(), Some(target), "no target's path");
    }
}
