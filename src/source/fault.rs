//! Why a call brought nothing, in one line that an operator can act on.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_appconfigdata::config::http::HttpResponse;
use aws_sdk_appconfigdata::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_appconfigdata::operation::RequestId;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::connector::Trouble;
use crate::words::{escape, last_cause};

/// The longest text of somebody else's that a message carries, in characters.
const LONGEST_FOREIGN: usize = 300;

/// Why a call brought nothing, sorted by what happens next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    pub kind: FaultKind,
    /// One line: profile, operation, code, message, request id, remedy. Never a token or a body.
    pub message: String,
    /// The request may have reached the service. False: certainly not, a token in it is unspent.
    pub sent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The answer was lost or none came (time-out, connection, 5xx): it may have been processed, see `Fault::sent`.
    Lost,
    /// 429: again later.
    Throttled,
    /// Polled early: wait, the token is not spent.
    TooEarly,
    /// The token is not good any more: a new session.
    TokenRefused,
    /// Resource not found: operator's problem; session and token stay.
    NotFound,
    /// Credentials, permissions, TLS, settings: operator's problem; session and token stay.
    Operator,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    StartConfigurationSession,
    GetLatestConfiguration,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Operation::StartConfigurationSession => "StartConfigurationSession",
            Operation::GetLatestConfiguration => "GetLatestConfiguration",
        }
    }
}

/// What a fault's message is about.
pub struct Call<'a> {
    pub operation: Operation,
    pub profile: &'a crate::settings::Profile,
    /// As it is known; `-` where it is not.
    pub region: &'a str,
    /// The endpoint, or what stands for the service's own.
    pub endpoint: &'a str,
    /// What was sent: it must not come back in a message.
    pub token: Option<&'a str>,
}

/// What the service said of a bad request's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    TooEarly,
    Other,
}

impl Fault {
    /// A fault that the operator has to repair, found before anything was sent.
    pub fn operator(message: String) -> Fault {
        Fault {
            kind: FaultKind::Operator,
            message,
            sent: false,
        }
    }

    /// Of an answer that came but is not what the service answers. The request was taken in by somebody.
    pub(super) fn of_answer(call: &Call<'_>, what: &str) -> Fault {
        let message = format!(
            "{}: {what}; check that {} is an AppConfig Data endpoint and that no proxy answers in its place",
            call.head(),
            call.endpoint,
        );
        Fault {
            kind: FaultKind::Operator,
            message,
            sent: true,
        }
    }

    /// Of an error of the SDK. `bad_request` reads the details of a BadRequestException.
    pub(super) fn of_sdk<E>(
        call: &Call<'_>,
        error: &SdkError<E, HttpResponse>,
        bad_request: impl Fn(&E) -> Option<BadRequest>,
    ) -> Fault
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        match error {
            SdkError::ServiceError(context) => {
                let status = context.raw().status().as_u16();
                if context.raw().status().is_success() {
                    let why = call.without_token(&last_cause(context.err()).to_string());
                    let what = format!(
                        "an answer (status {status}) that cannot be read: {}",
                        clean(&why)
                    );
                    return Fault::of_answer(call, &what);
                }
                of_service(
                    call,
                    status,
                    context.err().meta(),
                    bad_request(context.err()),
                )
            }
            SdkError::ResponseError(_) => {
                Fault::of_answer(call, "the answer's headers cannot be read")
            }
            SdkError::TimeoutError(_) => {
                call.fault(FaultKind::Lost, true, "no answer in time", &call.is_it_up())
            }
            SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
                Some(error) => of_dispatch(call, error),
                None => call.fault(FaultKind::Lost, true, "the call failed", &call.is_it_up()),
            },
            SdkError::ConstructionFailure(_) => of_dispatch(call, error),
            _ => call.fault(FaultKind::Lost, true, "the call failed", &call.is_it_up()),
        }
    }
}

/// Errors before an answer: credentials, connection, settings.
fn of_dispatch(call: &Call<'_>, error: &(dyn StdError + 'static)) -> Fault {
    let trouble = find::<Trouble>(error);
    if let Some(credentials) = find::<CredentialsError>(error) {
        return of_credentials(call, credentials, trouble);
    }
    match trouble {
        Some(trouble @ Trouble::NotConnected(_)) => {
            let what = format!("cannot connect to {}: {}", call.endpoint, inner(trouble));
            call.fault(FaultKind::Lost, false, &what, "is the endpoint right and reachable?")
        }
        Some(trouble @ (Trouble::Lost(_) | Trouble::TimedOut)) => {
            call.fault(FaultKind::Lost, true, &trouble.to_string(), &call.is_it_up())
        }
        Some(trouble @ Trouble::Tls(_)) => call.fault(
            FaultKind::Operator,
            false,
            &format!("{}: {trouble}", call.endpoint),
            "check the endpoint's scheme and name, this machine's clock, and name a private authority \
             in `aws.ca_bundle` or AWS_CA_BUNDLE",
        ),
        Some(Trouble::TooLarge) => call.fault(
            FaultKind::Operator,
            true,
            &Trouble::TooLarge.to_string(),
            "the service allows 4,000 KB: check that the endpoint is an AppConfig Data endpoint",
        ),
        Some(trouble @ Trouble::Encoded(_)) => call.fault(
            FaultKind::Operator,
            true,
            &format!("{trouble}, which was not asked for"),
            "the service does not do that: take out of the way the proxy that does, or correct the endpoint",
        ),
        Some(Trouble::Request) | None => {
            let (what, limit) = (clean(&last_cause(error).to_string()), "check region, endpoint and the AWS_ variables");
            call.fault(FaultKind::Operator, false, &format!("cannot make the request: {what}"), limit)
        }
    }
}

/// No credentials: whether somebody said no, or could not be reached, makes the difference.
fn of_credentials(call: &Call<'_>, error: &CredentialsError, trouble: Option<&Trouble>) -> Fault {
    let remedy = "check the credentials of this process (environment, shared config files, instance or task \
                  role), `aws.credentials_profile` and `assume_role`";
    let unreachable = matches!(
        trouble,
        Some(Trouble::NotConnected(_) | Trouble::Lost(_) | Trouble::TimedOut)
    );
    let (kind, what) = match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            (FaultKind::Operator, "no credentials were found".to_owned())
        }
        CredentialsError::ProviderTimedOut(_) => (
            FaultKind::Lost,
            "the credentials' provider did not answer in time".to_owned(),
        ),
        _ => {
            let kind = if unreachable {
                FaultKind::Lost
            } else {
                FaultKind::Operator
            };
            (
                kind,
                format!(
                    "cannot get credentials: {}",
                    clean(&last_cause(error).to_string())
                ),
            )
        }
    };
    call.fault(kind, false, &what, remedy)
}

/// An error that the service, or somebody in its place, answered.
fn of_service(
    call: &Call<'_>,
    status: u16,
    error: &aws_sdk_appconfigdata::error::ErrorMetadata,
    bad_request: Option<BadRequest>,
) -> Fault {
    let get = call.operation == Operation::GetLatestConfiguration;
    let code = error.code().unwrap_or_default();
    let kind = match (code, status) {
        ("BadRequestException", _) if get => match bad_request {
            Some(BadRequest::TooEarly) => FaultKind::TooEarly,
            Some(BadRequest::Other) | None => FaultKind::TokenRefused,
        },
        ("ResourceNotFoundException", _) => FaultKind::NotFound,
        ("ThrottlingException" | "Throttling" | "TooManyRequestsException" | "SlowDown", _)
        | (_, 429) => FaultKind::Throttled,
        (_, 408 | 500..) => FaultKind::Lost,
        _ => FaultKind::Operator,
    };
    let mut what = match code {
        "" => format!("status {status} without an error code"),
        code => format!("{} ({status})", clean(&call.without_token(code))),
    };
    if let Some(message) = error.message().filter(|message| !message.is_empty()) {
        what.push_str(": ");
        what.push_str(&clean(&call.without_token(message)));
    }
    if let Some(id) = error.request_id() {
        what.push_str(", request id ");
        what.push_str(&clean(&call.without_token(id)));
    }
    let remedy = match (kind, code) {
        (FaultKind::NotFound, _) => format!(
            "check that application `{}`, environment `{}` and configuration profile `{}` exist in region {} \
             and that a version is deployed",
            call.profile.application,
            call.profile.environment,
            call.profile.configuration_profile,
            call.region
        ),
        (FaultKind::Throttled, _) => "a later call may pass".to_owned(),
        (FaultKind::TooEarly, _) => "the interval has to pass first".to_owned(),
        (FaultKind::TokenRefused, _) => "a new session is needed".to_owned(),
        (FaultKind::Lost, _) => "a later call may pass".to_owned(),
        (FaultKind::Operator, code) => remedy(call, code, status),
    };
    call.fault(kind, true, &what, &remedy)
}

/// What to do about an answer that says no.
fn remedy(call: &Call<'_>, code: &str, status: u16) -> String {
    match code {
        "AccessDeniedException" | "AccessDenied" => format!(
            "allow appconfig:StartConfigurationSession and appconfig:GetLatestConfiguration on application `{}`, \
             environment `{}`, configuration `{}` (and kms:Decrypt where it is encrypted)",
            call.profile.application, call.profile.environment, call.profile.configuration_profile
        ),
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestExpired"
        | "RequestTimeTooSkewed" => "check this machine's clock and the secret key".to_owned(),
        "UnrecognizedClientException" | "InvalidClientTokenId" | "ExpiredTokenException"
        | "ExpiredToken" => "check that the credentials are valid and belong to this partition".to_owned(),
        "BadRequestException" => {
            "check the names of application, environment and configuration profile, and `poll_interval`".to_owned()
        }
        "" if status == 404 || !(400..500).contains(&status) => {
            format!("check that {} is an AppConfig Data endpoint", call.endpoint)
        }
        _ => "check endpoint, region, credentials and permissions".to_owned(),
    }
}

impl Call<'_> {
    /// Nothing names a region, and the instance metadata service did not answer.
    pub(super) fn no_region(&self) -> Fault {
        self.fault(
            FaultKind::Operator,
            false,
            "no region is known",
            "set `aws.region`, AWS_REGION, or `region` in the shared config file",
        )
    }

    fn head(&self) -> String {
        format!(
            "profile `{}`: {}",
            clean(self.profile.name.as_str()),
            self.operation.name()
        )
    }

    fn fault(&self, kind: FaultKind, sent: bool, what: &str, remedy: &str) -> Fault {
        let message = format!("{}: {what}; {}", self.head(), escape(remedy, &[]));
        Fault {
            kind,
            message,
            sent,
        }
    }

    fn is_it_up(&self) -> String {
        format!("is {} up and reachable?", self.endpoint)
    }

    /// Neither as it is nor as it stands in the request.
    fn without_token(&self, text: &str) -> String {
        let Some(token) = self.token else {
            return text.to_owned();
        };
        let sent = percent_encode(token.as_bytes(), NON_ALPHANUMERIC).to_string();
        text.replace(token, "…").replace(&sent, "…")
    }
}

/// The words of a connection's failure, without the attempt, which the message names itself.
fn inner(trouble: &Trouble) -> String {
    match trouble {
        Trouble::NotConnected(reason) => clean(reason),
        other => clean(&other.to_string()),
    }
}

/// Somebody else's text: on one line, without control characters, and not for ever.
fn clean(text: &str) -> String {
    let mut short: String = escape(text, &[]).chars().take(LONGEST_FOREIGN).collect();
    if text.chars().nth(LONGEST_FOREIGN).is_some() {
        short.push('…');
    }
    short
}

/// The first cause of this type. The SDK's own rendering of a chain prints the whole raw response, so the chain is only
/// ever searched.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_one_line_and_is_bounded() {
        let text = clean(&format!("a\nb\u{1b}[31m\u{202e}{}", "x".repeat(10_000)));
        assert!(text.starts_with("a\\nb\\u{1b}[31m\\u{202e}x"), "{text}");
        assert_eq!(text.chars().count(), LONGEST_FOREIGN + 1);
    }
}
