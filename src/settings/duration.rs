//! Durations: `60s`, `5m`, `1h30m`, `500ms`.

use std::time::Duration;

use super::field::Written;
use super::finding::Findings;
use super::node::Node;
use super::reference::Tables;

/// From the largest; each at most once and in this order.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A duration of whole milliseconds. `None` for everything else, a bare number among it.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut milliseconds: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(
            after
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(after.len()),
        );
        let (_, worth) = units.find(|(name, _)| *name == unit)?;
        let part = number.parse::<u64>().ok()?.checked_mul(*worth)?;
        milliseconds = milliseconds.checked_add(part)?;
        rest = after;
    }
    (!text.is_empty()).then_some(Duration::from_millis(milliseconds))
}

/// [`parse`] for the command line: the error says how to write it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text).ok_or_else(|| how_to_write(text))
}

fn how_to_write(text: &str) -> String {
    let bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match bare {
        true => format!("a duration has a unit: `{text}s` if seconds are meant"),
        false => "write it as `500ms`, `60s`, `5m` or `1h30m`".to_owned(),
    }
}

/// As it would be written: `1h30m`.
pub fn show(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut shown = String::new();
    for (unit, worth) in UNITS.iter().skip(1) {
        if rest >= *worth {
            shown.push_str(&format!("{}{unit}", rest / worth));
            rest %= worth;
        }
    }
    if shown.is_empty() {
        "0s".to_owned()
    } else {
        shown
    }
}

impl Written for Duration {
    fn read(node: &Node, findings: &mut Findings) -> Option<Duration> {
        let text = node.text("a duration such as `60s`", findings)?;
        let parsed = parse(text);
        if parsed.is_none() {
            findings
                .error(node.at, format!("`{text}` is not a duration"))
                .help(how_to_write(text));
        }
        parsed
    }

    fn kind(_: &mut Tables) -> String {
        "duration".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_ways_of_writing_are_read() {
        assert_eq!(parse("60s"), Some(Duration::from_secs(60)));
        assert_eq!(parse("5m"), Some(Duration::from_secs(300)));
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("1s500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
    }

    #[test]
    fn everything_else_is_turned_down() {
        let wrong = [
            "",
            "60",
            "s",
            "60 s",
            "1.5s",
            "-1s",
            "30m1h",
            "1s1s",
            "1w",
            "99999999999999999999s",
        ];
        for text in wrong {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(milliseconds in 0u64..1_000_000_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&show(duration)), Some(duration));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            parse(&text);
        }
    }
}
