//! A notification by HTTP.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue};

use super::{optional, time_of};
use crate::settings::field::{Field, Given};
use crate::settings::finding::Findings;
use crate::settings::origin::http_url;
use crate::settings::path::{Naming, absolute_path};
use crate::settings::valid::{HttpCall, HttpMethod};
use crate::settings::written;

/// What the request itself says.
const OURS: [&str; 4] = ["connection", "content-length", "te", "transfer-encoding"];

pub fn call(
    given: &Given<written::HttpCall>,
    naming: &mut Naming<'_>,
    findings: &mut Findings,
) -> Option<HttpCall> {
    let written = &given.value;
    if written.url.is_absent() {
        findings
            .error(given.key, "`http` has no `url`")
            .help("write `http: {url: \"http://127.0.0.1:9090/-/reload\"}`");
    }
    let url = written.url.given();
    let parsed = url.and_then(|url| http_url(url.at, &url.value, findings));
    let headers = match &written.headers {
        Field::Absent => Some(Vec::new()),
        Field::Broken => None,
        Field::Given(given) => headers(&given.value, findings),
    };
    let socket = match &written.unix_socket {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(file) => {
            let path = absolute_path(file.at, &file.value, "a `unix_socket`", findings);
            path.map(|path| Some(PathBuf::from(path.as_str())))
        }
    };
    let ca = match &written.ca {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(file) => {
            let plain = parsed
                .as_ref()
                .is_some_and(|url| url.scheme_str() == Some("http"));
            if plain {
                findings
                    .error(file.key, "`ca` is for a URL that begins with `https://`")
                    .help("correct the URL, or remove the line");
            }
            let path = naming.file("the CA bundle", file);
            (!plain).then_some(Some(path))
        }
    };
    let body = optional(&written.body)?;
    let timeout = time_of(&written.timeout, "timeout", findings);
    parsed?;
    Some(HttpCall {
        url: url?.value.clone(),
        method: optional(&written.method)?.unwrap_or(HttpMethod::Post),
        headers: headers?,
        body,
        expect: optional(&written.expect)?.map_or(Vec::new(), |statuses| statuses.0),
        ca: ca?,
        unix_socket: socket?,
        timeout: timeout?,
    })
}

fn headers(written: &written::Headers, findings: &mut Findings) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    let mut sound = true;
    for entry in &written.0 {
        let name = entry.name.value.to_ascii_lowercase();
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            findings
                .error(entry.name.at, "this is not the name of a header")
                .help("write it as `Authorization` or `X-Reload`, without a colon in it");
            sound = false;
        } else if OURS.contains(&name.as_str()) {
            findings
                .error(
                    entry.name.at,
                    format!("the header `{name}` is set by the request itself"),
                )
                .help("remove the line");
            sound = false;
        }
        // Never repeated: it may be a password.
        let value = entry.value.as_ref();
        sound &= value.is_some();
        if value.is_some_and(|value| HeaderValue::from_str(value).is_err()) {
            findings
                .error(
                    entry.name.at,
                    "the value of this header has characters that none can have",
                )
                .help("visible characters and spaces are all that it can hold");
            sound = false;
        }
        headers.extend(value.map(|value| (name, value.clone())));
    }
    sound.then_some(headers)
}
