//! When a service may be notified: times that can come.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::settings::duration::show;
use crate::settings::field::Field;
use crate::settings::finding::{Findings, Place};
use crate::settings::valid::{Days, Pace, Settle, Window};
use crate::settings::written;

/// Without a word the longest wait for quiet is so many times the quiet.
const PATIENCE: u32 = 4;

pub fn pace(written: &written::Service, findings: &mut Findings) -> Option<Pace> {
    let settle = settle(written, findings);
    let min_interval = optional_time(&written.min_interval, "min_interval", findings);
    let splay = optional_time(&written.splay, "splay", findings);
    let windows = match &written.window {
        Field::Absent => Some(Vec::new()),
        Field::Broken => None,
        Field::Given(given) => {
            let windows = given.value.0.iter();
            let windows: Vec<_> = windows
                .map(|(at, one)| window(*at, one, findings))
                .collect();
            windows.into_iter().collect::<Option<Vec<_>>>()
        }
    };
    let (splay, windows) = (splay?, windows?);
    let shortest = windows.iter().map(Window::length).min();
    if let (Some(latest), Some(shortest), Some(given)) = (splay, shortest, written.splay.given())
        && latest >= shortest
    {
        findings
            .error(given.at, format!("`splay` is not shorter than a window of {}", show(shortest)))
            .help("it is counted from the window's opening: a host would find it closed; write a shorter `splay`");
        return None;
    }
    Some(Pace {
        settle: settle?,
        min_interval: min_interval?,
        splay,
        windows,
    })
}

fn settle(written: &written::Service, findings: &mut Findings) -> Option<Option<Settle>> {
    let quiet = optional_time(&written.settle, "settle", findings);
    let at_most = optional_time(&written.settle_max, "settle_max", findings);
    let (quiet, at_most) = (quiet?, at_most?);
    let Some(quiet) = quiet else {
        if let Some(given) = written.settle_max.given() {
            findings
                .error(
                    given.key,
                    "`settle_max` bounds a `settle` that is not there",
                )
                .help("add `settle`, or remove the line");
            return None;
        }
        return Some(None);
    };
    if let (Some(most), Some(given)) = (at_most, written.settle_max.given())
        && most < quiet
    {
        findings
            .error(given.at, "`settle_max` is shorter than `settle`")
            .help(format!("write at least `{}`", show(quiet)));
        return None;
    }
    Some(Some(Settle {
        quiet,
        at_most: at_most.unwrap_or_else(|| quiet.saturating_mul(PATIENCE)),
    }))
}

/// A time that is longer than nothing, where there is one.
pub fn optional_time(
    field: &Field<Duration>,
    key: &str,
    findings: &mut Findings,
) -> Option<Option<Duration>> {
    match field {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(given) if given.value.is_zero() => {
            findings
                .error(given.at, format!("`{key}` is no time at all"))
                .help("write a time such as `30s`, or remove the line");
            None
        }
        Field::Given(given) => Some(Some(given.value)),
    }
}

fn window(at: Place, written: &written::Window, findings: &mut Findings) -> Option<Window> {
    for (missing, key) in [
        (written.from.is_absent(), "from"),
        (written.to.is_absent(), "to"),
    ] {
        if missing {
            findings
                .error(at, format!("this window has no `{key}`"))
                .help("write it as `{days: [mon-fri], from: \"02:00\", to: \"04:00\", zone: Europe/Berlin}`");
        }
    }
    let days = match &written.days {
        Field::Absent => Some(Days::ALL),
        field => field.value().copied(),
    };
    let zone = match &written.zone {
        Field::Absent => Some(TimeZone::UTC),
        field => field.value().cloned(),
    };
    let (from, to) = (written.from.given()?, written.to.given()?);
    if from.value.minutes() == 1440 {
        findings
            .error(from.at, "a window does not open at `24:00`")
            .help("write `00:00`, and the day after in `days`");
        return None;
    }
    if from.value == to.value {
        findings
            .error(to.at, "this window closes when it opens")
            .help("for a whole day write `from: \"00:00\", to: \"24:00\"`");
        return None;
    }
    Some(Window {
        days: days?,
        from: from.value,
        to: to.value,
        zone: zone?,
    })
}
