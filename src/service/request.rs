//! Notifications by HTTP: an answer is a yes or a no, and everything else is no answer.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, Method, Response, StatusCode};

use super::Verdict;
use super::http::{builder, innermost};
use crate::settings::{HttpCall, HttpMethod};
use crate::words;

/// Bytes of a no that are read, and characters of it that a verdict quotes.
const READ: usize = 4096;
const QUOTED: usize = 300;

/// What a server, or a proxy before it, says that has not looked at the question.
const NOT_NOW: [StatusCode; 6] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_EARLY,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// Sends the request once. `socket`: where it goes instead of to the URL's host. `limit`: until the answer is read.
pub async fn notify(call: &HttpCall, socket: Option<&Path>, limit: Duration) -> Verdict {
    let shown = call.shown();
    let client = match client(call, socket) {
        Ok(client) => client,
        Err(text) => return Verdict::Undecided(text),
    };
    let mut request = client
        .request(method(call.method), &call.url)
        .timeout(limit);
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    if let Some(body) = &call.body {
        request = request.body(body.clone());
    }
    // Boxed: the future is big and lives in a task that mostly waits.
    match Box::pin(request.send()).await {
        Ok(answer) => judge(call, answer).await,
        Err(error) if error.is_timeout() => {
            Verdict::Undecided(format!("`{shown}` was not answered within {limit:?}"))
        }
        Err(error) if nobody_listens(&error) => {
            let place = socket.map_or(String::new(), |path| format!(" on `{}`", path.display()));
            Verdict::Nobody(format!(
                "nobody to tell yet: `{shown}`{place}: {}",
                innermost(&error)
            ))
        }
        Err(error) => Verdict::Undecided(format!("`{shown}`: {}", innermost(&error))),
    }
}

async fn judge(call: &HttpCall, answer: Response) -> Verdict {
    let status = answer.status();
    let yes = match call.expect.as_slice() {
        [] => status.is_success(),
        expected => expected.contains(&status.as_u16()),
    };
    if yes {
        return Verdict::Accepted;
    }
    let words = words::one_line(&start_of(answer).await, QUOTED);
    let colon = if words.is_empty() { "" } else { ": " };
    let text = format!("`{}` answered {status}{colon}{words}", call.shown());
    match NOT_NOW.contains(&status) {
        true => Verdict::Undecided(text),
        false => Verdict::Rejected(text),
    }
}

/// As much of a no as says why. What cannot be read any more is left out: the status has said it.
async fn start_of(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < READ {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(READ);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One for each request: it is a rare one, and what `ca` holds may have changed.
fn client(call: &HttpCall, socket: Option<&Path>) -> Result<Client, String> {
    let secure = call.url.starts_with("https:");
    let builder = match (&call.ca, secure) {
        (Some(file), _) => builder().tls_certs_only(authorities(file)?),
        (None, true) => builder(),
        // A machine without CA certificates can still be asked over plain HTTP.
        (None, false) => builder().tls_certs_only([]),
    };
    let builder = match socket {
        Some(path) => builder.unix_socket(path),
        None => builder,
    };
    let failed = |error| format!("cannot ask `{}`: {}", call.shown(), innermost(&error));
    builder.build().map_err(failed)
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, String> {
    let problem = |what: &str| {
        let shown = file.display();
        format!("cannot use the CA bundle `{shown}`: {what}; it is named by `ca`")
    };
    let pem = std::fs::read(file).map_err(|error| problem(&error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem);
    let certificates = certificates.map_err(|_| problem("it is not a PEM file"))?;
    match certificates.is_empty() {
        true => Err(problem("it holds no certificate")),
        false => Ok(certificates),
    }
}

fn method(method: HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
    }
}

/// Whether there was no one at the address: the service does not run, or not yet.
fn nobody_listens(error: &reqwest::Error) -> bool {
    let mut causes = std::iter::successors(Some(error as &dyn Error), |&error| error.source());
    error.is_connect()
        && causes.any(|cause| {
            let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            matches!(
                kind,
                Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
            )
        })
}
