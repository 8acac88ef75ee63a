//! Logs: tracing's events as text, JSON or with journal priorities, on standard error.
//!
//! One event is one line, whatever its values hold. This program's events count from the level asked for; those of the
//! libraries below only from `warn`, for their finer ones may show requests; the AWS SDK not at all.

mod catalogue;
mod chronicle;
mod fields;
mod journal;
mod layer;
mod line;
mod list;
mod repeats;

pub use catalogue::EVENTS;
pub use chronicle::{Told, chronicle};
pub use list::list;

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use crate::clock::Clock;

use crate::telemetry::journal::{Journal, SOCKET};
use crate::telemetry::layer::Lines;
use crate::telemetry::line::Style;

/// `--log-level`
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// `--log-format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Auto,
    Text,
    Json,
    Journald,
}

/// Installs the process's subscriber. Called once, from the command line; a second call changes nothing.
pub fn start(level: Level, format: Format) {
    let to = StandardError::of_this_process();
    let style = style(format, &to);
    let journal = style == Style::Journald && to.journal();
    let journal = journal.then(|| Journal::at(Path::new(SOCKET))).flatten();
    let lines = Lines::new(level.into(), style, Clock::system(), || {
        Box::new(io::stderr()) as Box<dyn Write>
    })
    .with_journal(journal)
    .with_chronicle(chronicle().clone());
    // The first subscriber stays
    let _ = tracing::subscriber::set_global_default(Registry::default().with(lines));
}

impl From<Level> for tracing::Level {
    fn from(level: Level) -> tracing::Level {
        match level {
            Level::Error => tracing::Level::ERROR,
            Level::Warn => tracing::Level::WARN,
            Level::Info => tracing::Level::INFO,
            Level::Debug => tracing::Level::DEBUG,
            Level::Trace => tracing::Level::TRACE,
        }
    }
}

/// Where lines go, and so how they look.
struct StandardError {
    terminal: bool,
    /// NO_COLOR is set and not empty (no-color.org).
    no_color: bool,
    /// JOURNAL_STREAM (systemd.exec(5)).
    journal_stream: Option<String>,
    /// Its device and inode.
    file: Option<(u64, u64)>,
}

impl StandardError {
    /// The one place of this module that looks at the process.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of telemetry that reads the environment"
    )]
    fn of_this_process() -> StandardError {
        let stderr = io::stderr();
        let status = rustix::fs::fstat(stderr.as_fd()).ok();
        StandardError {
            terminal: stderr.is_terminal(),
            no_color: std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
            journal_stream: std::env::var("JOURNAL_STREAM").ok(),
            file: status.map(|status| (status.st_dev, status.st_ino)),
        }
    }

    /// Whether standard error is the journal's stream, and not one that was put in its place.
    fn journal(&self) -> bool {
        let stream = self.journal_stream.as_deref();
        let stream = stream.and_then(|stream| stream.split_once(':'));
        let stream =
            stream.and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
        stream.is_some() && stream == self.file
    }
}

fn style(format: Format, to: &StandardError) -> Style {
    let text = Style::Text {
        colours: to.terminal && !to.no_color,
    };
    match format {
        Format::Auto if to.journal() => Style::Journald,
        Format::Auto | Format::Text => text,
        Format::Json => Style::Json,
        Format::Journald => Style::Journald,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standard_error(journal_stream: Option<&str>) -> StandardError {
        StandardError {
            terminal: false,
            no_color: false,
            journal_stream: journal_stream.map(str::to_owned),
            file: Some((8, 42)),
        }
    }

    #[test]
    fn auto_is_the_journal_only_where_standard_error_is_its_stream() {
        for (stream, style_expected) in [
            (Some("8:42"), Style::Journald),
            (Some("8:43"), Style::Text { colours: false }),
            (Some("842"), Style::Text { colours: false }),
            (Some(":"), Style::Text { colours: false }),
            (None, Style::Text { colours: false }),
        ] {
            assert_eq!(style(Format::Auto, &standard_error(stream)), style_expected);
        }
        let mut closed = standard_error(None);
        closed.file = None;
        assert_eq!(style(Format::Auto, &closed), Style::Text { colours: false });
        assert_eq!(
            style(Format::Json, &standard_error(Some("8:42"))),
            Style::Json
        );
    }

    #[test]
    fn colours_need_a_terminal_and_no_objection() {
        let mut to = standard_error(None);
        to.terminal = true;
        assert_eq!(style(Format::Auto, &to), Style::Text { colours: true });
        to.no_color = true;
        assert_eq!(style(Format::Text, &to), Style::Text { colours: false });
    }

    #[test]
    fn a_second_start_changes_nothing() {
        start(Level::Error, Format::Text);
        start(Level::Trace, Format::Json);
        assert!(tracing::enabled!(tracing::Level::ERROR));
        assert!(!tracing::enabled!(tracing::Level::INFO));
    }
}
