//! `/_local/…`: the clock, the faults, the counts and the sessions, for tests.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::answer::{JSON, Refusal};
use super::faults::Fault;
use super::sessions::Session;
use crate::protocol::Digest;
use crate::protocol::wire::ErrorCode;

const LONGEST_REQUEST: usize = 1_024 * 1_024;
/// A hundred years in seconds: more would leave what the wall clock can show.
const FARTHEST: u64 = 100 * 366 * 24 * 60 * 60;

pub fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_local/clock", put(advance))
        .route("/_local/faults", put(replace_faults).get(show_faults))
        .route("/_local/calls", get(show_calls).delete(forget_calls))
        .route("/_local/sessions", get(show_sessions))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

async fn advance(State(shared): State<Arc<Shared>>, body: Body) -> Result<StatusCode, Refusal> {
    let Advance { advance_seconds } = parsed(body).await?;
    let farther = |offset: u64| {
        offset
            .checked_add(advance_seconds)
            .filter(|offset| *offset <= FARTHEST)
    };
    let moved = shared
        .clock_offset
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, farther);
    moved.map_err(|_| {
        Refusal::new(
            ErrorCode::Serialization,
            "the clock does not go farther than a hundred years",
        )
    })?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Faults<F> {
    faults: F,
}

async fn replace_faults(
    State(shared): State<Arc<Shared>>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let Faults { faults } = parsed::<Faults<Vec<Fault>>>(body).await?;
    shared.state().faults.replace(faults);
    Ok(StatusCode::NO_CONTENT)
}

async fn show_faults(State(shared): State<Arc<Shared>>) -> Response {
    json(&Faults {
        faults: shared.state().faults.left(),
    })
}

async fn show_calls(State(shared): State<Arc<Shared>>) -> Response {
    json(&shared.state().calls)
}

async fn forget_calls(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.state().calls.forget();
    StatusCode::NO_CONTENT
}

#[derive(Serialize)]
struct Shown {
    profile: String,
    started_at: String,
    last_poll_at: Option<String>,
    interval_seconds: u64,
    delivered_digest: Option<Digest>,
}

impl Shown {
    fn of(session: &Session) -> Shown {
        Shown {
            profile: session.profile.to_string(),
            started_at: session.started_at.to_string(),
            last_poll_at: session.last_poll_at.map(|at| at.to_string()),
            interval_seconds: session.interval.as_secs(),
            delivered_digest: session.delivered,
        }
    }
}

async fn show_sessions(State(shared): State<Arc<Shared>>) -> Response {
    json(
        &shared
            .state()
            .sessions
            .all()
            .map(Shown::of)
            .collect::<Vec<_>>(),
    )
}

async fn parsed<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let body = axum::body::to_bytes(body, LONGEST_REQUEST).await;
    let body = body.map_err(|_| Refusal::too_large())?;
    serde_json::from_slice(&body)
        .map_err(|error| Refusal::new(ErrorCode::Serialization, error.to_string()))
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(CONTENT_TYPE, JSON)], body).into_response(),
        Err(_) => Refusal::internal().into_response(),
    }
}
