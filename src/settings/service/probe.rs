//! Probes that can succeed.

use std::time::Duration;

use super::{optional, time};
use crate::settings::duration::show;
use crate::settings::field::{Field, Given};
use crate::settings::finding::Findings;
use crate::settings::origin::http_url;
use crate::settings::valid::{Probe, ProbeAsk};
use crate::settings::written;

pub fn probe(given: &Given<written::Probe>, findings: &mut Findings) -> Option<Probe> {
    let written = &given.value;
    let ask = match (&written.http, &written.command) {
        (Field::Absent, Field::Absent) => {
            findings
                .error(given.key, "the probe asks nothing")
                .help("add `http: http://127.0.0.1/healthz` or `command: […]`");
            None
        }
        (Field::Given(http), Field::Given(command)) => {
            findings
                .error(
                    command.key,
                    "a probe asks by `http` or by `command`, not by both",
                )
                .also(http.key, "the other one")
                .help("keep one of the two");
            None
        }
        (Field::Given(http), _) => {
            http_url(http.at, &http.value, findings).map(|_| ProbeAsk::Http(http.value.clone()))
        }
        (_, Field::Given(command)) => Some(ProbeAsk::Command(command.value.clone())),
        (Field::Broken, _) | (_, Field::Broken) => None,
    };
    let within = time(&written.within, Duration::from_secs(10), "within", findings);
    let interval = time(
        &written.interval,
        Duration::from_secs(1),
        "interval",
        findings,
    );
    let successes = optional(&written.successes)?.unwrap_or(1);
    let delay = optional(&written.delay)?.unwrap_or(Duration::ZERO);
    let (within, interval) = (within?, interval?);
    let least = interval
        .checked_mul(successes.saturating_sub(1))
        .and_then(|tries| tries.checked_add(delay));
    if least.is_none_or(|least| least >= within) {
        let shown = least.map_or("more than that".to_owned(), show);
        findings
            .error(given.key, format!("this probe can never succeed within `{}`", show(within)))
            .help(format!(
                "`delay` and {successes} tries, one each `interval`, take {shown}: write a longer `within`"
            ));
        return None;
    }
    Some(Probe {
        ask: ask?,
        within,
        successes,
        delay,
        interval,
    })
}
