//! What lies between this process and AppConfig Data, looked at one after the other: for `doctor`.

use std::net::IpAddr;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::{ProvideErrorMetadata as _, SdkError};
use jiff::Timestamp;

use super::account::{Account, CONNECT_TIMEOUT, OPERATION_TIMEOUT, endpoint};
use super::connector::Connections;
use super::environment::{Environment, Named};
use super::exchange::{Http, Trouble};
use super::fault::Fault;
use super::lack::{Lack, find};
use super::{client, proxy, trust};
use crate::settings::{AwsSettings, is_loopback};
use crate::words::{last_cause, one_line};

/// Characters of what others have written.
const LONGEST: usize = 300;

/// The way to the service as settings and environment give it.
pub struct Survey {
    account: Account,
    http: Http,
    /// `None`: not known.
    config: Option<SdkConfig>,
    /// A full URL.
    pub endpoint: Result<http::Uri, NoEndpoint>,
    pub region: Option<String>,
    /// Host and port of the proxy that requests to the endpoint take, and the variable that names it.
    pub proxy: Option<(String, &'static str)>,
}

/// Why nobody can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoEndpoint {
    /// Nothing names one, or a region that it follows from.
    Region,
    /// Settings and environment do not go together, with the reason of the SDK's rules.
    Rules(String),
}

/// The endpoint has answered, whatever it was.
pub struct Reached {
    pub status: u16,
    /// What its clock says.
    pub time: Option<Timestamp>,
}

/// Whose credentials are used. No secret is in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Caller {
    /// As the SDK calls the provider.
    pub provider: String,
    pub access_key_id: String,
    pub account: Option<String>,
    pub expires: Option<Timestamp>,
    /// What STS says; `None`: it was not asked.
    pub who: Option<Who>,
}

/// What STS answers to GetCallerIdentity, which needs no permission.
#[derive(Debug, PartialEq, Eq)]
pub enum Who {
    /// The ARN of user or role.
    Known(String),
    /// It does not take the credentials, with the reason.
    Nobody(String),
    /// It was not reached: hosts without a way to STS work all the same.
    Unasked(String),
}

impl Survey {
    /// Reads settings, environment and shared config files; asks the metadata service for a region where nothing else
    /// names one.
    ///
    /// Fails where proxies, authorities or TLS cannot be used.
    pub async fn begin(settings: &AwsSettings) -> Result<Survey, Fault> {
        let environment = Environment::of_process();
        let bundle = settings.ca_bundle.as_deref();
        let bundle = bundle.or(environment.ca_bundle.as_deref());
        let proxies = proxy::proxies(&environment)?;
        let connections = Connections::new(proxies, trust::authorities(bundle)?, CONNECT_TIMEOUT)?;
        let http = connections.http();
        let account = Account::look(settings.clone(), connections).await;
        let config = Box::pin(account.config()).await;
        let region = config.as_ref().and_then(SdkConfig::region);
        let region = region.map(ToString::to_string).or(account.region.clone());
        let endpoint = match (&config, &account.endpoint) {
            (Some(config), _) => match account.endpoint_of(config).await {
                Ok(url) => as_uri(url.as_str()),
                Err(why) => Err(NoEndpoint::Rules(one_line(&why, LONGEST))),
            },
            (None, Some(url)) => as_uri(url),
            (None, None) => Err(NoEndpoint::Region),
        };
        let proxy = endpoint
            .as_ref()
            .ok()
            .and_then(|url| proxy::of(&environment, url));
        Ok(Survey {
            account,
            http,
            config,
            endpoint,
            region,
            proxy,
        })
    }

    /// The endpoint without what may be a password; empty where none is known.
    pub fn shown(&self) -> String {
        let url = self.endpoint.as_ref().ok().map(ToString::to_string);
        let url = url.and_then(|url| reqwest::Url::parse(&url).ok());
        url.as_ref().map(client::shown).unwrap_or_default()
    }

    /// On this machine nobody checks credentials, as a rule.
    pub fn is_loopback(&self) -> bool {
        self.account.endpoint.as_deref().is_some_and(is_loopback)
    }

    /// The addresses of a host.
    pub async fn resolve(host: &str, port: u16) -> Result<Vec<IpAddr>, String> {
        let looked = tokio::net::lookup_host((host, port));
        match tokio::time::timeout(OPERATION_TIMEOUT, looked).await {
            Ok(Ok(addresses)) => Ok(addresses.map(|address| address.ip()).collect()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// One request without credentials, through proxy and TLS.
    pub async fn reach(&self) -> Result<Reached, Trouble> {
        let url = self.endpoint.as_ref().ok().map(ToString::to_string);
        let url = url.and_then(|url| url.parse().ok());
        let request = reqwest::Request::new(http::Method::GET, url.ok_or(Trouble::Request)?);
        let asked = self.http.exchange(request);
        let answered = tokio::time::timeout(OPERATION_TIMEOUT, asked).await;
        let answer = answered.unwrap_or(Err(Trouble::TimedOut))?;
        let date = answer.headers.get(http::header::DATE);
        let date = date.and_then(|date| date.to_str().ok());
        let time = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        Ok(Reached {
            status: answer.status.as_u16(),
            time: time.map(|time| time.timestamp()),
        })
    }

    /// Asks the chain of providers; `Err`: why there are none.
    pub async fn caller(&self) -> Result<Caller, Lack> {
        let provider = self
            .config
            .as_ref()
            .and_then(SdkConfig::credentials_provider);
        let Some(provider) = provider else {
            let error = CredentialsError::not_loaded_no_source();
            return Err(Lack::of(&error, &Named::of_process(), None));
        };
        let credentials = provider.provide_credentials();
        let limit = OPERATION_TIMEOUT.saturating_add(Duration::from_secs(5));
        let credentials = match tokio::time::timeout(limit, credentials).await {
            Ok(Ok(credentials)) => credentials,
            Ok(Err(error)) => return Err(Lack::of(&error, &Named::of_process(), None)),
            Err(_) => {
                let error = CredentialsError::provider_timed_out(limit);
                return Err(Lack::of(&error, &Named::of_process(), None));
            }
        };
        // There is no other way to the provider's name; the SDK prints no secret here.
        let shown = format!("{credentials:?}");
        let provider = shown.split("provider_name: \"").nth(1);
        let provider = provider.and_then(|rest| rest.split('"').next());
        let expires = credentials
            .expiry()
            .and_then(|at| Timestamp::try_from(at).ok());
        Ok(Caller {
            provider: provider.unwrap_or("unknown").to_owned(),
            access_key_id: one_line(credentials.access_key_id(), LONGEST),
            account: credentials.account_id().map(|id| id.as_str().to_owned()),
            expires,
            who: self.who().await,
        })
    }

    /// Not asked for an endpoint on this machine, unless STS has an endpoint of its own.
    async fn who(&self) -> Option<Who> {
        let config = self.config.as_ref()?;
        if self.is_loopback() && endpoint(config, "STS").is_none() {
            return None;
        }
        let asked = aws_sdk_sts::Client::new(config).get_caller_identity();
        // The provider is asked once more for this call.
        let reason = |error: &(dyn std::error::Error + 'static)| match find(error) {
            Some(error) => Lack::of(error, &Named::of_process(), None).what,
            None => one_line(&last_cause(error).to_string(), LONGEST),
        };
        Some(match Box::pin(asked.send()).await {
            Ok(answer) => match answer.arn() {
                Some(arn) => Who::Known(one_line(arn, LONGEST)),
                None => Who::Unasked("its answer names nobody".to_owned()),
            },
            Err(SdkError::ServiceError(error)) => {
                let (code, message) = (error.err().code(), error.err().message());
                let said = [code, message].map(Option::unwrap_or_default).join(": ");
                match error.raw().status().as_u16() {
                    401 | 403 => Who::Nobody(one_line(&said, LONGEST)),
                    status => Who::Unasked(format!("it answers with status {status}")),
                }
            }
            Err(error) => Who::Unasked(reason(&error)),
        })
    }
}

fn as_uri(url: &str) -> Result<http::Uri, NoEndpoint> {
    let parsed: Result<http::Uri, _> = url.parse();
    parsed.map_err(|error| NoEndpoint::Rules(error.to_string()))
}
