//! Whose calls these are: endpoint, region, credentials, roles.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::{ProvideRegion, RegionProviderChain};
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_appconfigdata::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::service_config::ServiceConfigKey;
use reqwest::Url;

use super::client::{Client, Config};
use super::connector::Connections;
use super::exchange::Http;
use crate::clock::Clock;
use crate::settings::{AssumeRole, AwsSettings, is_loopback};
use crate::words::last_cause;

/// Every call ends by then; the SDK itself has no such limit.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);
/// The SDK's own default.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);
/// How long a loopback endpoint's caller waits for credentials that it does not need.
const LOOPBACK_PATIENCE: Duration = Duration::from_secs(2);
/// The region where none is needed.
const LOCAL_REGION: &str = "local";

/// What is known without any network.
#[derive(Clone, Debug)]
pub struct Account {
    settings: AwsSettings,
    /// For AppConfig Data.
    http: Http,
    /// For whom the SDK asks for credentials.
    sdk_http: SharedHttpClient,
    /// Where it is set: the settings, the environment, the shared config file, in this order.
    pub endpoint: Option<String>,
    pub region: Option<String>,
}

impl Account {
    /// Reads the environment and the shared config files.
    pub async fn look(settings: AwsSettings, connections: Connections) -> Account {
        let region = offline_region(&settings).await;
        let mut account = Account {
            settings,
            http: connections.http(),
            sdk_http: SharedHttpClient::new(connections),
            endpoint: None,
            region: None,
        };
        let config = account.load(region.clone()).await;
        account.endpoint = account
            .settings
            .endpoint_url
            .clone()
            .or_else(|| endpoint(&config, "AppConfigData"));
        account.region = region.map(|region| region.to_string());
        if account.region.is_none() && account.is_loopback() {
            // Signatures need some region, and nobody on loopback asks which.
            account.region = Some(LOCAL_REGION.to_owned());
        }
        account
    }

    /// Everything that calls are made with. Asks the instance metadata service where nothing else names a region;
    /// `None`: it does not know either, or cannot be reached.
    pub async fn config(&self) -> Option<SdkConfig> {
        let region = match &self.region {
            Some(region) => Region::new(region.clone()),
            None => {
                let provider = ProviderConfig::default().with_http_client(self.sdk_http.clone());
                let imds = ImdsRegionProvider::builder().configure(&provider).build();
                imds.region().await?
            }
        };
        let config = self.load(Some(region)).await;
        if !self.is_loopback() {
            return Some(config);
        }
        let provider = config.credentials_provider();
        let lenient = SharedCredentialsProvider::new(Lenient(provider));
        Some(config.into_builder().credentials_provider(lenient).build())
    }

    /// A client that calls as itself, or in a role. `Err`: why there can be none.
    pub async fn client(
        &self,
        config: &SdkConfig,
        role: Option<&AssumeRole>,
    ) -> Result<Client, String> {
        let endpoint = self.endpoint_of(config).await?;
        let mut provider = config.credentials_provider();
        if let Some(role) = role {
            let mut builder = AssumeRoleProvider::builder(role.role_arn.clone())
                .session_name(role.session_name.clone())
                .configure(config);
            if let Some(id) = &role.external_id {
                builder = builder.external_id(id.clone());
            }
            provider = Some(SharedCredentialsProvider::new(builder.build().await));
        }
        let region = config.region().map(ToString::to_string);
        Ok(Client::new(Config {
            http: self.http.clone(),
            endpoint,
            region: region.unwrap_or_default(),
            provider,
            app_name: config.app_name().map(ToString::to_string),
            clock: Clock::system(),
        }))
    }

    /// The service's, by the SDK's rules for partitions, FIPS and dual stack, or the one that is set.
    pub async fn endpoint_of(&self, config: &SdkConfig) -> Result<Url, String> {
        let params = Params::builder()
            .set_region(config.region().map(ToString::to_string))
            .set_use_fips(config.use_fips())
            .set_use_dual_stack(config.use_dual_stack())
            .set_endpoint(self.endpoint.clone())
            .build();
        let params = params.map_err(|error| error.to_string())?;
        let resolved = DefaultResolver::new();
        let resolved = resolved.resolve_endpoint(&params).await;
        let resolved = resolved.map_err(|error| last_cause(error.as_ref()).to_string())?;
        url(resolved.url())
    }

    fn is_loopback(&self) -> bool {
        self.endpoint.as_deref().is_some_and(is_loopback)
    }

    async fn load(&self, region: Option<Region>) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.sdk_http.clone())
            // The session machine owns every retry; a retry of the SDK would send a token again behind its back.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Always given, so that loading never asks the network.
            .region(Known(region.clone()));
        if let Some(profile) = &self.settings.credentials_profile {
            // Named in the settings it comes before keys in the environment, which in the SDK's chain would win.
            let provider = ProviderConfig::default()
                .with_http_client(self.sdk_http.clone())
                .with_region(region);
            let credentials = ProfileFileCredentialsProvider::builder()
                .configure(&provider)
                .profile_name(profile)
                .build();
            loader = loader
                .profile_name(profile)
                .credentials_provider(credentials);
        }
        loader.load().await
    }
}

/// The embedded server's client: no credential provider is asked, nothing of the environment is read.
pub fn local_client(endpoint: &str, http: Http) -> Result<Client, String> {
    Ok(Client::new(Config {
        http,
        endpoint: url(endpoint)?,
        region: LOCAL_REGION.to_owned(),
        provider: Some(SharedCredentialsProvider::new(nobody())),
        app_name: None,
        clock: Clock::system(),
    }))
}

fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("the endpoint is no URL: {error}"))?;
    match url.has_host() && matches!(url.scheme(), "http" | "https") {
        true => Ok(url),
        false => Err("the endpoint is no http or https URL with a host".to_owned()),
    }
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_timeout(OPERATION_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
}

/// The SDK's order without its last step, the metadata service.
async fn offline_region(settings: &AwsSettings) -> Option<Region> {
    if let Some(region) = &settings.region {
        return Some(Region::new(region.clone()));
    }
    let mut file = ProfileFileRegionProvider::builder();
    if let Some(profile) = &settings.credentials_profile {
        file = file.profile_name(profile);
    }
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(file.build())
        .region()
        .await
}

/// AWS_ENDPOINT_URL_<service>, AWS_ENDPOINT_URL, or the shared config file's, as the SDK resolves them.
pub fn endpoint(config: &SdkConfig, service: &str) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let specific = config
        .service_config()
        .and_then(|service| service.load_config(key));
    specific.or_else(|| config.endpoint_url().map(str::to_owned))
}

/// Credentials of nobody, for a server on this machine that verifies none.
fn nobody() -> Credentials {
    Credentials::new("local", "local", None, None, "local")
}

/// A region that is known, or known to be unknown.
#[derive(Debug)]
struct Known(Option<Region>);

impl ProvideRegion for Known {
    fn region(&self) -> aws_config::meta::region::future::ProvideRegion<'_> {
        aws_config::meta::region::future::ProvideRegion::ready(self.0.clone())
    }
}

/// The chain's credentials if it has some soon, else those of nobody: a server on loopback, as a rule, verifies none,
/// and a laptop without an AWS account has none.
#[derive(Debug)]
struct Lenient(Option<SharedCredentialsProvider>);

impl ProvideCredentials for Lenient {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            let Some(provider) = &self.0 else {
                return Ok(nobody());
            };
            let chain = provider.provide_credentials();
            match tokio::time::timeout(LOOPBACK_PATIENCE, chain).await {
                Ok(Ok(credentials)) => Ok(credentials),
                Ok(Err(_)) | Err(_) => Ok(nobody()),
            }
        })
    }
}
