//! The words on the wire: paths, headers, parameters, and the JSON shapes of both operations.
//!
//! Authority, unless a line says otherwise: the service model `appconfigdata` of 2021-11-11 (restJson1). Header names
//! are in lower case, since HTTP compares them without regard to case.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The name in a SigV4 credential scope: that of the control plane, not `appconfigdata`.
pub const SIGNING_NAME: &str = "appconfig";

/// `POST`: StartConfigurationSession, answered with 201.
pub const START_PATH: &str = "/configurationsessions";
/// `GET`: GetLatestConfiguration, answered with 200, changed or not.
pub const GET_PATH: &str = "/configuration";
/// The query parameter of GetLatestConfiguration that carries the token, percent-encoded.
pub const TOKEN_PARAMETER: &str = "configuration_token";
/// The token's member name, and the key under which [`Details`] speak of it (the key is not documented).
pub const TOKEN_MEMBER: &str = "ConfigurationToken";

pub const APPLICATION_MEMBER: &str = "ApplicationIdentifier";
pub const ENVIRONMENT_MEMBER: &str = "EnvironmentIdentifier";
pub const PROFILE_MEMBER: &str = "ConfigurationProfileIdentifier";
pub const INTERVAL_MEMBER: &str = "RequiredMinimumPollIntervalInSeconds";

/// The first token of a session, in the answer of StartConfigurationSession.
pub const INITIAL_TOKEN_MEMBER: &str = "InitialConfigurationToken";
/// The token for the next call; comes with every answer.
pub const NEXT_TOKEN_HEADER: &str = "next-poll-configuration-token";
/// Seconds until the next call may be made; an integer.
pub const NEXT_INTERVAL_HEADER: &str = "next-poll-interval-in-seconds";
/// The label of a hosted version; absent or empty when there is none or nothing has changed.
pub const VERSION_LABEL_HEADER: &str = "version-label";
/// The error's code (restJson1).
pub const ERROR_TYPE_HEADER: &str = "x-amzn-errortype";
pub const REQUEST_ID_HEADER: &str = "x-amzn-requestid";

/// Longest identifier, in characters.
pub const LONGEST_IDENTIFIER: usize = 128;
/// Longest token, in characters.
pub const LONGEST_TOKEN: usize = 8_192;
/// Longest label of a hosted version, in characters (control plane's model).
pub const LONGEST_LABEL: usize = 64;
/// Greatest configuration, in bytes: 4,000 KB (General Reference, quotas).
pub const GREATEST_CONFIGURATION: u64 = 4_000 * 1_024;

/// What the service says to a poll that comes too soon (seen by several clients, not documented).
pub const TOO_EARLY: &str = "Request too early";
/// What the service says to a token that it does not take (seen by one client, not documented).
pub const TOKEN_NOT_VALID: &str = "Token not valid";

/// The body of StartConfigurationSession. Members are optional here so that a missing one is an answer of the service
/// and not of a parser.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StartRequest {
    pub application_identifier: Option<String>,
    pub environment_identifier: Option<String>,
    pub configuration_profile_identifier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_minimum_poll_interval_in_seconds: Option<i64>,
}

/// The answer of StartConfigurationSession. `Debug` does not show the token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StartResponse {
    pub initial_configuration_token: String,
}

impl fmt::Debug for StartResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StartResponse")
    }
}

/// The code of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    BadRequest,
    ResourceNotFound,
    Throttling,
    InternalServer,
    /// The body is not the operation's JSON. Outside the model; what AWS's front ends say.
    Serialization,
    /// No operation has this path. Outside the model.
    UnknownOperation,
    /// The path is an operation's, the verb is not. Outside the model.
    MethodNotAllowed,
    /// The body is larger than any request of the service. Outside the model.
    RequestTooLarge,
}

impl ErrorCode {
    /// As it stands in `x-amzn-ErrorType`.
    pub fn name(self) -> &'static str {
        match self {
            ErrorCode::BadRequest => "BadRequestException",
            ErrorCode::ResourceNotFound => "ResourceNotFoundException",
            ErrorCode::Throttling => "ThrottlingException",
            ErrorCode::InternalServer => "InternalServerException",
            ErrorCode::Serialization => "SerializationException",
            ErrorCode::UnknownOperation => "UnknownOperationException",
            ErrorCode::MethodNotAllowed => "MethodNotAllowedException",
            ErrorCode::RequestTooLarge => "RequestEntityTooLargeException",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            ErrorCode::BadRequest | ErrorCode::Serialization => 400,
            ErrorCode::ResourceNotFound | ErrorCode::UnknownOperation => 404,
            ErrorCode::MethodNotAllowed => 405,
            ErrorCode::RequestTooLarge => 413,
            ErrorCode::Throttling => 429,
            ErrorCode::InternalServer => 500,
        }
    }
}

/// Why a BadRequestException: the only value there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    InvalidParameters,
}

/// What is wrong with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Problem {
    /// It could not be understood by the service.
    Corrupted,
    /// It can no longer be used.
    Expired,
    /// The call came before the interval had passed.
    PollIntervalNotSatisfied,
}

impl Problem {
    pub fn name(self) -> &'static str {
        match self {
            Problem::Corrupted => "Corrupted",
            Problem::Expired => "Expired",
            Problem::PollIntervalNotSatisfied => "PollIntervalNotSatisfied",
        }
    }
}

/// Which resource a ResourceNotFoundException is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResourceType {
    Application,
    ConfigurationProfile,
    Deployment,
    Environment,
    Configuration,
}

impl ResourceType {
    pub fn name(self) -> &'static str {
        match self {
            ResourceType::Application => "Application",
            ResourceType::ConfigurationProfile => "ConfigurationProfile",
            ResourceType::Deployment => "Deployment",
            ResourceType::Environment => "Environment",
            ResourceType::Configuration => "Configuration",
        }
    }
}

/// The problem of one parameter, inside [`Details`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InvalidParameter {
    pub problem: Problem,
}

/// A union of one variant: parameter → problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Details {
    InvalidParameters(BTreeMap<String, InvalidParameter>),
}

/// The body of every error: the members that the code does not have are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorBody {
    #[serde(alias = "message")]
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<ResourceType>,
    /// Member of the request → its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referenced_by: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_early_polls_body_has_the_models_shape() {
        let parameter = InvalidParameter {
            problem: Problem::PollIntervalNotSatisfied,
        };
        let body = ErrorBody {
            message: TOO_EARLY.into(),
            reason: Some(Reason::InvalidParameters),
            details: Some(Details::InvalidParameters(
                [(TOKEN_MEMBER.into(), parameter)].into(),
            )),
            ..ErrorBody::default()
        };
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"Message":"Request too early","Reason":"InvalidParameters","Details":{"InvalidParameters":{"ConfigurationToken":{"Problem":"PollIntervalNotSatisfied"}}}}"#
        );
    }

    #[test]
    fn a_start_response_does_not_show_its_token() {
        let response = StartResponse {
            initial_configuration_token: "secret".into(),
        };
        assert!(!format!("{response:?}").contains("secret"));
    }
}
