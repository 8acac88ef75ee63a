//! One request over HTTP and its answer, read to the end and bounded.

use std::error::Error as StdError;

use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};

use super::network::Network;
use crate::words::{last_cause, one_line};

/// AppConfig's own limit of a configuration is 4,000 KB.
pub const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
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

/// A client and the thread that its connections live on; cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    network: Network,
    client: reqwest::Client,
}

/// A whole answer. `Debug` is not given: headers and body carry tokens and configurations.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Http {
    pub(super) fn new(network: Network, client: reqwest::Client) -> Http {
        Http { network, client }
    }

    /// Has no time limit but that of connecting. Whoever stops waiting stops the exchange.
    pub async fn exchange(&self, request: reqwest::Request) -> Result<Reply, Trouble> {
        let exchanged = self
            .network
            .run(exchange(self.client.clone(), request))
            .await;
        exchanged.unwrap_or_else(|| Err(Trouble::Lost("its reader has ended".into())))
    }
}

async fn exchange(client: reqwest::Client, request: reqwest::Request) -> Result<Reply, Trouble> {
    let mut response = client.execute(request).await.map_err(trouble)?;
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    // None was asked for: whoever encodes it is a proxy, and bytes that were not deployed must not become a file.
    let encodings = headers.get_all(CONTENT_ENCODING);
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
    Ok(Reply {
        status,
        headers,
        body,
    })
}

/// The URL carries the token, so it is dropped before anything is made of the error.
fn trouble(error: reqwest::Error) -> Trouble {
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
