//! The client's end of the control socket.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::StatusCode;

use crate::daemon::events::Events;
use crate::daemon::forget::Forgotten;
use crate::daemon::history::Declared;
use crate::daemon::standing::Standing;
use crate::daemon::status::Status;
use crate::settings::ProfileName;
use crate::transaction::Order;

use super::{Obeyed, OrderBody, RefreshBody, Refreshed, Told};

/// How long a daemon may take to say how it stands: longer is a daemon that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

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
    #[error("the control socket `{}` has a path that is too long", .0.display())]
    TooLong(PathBuf),
    #[error("cannot use the control socket `{}`", path.display())]
    Unusable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The settings that were to be reloaded are wrong: the problems.
    #[error("{0}")]
    Refused(String),
    #[error("the daemon does not listen to this user: ask as root or as the daemon's user")]
    Forbidden,
    /// What the order names is not the daemon's.
    #[error("the daemon has nothing of that name; `appconfigd status` lists what it has")]
    Unknown,
    #[error("the daemon is ending: nothing was reloaded")]
    Ending,
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
                ErrorKind::InvalidInput => ControlError::TooLong(socket.to_owned()),
                _ => ControlError::Unusable {
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
        let request = self.http.get("http://appconfigd/status").timeout(PATIENCE);
        let told: Told = answered(request).await?;
        Ok(told.whole())
    }

    /// What the daemon's settings name.
    pub async fn declared(&self) -> Result<Declared, ControlError> {
        let request = self.http.get("http://appconfigd/declared");
        answered(request.timeout(PATIENCE)).await
    }

    /// How far it is until what these profiles (`None`: all) feed is in place.
    pub async fn standing(
        &self,
        profiles: Option<&BTreeSet<ProfileName>>,
    ) -> Result<Standing, ControlError> {
        let request = self.http.post("http://appconfigd/standing").json(&profiles);
        answered(request.timeout(PATIENCE)).await
    }

    /// The latest events; with `follow` all that come after them too.
    pub async fn events(&self, follow: bool) -> Result<Events, ControlError> {
        let path = if follow { "events/follow" } else { "events" };
        let request = self.http.get(format!("http://appconfigd/{path}"));
        let answer = request.send().await.map_err(ControlError::Silent)?;
        match answer.status() {
            StatusCode::FORBIDDEN => Err(ControlError::Forbidden),
            _ => Ok(Events::of(
                answer.error_for_status().map_err(ControlError::Silent)?,
            )),
        }
    }

    pub async fn refresh(
        &self,
        profiles: Option<BTreeSet<ProfileName>>,
        limit: Duration,
    ) -> Result<Refreshed, ControlError> {
        let body = RefreshBody {
            profiles,
            limit_milliseconds: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        };
        let request = self.http.post("http://appconfigd/refresh").json(&body);
        answered(request.timeout(limit.saturating_add(PATIENCE))).await
    }

    /// Drops what the ledger knows of a profile or path that is in the settings no more.
    pub async fn forget(&self, name: &str) -> Result<Forgotten, ControlError> {
        let request = self.http.post("http://appconfigd/forget").json(name);
        answered(request.timeout(PATIENCE)).await
    }

    /// Has an order carried out and waits for what follows from it, up to `limit`.
    pub async fn order(&self, order: Order, limit: Duration) -> Result<Obeyed, ControlError> {
        let body = OrderBody {
            order,
            limit_milliseconds: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        };
        let request = self.http.post("http://appconfigd/order").json(&body);
        answered(request.timeout(limit.saturating_add(PATIENCE))).await
    }

    /// What differs from before, for a person.
    pub async fn reload(&self) -> Result<String, ControlError> {
        let answer = self.http.post("http://appconfigd/reload").send().await;
        let answer = answer.map_err(ControlError::Silent)?;
        let status = answer.status();
        let text = answer.text().await.map_err(ControlError::Silent)?;
        match status {
            status if status.is_success() => Ok(text),
            StatusCode::UNPROCESSABLE_ENTITY => Err(ControlError::Refused(text)),
            StatusCode::FORBIDDEN => Err(ControlError::Forbidden),
            _ => Err(ControlError::Ending),
        }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// Sends a request; its answer's JSON.
async fn answered<T: serde::de::DeserializeOwned>(
    request: reqwest::RequestBuilder,
) -> Result<T, ControlError> {
    let answer = request.send().await.map_err(ControlError::Silent)?;
    match answer.status() {
        StatusCode::FORBIDDEN => return Err(ControlError::Forbidden),
        StatusCode::NOT_FOUND => return Err(ControlError::Unknown),
        _ => {}
    }
    let answer = answer.error_for_status().map_err(ControlError::Silent)?;
    answer.json().await.map_err(ControlError::Silent)
}
