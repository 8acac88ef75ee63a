//! Where metrics and health are told: on this machine only.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::field::Field;
use super::finding::Findings;
use super::path::absolute_path;
use super::valid::Listen;
use super::written;

const EXAMPLE: &str =
    "write `metrics: {listen: \"127.0.0.1:9464\"}`, or the path of a socket as `listen`";

/// `None` after a finding.
pub fn listen(
    metrics: &Field<written::Metrics>,
    findings: &mut Findings,
) -> Option<Option<Listen>> {
    let given = match metrics {
        Field::Absent => return Some(None),
        Field::Broken => return None,
        Field::Given(given) => given,
    };
    if given.value.listen.is_absent() {
        findings
            .error(given.key, "`metrics` has no `listen`")
            .help(EXAMPLE);
    }
    let listen = given.value.listen.given()?;
    let text = &listen.value;
    if text.starts_with('/') {
        let path = absolute_path(listen.at, text, "a socket", findings)?;
        return Some(Some(Listen::Socket(PathBuf::from(path.as_str()))));
    }
    let Ok(address) = text.parse::<SocketAddr>() else {
        findings
            .error(
                listen.at,
                format!("`{text}` is neither an address with a port nor the path of a socket"),
            )
            .help(EXAMPLE);
        return None;
    };
    if !address.ip().is_loopback() {
        findings
            .error(
                listen.at,
                format!("`{text}` is not a loopback address, and nobody is asked for a password there"),
            )
            .help("write `127.0.0.1` or `[::1]`, and let a proxy or the collector's agent carry it to other machines");
        return None;
    }
    Some(Some(Listen::Loopback(address)))
}
