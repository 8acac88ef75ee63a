//! When services may be notified, as written.

use jiff::tz::{self, TimeZone};

use crate::settings::field::{Written, written};
use crate::settings::finding::{Findings, Place};
use crate::settings::node::{Kind, Node};
use crate::settings::reference::Tables;
use crate::settings::suggestion;
use crate::settings::valid::{Days, TimeOfDay};

written!(Window, "a window" {
    /// on which it opens
    days: Days = "every day",
    /// when it opens, before `24:00`
    from: TimeOfDay = "required",
    /// when it closes; at or before `from` it is on the next day
    to: TimeOfDay = "required",
    /// a name of the time zone database; the host's own is read where it has one, else one that is built in
    zone: TimeZone = "`UTC`",
});

/// One window, or a list of at least one, each with its place.
#[derive(Clone, Debug)]
pub struct Windows(pub Vec<(Place, Window)>);

impl Written for Windows {
    fn read(node: &Node, findings: &mut Findings) -> Option<Windows> {
        let window = |node: &Node, findings: &mut Findings| {
            Window::read(node, findings).map(|window| (node.at, window))
        };
        match &node.kind {
            Kind::Sequence(items) => super::list(node.at, items, findings, window).map(Windows),
            _ => window(node, findings).map(|one| Windows(vec![one])),
        }
    }

    fn kind(tables: &mut Tables) -> String {
        format!("{}, or list of them", Window::kind(tables))
    }
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Written for Days {
    /// `mon`, `mon-fri`, `fri-mon`, or a list of such.
    fn read(node: &Node, findings: &mut Findings) -> Option<Days> {
        match &node.kind {
            Kind::Sequence(items) => {
                let days = super::list(node.at, items, findings, days)?;
                Some(Days(days.into_iter().fold(0, |all, one| all | one.0)))
            }
            _ => days(node, findings),
        }
    }

    fn kind(_: &mut Tables) -> String {
        "`mon` to `sun`, a range such as `mon-fri`, or list of both".to_owned()
    }
}

fn days(node: &Node, findings: &mut Findings) -> Option<Days> {
    let text = node.text("days such as `mon-fri`", findings)?;
    let word = text.to_lowercase();
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    let (first, last) = word
        .split_once("..")
        .or(word.split_once('-'))
        .unwrap_or((word.as_str(), word.as_str()));
    let (Some(first), Some(last)) = (day(first), day(last)) else {
        let list = suggestion::list(&DAYS);
        findings
            .error(node.at, format!("`{text}` is not a day of the week"))
            .help(format!("write {list}, or a range such as `mon-fri`"));
        return None;
    };
    let span = (last + 7 - first) % 7;
    let days = (0..=span).map(|after| 1 << ((first + after) % 7));
    Some(Days(days.fold(0, |all: u8, one: u8| all | one)))
}

impl Written for TimeOfDay {
    fn read(node: &Node, findings: &mut Findings) -> Option<TimeOfDay> {
        let text = node.text("a time of day such as `02:00`", findings)?;
        let time = time_of_day(text);
        if time.is_none() {
            findings
                .error(node.at, format!("`{text}` is not a time of day"))
                .help(
                    "write hours and minutes from `00:00` to `24:00`, such as `02:30`, in quotes",
                );
        }
        time
    }

    fn kind(_: &mut Tables) -> String {
        "time from `00:00` to `24:00`".to_owned()
    }
}

fn time_of_day(text: &str) -> Option<TimeOfDay> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !(1..=2).contains(&hours.len()) || minutes.len() != 2 || !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let time = hours * 60 + minutes;
    (minutes < 60 && time <= 1440).then_some(TimeOfDay(time))
}

impl Written for TimeZone {
    fn read(node: &Node, findings: &mut Findings) -> Option<TimeZone> {
        let text = node.text("a time zone such as `Europe/Berlin`", findings)?;
        let known = |text: &str| TimeZone::get(text).ok();
        let zone = known(text);
        if zone.is_none() {
            let names: Vec<String> = tz::db().available().map(|name| name.to_string()).collect();
            let near = suggestion::nearest(text, names.iter().map(String::as_str));
            findings
                .error(node.at, format!("`{text}` is not a time zone"))
                .help(match near {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => {
                        "write `UTC`, or a name of the time zone database such as `Europe/Berlin`"
                            .to_owned()
                    }
                });
        }
        zone
    }

    fn kind(_: &mut Tables) -> String {
        "name of a time zone".to_owned()
    }
}
