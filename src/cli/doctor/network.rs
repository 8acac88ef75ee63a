//! The way to AppConfig Data: clock, names, proxy, TLS, credentials, permissions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::permission::statement;
use super::report::{Report, Verdict};
use crate::cli::first::{Miss, first_configuration, said_when_long};
use crate::clock::Clock;
use crate::daemon::status::{ProfileCondition, Status};
use crate::settings::{AwsSettings, Profile, ProfileName, Settings};
use crate::source::{Caller, Fault, FaultKind, NoEndpoint, Source, Survey, Trouble, Who};
use crate::words::count;

/// Signatures are refused beyond; the service says 5 minutes.
const CLOCKS_APART: i64 = 240;
/// Worth a word.
const CLOCKS_DIFFER: i64 = 30;
/// How long one profile is asked for.
const PATIENCE: Duration = Duration::from_secs(12);
/// So many sessions are opened at most: each is a member of a gradual rollout.
const ASKED: usize = 20;

/// Everything before permissions; whether it makes sense to ask for profiles.
pub async fn way(settings: &AwsSettings, clock: &Clock, report: &mut Report) -> bool {
    let survey = match Survey::begin(settings).await {
        Ok(survey) => survey,
        Err(fault) => {
            let next = "correct the variable or the file that is named";
            report.say(Verdict::Failure, "endpoint", &fault.message, next);
            return false;
        }
    };
    let endpoint = match &survey.endpoint {
        Ok(endpoint) => endpoint,
        Err(none) => {
            let (said, next) = of_none(none);
            report.say(Verdict::Failure, "endpoint", &said, next);
            return false;
        }
    };
    let region = survey.region.as_deref().unwrap_or("-");
    report.ok("endpoint", &format!("{}, region {region}", survey.shown()));
    proxy_and_names(&survey, endpoint, report).await;
    let reached = answer(&survey, endpoint, clock, report).await;
    credentials(&survey, clock, report).await;
    reached
}

fn of_none(none: &NoEndpoint) -> (String, &'static str) {
    match none {
        NoEndpoint::Region => (
            "no region is known".to_owned(),
            "set `aws.region`, AWS_REGION, or `region` in the shared config file",
        ),
        NoEndpoint::Rules(why) => (
            format!("no endpoint can be resolved: {why}"),
            "see `aws.region` and `aws.endpoint_url`, AWS_ENDPOINT_URL, AWS_USE_FIPS_ENDPOINT, \
             AWS_USE_DUALSTACK_ENDPOINT, and what the shared config file says of them",
        ),
    }
}

async fn proxy_and_names(survey: &Survey, endpoint: &http::Uri, report: &mut Report) {
    let host = endpoint.host().unwrap_or_default();
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let port = match endpoint.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    let (host, port) = match &survey.proxy {
        Some((proxy, variable)) => {
            report.ok("proxy", &format!("{proxy}, by {variable}"));
            let (host, port) = proxy.rsplit_once(':').unwrap_or((proxy, ""));
            (host.to_owned(), port.parse().unwrap_or(80))
        }
        None => {
            report.ok("proxy", "none is used for the endpoint");
            (host, endpoint.port_u16().unwrap_or(port))
        }
    };
    match Survey::resolve(&host, port).await {
        Ok(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let addresses: BTreeSet<String> = addresses.into_iter().collect();
            let shown: Vec<&str> = addresses.iter().take(3).map(String::as_str).collect();
            report.ok("dns", &format!("`{host}` is {}", shown.join(", ")));
        }
        Err(why) => {
            let said = format!("cannot look up `{host}`: {why}");
            let variable = survey.proxy.as_ref().map(|(_, variable)| *variable);
            let named = variable.unwrap_or("what names region and endpoint");
            let next = format!("see /etc/resolv.conf, and whether {named} is right");
            report.say(Verdict::Unreachable, "dns", &said, &next);
        }
    }
}

async fn answer(survey: &Survey, endpoint: &http::Uri, clock: &Clock, report: &mut Report) -> bool {
    let reached = match survey.reach().await {
        Ok(reached) => reached,
        Err(trouble) => {
            let (verdict, check, next) = match &trouble {
                Trouble::Tls(_) => (
                    Verdict::Failure,
                    "tls",
                    "see this machine's clock and certificates (ca-certificates); a private authority is named by `aws.ca_bundle` or AWS_CA_BUNDLE",
                ),
                Trouble::Request | Trouble::TooLarge | Trouble::Encoded(_) => (
                    Verdict::Failure,
                    "network",
                    "see whether the endpoint is AppConfig Data's, and no proxy answers in its place",
                ),
                Trouble::NotConnected(_) | Trouble::Lost(_) | Trouble::TimedOut => (
                    Verdict::Unreachable,
                    "network",
                    "see the route, the firewall, the security group or the VPC endpoint; HTTPS_PROXY where a proxy is the way out",
                ),
            };
            let through = survey.proxy.as_ref();
            let through = through.map_or(String::new(), |(proxy, variable)| {
                format!(" through the proxy {proxy} ({variable})")
            });
            let said = format!("cannot reach {}{through}: {trouble}", survey.shown());
            report.say(verdict, check, &said, next);
            return false;
        }
    };
    let tls = match endpoint.scheme_str() {
        Some("https") => "its certificate is trusted",
        _ => "no TLS: the endpoint is http",
    };
    let secure = endpoint.scheme_str() == Some("https") || survey.is_loopback();
    let said = format!("the endpoint answers (status {}), {tls}", reached.status);
    match secure {
        true => report.ok("tls", &said),
        false => {
            let next = "use https: whoever is between reads configurations and tokens";
            report.say(Verdict::Warning, "tls", &said, next);
        }
    }
    compare(clock.now().wall, reached.time, report);
    true
}

fn compare(ours: Timestamp, theirs: Option<Timestamp>, report: &mut Report) {
    let Some(theirs) = theirs else {
        return report.ok("clock", "the endpoint does not say what time it is");
    };
    let apart = ours.as_second().saturating_sub(theirs.as_second());
    let direction = if apart < 0 { "behind" } else { "ahead of" };
    let said = format!("{} s {direction} the service's", apart.abs());
    let next = "set this machine's clock (`timedatectl`, chrony): signatures are refused when it is 5 minutes wrong";
    match apart.abs() {
        CLOCKS_APART.. => report.say(Verdict::Failure, "clock", &said, next),
        CLOCKS_DIFFER.. => report.say(Verdict::Warning, "clock", &said, next),
        _ => report.ok("clock", "agrees with the service's"),
    }
}

async fn credentials(survey: &Survey, clock: &Clock, report: &mut Report) {
    match survey.caller().await {
        Ok(caller) => {
            let expired = caller.expires.is_some_and(|at| at <= clock.now().wall);
            let said = caller_said(&caller);
            match (expired, &caller.who) {
                (true, _) => report.say(Verdict::Failure, "credentials", &said, "renew them"),
                (false, Some(Who::Nobody(_))) => {
                    let next =
                        "renew or correct them, and check that they belong to this partition";
                    report.say(Verdict::Failure, "credentials", &said, next);
                }
                (false, _) => report.ok("credentials", &said),
            }
        }
        Err(lack) => report.say(Verdict::Failure, "credentials", &lack.what, &lack.next),
    }
}

fn caller_said(caller: &Caller) -> String {
    if caller.provider == "local" {
        return "none are needed: the endpoint is on this machine".to_owned();
    }
    let account = caller.account.as_deref();
    let account = account.map_or(String::new(), |id| format!(", account {id}"));
    let expires = caller.expires.map(crate::clock::second_of);
    let expires = expires.map_or(String::new(), |at| format!(", until {at}"));
    let who = match &caller.who {
        Some(Who::Known(arn)) => format!(", that is {arn}"),
        Some(Who::Nobody(why)) => format!(", which STS does not take ({why})"),
        Some(Who::Unasked(why)) => format!("; whose they are cannot be asked (STS: {why})"),
        None => String::new(),
    };
    format!(
        "access key {} by provider {}{account}{expires}{who}",
        caller.access_key_id, caller.provider
    )
}

/// Asks for every profile that a daemon does not reach already. A session is opened for each and dropped.
pub async fn permissions(
    settings: &Settings,
    source: &Source,
    status: Option<&Status>,
    clock: &Clock,
    report: &mut Report,
) {
    let reached = |name: &ProfileName| {
        let profile = status.and_then(|status| status.profiles.get(name));
        profile.is_some_and(|profile| {
            profile.last_poll.is_some() && profile.state != ProfileCondition::Unreachable
        })
    };
    let profiles = settings.profiles.iter();
    let (known, asked): (Vec<_>, Vec<_>) = profiles.partition(|(name, _)| reached(name));
    if !known.is_empty() {
        let said = format!(
            "{} answered to the daemon's last polls",
            count(known.len(), "profile")
        );
        report.ok("permissions", &said);
    }
    let more = asked.len().saturating_sub(ASKED);
    for (name, profile) in asked.into_iter().take(ASKED) {
        if !ask(name, profile, source, clock, report).await {
            return;
        }
    }
    if more > 0 {
        let said = format!("{} more have not been asked for", count(more, "profile"));
        report.say(
            Verdict::Warning,
            "permissions",
            &said,
            "mend those above first",
        );
    }
}

/// `false`: there is no use in asking for others.
async fn ask(
    name: &ProfileName,
    profile: &Arc<Profile>,
    source: &Source,
    clock: &Clock,
    report: &mut Report,
) -> bool {
    let mut last = None;
    let first = first_configuration(
        Arc::clone(profile),
        source.clone(),
        clock.clone(),
        |fault| last = Some(fault),
    );
    let first = tokio::time::timeout(PATIENCE, Box::pin(first));
    let whose = format!("profile `{name}`");
    let fault = match said_when_long(first, &whose, PATIENCE).await {
        Ok(Ok((configuration, _))) => {
            let said = format!("profile `{name}`: {} bytes", configuration.bytes().len());
            report.ok("permissions", &said);
            return true;
        }
        Ok(Err(Miss::Empty)) => {
            let said = format!("profile `{name}` is there, and what is deployed is empty");
            let next = "deploy a version that is not empty";
            report.say(Verdict::Warning, "permissions", &said, next);
            return true;
        }
        Ok(Err(Miss::Fault(fault))) => Some(fault),
        Err(_) => last,
    };
    say_fault(name, profile, fault, report)
}

fn say_fault(
    name: &ProfileName,
    profile: &Profile,
    fault: Option<Fault>,
    report: &mut Report,
) -> bool {
    let Some(fault) = fault else {
        let said = format!("profile `{name}`: no answer in time");
        let next = "`appconfigd doctor` once more; see the network above";
        report.say(Verdict::Unreachable, "permissions", &said, next);
        return false;
    };
    let passing = matches!(fault.kind, FaultKind::Lost | FaultKind::Throttled);
    let verdict = match (passing, profile.required) {
        (true, _) => Verdict::Unreachable,
        (false, true) => Verdict::Failure,
        (false, false) => Verdict::Warning,
    };
    let (what, remedy) = match fault.message.rsplit_once("; ") {
        Some((what, remedy)) => (what.to_owned(), remedy.to_owned()),
        None => (fault.message.clone(), "see above".to_owned()),
    };
    let next = match statement(&fault.message) {
        Some(statement) => format!("allow it to the role: {statement}"),
        None => remedy,
    };
    report.say(verdict, "permissions", &what, &next);
    !passing
}
