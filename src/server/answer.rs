//! Answers: the errors of the service, and bodies that break off.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::connection::Grip;
use super::token;
use crate::protocol::wire::{
    self, Details, ErrorBody, ErrorCode, InvalidParameter, Problem, Reason, ResourceType,
};

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An error as the service sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: ErrorCode,
    pub body: ErrorBody,
}

impl Refusal {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            body: ErrorBody {
                message: message.into(),
                ..ErrorBody::default()
            },
        }
    }

    /// A parameter that is out of its bounds. The model has no `Problem` for that, so there are no Details.
    pub fn out_of_bounds(message: impl Into<String>) -> Refusal {
        let mut refusal = Refusal::new(ErrorCode::BadRequest, message);
        refusal.body.reason = Some(Reason::InvalidParameters);
        refusal
    }

    /// A token that is not taken.
    pub fn token(problem: Problem) -> Refusal {
        let message = match problem {
            Problem::PollIntervalNotSatisfied => wire::TOO_EARLY,
            Problem::Corrupted | Problem::Expired => wire::TOKEN_NOT_VALID,
        };
        let mut refusal = Refusal::out_of_bounds(message);
        let parameters =
            BTreeMap::from([(wire::TOKEN_MEMBER.to_owned(), InvalidParameter { problem })]);
        refusal.body.details = Some(Details::InvalidParameters(parameters));
        refusal
    }

    /// A resource that is not there, and the members of the request that speak of it.
    pub fn not_found(resource: ResourceType, referenced_by: BTreeMap<String, String>) -> Refusal {
        let mut refusal = Refusal::new(
            ErrorCode::ResourceNotFound,
            format!("{} not found", spoken(resource)),
        );
        refusal.body.resource_type = Some(resource);
        refusal.body.referenced_by = Some(referenced_by);
        refusal
    }

    pub fn too_large() -> Refusal {
        Refusal::new(ErrorCode::RequestTooLarge, "Request too large")
    }

    pub fn internal() -> Refusal {
        Refusal::new(ErrorCode::InternalServer, "Internal server error")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.body).unwrap_or_default();
        let code = HeaderValue::from_static(self.code.name());
        let headers = [
            (CONTENT_TYPE, JSON),
            (HeaderName::from_static(wire::ERROR_TYPE_HEADER), code),
        ];
        (status, headers, body).into_response()
    }
}

/// Gives the answer its `x-amzn-RequestId`.
pub fn with_request_id(mut response: Response) -> Response {
    let id = token::request_id()
        .ok()
        .and_then(|id| HeaderValue::try_from(id).ok());
    if let Some(id) = id {
        response
            .headers_mut()
            .insert(HeaderName::from_static(wire::REQUEST_ID_HEADER), id);
    }
    response
}

/// A 200 or 201 before it goes out.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn whole(self) -> Response {
        // As a `Body`: axum gives bare bytes a content type, which an unchanged answer does not have
        (self.status, self.headers, Body::from(self.body)).into_response()
    }

    /// The whole body's Content-Length, its first `sent` bytes, and then the end of the connection.
    pub fn truncated(mut self, sent: usize, grip: Grip) -> Response {
        self.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        let body = Breaking {
            first: Some(self.body.slice(..sent.min(self.body.len()))),
            grip,
        };
        (self.status, self.headers, Body::new(body)).into_response()
    }
}

/// A body that never ends by itself: after its first bytes it asks for the connection to be cut.
struct Breaking {
    first: Option<Bytes>,
    grip: Grip,
}

impl axum::body::HttpBody for Breaking {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        match self.first.take().filter(|first| !first.is_empty()) {
            Some(first) => Poll::Ready(Some(Ok(http_body::Frame::data(first)))),
            None => {
                // The flush that follows a body which is not ready ends the connection
                self.grip.cut_after_flush();
                Poll::Pending
            }
        }
    }
}

fn spoken(resource: ResourceType) -> &'static str {
    match resource {
        ResourceType::Application => "Application",
        ResourceType::ConfigurationProfile => "Configuration profile",
        ResourceType::Deployment => "Deployment",
        ResourceType::Environment => "Environment",
        ResourceType::Configuration => "Configuration",
    }
}
