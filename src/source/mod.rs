//! The AppConfig Data client: the AWS SDK's credentials, endpoints and signatures over one shared HTTP client.
//!
//! The session machine decides what is sent again and when; here a call is one request, ends within ten seconds, and
//! what it brings is checked before anybody sees it.

mod account;
mod answer;
mod client;
mod connector;
mod credentials;
mod environment;
mod exchange;
mod fault;
mod lack;
mod network;
mod proxy;
mod refusal;
mod survey;
mod token;
mod trust;

pub use answer::Answer;
pub use exchange::Trouble;
pub use fault::{Fault, FaultKind};
pub use lack::Lack;
pub use survey::{Caller, NoEndpoint, Survey, Who};
pub use token::Token;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use crate::protocol::Identity;
use crate::protocol::wire::{INITIAL_TOKEN_MEMBER, StartRequest};
use crate::settings::{AssumeRole, Profile, Settings, SourceSettings};

use account::Account;
use client::Client;
use connector::Connections;
use environment::Environment;
use exchange::Reply;
use fault::{Call, Operation};
use refusal::Refusal;

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
                let client = account::local_client(&endpoint, connections.http());
                Place::Local {
                    directory: directory.clone(),
                    client: client.map_err(Fault::operator)?,
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
                Place::Aws {
                    account: Box::new(Account::look(aws.clone(), connections).await),
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
        let request = StartRequest {
            application_identifier: Some(profile.application.clone()),
            environment_identifier: Some(profile.environment.clone()),
            configuration_profile_identifier: Some(profile.configuration_profile.clone()),
            required_minimum_poll_interval_in_seconds: (interval > 0).then_some(interval.into()),
        };
        let client = self.client(&call).await?;
        let call = self.to(call, &client);
        let turn = self.0.calls.acquire().await;
        let answered = client.start(&request).await;
        drop(turn);
        let reply = taken(&call, &client, answered)?;
        let refuse = |what| Fault::of_answer(&call, what);
        // Of the parser's words only that there are some: they may quote what was answered.
        let body: Value = serde_json::from_slice(&reply.body)
            .map_err(|_| refuse("an answer that cannot be read: it is not JSON"))?;
        let token = body.get(INITIAL_TOKEN_MEMBER).and_then(Value::as_str);
        let token = token.and_then(Token::new);
        token.ok_or_else(|| refuse("the answer has no token, or one that cannot be a token"))
    }

    /// One call with this token.
    pub async fn get_latest(&self, profile: &Profile, token: Token) -> Result<Answer, Fault> {
        let token = token.reveal();
        let call = self.call(Operation::GetLatestConfiguration, profile, Some(token));
        let client = self.client(&call).await?;
        let call = self.to(call, &client);
        let turn = self.0.calls.acquire().await;
        let answered = client.get(token).await;
        drop(turn);
        Answer::of(&call, taken(&call, &client, answered)?)
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

    /// The call with the endpoint and the region that this client knows.
    fn to<'a>(&self, call: Call<'a>, client: &'a Client) -> Call<'a> {
        match &self.0.place {
            Place::Local { .. } => call,
            Place::Aws { .. } => Call {
                endpoint: client.endpoint(),
                region: client.region(),
                ..call
            },
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
        let client = client.map_err(|why| call.unmakeable(&why))?;
        known.clients.insert(role.clone(), client.clone());
        Ok(client)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// The answer, if it is a success.
fn taken(call: &Call<'_>, client: &Client, answered: client::Answered) -> Result<Reply, Fault> {
    let reply = answered.map_err(|failure| Fault::of_failure(call, &failure))?;
    if reply.status.is_success() {
        return Ok(reply);
    }
    let refusal = Refusal::of(&reply);
    if refusal.doubts_credentials() {
        client.doubt_credentials();
    }
    Err(Fault::of_refusal(call, &refusal))
}
