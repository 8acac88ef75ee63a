//! The SDK's way to the network: one HTTP client for AppConfig Data, STS, SSO and the metadata services.
//!
//! The SDK's default features would pull in a second, older HTTP and TLS stack with known vulnerabilities; they are off
//! in Cargo.toml, and this stands in.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::header::CONTENT_ENCODING;
use reqwest::{Certificate, Proxy, redirect};

use super::fault::Fault;
use super::network::Network;
use crate::words::{last_cause, one_line};

/// AppConfig's own limit of a configuration is 4,000 KB.
pub const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
/// Connections that are kept open to one host.
const IDLE_CONNECTIONS: usize = 64;
/// Characters of an encoding's name in a message.
const LONGEST_ENCODING: usize = 40;

/// Why a request brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nothing of the request has reached the other side.
    #[error("cannot connect: {0}")]
    NotConnected(String),
    #[error("the answer was lost: {0}")]
    Lost(String),
    #[error("no answer in time")]
    TimedOut,
    #[error("{0}")]
    Tls(String),
    #[error("the answer is larger than {} MiB", LARGEST_ANSWER / (1024 * 1024))]
    TooLarge,
    /// Its bytes are not what was deployed, and nobody asked for that.
    #[error("the answer is encoded (Content-Encoding: {0})")]
    Encoded(String),
    #[error("the request cannot be made")]
    Request,
}

/// Makes connectors; the clients behind them are shared.
pub struct Connections {
    network: Network,
    proxies: Vec<Proxy>,
    authorities: Vec<Certificate>,
    /// The connect limit belongs to a whole client, so there is one for each (two or three exist), and a connector for
    /// each pair of connect and read limit: the SDK asks for connectors often.
    made: Mutex<Made>,
}

/// Of connecting, and of reading an answer.
type Limits = (Option<Duration>, Option<Duration>);

#[derive(Default)]
struct Made {
    clients: Vec<(Option<Duration>, reqwest::Client)>,
    connectors: Vec<(Limits, SharedHttpConnector)>,
}

impl Connections {
    /// Builds the client for this connect limit, so that what is wrong is known now.
    pub fn new(
        proxies: Vec<Proxy>,
        authorities: Vec<Certificate>,
        connect_timeout: Duration,
    ) -> Result<Connections, Fault> {
        crate::tls::ensure_provider();
        let network = Network::start().map_err(|error| {
            Fault::operator(format!(
                "cannot start a thread for the network: {error}; raise the limits of open files and of processes (`LimitNOFILE=`, `TasksMax=`)"
            ))
        })?;
        let connections = Connections {
            network,
            proxies,
            authorities,
            made: Mutex::default(),
        };
        let client = connections.build(Some(connect_timeout)).map_err(|error| {
            Fault::operator(format!(
                "cannot set up TLS: {}; check the system's certificates, SSL_CERT_FILE and the CA bundle",
                last_cause(&error)
            ))
        })?;
        let made = Made {
            clients: vec![(Some(connect_timeout), client)],
            connectors: Vec::new(),
        };
        Ok(Connections {
            made: Mutex::new(made),
            ..connections
        })
    }

    pub(super) fn build(
        &self,
        connect_timeout: Option<Duration>,
    ) -> reqwest::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            // Not the environment's proxies as they are: see `proxy`.
            .no_proxy()
            // The service never redirects; whoever does is not the service.
            .redirect(redirect::Policy::none())
            .referer(false)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            // In addition to the system's roots.
            .tls_certs_merge(self.authorities.iter().cloned());
        if let Some(limit) = connect_timeout {
            builder = builder.connect_timeout(limit);
        }
        for proxy in &self.proxies {
            builder = builder.proxy(proxy.clone());
        }
        builder.build()
    }
}

impl HttpClient for Connections {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let limits = (settings.connect_timeout(), settings.read_timeout());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, connector)) = made.connectors.iter().find(|(for_, _)| *for_ == limits) {
            return connector.clone();
        }
        let client = made.clients.iter().find(|(for_, _)| *for_ == limits.0);
        let client = match client {
            Some((_, client)) => Some(client.clone()),
            None => {
                let client = self.build(limits.0).ok();
                made.clients
                    .extend(client.clone().map(|client| (limits.0, client)));
                client
            }
        };
        let connector = SharedHttpConnector::new(Connector {
            network: self.network.clone(),
            client,
            read_timeout: limits.1,
        });
        made.connectors.push((limits, connector.clone()));
        connector
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

#[derive(Debug)]
struct Connector {
    network: Network,
    /// `None`: it could not be built, although the first one could.
    client: Option<reqwest::Client>,
    read_timeout: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.client.clone();
        let (network, limit) = (self.network.clone(), self.read_timeout);
        HttpConnectorFuture::new(async move {
            let client = client.ok_or_else(|| failed(Trouble::Request))?;
            let exchange = async move {
                let exchanged = network.run(exchange(client, request)).await;
                exchanged.unwrap_or_else(|| Err(Trouble::Lost("its reader has ended".into())))
            };
            let answer = match limit {
                Some(limit) => tokio::time::timeout(limit, exchange)
                    .await
                    .unwrap_or(Err(Trouble::TimedOut)),
                None => exchange.await,
            };
            answer.map_err(failed)
        })
    }
}

/// One request, its answer read to the end.
async fn exchange(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, Trouble> {
    let request = request.try_into_http1x().map_err(|_| Trouble::Request)?;
    let request = request.map(|body| match body.bytes() {
        Some(bytes) => reqwest::Body::from(bytes.to_vec()),
        None => reqwest::Body::wrap(body),
    });
    let request = reqwest::Request::try_from(request).map_err(|_| Trouble::Request)?;
    let mut response = client.execute(request).await.map_err(trouble)?;
    let mut answer = http::Response::new(());
    *answer.status_mut() = response.status();
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    // None was asked for: whoever encodes it is a proxy, and bytes that were not deployed must not become a file.
    let encodings = answer.headers().get_all(CONTENT_ENCODING);
    if let Some(encoding) = encodings.iter().find(|one| *one != "identity") {
        let encoding = String::from_utf8_lossy(encoding.as_bytes());
        return Err(Trouble::Encoded(one_line(&encoding, LONGEST_ENCODING)));
    }
    // The body is read here, because only here it can be bounded, and it is copied out of the connection's buffer,
    // which a slice of it would keep alive.
    let announced = response.content_length().unwrap_or_default();
    if announced > LARGEST_ANSWER as u64 {
        return Err(Trouble::TooLarge);
    }
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or_default());
    while let Some(chunk) = response.chunk().await.map_err(trouble)? {
        if body.len().saturating_add(chunk.len()) > LARGEST_ANSWER {
            return Err(Trouble::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    HttpResponse::try_from(answer.map(|()| SdkBody::from(body)))
        .map_err(|_| Trouble::Lost("its headers cannot be read".into()))
}

/// Hands trouble to the SDK as the kind of error that it does not retry, where a second try would be in vain.
fn failed(trouble: Trouble) -> ConnectorError {
    match trouble {
        Trouble::TimedOut => ConnectorError::timeout(trouble.into()),
        Trouble::NotConnected(_) | Trouble::Lost(_) => ConnectorError::io(trouble.into()),
        // TLS errors arrive as connect errors: as `io` they would be retried by the credential providers.
        Trouble::Tls(_) | Trouble::TooLarge | Trouble::Encoded(_) | Trouble::Request => {
            ConnectorError::other(trouble.into(), None)
        }
    }
}

/// The URL carries the token, so it is dropped before anything is made of the error.
pub(super) fn trouble(error: reqwest::Error) -> Trouble {
    let error = error.without_url();
    if let Some(tls) = tls_error(&error) {
        return Trouble::Tls(match tls {
            rustls::Error::InvalidCertificate(reason) => {
                format!("the server's certificate is not trusted: {reason:?}")
            }
            other => format!("no TLS connection: {other}"),
        });
    }
    if error.is_connect() {
        return Trouble::NotConnected(last_cause(&error).to_string());
    }
    if error.is_timeout() {
        return Trouble::TimedOut;
    }
    if error.is_builder() {
        return Trouble::Request;
    }
    Trouble::Lost(last_cause(&error).to_string())
}

fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // The source of an I/O error is its inner error's source: the inner error itself has to be asked for.
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(|io| io.get_ref());
        if let Some(tls) = inner.and_then(|inner| tls_error(inner)) {
            return Some(tls);
        }
        next = error.source();
    }
    None
}
