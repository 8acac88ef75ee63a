//! A faithful AppConfig Data server over a directory, for laptops, tests and demos. Never imports `daemon`; can be used alone.
//!
//! What it promises, fact by fact with authority and test, stands in `docs/protocol.md`.

mod answer;
mod calls;
mod connection;
mod controls;
mod faults;
mod names;
mod operations;
mod sessions;
mod store;
mod token;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Now};
use crate::protocol::GREATEST_POLL_INTERVAL;
use crate::protocol::wire::{self, ErrorCode};
use answer::{Refusal, with_request_id};
use calls::Calls;
use connection::{Door, Grip};
use faults::Faults;
use sessions::Sessions;
use store::Store;
pub use store::{ContentError, DirectoryError};

/// How long a stopping server waits for handlers that do not come to an end.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// `DIR/APPLICATION/ENVIRONMENT/PROFILE.ext`.
    pub directory: PathBuf,
    /// Port 0: any free one.
    pub listen: SocketAddr,
    /// `/_local/…`.
    pub controls: bool,
    /// Listen on an address that is not loopback.
    pub allow_remote: bool,
    pub token_reuse: TokenReuse,
    /// Least RequiredMinimumPollIntervalInSeconds that is taken; 15 s at AWS. Counted up to whole seconds, from 1.
    pub minimum_interval: Duration,
}

/// What becomes of a token that has been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenReuse {
    /// It is refused, as the service's documentation says.
    Reject,
    /// It brings again what it brought, as the service has been seen to do.
    Accept,
}

/// A running server; stops when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stopping: CancellationToken,
    tasks: JoinSet<()>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(
        "`{0}` is not a loopback address: whoever reaches this server reads every configuration, since signatures are not verified; allow it with `--allow-remote`"
    )]
    NotLoopback(SocketAddr),
    #[error("the least interval must be from 1 s to 86400 s, not {0:?}")]
    MinimumInterval(Duration),
    #[error("there is no directory `{}`; make it, or name another", .0.display())]
    NoDirectory(PathBuf),
    #[error("cannot serve `{}`", path.display())]
    Directory {
        path: PathBuf,
        source: DirectoryError,
    },
    #[error(
        "cannot listen on `{address}`; name another address with `--listen`, port 0 is any free one"
    )]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
}

impl Server {
    /// Listens when this returns. Needs a Tokio runtime with IO and time.
    pub async fn start(options: Options, clock: Clock) -> Result<Server, ServerError> {
        if !options.allow_remote && !connection::is_local(options.listen) {
            return Err(ServerError::NotLoopback(options.listen));
        }
        let minimum_interval = whole_seconds(options.minimum_interval);
        if minimum_interval.is_zero() || minimum_interval > GREATEST_POLL_INTERVAL {
            return Err(ServerError::MinimumInterval(options.minimum_interval));
        }
        let path = options.directory;
        // Events come with absolute paths without links
        let directory = path
            .canonicalize()
            .ok()
            .filter(|directory| directory.is_dir());
        let directory = directory.ok_or_else(|| ServerError::NoDirectory(path.clone()))?;
        let store = Store::open(directory, clock.clone())
            .map_err(|source| ServerError::Directory { path, source })?;
        let store = Arc::new(store);

        let unheard = |source| ServerError::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(unheard)?;
        let address = listener.local_addr().map_err(unheard)?;

        let state = State {
            sessions: Sessions::new(options.token_reuse),
            faults: Faults::default(),
            calls: Calls::default(),
        };
        let shared = Shared {
            store: Arc::clone(&store),
            clock,
            clock_offset: AtomicU64::new(0),
            minimum_interval,
            state: Mutex::new(state),
        };
        let router = router(options.controls).with_state(Arc::new(shared));
        let stopping = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, router, stopping.clone()));
        let following = stopping
            .clone()
            .run_until_cancelled_owned(store::follow(store));
        tasks.spawn(async move { following.await.unwrap_or_default() });
        Ok(Server {
            address,
            stopping,
            tasks,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends open connections and frees the port.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_LIMIT, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// What all handlers see.
struct Shared {
    store: Arc<Store>,
    clock: Clock,
    /// How far `/_local/clock` has put the clock forward, in seconds. Not in `state`, so that the time can be read while
    /// that is held.
    clock_offset: AtomicU64,
    minimum_interval: Duration,
    state: Mutex<State>,
}

struct State {
    sessions: Sessions,
    faults: Faults,
    calls: Calls,
}

impl Shared {
    /// Never held over an await.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        let offset = Duration::from_secs(self.clock_offset.load(Ordering::SeqCst));
        let now = self.clock.now();
        let wall = now.wall.saturating_add(offset).unwrap_or(now.wall);
        Now {
            wall,
            steady: now.steady.saturating_add(offset),
        }
    }
}

fn router(controls: bool) -> Router<Arc<Shared>> {
    // Axum lets `get` answer HEAD too, which the service does not know
    let router = Router::new()
        .route(wire::START_PATH, post(operations::start))
        .route(wire::GET_PATH, get(operations::get).head(wrong_method));
    let router = if controls {
        router.merge(controls::router())
    } else {
        router
    };
    router
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_operation)
}

async fn wrong_method() -> Response {
    with_request_id(
        Refusal::new(ErrorCode::MethodNotAllowed, "No operation has this method").into_response(),
    )
}

async fn unknown_operation() -> Response {
    with_request_id(
        Refusal::new(ErrorCode::UnknownOperation, "No operation has this path").into_response(),
    )
}

async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let door = Door {
        listener,
        stopping: stopping.clone(),
    };
    let service = router.into_make_service_with_connect_info::<Grip>();
    let served = axum::serve(door, service)
        .with_graceful_shutdown(stopping.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the server has ended");
    }
}

fn whole_seconds(interval: Duration) -> Duration {
    let rest = u64::from(interval.subsec_nanos() > 0);
    Duration::from_secs(interval.as_secs().saturating_add(rest))
}
