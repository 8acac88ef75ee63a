//! One event as one line.

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::{Level, Metadata};

use crate::telemetry::fields::Fields;
use crate::words::escape;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Time, level, message, `name=value`.
    Text { colours: bool },
    /// One object: `timestamp`, `level`, `target`, `message` and the fields.
    Json,
    /// The journal's priority (sd-daemon(3)), message, `name=value`; the journal has the time.
    Journald,
}

/// The line, newline included.
pub(super) fn line(style: Style, now: Timestamp, about: &Metadata<'_>, fields: &Fields) -> String {
    let mut line = match style {
        Style::Text { colours } => {
            let (colour, end) = match colours {
                true => (colour(*about.level()), "\u{1b}[0m"),
                false => ("", ""),
            };
            let level = about.level();
            format!("{} {colour}{level:>5}{end}", time(now))
        }
        Style::Journald => format!("<{}>", priority(*about.level())),
        Style::Json => {
            let mut line = object(now, about, fields).to_string();
            line.push('\n');
            return line;
        }
    };
    if !line.ends_with('>') {
        line.push(' ');
    }
    line.push_str(&message(about, fields));
    line.push('\n');
    line
}

/// The message and its fields, without an end.
pub(super) fn message(about: &Metadata<'_>, fields: &Fields) -> String {
    let mut line = String::new();
    if !ours(about.target()) {
        line.push_str(about.target());
        line.push_str(": ");
    }
    line.push_str(&escape(&fields.message, &[]));
    for (name, value) in &fields.named {
        if !line.is_empty() && !line.ends_with(' ') {
            line.push(' ');
        }
        line.push_str(name);
        line.push('=');
        match value {
            Value::String(text) => quoted(&mut line, text),
            other => line.push_str(&other.to_string()),
        }
    }
    line
}

/// Whether a target is a module of this program.
pub(super) fn ours(target: &str) -> bool {
    let own = env!("CARGO_CRATE_NAME");
    let rest = target.strip_prefix(own);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What [`Style::Json`] writes.
pub(super) fn object(now: Timestamp, about: &Metadata<'_>, fields: &Fields) -> Value {
    let mut object = Map::new();
    object.insert("timestamp".to_owned(), time(now).into());
    let level = about.level().as_str().to_ascii_lowercase();
    object.insert("level".to_owned(), level.into());
    object.insert("target".to_owned(), about.target().into());
    if let Some(event) = &fields.event {
        object.insert("event".to_owned(), event.as_str().into());
    }
    object.insert("message".to_owned(), fields.message.clone().into());
    for (name, value) in &fields.named {
        let name = match *name {
            "timestamp" | "level" | "target" | "event" => format!("field_{name}"),
            name => name.to_owned(),
        };
        object.insert(name, value.clone());
    }
    Value::Object(object)
}

/// RFC 3339 in UTC, milliseconds.
fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        _ => "\u{1b}[2m",
    }
}

/// syslog(3): err, warning, info, debug.
pub(super) fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// In quotes where a reader could not tell where the value ends.
fn quoted(line: &mut String, text: &str) {
    let bare = !text.is_empty()
        && !text
            .chars()
            .any(|character| character.is_whitespace() || matches!(character, '"' | '=' | '\\'));
    if bare {
        return line.push_str(&escape(text, &[]));
    }
    line.push('"');
    for part in text.split_inclusive(['"', '\\']) {
        match part.char_indices().next_back() {
            Some((at, last @ ('"' | '\\'))) => {
                line.push_str(&escape(part.get(..at).unwrap_or_default(), &[]));
                line.push('\\');
                line.push(last);
            }
            _ => line.push_str(&escape(part, &[])),
        }
    }
    line.push('"');
}
