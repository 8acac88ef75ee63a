//! Why a call brought nothing, in one line that an operator can act on.

use aws_credential_types::provider::error::CredentialsError;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::client::Failure;
use super::environment::{Environment, Named};
use super::exchange::Trouble;
use super::lack::Lack;
use super::proxy;
use super::refusal::Refusal;
use crate::words::escape;

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
            call.place(),
        );
        Fault {
            kind: FaultKind::Operator,
            message,
            sent: true,
        }
    }

    /// Of a call that brought no answer.
    pub(super) fn of_failure(call: &Call<'_>, failure: &Failure) -> Fault {
        match failure {
            Failure::Credentials(error) => of_credentials(call, error),
            Failure::Unmakeable(why) => call.unmakeable(why),
            Failure::Trouble(trouble) => of_trouble(call, trouble),
        }
    }

    /// Of an answer that says no. An answer that is neither a refusal nor what was asked for is [`Fault::of_answer`]'s.
    pub(super) fn of_refusal(call: &Call<'_>, refusal: &Refusal) -> Fault {
        let kind = kind_of(call.operation, refusal);
        let code = refusal.code.as_str();
        let mut what = match code {
            "" => format!("status {} without an error code", refusal.status),
            code => format!("{} ({})", call.foreign(code), refusal.status),
        };
        let message = refusal.message.as_deref().unwrap_or_default();
        if !message.is_empty() {
            what.push_str(": ");
            what.push_str(&call.foreign(message));
        }
        if let Some(id) = &refusal.request_id {
            what.push_str(", request id ");
            what.push_str(&call.foreign(id));
        }
        let profile = call.profile;
        let remedy = match kind {
            FaultKind::NotFound => format!(
                "check that application `{}`, environment `{}` and configuration profile `{}` exist in region {} \
                 and that a version is deployed",
                profile.application,
                profile.environment,
                profile.configuration_profile,
                call.region
            ),
            FaultKind::Throttled | FaultKind::Lost => "a later call may pass".to_owned(),
            FaultKind::TooEarly => "the interval has to pass first".to_owned(),
            FaultKind::TokenRefused => "a new session is needed".to_owned(),
            FaultKind::Operator => remedy(call, code, refusal.status),
        };
        call.fault(kind, true, &what, &remedy)
    }
}

fn kind_of(operation: Operation, refusal: &Refusal) -> FaultKind {
    let get = operation == Operation::GetLatestConfiguration;
    match (refusal.code.as_str(), refusal.status) {
        ("BadRequestException", _) if get && refusal.too_early => FaultKind::TooEarly,
        ("BadRequestException", _) if get => FaultKind::TokenRefused,
        ("ResourceNotFoundException", _) => FaultKind::NotFound,
        ("ThrottlingException" | "Throttling" | "TooManyRequestsException" | "SlowDown", _)
        | (_, 429) => FaultKind::Throttled,
        (_, 408 | 500..) => FaultKind::Lost,
        _ => FaultKind::Operator,
    }
}

/// Of a request that was made and brought no answer.
fn of_trouble(call: &Call<'_>, trouble: &Trouble) -> Fault {
    match trouble {
        Trouble::NotConnected(reason) => {
            let what = format!("cannot connect to {}: {}", call.place(), clean(reason));
            let next = "is the endpoint right and reachable?";
            call.fault(FaultKind::Lost, false, &what, next)
        }
        Trouble::Lost(_) | Trouble::TimedOut => {
            let what = clean(&trouble.to_string());
            let next = format!("is {} up and reachable?", call.place());
            call.fault(FaultKind::Lost, true, &what, &next)
        }
        Trouble::Tls(_) => call.fault(
            FaultKind::Operator,
            false,
            &format!("{}: {trouble}", call.place()),
            "check the endpoint's scheme and name, this machine's clock, and name a private authority \
             in `aws.ca_bundle` or AWS_CA_BUNDLE",
        ),
        Trouble::TooLarge => call.fault(
            FaultKind::Operator,
            true,
            &trouble.to_string(),
            "the service allows 4,000 KB: check that the endpoint is an AppConfig Data endpoint",
        ),
        Trouble::Encoded(_) => call.fault(
            FaultKind::Operator,
            true,
            &format!("{trouble}, which was not asked for"),
            "the service does not do that: take out of the way the proxy that does, or correct the endpoint",
        ),
        Trouble::Request => call.unmakeable(&trouble.to_string()),
    }
}

/// No credentials: whether somebody said no, or could not be reached, makes the difference.
fn of_credentials(call: &Call<'_>, error: &CredentialsError) -> Fault {
    let role = call.profile.assume_role.as_ref();
    let role = role.map(|role| role.role_arn.as_str());
    let lack = Lack::of(error, &Named::of_process(), role);
    let kind = match lack.passing {
        true => FaultKind::Lost,
        false => FaultKind::Operator,
    };
    call.fault(kind, false, &lack.what, &lack.next)
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
            format!("check that {} is an AppConfig Data endpoint", call.place())
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
            "set `aws.region` (for `fetch`: `--region`), AWS_REGION, or `region` in the shared config file",
        )
    }

    /// The endpoint, with the proxy that stands before it.
    fn place(&self) -> String {
        let url = self.endpoint.parse().ok();
        let proxy = url.and_then(|url| proxy::of(&Environment::of_process(), &url));
        let through = proxy.map_or(String::new(), |(proxy, variable)| {
            format!(" (through the proxy {proxy}, {variable})")
        });
        format!("{}{through}", self.endpoint)
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

    /// Nothing was sent.
    pub(super) fn unmakeable(&self, why: &str) -> Fault {
        let what = format!("cannot make the request: {}", clean(why));
        let next = "check the region and where the endpoint comes from (`aws.endpoint_url`, \
                    AWS_ENDPOINT_URL_APPCONFIGDATA, AWS_ENDPOINT_URL, `endpoint_url` of the shared config file)";
        self.fault(FaultKind::Operator, false, &what, next)
    }

    /// Somebody else's text, who may have read the token.
    fn foreign(&self, text: &str) -> String {
        clean(&self.without_token(text))
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

/// Somebody else's text: on one line, without control characters, and not for ever.
fn clean(text: &str) -> String {
    let mut short: String = escape(text, &[]).chars().take(LONGEST_FOREIGN).collect();
    if text.chars().nth(LONGEST_FOREIGN).is_some() {
        short.push('…');
    }
    short
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
