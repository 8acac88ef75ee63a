//! The connections of this process, and the SDK's way to them when it asks STS, SSO or the metadata services for credentials.
//!
//! The SDK's default features would pull in a second, older HTTP and TLS stack with known vulnerabilities; they are off
//! in Cargo.toml, and this stands in.

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
use reqwest::{Certificate, Proxy, redirect};

use super::exchange::{Http, Trouble};
use super::fault::Fault;
use super::network::Network;
use crate::words::last_cause;

/// Connections that are kept open to one host.
const IDLE_CONNECTIONS: usize = 32;

/// The clients of this process; makes the SDK's connectors from them.
pub struct Connections {
    way: Way,
    /// For AppConfig Data, by the limit of connecting that the first caller gave.
    own: Http,
    own_limit: Duration,
    made: Mutex<Made>,
}

/// What every client goes by.
struct Way {
    network: Network,
    proxies: Vec<Proxy>,
    authorities: Vec<Certificate>,
}

/// Of connecting, and of reading an answer.
type Limits = (Option<Duration>, Option<Duration>);

/// The connect limit belongs to a whole client, so there is one for each (two or three exist), and a connector for each
/// pair of connect and read limit: the SDK asks for connectors often.
#[derive(Default)]
struct Made {
    clients: Vec<(Option<Duration>, Http)>,
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
        let way = Way {
            network,
            proxies,
            authorities,
        };
        let own = way.http(Some(connect_timeout)).map_err(|error| {
            Fault::operator(format!(
                "cannot set up TLS: {}; check the system's certificates, SSL_CERT_FILE and the CA bundle",
                last_cause(&error)
            ))
        })?;
        Ok(Connections {
            way,
            own,
            own_limit: connect_timeout,
            made: Mutex::default(),
        })
    }

    /// The client with the connect limit that was given.
    pub fn http(&self) -> Http {
        self.own.clone()
    }

    /// The client with this connect limit; `None`: it could not be built, although the first one could.
    fn within(&self, limit: Option<Duration>, made: &mut Made) -> Option<Http> {
        if limit == Some(self.own_limit) {
            return Some(self.own.clone());
        }
        if let Some((_, http)) = made.clients.iter().find(|(for_, _)| *for_ == limit) {
            return Some(http.clone());
        }
        let http = self.way.http(limit).ok()?;
        made.clients.push((limit, http.clone()));
        Some(http)
    }
}

impl Way {
    fn http(&self, connect_timeout: Option<Duration>) -> reqwest::Result<Http> {
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
        Ok(Http::new(self.network.clone(), builder.build()?))
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
        let connector = SharedHttpConnector::new(Connector {
            http: self.within(limits.0, &mut made),
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
    /// `None`: it could not be built, although the first one could.
    http: Option<Http>,
    read_timeout: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let http = self.http.clone();
        let limit = self.read_timeout;
        HttpConnectorFuture::new(async move {
            let http = http.ok_or_else(|| failed(Trouble::Request))?;
            let exchange = exchange(http, request);
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

/// What the SDK has signed, sent as it is.
async fn exchange(http: Http, request: HttpRequest) -> Result<HttpResponse, Trouble> {
    let request = request.try_into_http1x().map_err(|_| Trouble::Request)?;
    let request = request.map(|body| match body.bytes() {
        Some(bytes) => reqwest::Body::from(bytes.to_vec()),
        None => reqwest::Body::wrap(body),
    });
    let request = reqwest::Request::try_from(request).map_err(|_| Trouble::Request)?;
    let reply = http.exchange(request).await?;
    let mut answer = http::Response::new(SdkBody::from(reply.body));
    *answer.status_mut() = reply.status;
    *answer.headers_mut() = reply.headers;
    HttpResponse::try_from(answer).map_err(|_| Trouble::Lost("its headers cannot be read".into()))
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
