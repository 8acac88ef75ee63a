//! The control socket: HTTP over a unix socket in the runtime directory, for this host's operator only.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::settings::ProfileName;

use super::status::Status;

/// What is asked through the socket.
pub enum Request {
    Status(oneshot::Sender<Status>),
    Refresh {
        profiles: Option<BTreeSet<ProfileName>>,
        limit: Duration,
        reply: oneshot::Sender<Status>,
    },
    /// The problems as text where the settings were refused.
    Reload(oneshot::Sender<Result<(), String>>),
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
        if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
            std::fs::create_dir_all(directory)?;
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let router = Router::new()
            .route("/status", get(status))
            .route("/refresh", post(refresh))
            .route("/reload", post(reload))
            .with_state(requests);
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

#[derive(Debug, Default, Serialize, Deserialize)]
struct RefreshBody {
    /// `None`: all.
    profiles: Option<BTreeSet<ProfileName>>,
    limit_seconds: u64,
}

/// What `refresh` answers: the status, and how `once` would exit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refreshed {
    pub status: Status,
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
            status,
        }
    }
}

async fn status(State(requests): State<mpsc::Sender<Request>>) -> Result<Json<Status>, StatusCode> {
    ask(&requests, Request::Status).await.map(Json)
}

async fn refresh(
    State(requests): State<mpsc::Sender<Request>>,
    Json(body): Json<RefreshBody>,
) -> Result<Json<Refreshed>, StatusCode> {
    let limit = Duration::from_secs(body.limit_seconds);
    let ask = ask(&requests, |reply| Request::Refresh {
        profiles: body.profiles,
        limit,
        reply,
    });
    ask.await.map(Refreshed::of).map(Json)
}

async fn reload(State(requests): State<mpsc::Sender<Request>>) -> Result<(), (StatusCode, String)> {
    match ask(&requests, Request::Reload).await {
        Ok(Ok(())) => Ok(()),
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

/// The other end of the socket.
pub struct Client {
    http: reqwest::Client,
    socket: PathBuf,
}

/// Why a daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no daemon is running: nobody listens on `{}`; start it with `appconfigd run`", .0.display())]
    NoDaemon(PathBuf),
    #[error("cannot use the control socket `{}`", path.display())]
    NotPermitted {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The settings that were to be reloaded are wrong: the problems.
    #[error("{0}")]
    Refused(String),
    #[error("the daemon did not answer")]
    Silent(#[source] reqwest::Error),
}

impl Client {
    /// Connects once, to know whether a daemon is there.
    pub async fn connect(socket: &Path) -> Result<Client, ControlError> {
        use std::io::ErrorKind;
        if let Err(error) = tokio::net::UnixStream::connect(socket).await {
            return Err(match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                    ControlError::NoDaemon(socket.to_owned())
                }
                _ => ControlError::NotPermitted {
                    path: socket.to_owned(),
                    source: error,
                },
            });
        }
        // The socket speaks plain HTTP, but a client is not built without a provider.
        crate::tls::ensure_provider();
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .no_proxy()
            .build();
        let http = http.map_err(ControlError::Silent)?;
        Ok(Client {
            http,
            socket: socket.to_owned(),
        })
    }

    pub async fn status(&self) -> Result<Status, ControlError> {
        let answer = self.http.get("http://appconfigd/status").send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        answer
            .map_err(ControlError::Silent)?
            .json()
            .await
            .map_err(ControlError::Silent)
    }

    pub async fn refresh(
        &self,
        profiles: Option<BTreeSet<ProfileName>>,
        limit: Duration,
    ) -> Result<Refreshed, ControlError> {
        let body = RefreshBody {
            profiles,
            limit_seconds: limit.as_secs(),
        };
        let answer = self
            .http
            .post("http://appconfigd/refresh")
            .json(&body)
            .send()
            .await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        answer
            .map_err(ControlError::Silent)?
            .json()
            .await
            .map_err(ControlError::Silent)
    }

    pub async fn reload(&self) -> Result<(), ControlError> {
        let answer = self.http.post("http://appconfigd/reload").send().await;
        let answer = answer.map_err(ControlError::Silent)?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(ControlError::Refused(
            answer.text().await.map_err(ControlError::Silent)?,
        ))
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }
}
