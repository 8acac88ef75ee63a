//! HTTP questions to services on this machine.

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};

use crate::words;

/// Clients, made when they are first needed. Cheap to clone.
///
/// Never through a proxy of the environment, no redirects followed, and each question on a connection of its own: one
/// that was kept open would be answered by the process from before a reload.
#[derive(Clone, Debug, Default)]
pub struct Http {
    plain: Arc<OnceLock<Result<Client, String>>>,
    secure: Arc<OnceLock<Result<Client, String>>>,
}

/// Why there was no success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("answered {0}")]
    Status(reqwest::StatusCode),
    #[error("gave no answer within {0:?}")]
    Late(Duration),
    #[error("cannot be asked: {0}")]
    Lost(String),
    /// Nothing that the service could help.
    #[error("cannot be asked: {0}")]
    Ours(String),
}

impl Http {
    /// A GET; any 2xx is a success, the body is not read.
    pub async fn get(&self, url: &str, limit: Duration) -> Result<(), Failure> {
        let url = Url::parse(url).map_err(|error| Failure::Ours(error.to_string()))?;
        let client = self
            .client(url.scheme() == "https")
            .map_err(Failure::Ours)?;
        // Boxed: the future is big and lives in a task that mostly waits.
        let answer = Box::pin(client.get(url).timeout(limit).send()).await;
        match answer {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(Failure::Status(answer.status())),
            Err(error) if error.is_timeout() => Err(Failure::Late(limit)),
            Err(error) if error.is_builder() => Err(Failure::Ours(innermost(&error))),
            Err(error) => Err(Failure::Lost(innermost(&error))),
        }
    }

    fn client(&self, secure: bool) -> Result<Client, String> {
        let made = if secure { &self.secure } else { &self.plain };
        made.get_or_init(|| client(secure)).clone()
    }
}

/// What every client of ours is made with.
pub fn builder() -> ClientBuilder {
    crate::tls::ensure_provider();
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .pool_max_idle_per_host(0)
        .user_agent(concat!("appconfigd/", env!("CARGO_PKG_VERSION")))
}

/// A URL without what may be secret in it: user, password, query.
pub fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else {
        return "URL".to_owned();
    };
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

fn client(secure: bool) -> Result<Client, String> {
    // A machine without CA certificates can still be asked over plain HTTP.
    let builder = match secure {
        true => builder(),
        false => builder().tls_certs_only([]),
    };
    builder.build().map_err(|error| innermost(&error))
}

/// The cause that says something; reqwest's own words repeat the URL.
pub fn innermost(error: &reqwest::Error) -> String {
    match error.source() {
        Some(cause) => words::one_line(&words::last_cause(cause).to_string(), 200),
        None => "the request failed".to_owned(),
    }
}
