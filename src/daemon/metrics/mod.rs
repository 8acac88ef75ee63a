//! Metrics for Prometheus, and two questions for whoever keeps an eye on the process: does it live, is it ready.

mod counters;
mod page;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use counters::Counters;

use super::control::Request;
use super::socket::{self, Open};
use super::status::{Health, Status};
use crate::settings::{Listen, Settings};

/// Of the text format of OpenMetrics 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long queues may take to answer: longer is a queue that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether every queue answers, and whether READY was said.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    pub alive: bool,
    pub ready: bool,
}

/// Tells metrics and health where the settings want it.
pub struct Exposition {
    sources: Sources,
    endpoint: Option<Endpoint>,
}

/// A listener; the file of its socket is removed at the end.
struct Endpoint {
    listen: Listen,
    socket: Option<PathBuf>,
    serving: JoinHandle<()>,
}

/// What answers are made from.
#[derive(Clone)]
struct Sources {
    requests: mpsc::Sender<Request>,
    counters: Counters,
}

impl Exposition {
    pub fn new(requests: mpsc::Sender<Request>, counters: Counters) -> Exposition {
        Exposition {
            sources: Sources { requests, counters },
            endpoint: None,
        }
    }

    /// Listens as these settings say. Where that fails it is logged, and files are kept right all the same.
    pub fn follow(&mut self, settings: &Settings) {
        let now = self.endpoint.as_ref().map(|endpoint| &endpoint.listen);
        if now == settings.metrics.as_ref() {
            return;
        }
        self.stop();
        let Some(listen) = &settings.metrics else {
            return;
        };
        match Endpoint::start(listen, settings, self.sources.clone()) {
            Ok(endpoint) => self.endpoint = Some(endpoint),
            Err(error) => {
                let listen = match listen {
                    Listen::Loopback(address) => address.to_string(),
                    Listen::Socket(path) => path.display().to_string(),
                };
                tracing::error!(
                    listen,
                    reason = %error,
                    "metrics are not told: nobody can listen there; correct `metrics.listen` and reload"
                );
            }
        }
    }

    pub fn stop(&mut self) {
        let Some(endpoint) = self.endpoint.take() else {
            return;
        };
        endpoint.serving.abort();
        if let Some(Err(error)) = endpoint.socket.map(std::fs::remove_file) {
            tracing::debug!(reason = %error, "the socket of metrics was gone already");
        }
    }
}

impl Endpoint {
    fn start(listen: &Listen, settings: &Settings, sources: Sources) -> io::Result<Endpoint> {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(sources);
        let (socket, serving) = match listen {
            Listen::Loopback(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                let address = listener.local_addr()?;
                tracing::info!(endpoint = %format!("http://{address}/metrics"), "metrics are told");
                let serving = axum::serve(listener, router).into_future();
                (None, tokio::spawn(until_it_fails(serving)))
            }
            Listen::Socket(path) => {
                let path = settings.rooted(&path.to_string_lossy());
                let listener = socket::listen(&path, Open::ToAll)?;
                tracing::info!(socket = %path.display(), "metrics are told");
                let serving = axum::serve(listener, router).into_future();
                (Some(path), tokio::spawn(until_it_fails(serving)))
            }
        };
        Ok(Endpoint {
            listen: listen.clone(),
            socket,
            serving,
        })
    }
}

async fn until_it_fails(serving: impl Future<Output = io::Result<()>>) {
    if let Err(error) = serving.await {
        tracing::error!(reason = %error, "metrics are no longer told");
    }
}

async fn metrics(State(sources): State<Sources>) -> Response {
    let Some(status) = sources.ask(Request::Status).await else {
        return unanswered();
    };
    match page::page(&status, &sources.counters) {
        Ok(page) => ([(CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// 200 as long as every queue answers.
async fn healthz(State(sources): State<Sources>) -> Response {
    match sources.ask(Request::Pulse).await {
        Some(Pulse { alive: true, .. }) => "alive\n".into_response(),
        Some(Pulse { alive: false, .. }) | None => unanswered(),
    }
}

/// 200 when the files of every required profile stand and nothing has failed; what is not well, line by line.
async fn readyz(State(sources): State<Sources>) -> Response {
    let (Some(pulse), Some(status)) = (
        sources.ask(Request::Pulse).await,
        sources.ask(Request::Status).await,
    ) else {
        return unanswered();
    };
    let reasons = reasons(&status);
    match (pulse.ready, status.state) {
        (true, Health::Healthy | Health::Degraded) => format!("ready\n{reasons}").into_response(),
        (true, Health::Failed) => {
            let text = format!("failed\n{reasons}next: appconfigd status\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
        (false, _) => {
            let text = format!("not ready yet\n{reasons}next: appconfigd status\n");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

fn unanswered() -> Response {
    let text = "a queue does not answer\nnext: appconfigd status\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// A line for each profile and service that is not well.
fn reasons(status: &Status) -> String {
    let mut lines = String::new();
    let profiles = status.profiles.iter();
    let profiles = profiles.filter_map(|(name, one)| Some((name.as_str(), one.reason.as_deref()?)));
    let services = status.services.iter().filter(|(_, one)| !one.is_well());
    let services = services.map(|(name, one)| {
        (
            name.as_str(),
            one.last_result.as_deref().unwrap_or("not told yet"),
        )
    });
    for (name, reason) in profiles.chain(services) {
        let reason = reason.replace(char::is_control, " ");
        lines.push_str(&format!("{name}: {reason}\n"));
    }
    lines
}

impl Sources {
    async fn ask<T>(&self, of: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(of(reply)).await.ok()?;
        tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()
    }
}
