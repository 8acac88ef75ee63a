//! AppConfig Data as one caller: each call is one signed request, ends within ten seconds, and is never sent again.
//!
//! The SDK resolves credentials and endpoints, and its signer signs. Its own machinery of calls is left aside: it takes
//! three times the processor time for every poll, for retries that the session machine must not have.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::header::{CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use reqwest::{Request, Url};
use tokio::time::{Instant, timeout_at};

use super::account::OPERATION_TIMEOUT;
use super::credentials::CachedCredentials;
use super::exchange::{Http, Reply, Trouble};
use crate::clock::Clock;
use crate::protocol::wire::{GET_PATH, SIGNING_NAME, START_PATH, StartRequest, TOKEN_PARAMETER};

/// All but the characters that a URI never encodes (RFC 3986, 2.3): what is signed is what is sent.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Calls in the name of one caller; cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: Http,
    endpoint: Url,
    shown: String,
    region: String,
    agent: HeaderValue,
    credentials: CachedCredentials,
    settings: SigningSettings,
    clock: Clock,
}

/// What a client is made of.
pub struct Config {
    pub http: Http,
    /// Its path, if it has one, stands before the operations'.
    pub endpoint: Url,
    pub region: String,
    pub provider: Option<SharedCredentialsProvider>,
    /// AWS_SDK_UA_APP_ID or `sdk_ua_app_id`: what the operator calls this program in CloudTrail.
    pub app_name: Option<String>,
    pub clock: Clock,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// Nothing was sent.
    Credentials(Arc<CredentialsError>),
    /// Nothing was sent: the request cannot be made, with the reason.
    Unmakeable(String),
    Trouble(Trouble),
}

pub type Answered = Result<Reply, Failure>;

impl Client {
    pub fn new(config: Config) -> Client {
        let agent = concat!("appconfigd/", env!("CARGO_PKG_VERSION"));
        let agent = match config.app_name {
            Some(name) => format!("{agent} app/{name}"),
            None => agent.to_owned(),
        };
        Client(Arc::new(Inner {
            http: config.http,
            shown: shown(&config.endpoint),
            endpoint: config.endpoint,
            region: config.region,
            // The name's own type allows nothing that a header does not.
            agent: HeaderValue::try_from(agent).unwrap_or(HeaderValue::from_static("appconfigd")),
            credentials: CachedCredentials::new(config.provider, config.clock.clone()),
            settings: SigningSettings::default(),
            clock: config.clock,
        }))
    }

    /// The endpoint, for messages.
    pub fn endpoint(&self) -> &str {
        &self.0.shown
    }

    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// StartConfigurationSession.
    pub async fn start(&self, request: &StartRequest) -> Answered {
        let body = serde_json::to_vec(request).map_err(unmakeable)?;
        self.call(Method::POST, self.url(START_PATH, None), body)
            .await
    }

    /// GetLatestConfiguration.
    pub async fn get(&self, token: &str) -> Answered {
        let query = format!("{TOKEN_PARAMETER}={}", escaped(token));
        self.call(Method::GET, self.url(GET_PATH, Some(&query)), vec![])
            .await
    }

    /// The service does not take these credentials: whoever calls next looks whether there are others.
    pub fn doubt_credentials(&self) {
        self.0.credentials.doubt();
    }

    fn url(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.0.endpoint.clone();
        let before = url.path().trim_end_matches('/');
        let path = format!("{before}{path}");
        url.set_path(&path);
        url.set_query(query);
        url
    }

    async fn call(&self, method: Method, url: Url, body: Vec<u8>) -> Answered {
        let ends = Instant::now() + OPERATION_TIMEOUT;
        let mut request = Request::new(method, url);
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, self.0.agent.clone());
        if !body.is_empty() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(CONTENT_TYPE, json);
        }
        let identity = timeout_at(ends, self.0.credentials.get()).await;
        let late = |_| {
            Err(Arc::new(CredentialsError::provider_timed_out(
                OPERATION_TIMEOUT,
            )))
        };
        let identity = identity
            .unwrap_or_else(late)
            .map_err(Failure::Credentials)?;
        self.sign(&mut request, &body, &identity)?;
        if !body.is_empty() {
            *request.body_mut() = Some(body.into());
        }
        let answered = timeout_at(ends, self.0.http.exchange(request)).await;
        let answered = answered.unwrap_or(Err(Trouble::TimedOut));
        answered.map_err(Failure::Trouble)
    }

    /// Signature Version 4 over path, query, body and content type, by the machine's clock.
    fn sign(&self, request: &mut Request, body: &[u8], who: &Identity) -> Result<(), Failure> {
        let params = v4::SigningParams::builder()
            .identity(who)
            .region(&self.0.region)
            .name(SIGNING_NAME)
            .time(SystemTime::from(self.0.clock.now().wall))
            .settings(self.0.settings.clone())
            .build()
            .map_err(unmakeable)?
            .into();
        let headers = request.headers().iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new(
            request.method().as_str(),
            request.url().as_str(),
            headers,
            SignableBody::Bytes(body),
        )
        .map_err(unmakeable)?;
        let signed = sign(signable, &params).map_err(unmakeable)?;
        let (made, _) = signed.into_parts();
        for header in made.into_parts().0 {
            let mut value = HeaderValue::from_str(header.value()).map_err(unmakeable)?;
            value.set_sensitive(header.sensitive());
            let name = HeaderName::try_from(header.name()).map_err(unmakeable)?;
            request.headers_mut().insert(name, value);
        }
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

fn escaped(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

/// Without what may be a password.
pub(super) fn shown(endpoint: &Url) -> String {
    let port = endpoint
        .port()
        .map_or(String::new(), |port| format!(":{port}"));
    let host = endpoint.host_str().unwrap_or_default();
    let path = endpoint.path().trim_end_matches('/');
    format!("{}://{host}{port}{path}", endpoint.scheme())
}

/// The words of libraries that quote neither keys nor the request.
fn unmakeable(error: impl std::error::Error + 'static) -> Failure {
    Failure::Unmakeable(crate::words::last_cause(&error).to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_credential_types::Credentials;
    use http::header::AUTHORIZATION;

    use super::super::connector::Connections;
    use super::*;
    use crate::clock::Now;

    const KEY: &str = "AKIDEXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn client(endpoint: &str, session_token: Option<&str>) -> Client {
        let token = session_token.map(str::to_owned);
        let credentials = Credentials::new(KEY, SECRET, token, None, "test");
        let limit = Duration::from_secs(1);
        Client::new(Config {
            http: Connections::new(vec![], vec![], limit).unwrap().http(),
            endpoint: endpoint.parse().unwrap(),
            region: "eu-west-1".into(),
            provider: Some(SharedCredentialsProvider::new(credentials)),
            app_name: Some("fleet-7".into()),
            clock: Clock::of(|| Now {
                wall: "2026-11-23T12:00:00Z".parse().unwrap(),
                steady: Duration::ZERO,
            }),
        })
    }

    /// The URL and the signature of a request.
    async fn signed(client: &Client, mut request: Request, body: &[u8]) -> (String, String) {
        let identity = client.0.credentials.get().await.unwrap();
        client.sign(&mut request, body, &identity).unwrap();
        let signature = request.headers().get(AUTHORIZATION).unwrap();
        let signature = signature.to_str().unwrap().to_owned();
        (request.url().to_string(), signature)
    }

    /// Both signatures were made by botocore of these requests.
    #[tokio::test]
    async fn requests_are_signed_as_botocore_signs_them() {
        let scope =
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/eu-west-1/appconfig/aws4_request";
        let aws = client(
            "https://appconfigdata.eu-west-1.amazonaws.com",
            Some("session/token=="),
        );
        let query = format!("{TOKEN_PARAMETER}={}", escaped("AYADeL+/=é ~_-.*%x"));
        let request = Request::new(Method::GET, aws.url(GET_PATH, Some(&query)));
        let (url, signature) = signed(&aws, request, b"").await;
        assert_eq!(
            url,
            "https://appconfigdata.eu-west-1.amazonaws.com/configuration?configuration_token=AYADeL%2B%2F%3D%C3%A9%20~_-.%2A%25x"
        );
        assert_eq!(
            signature,
            format!(
                "{scope}, SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=af9c5a957d0e82721e359548e9451a5fd753a71e2a28add760f0909fcbb97b25"
            )
        );

        let own = client("http://127.0.0.1:2772/base/", None);
        let mut request = Request::new(Method::POST, own.url(START_PATH, None));
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        let body = StartRequest {
            application_identifier: Some("shop".into()),
            environment_identifier: Some("prod".into()),
            configuration_profile_identifier: Some("limits".into()),
            required_minimum_poll_interval_in_seconds: None,
        };
        let (url, signature) = signed(&own, request, &serde_json::to_vec(&body).unwrap()).await;
        assert_eq!(url, "http://127.0.0.1:2772/base/configurationsessions");
        assert_eq!(
            signature,
            format!(
                "{scope}, SignedHeaders=content-type;host;x-amz-date, Signature=b5cbda8519e89af7fb4ad6d7dd11eaaf4ec42cd7d286af8355286df834caefb1"
            )
        );
    }

    #[test]
    fn the_agent_names_program_version_and_the_operators_name_for_it() {
        let client = client("http://127.0.0.1:1", None);
        let agent = client.0.agent.to_str().unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(agent, format!("appconfigd/{version} app/fleet-7"));
    }
}
