//! The control socket: HTTP over a unix socket in the runtime directory, for this host's operator only.

mod client;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use nix::sys::socket::UnixAddr;
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::settings::ProfileName;
use crate::transaction::Order;

use super::events::events;
use super::forget::Forgotten;
use super::history::Declared;
use super::metrics::Pulse;
use super::socket::{self, Open};
use super::standing::Standing;
use super::status::{Notes, Status};

pub use client::{Client, ControlError};

/// What is asked through the socket.
pub enum Request {
    Status(oneshot::Sender<Status>),
    Pulse(oneshot::Sender<Pulse>),
    Declared(oneshot::Sender<Declared>),
    /// How far it is for these profiles (`None`: all); `None` where the daemon does not have one.
    Standing {
        profiles: Option<BTreeSet<ProfileName>>,
        reply: oneshot::Sender<Option<Standing>>,
    },
    Refresh {
        profiles: Option<BTreeSet<ProfileName>>,
        limit: Duration,
        reply: oneshot::Sender<Status>,
    },
    /// What became of it and how all stands then; `None` where the order concerns nothing that the daemon has.
    Order {
        order: Order,
        limit: Duration,
        reply: oneshot::Sender<Option<(Result<(), String>, Status)>>,
    },
    Forget {
        name: String,
        reply: oneshot::Sender<Forgotten>,
    },
    /// The problems as text where the settings were refused.
    Reload(oneshot::Sender<Result<String, String>>),
}

/// A status as it goes over the socket: the JSON of the contract, and what only people are shown.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    status: Status,
    notes: Notes,
}

impl Told {
    fn of(mut status: Status) -> Told {
        let notes = std::mem::take(&mut status.notes);
        Told { status, notes }
    }

    fn whole(self) -> Status {
        Status {
            notes: self.notes,
            ..self.status
        }
    }
}

/// A listening control socket; its file is removed at the end.
pub struct Server {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Server {
    /// Makes the directory (0700) where it is missing, and the socket (0600). A socket that an earlier process left is
    /// replaced: the state directory's lock says that it is gone.
    pub fn start(path: &Path, requests: mpsc::Sender<Request>) -> std::io::Result<Server> {
        let listener = socket::listen(path, Open::ToUs)?;
        let router = Router::new()
            .route("/status", get(status))
            .route("/declared", get(declared))
            .route("/standing", post(standing))
            .route("/events", get(latest_events))
            .route("/events/follow", get(all_events))
            .route("/refresh", post(refresh))
            .route("/reload", post(reload))
            .route("/order", post(order))
            .route("/forget", post(forget))
            .layer(from_fn(admit))
            .with_state(requests)
            .into_make_service_with_connect_info::<Peer>();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(reason = %error, "the control socket has ended");
            }
        });
        Ok(Server {
            path: path.to_owned(),
            task,
        })
    }

    pub async fn stop(self) {
        self.task.abort();
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(reason = %error, "the control socket was gone already");
        }
    }
}

/// Whether a daemon could listen there: to be asked before anything is begun.
pub fn fits(path: &Path) -> Result<(), ControlError> {
    match UnixAddr::new(path) {
        Ok(_) => Ok(()),
        Err(_) => Err(ControlError::TooLong(path.to_owned())),
    }
}

/// Makes the socket's directory where it is missing, and looks whether a socket can be made in it: what can be known to go
/// wrong is known before anything is begun.
pub fn prepare(path: &Path) -> std::io::Result<()> {
    socket::make_directory(path)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    Ok(access(directory, AccessFlags::W_OK | AccessFlags::X_OK)?)
}

/// The user at the other end, as the kernel knows it (SO_PEERCRED).
#[derive(Clone, Copy, Debug)]
struct Peer {
    uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Peer {
        let credentials = stream.io().peer_cred();
        Peer {
            uid: credentials.map(|user| user.uid()).ok(),
        }
    }
}

/// Root and the daemon's own user, whatever became of the socket's mode.
async fn admit(ConnectInfo(peer): ConnectInfo<Peer>, request: HttpRequest, next: Next) -> Response {
    let ours = nix::unistd::geteuid().as_raw();
    if peer.uid.is_some_and(|uid| uid == 0 || uid == ours) {
        return next.run(request).await;
    }
    tracing::warn!(
        uid = peer.uid,
        "a user who may not do so has asked the control socket"
    );
    StatusCode::FORBIDDEN.into_response()
}

#[derive(Debug, Serialize, Deserialize)]
struct OrderBody {
    order: Order,
    limit_milliseconds: u64,
}

/// What became of an order: how all stands, and why it was not carried out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Obeyed {
    pub refreshed: Refreshed,
    pub problem: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct RefreshBody {
    /// `None`: all.
    profiles: Option<BTreeSet<ProfileName>>,
    limit_milliseconds: u64,
}

/// What `refresh` answers: the status, and how `once` would exit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refreshed {
    told: Told,
    pub settled: bool,
    pub refused: bool,
    pub unreachable: bool,
}

impl Refreshed {
    pub fn of(status: Status) -> Refreshed {
        Refreshed {
            settled: status.is_settled(),
            refused: status.is_refused(),
            unreachable: status.is_unreachable(),
            told: Told::of(status),
        }
    }

    pub fn status(self) -> Status {
        self.told.whole()
    }
}

async fn status(State(requests): State<mpsc::Sender<Request>>) -> Result<Json<Told>, StatusCode> {
    let status = ask(&requests, Request::Status).await?;
    Ok(Json(Told::of(status)))
}

async fn declared(
    State(requests): State<mpsc::Sender<Request>>,
) -> Result<Json<Declared>, StatusCode> {
    ask(&requests, Request::Declared).await.map(Json)
}

async fn standing(
    State(requests): State<mpsc::Sender<Request>>,
    Json(profiles): Json<Option<BTreeSet<ProfileName>>>,
) -> Result<Json<Standing>, StatusCode> {
    let standing = ask(&requests, |reply| Request::Standing { profiles, reply });
    standing.await?.map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn latest_events() -> Body {
    events(false)
}

async fn all_events() -> Body {
    events(true)
}

async fn refresh(
    State(requests): State<mpsc::Sender<Request>>,
    Json(body): Json<RefreshBody>,
) -> Result<Json<Refreshed>, StatusCode> {
    let limit = Duration::from_millis(body.limit_milliseconds);
    let ask = ask(&requests, |reply| Request::Refresh {
        profiles: body.profiles,
        limit,
        reply,
    });
    ask.await.map(Refreshed::of).map(Json)
}

async fn forget(
    State(requests): State<mpsc::Sender<Request>>,
    Json(name): Json<String>,
) -> Result<Json<Forgotten>, StatusCode> {
    let forgotten = ask(&requests, |reply| Request::Forget { name, reply });
    forgotten.await.map(Json)
}

async fn order(
    State(requests): State<mpsc::Sender<Request>>,
    Json(body): Json<OrderBody>,
) -> Result<Json<Obeyed>, StatusCode> {
    let limit = Duration::from_millis(body.limit_milliseconds);
    let told = ask(&requests, |reply| Request::Order {
        order: body.order,
        limit,
        reply,
    });
    let (obeyed, status) = told.await?.ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(Obeyed {
        refreshed: Refreshed::of(status),
        problem: obeyed.err(),
    }))
}

async fn reload(
    State(requests): State<mpsc::Sender<Request>>,
) -> Result<String, (StatusCode, String)> {
    match ask(&requests, Request::Reload).await {
        Ok(Ok(differences)) => Ok(differences),
        Ok(Err(problems)) => Err((StatusCode::UNPROCESSABLE_ENTITY, problems)),
        Err(code) => Err((code, "appconfigd is ending".to_owned())),
    }
}

async fn ask<T>(
    requests: &mpsc::Sender<Request>,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, StatusCode> {
    let (reply, answer) = oneshot::channel();
    requests
        .send(request(reply))
        .await
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    answer.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}
