//! What an answer says that is not a success: restJson1's errors, and whatever else answers in the service's place.

use http::HeaderMap;
use serde_json::Value;

use super::exchange::Reply;
use crate::protocol::wire::{ERROR_TYPE_HEADER, Problem, REQUEST_ID_HEADER};

/// An answer that says no. Its texts are somebody else's.
pub struct Refusal {
    pub status: u16,
    /// Empty: it has none.
    pub code: String,
    pub message: Option<String>,
    pub request_id: Option<String>,
    /// Whether it says that the call came too early.
    pub too_early: bool,
}

impl Refusal {
    /// The code stands in a header or in the body, with or without a namespace and a link (restJson1).
    pub fn of(reply: &Reply) -> Refusal {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let of_body = |names: &[&str]| {
            let texts = names.iter().filter_map(|name| body.get(name)?.as_str());
            texts.map(str::to_owned).next()
        };
        let code = text(&reply.headers, ERROR_TYPE_HEADER).or_else(|| of_body(&["code", "__type"]));
        let message = of_body(&["message", "Message", "errorMessage"]);
        Refusal {
            status: reply.status.as_u16(),
            code: code.as_deref().map(bare).unwrap_or_default().to_owned(),
            too_early: is_too_early(&body, message.as_deref()),
            message,
            request_id: text(&reply.headers, REQUEST_ID_HEADER)
                .or_else(|| text(&reply.headers, "x-amz-request-id")),
        }
    }

    /// Others might be taken: these have ended, are not known, or have been replaced.
    pub fn doubts_credentials(&self) -> bool {
        matches!(
            self.code.as_str(),
            "ExpiredToken"
                | "ExpiredTokenException"
                | "InvalidClientTokenId"
                | "InvalidSignatureException"
                | "SignatureDoesNotMatch"
                | "UnrecognizedClientException"
        )
    }
}

/// `aws.protocoltests#FooError:http://…` is `FooError`.
fn bare(code: &str) -> &str {
    let code = code.split(':').next().unwrap_or_default();
    code.split_once('#').map_or(code, |(_, name)| name).trim()
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

/// The problem says so, whatever the parameter is called (its name is not documented); without details the message
/// that the service is known to send.
fn is_too_early(body: &Value, message: Option<&str>) -> bool {
    match body.pointer("/Details/InvalidParameters") {
        Some(Value::Object(parameters)) => parameters.values().any(|parameter| {
            let problem = parameter.get("Problem").and_then(Value::as_str);
            problem == Some(Problem::PollIntervalNotSatisfied.name())
        }),
        _ => message.is_some_and(|message| message.to_ascii_lowercase().contains("too early")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(header: Option<&str>, body: &str) -> Refusal {
        let mut headers = HeaderMap::new();
        if let Some(code) = header {
            headers.insert(ERROR_TYPE_HEADER, code.parse().unwrap());
        }
        headers.insert(REQUEST_ID_HEADER, "id-1".parse().unwrap());
        Refusal::of(&Reply {
            status: http::StatusCode::BAD_REQUEST,
            headers,
            body: body.into(),
        })
    }

    #[test]
    fn the_code_is_found_wherever_the_protocol_may_put_it() {
        for (header, body) in [
            (Some("FooError"), "{}"),
            (Some("FooError:http://x.invalid/coral/"), "{}"),
            (
                Some("aws.x#FooError:http://x.invalid/"),
                r#"{"__type": "Other"}"#,
            ),
            (Some("FooError"), "<html>"),
            (None, r#"{"__type": "aws.x#FooError"}"#),
            (None, r#"{"code": "FooError", "__type": 7}"#),
        ] {
            let refusal = refusal(header, body);
            assert_eq!(refusal.code, "FooError", "{header:?} {body}");
            assert_eq!(refusal.request_id.as_deref(), Some("id-1"));
        }
        for body in ["", "[]", "<html>", "\u{0}", r#"{"code": null}"#] {
            let refusal = refusal(None, body);
            assert_eq!(
                (refusal.code.as_str(), refusal.message),
                ("", None),
                "{body}"
            );
        }
    }

    #[test]
    fn the_message_is_found_in_either_spelling() {
        for name in ["message", "Message", "errorMessage"] {
            let refusal = refusal(None, &format!(r#"{{"{name}": "no"}}"#));
            assert_eq!(refusal.message.as_deref(), Some("no"));
        }
    }

    #[test]
    fn too_early_is_told_by_the_problem_and_without_one_by_the_message() {
        let details = |problem: &str| {
            format!(
                r#"{{"Message": "Request too early", "Details": {{"InvalidParameters": {{"any": {{"Problem": "{problem}"}}}}}}}}"#
            )
        };
        assert!(refusal(None, &details("PollIntervalNotSatisfied")).too_early);
        assert!(!refusal(None, &details("Expired")).too_early);
        assert!(refusal(None, r#"{"Message": "Request TOO early"}"#).too_early);
        assert!(!refusal(None, r#"{"Message": "Token not valid"}"#).too_early);
    }
}
