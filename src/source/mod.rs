//! The AppConfig Data client: the AWS SDK over one shared reqwest connector, SDK retries off.
//!
//! The session machine decides what is sent again and when; here a call is one request, ends within ten seconds, and
//! what it brings is checked before anybody sees it.

mod account;
mod answer;
mod connector;
mod environment;
mod fault;
mod network;
mod proxy;
mod survey;
mod token;
mod trust;

pub use answer::Answer;
pub use connector::Trouble;
pub use fault::{Fault, FaultKind};
pub use survey::{Caller, Survey};
pub use token::Token;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_appconfigdata::Client;
use aws_sdk_appconfigdata::operation::get_latest_configuration::GetLatestConfigurationError;
use aws_sdk_appconfigdata::types::error::BadRequestException;
use aws_sdk_appconfigdata::types::{BadRequestDetails, InvalidParameterProblem};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use crate::protocol::Identity;
use crate::settings::{AssumeRole, Profile, Settings, SourceSettings};

use account::Account;
use connector::Connections;
use environment::Environment;
use fault::{BadRequest, Call, Operation};

/// Calls that are under way at once, whoever makes them: each has a connection of its own. The daemon allows itself fewer
/// polls at once; `plan` asks for all profiles without a bound of its own.
const CALLS_AT_ONCE: usize = 128;
/// How long a region that nobody knows is not asked for again.
const REGION_PATIENCE: Duration = Duration::from_secs(20);

/// Calls AppConfig Data for any profile; cheap to clone.
#[derive(Clone)]
pub struct Source(Arc<Inner>);

struct Inner {
    place: Place,
    calls: Semaphore,
}

/// Where the calls go.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one in a process, and it lives behind an `Arc`"
)]
enum Place {
    Aws {
        account: Box<Account>,
        known: Mutex<Known>,
    },
    Local {
        directory: PathBuf,
        client: Client,
    },
}

/// What the first call finds out.
#[derive(Default)]
struct Known {
    config: Option<SdkConfig>,
    /// The metadata service did not know the region: it is left alone until then, or every profile would ask it anew.
    unknown_until: Option<Instant>,
    clients: HashMap<Option<AssumeRole>, Client>,
}

impl Source {
    /// Builds clients; makes no call. `local_endpoint`: where the embedded server listens.
    ///
    /// Fails (`Operator`) where the proxies of the environment, the CA bundle or TLS cannot be used.
    pub async fn new(settings: &Settings, local_endpoint: Option<String>) -> Result<Source, Fault> {
        let environment = Environment::of_process();
        let place = match &settings.source {
            SourceSettings::Local { directory } => {
                let endpoint = local_endpoint.ok_or_else(|| {
                    Fault::operator(
                        "the embedded server has no address: it has to be started before its client"
                            .into(),
                    )
                })?;
                // On loopback there is nothing to proxy and nobody to trust.
                let connections = Connections::new(vec![], vec![], account::CONNECT_TIMEOUT)?;
                let http = SharedHttpClient::new(connections);
                Place::Local {
                    directory: directory.clone(),
                    client: account::local_client(&endpoint, http),
                }
            }
            SourceSettings::Aws(aws) => {
                let bundle = aws
                    .ca_bundle
                    .as_deref()
                    .or(environment.ca_bundle.as_deref());
                let connections = Connections::new(
                    proxy::proxies(&environment)?,
                    trust::authorities(bundle)?,
                    account::CONNECT_TIMEOUT,
                )?;
                let http = SharedHttpClient::new(connections);
                Place::Aws {
                    account: Box::new(Account::look(aws.clone(), http).await),
                    known: Mutex::default(),
                }
            }
        };
        let calls = Semaphore::new(CALLS_AT_ONCE);
        Ok(Source(Arc::new(Inner { place, calls })))
    }

    /// Without any network. A region that only the instance metadata service knows is `-`.
    pub fn identity(&self, profile: &Profile) -> Identity {
        let names = format!(
            "application={:?} environment={:?} configuration_profile={:?}",
            profile.application, profile.environment, profile.configuration_profile
        );
        let text = match &self.0.place {
            Place::Local { directory, .. } => format!("local={directory:?} {names}"),
            Place::Aws { account, .. } => format!(
                "endpoint={:?} region={:?} role={:?} {names}",
                account.endpoint.as_deref().unwrap_or("-"),
                account.region.as_deref().unwrap_or("-"),
                profile
                    .assume_role
                    .as_ref()
                    .map_or("-", |role| role.role_arn.as_str()),
            ),
        };
        Identity(text.into())
    }

    /// A new session's first token. The profile's interval is asked for, unless it is zero.
    pub async fn start_session(&self, profile: &Profile) -> Result<Token, Fault> {
        let call = self.call(Operation::StartConfigurationSession, profile, None);
        let interval = i32::try_from(profile.poll_interval.as_secs()).unwrap_or(i32::MAX);
        let client = self.client(&call).await?;
        let _turn = self.0.calls.acquire().await;
        // Boxed: the SDK's future is large, and would stay allocated in a task that sleeps between polls.
        let started = Box::pin(
            client
                .start_configuration_session()
                .application_identifier(&profile.application)
                .environment_identifier(&profile.environment)
                .configuration_profile_identifier(&profile.configuration_profile)
                .set_required_minimum_poll_interval_in_seconds((interval > 0).then_some(interval))
                .send(),
        )
        .await
        .map_err(|error| Fault::of_sdk(&call, &error, |_| None))?;
        started
            .initial_configuration_token
            .and_then(Token::new)
            .ok_or_else(|| {
                Fault::of_answer(
                    &call,
                    "the answer has no token, or one that cannot be a token",
                )
            })
    }

    /// One call with this token.
    pub async fn get_latest(&self, profile: &Profile, token: Token) -> Result<Answer, Fault> {
        let call = self.call(
            Operation::GetLatestConfiguration,
            profile,
            Some(token.reveal()),
        );
        let client = self.client(&call).await?;
        let _turn = self.0.calls.acquire().await;
        let request = client
            .get_latest_configuration()
            .configuration_token(token.reveal());
        let output = Box::pin(request.send())
            .await
            .map_err(|error| Fault::of_sdk(&call, &error, bad_request))?;
        Answer::of(&call, output)
    }

    fn call<'a>(
        &'a self,
        operation: Operation,
        profile: &'a Profile,
        token: Option<&'a str>,
    ) -> Call<'a> {
        let (endpoint, region) = match &self.0.place {
            Place::Local { .. } => ("the embedded server", "local"),
            Place::Aws { account, .. } => (
                account
                    .endpoint
                    .as_deref()
                    .unwrap_or("the service's own endpoint"),
                account.region.as_deref().unwrap_or("-"),
            ),
        };
        Call {
            operation,
            profile,
            region,
            endpoint,
            token,
        }
    }

    /// The client for the call's role.
    async fn client(&self, call: &Call<'_>) -> Result<Client, Fault> {
        let (account, known) = match &self.0.place {
            Place::Local { client, .. } => return Ok(client.clone()),
            Place::Aws { account, known } => (account, known),
        };
        let mut known = known.lock().await;
        let role = &call.profile.assume_role;
        if let Some(client) = known.clients.get(role) {
            return Ok(client.clone());
        }
        let config = match &known.config {
            Some(config) => config.clone(),
            None => {
                if known
                    .unknown_until
                    .is_some_and(|until| Instant::now() < until)
                {
                    return Err(call.no_region());
                }
                match Box::pin(account.config()).await {
                    Some(config) => known.config.insert(config).clone(),
                    None => {
                        known.unknown_until = Some(Instant::now() + REGION_PATIENCE);
                        return Err(call.no_region());
                    }
                }
            }
        };
        let client = Box::pin(account.client(&config, role.as_ref())).await;
        known.clients.insert(role.clone(), client.clone());
        Ok(client)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// Too early, or a token that is not good any more.
fn bad_request(error: &GetLatestConfigurationError) -> Option<BadRequest> {
    let GetLatestConfigurationError::BadRequestException(error) = error else {
        return None;
    };
    Some(if is_too_early(error) {
        BadRequest::TooEarly
    } else {
        BadRequest::Other
    })
}

/// The problem says so, whatever the parameter is called (its name is not documented); without details the message
/// that the service is known to send.
fn is_too_early(error: &BadRequestException) -> bool {
    match error.details() {
        Some(BadRequestDetails::InvalidParameters(parameters)) => {
            parameters.values().any(|parameter| {
                parameter.problem() == Some(&InvalidParameterProblem::PollIntervalNotSatisfied)
            })
        }
        _ => error
            .message()
            .is_some_and(|message| message.to_ascii_lowercase().contains("too early")),
    }
}
