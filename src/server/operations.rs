//! StartConfigurationSession and GetLatestConfiguration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::answer::{Answer, JSON, Refusal, with_request_id};
use super::connection::Grip;
use super::faults::{Operation, Outcome};
use super::names::ProfileId;
use super::store::{Deployment, Missing};
use super::token::{Token, TokenKey};
use crate::protocol::wire::{self, ErrorCode, Problem, ResourceType, StartRequest, StartResponse};
use crate::protocol::{DEFAULT_POLL_INTERVAL, GREATEST_POLL_INTERVAL};

/// Far more than four members of 128 characters need.
const LONGEST_REQUEST: usize = 64 * 1_024;

/// `POST /configurationsessions`
pub async fn start(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(grip): ConnectInfo<Grip>,
    body: Body,
) -> Response {
    let asked = match axum::body::to_bytes(body, LONGEST_REQUEST).await {
        Ok(body) => Asked::parse(&body, shared.minimum_interval),
        Err(_) => Err(Refusal::too_large()),
    };
    let profile = asked.as_ref().ok().map(|asked| asked.profile.clone());
    if let Some(profile) = &profile {
        shared.state().calls.of(profile).start += 1;
    }
    answered(&shared, grip, Operation::Start, profile, async || {
        started(&shared, asked?).await
    })
    .await
}

/// `GET /configuration`
pub async fn get(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(grip): ConnectInfo<Grip>,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let parameters = query
        .map(|Query(parameters)| parameters)
        .unwrap_or_default();
    let sent = parameters
        .iter()
        .find(|(name, _)| name == wire::TOKEN_PARAMETER);
    let token = sent.and_then(|(_, token)| TokenKey::of(token));
    let profile = {
        let mut state = shared.state();
        let profile = token.and_then(|token| state.sessions.profile_of(token).cloned());
        if let Some(profile) = &profile {
            state.calls.of(profile).get += 1;
        }
        profile
    };
    let known = token.zip(profile.clone());
    answered(&shared, grip, Operation::Get, profile, async || {
        polled(&shared, known).await
    })
    .await
}

/// Carries a call out under the faults that are in force.
async fn answered(
    shared: &Shared,
    grip: Grip,
    operation: Operation,
    profile: Option<ProfileId>,
    carry_out: impl AsyncFnOnce() -> Result<Answer, Refusal>,
) -> Response {
    let meeting = shared.state().faults.meet(operation, profile.as_ref());
    // The answer's real lateness is what is asked for: it does not follow the clock of `/_local/clock`.
    if !meeting.delay.is_zero() {
        tokio::time::sleep(meeting.delay).await;
    }
    let result = match meeting.outcome {
        Outcome::Answered | Outcome::DroppedAfter | Outcome::Truncated => carry_out().await,
        Outcome::Throttled => Err(Refusal::new(ErrorCode::Throttling, "Rate exceeded")),
        Outcome::Failed | Outcome::DroppedBefore => Err(Refusal::internal()),
    };
    if matches!(
        meeting.outcome,
        Outcome::DroppedBefore | Outcome::DroppedAfter
    ) {
        grip.cut();
    }
    let response = match result {
        Ok(answer) if meeting.outcome == Outcome::Truncated && !answer.body.is_empty() => {
            let sent =
                shared
                    .state()
                    .faults
                    .truncate(operation, profile.as_ref(), answer.body.len());
            match sent {
                Some(sent) => answer.truncated(sent, grip),
                None => answer.whole(),
            }
        }
        Ok(answer) => answer.whole(),
        Err(refusal) => refusal.into_response(),
    };
    with_request_id(response)
}

async fn started(shared: &Shared, asked: Asked) -> Result<Answer, Refusal> {
    shared
        .store
        .current(&asked.profile)
        .await
        .map_err(|missing| asked.refused(missing))?;
    let token = Token::random().map_err(|error| out_of_tokens(&error))?;
    let now = shared.now();
    let interval = asked
        .interval
        .unwrap_or(DEFAULT_POLL_INTERVAL.max(shared.minimum_interval));
    shared
        .state()
        .sessions
        .start(asked.profile, interval, token.key(), now);
    let body = StartResponse {
        initial_configuration_token: token.as_str().to_owned(),
    };
    let body = serde_json::to_vec(&body).map_err(|_| Refusal::internal())?;
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, JSON)]);
    Ok(Answer {
        status: StatusCode::CREATED,
        headers,
        body: Bytes::from(body),
    })
}

async fn polled(shared: &Shared, known: Option<(TokenKey, ProfileId)>) -> Result<Answer, Refusal> {
    let (token, profile) = known.ok_or_else(|| Refusal::token(Problem::Corrupted))?;
    // Before the store is asked: a token that is refused is refused whatever has become of the file
    let examined = shared.state().sessions.examine(token, shared.now());
    examined.map_err(|problem| refused(shared, &profile, problem))?;
    let deployment = shared.store.current(&profile).await;
    let deployment = deployment.map_err(|missing| match missing {
        Missing::Unknown => Refusal::internal(),
        // The request names nothing but its token, which does not belong in an error
        _ => Refusal::not_found(ResourceType::Configuration, BTreeMap::new()),
    })?;
    let next = Token::random().map_err(|error| out_of_tokens(&error))?;
    let version = (deployment.revision, deployment.digest);
    let polled = shared
        .state()
        .sessions
        .poll(token, next.key(), version, shared.now());
    let polled = polled.map_err(|problem| refused(shared, &profile, problem))?;

    let mut headers = HeaderMap::new();
    let next = HeaderValue::try_from(next.as_str()).map_err(|_| Refusal::internal())?;
    headers.insert(HeaderName::from_static(wire::NEXT_TOKEN_HEADER), next);
    let seconds = polled.interval.as_secs();
    headers.insert(
        HeaderName::from_static(wire::NEXT_INTERVAL_HEADER),
        HeaderValue::from(seconds),
    );
    let body = if polled.changed {
        describe(&deployment, &mut headers)
    } else {
        Bytes::new()
    };
    if !body.is_empty() {
        shared.state().calls.of(&profile).received += 1;
    }
    Ok(Answer {
        status: StatusCode::OK,
        headers,
        body,
    })
}

/// The headers of a configuration that is delivered, and its bytes.
fn describe(deployment: &Deployment, headers: &mut HeaderMap) -> Bytes {
    headers.insert(CONTENT_TYPE, deployment.content_type.clone());
    if let Some(label) = &deployment.label {
        headers.insert(
            HeaderName::from_static(wire::VERSION_LABEL_HEADER),
            label.clone(),
        );
    }
    deployment.bytes.clone()
}

fn refused(shared: &Shared, profile: &ProfileId, problem: Problem) -> Refusal {
    let mut state = shared.state();
    let counts = state.calls.of(profile);
    match problem {
        Problem::PollIntervalNotSatisfied => counts.early += 1,
        Problem::Corrupted | Problem::Expired => counts.rejected += 1,
    }
    Refusal::token(problem)
}

fn out_of_tokens(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "the kernel gives no random bytes");
    Refusal::internal()
}

/// A StartConfigurationSession that is within its bounds.
struct Asked {
    profile: ProfileId,
    interval: Option<Duration>,
}

impl Asked {
    fn parse(body: &[u8], minimum: Duration) -> Result<Asked, Refusal> {
        let request: StartRequest = serde_json::from_slice(body).map_err(|_| {
            Refusal::new(
                ErrorCode::Serialization,
                "The request body is not a StartConfigurationSession",
            )
        })?;
        let profile = ProfileId {
            application: identifier(request.application_identifier, wire::APPLICATION_MEMBER)?,
            environment: identifier(request.environment_identifier, wire::ENVIRONMENT_MEMBER)?,
            profile: identifier(
                request.configuration_profile_identifier,
                wire::PROFILE_MEMBER,
            )?,
        };
        let interval = match request.required_minimum_poll_interval_in_seconds {
            None => None,
            Some(seconds) => Some(interval(seconds, minimum)?),
        };
        Ok(Asked { profile, interval })
    }

    fn refused(&self, missing: Missing) -> Refusal {
        let (resource, member, name) = match missing {
            Missing::Application => (
                ResourceType::Application,
                wire::APPLICATION_MEMBER,
                &self.profile.application,
            ),
            Missing::Environment => (
                ResourceType::Environment,
                wire::ENVIRONMENT_MEMBER,
                &self.profile.environment,
            ),
            Missing::Profile => (
                ResourceType::ConfigurationProfile,
                wire::PROFILE_MEMBER,
                &self.profile.profile,
            ),
            Missing::Deployment => (
                ResourceType::Deployment,
                wire::PROFILE_MEMBER,
                &self.profile.profile,
            ),
            Missing::Unknown => return Refusal::internal(),
        };
        Refusal::not_found(
            resource,
            BTreeMap::from([(member.to_owned(), name.clone())]),
        )
    }
}

fn identifier(value: Option<String>, member: &str) -> Result<String, Refusal> {
    let value = value.unwrap_or_default();
    match value.chars().count() {
        1..=wire::LONGEST_IDENTIFIER => Ok(value),
        _ => Err(Refusal::out_of_bounds(format!(
            "{member} must have 1 to {} characters",
            wire::LONGEST_IDENTIFIER
        ))),
    }
}

fn interval(seconds: i64, minimum: Duration) -> Result<Duration, Refusal> {
    let asked = u64::try_from(seconds).map(Duration::from_secs).ok();
    asked
        .filter(|asked| (minimum..=GREATEST_POLL_INTERVAL).contains(asked))
        .ok_or_else(|| {
            let (least, greatest) = (minimum.as_secs(), GREATEST_POLL_INTERVAL.as_secs());
            Refusal::out_of_bounds(format!(
                "{} must be from {least} to {greatest}",
                wire::INTERVAL_MEMBER
            ))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEAST: Duration = Duration::from_secs(15);

    fn code(body: &str) -> Option<ErrorCode> {
        Asked::parse(body.as_bytes(), LEAST)
            .err()
            .map(|refusal| refusal.code)
    }

    fn request(application: &str, interval: &str) -> String {
        format!(
            r#"{{"ApplicationIdentifier": "{application}", "EnvironmentIdentifier": "e", "ConfigurationProfileIdentifier": "p", "RequiredMinimumPollIntervalInSeconds": {interval}}}"#
        )
    }

    #[test]
    fn identifiers_have_1_to_128_characters() {
        assert_eq!(code(&request(&"ä".repeat(128), "60")), None);
        assert_eq!(
            code(&request(&"a".repeat(129), "60")),
            Some(ErrorCode::BadRequest)
        );
        assert_eq!(code(&request("", "60")), Some(ErrorCode::BadRequest));
        assert_eq!(code("{}"), Some(ErrorCode::BadRequest));
    }

    #[test]
    fn the_interval_is_15_to_86400_seconds_and_a_refusal_has_no_details() {
        for good in ["15", "86400", "null"] {
            assert_eq!(code(&request("a", good)), None, "{good}");
        }
        for bad in ["14", "86401", "0", "-60"] {
            let refusal = Asked::parse(request("a", bad).as_bytes(), LEAST)
                .err()
                .unwrap();
            assert_eq!(refusal.code, ErrorCode::BadRequest, "{bad}");
            assert_eq!(refusal.body.reason, Some(wire::Reason::InvalidParameters));
            assert_eq!(refusal.body.details, None);
        }
    }

    #[test]
    fn a_body_that_is_not_the_operations_json_is_a_serialization_exception() {
        for body in [
            "",
            "{",
            "[1]",
            "\"a\"",
            &request("a", "\"60\""),
            &request("a", "1.5"),
            "\u{fffd}",
        ] {
            assert_eq!(code(body), Some(ErrorCode::Serialization), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Asked::parse(&body, LEAST);
        }
    }
}
