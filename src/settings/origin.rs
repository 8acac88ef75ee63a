//! Where configurations come from, and how often one may ask there.

use std::net::IpAddr;
use std::time::Duration;

use super::Circumstances;
use super::duration::show;
use super::field::{Field, Given};
use super::finding::{Findings, Place};
use super::path::{Directories, NamedKind, NamedPath};
use super::valid::{AssumeRole, AwsSettings, SourceSettings};
use super::written;

/// The source with everything filled in; `None` after a finding.
pub fn source(
    aws: &Field<written::Aws>,
    local: &Field<written::Local>,
    directories: &Directories,
    named: &mut Vec<NamedPath>,
    findings: &mut Findings,
) -> Option<SourceSettings> {
    if let (Some(aws), Some(local)) = (aws.given(), local.given()) {
        findings
            .error(local.key, "`aws` and `local` exclude each other")
            .also(aws.key, "the other one")
            .help("configurations come from AWS or from a directory of this machine: keep one of the two");
        return None;
    }
    match (aws, local) {
        (Field::Broken, _) | (_, Field::Broken) => None,
        (_, Field::Given(given)) => {
            if given.value.directory.is_absent() {
                findings
                    .error(given.key, "`local` has no `directory`")
                    .help("write `local: {directory: ./configurations}`");
            }
            let directory = given.value.directory.given()?;
            let path = directories.name("the directory", NamedKind::Directory, directory);
            let source = SourceSettings::Local {
                directory: path.path.clone(),
            };
            named.push(path);
            Some(source)
        }
        (Field::Absent, Field::Absent) => Some(SourceSettings::Aws(AwsSettings::default())),
        (Field::Given(given), Field::Absent) => {
            let settings = aws_settings(&given.value, directories, named, findings)?;
            Some(SourceSettings::Aws(settings))
        }
    }
}

fn aws_settings(
    written: &written::Aws,
    directories: &Directories,
    named: &mut Vec<NamedPath>,
    findings: &mut Findings,
) -> Option<AwsSettings> {
    let assume_role = match &written.assume_role {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(given) => assume_role(given, findings).map(Some),
    };
    let endpoint_url = match &written.endpoint_url {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(given) => {
            http_url(given.at, &given.value, findings).map(|_| Some(given.value.clone()))
        }
    };
    let ca_bundle = written.ca_bundle.given().map(|given| {
        let path = directories.name("the CA bundle", NamedKind::File, given);
        let resolved = path.path.clone();
        named.push(path);
        resolved
    });
    Some(AwsSettings {
        region: written.region.value().cloned(),
        endpoint_url: endpoint_url?,
        credentials_profile: written.credentials_profile.value().cloned(),
        assume_role: assume_role?,
        ca_bundle,
    })
}

/// A role to assume; `None` after a finding.
pub fn assume_role(
    given: &Given<written::AssumeRole>,
    findings: &mut Findings,
) -> Option<AssumeRole> {
    const HELP: &str = "write `role_arn: arn:aws:iam::123456789012:role/NAME`";
    let written = &given.value;
    if written.role_arn.is_absent() {
        findings
            .error(given.key, "`assume_role` has no `role_arn`")
            .help(HELP);
    }
    let role_arn = written.role_arn.given()?;
    if !role_arn.value.starts_with("arn:") || !role_arn.value.contains(":role/") {
        let message = format!("`{}` is not the ARN of a role", role_arn.value);
        findings.error(role_arn.at, message).help(HELP);
        return None;
    }
    let session_name = written
        .session_name
        .value()
        .map_or("appconfigd", String::as_str);
    Some(AssumeRole {
        role_arn: role_arn.value.clone(),
        external_id: written.external_id.value().cloned(),
        session_name: session_name.to_owned(),
    })
}

/// An `http://` or `https://` URL with a host; `None` after a finding.
pub fn http_url(at: Place, text: &str, findings: &mut Findings) -> Option<http::Uri> {
    const HELP: &str = "write it as `http://HOST:PORT/PATH` or `https://…`";
    let url = text.parse::<http::Uri>().ok().filter(|url| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url.host().is_some_and(|host| !host.is_empty())
    });
    let Some(url) = url else {
        // The text is not repeated: it may hold a password.
        findings.error(at, "this is not a URL for HTTP").help(HELP);
        return None;
    };
    if url
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        findings
            .error(at, "a URL here holds no user name or password")
            .help("remove what stands before the `@`");
        return None;
    }
    Some(url)
}

/// Whether a URL names this machine by a loopback address or `localhost`.
pub fn is_loopback(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else {
        return false;
    };
    // What has no scheme is no URL, even where it looks like a host.
    let Some(host) = url.host().filter(|_| url.scheme().is_some()) else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// How often one may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    pub least: Duration,
    pub default: Duration,
    /// Why not more often.
    reason: &'static str,
}

/// A token of AWS lives for 24 hours.
const MOST: Duration = Duration::from_secs(23 * 3600);

impl Pace {
    pub fn of(
        aws: &Field<written::Aws>,
        local: &Field<written::Local>,
        circumstances: &Circumstances,
    ) -> Pace {
        let second = Duration::from_secs(1);
        if !local.is_absent() {
            let reason = "the local server can be asked once a second";
            return Pace {
                least: second,
                default: 2 * second,
                reason,
            };
        }
        let endpoint = aws.value().and_then(|aws| aws.endpoint_url.value());
        let endpoint = endpoint.or(circumstances.endpoint_url.as_ref());
        if endpoint.is_some_and(|url| is_loopback(url)) {
            let reason = "a server on this machine can be asked once a second";
            return Pace {
                least: second,
                default: 60 * second,
                reason,
            };
        }
        let reason = "AWS can be asked every 15 seconds";
        Pace {
            least: 15 * second,
            default: 60 * second,
            reason,
        }
    }

    /// The interval, if one may ask so often; `None` after a finding.
    pub fn check(
        &self,
        at: Place,
        interval: Duration,
        findings: &mut Findings,
    ) -> Option<Duration> {
        let shown = show(interval);
        let range = format!("from `{}` to `{}`", show(self.least), show(MOST));
        let (message, help) = if interval < self.least {
            (
                format!("`{shown}` is too short an interval"),
                format!("{}: write {range}", self.reason),
            )
        } else if interval > MOST {
            let message = format!("`{shown}` is too long an interval");
            (
                message,
                format!("sessions end after 24 hours without a poll: write {range}"),
            )
        } else if interval.subsec_nanos() > 0 {
            let message = format!("`{shown}` is not a whole number of seconds");
            (
                message,
                format!(
                    "the service counts in seconds: write `{}s`",
                    interval.as_secs()
                ),
            )
        } else {
            return Some(interval);
        };
        findings.error(at, message).help(help);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_address_of_this_machine_or_localhost() {
        for url in [
            "http://127.0.0.1:8080",
            "http://[::1]:1/",
            "http://localhost",
            "http://127.9.9.9/",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://10.0.0.1",
            "https://appconfigdata.eu-west-1.amazonaws.com",
            "localhost",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
