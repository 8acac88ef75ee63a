//! Where events become lines.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::telemetry::chronicle::Chronicle;
use crate::telemetry::fields::Fields;
use crate::telemetry::journal::Journal;
use crate::telemetry::line::{self, Style};
use crate::telemetry::repeats::Repeats;

/// Writes each event, with the fields of the spans around it, as one line in one write.
pub(super) struct Lines<W> {
    level: Level,
    style: Style,
    clock: Clock,
    writer: W,
    /// Where entries with fields of their own go instead.
    journal: Option<Journal>,
    /// What has a name is kept there, whatever the level is.
    chronicle: Option<Chronicle>,
    repeats: Mutex<Repeats>,
}

impl<W> Lines<W> {
    /// `writer` is asked for a writer for every line.
    pub(super) fn new(level: Level, style: Style, clock: Clock, writer: W) -> Lines<W>
    where
        W: Fn() -> Box<dyn Write> + Send + Sync + 'static,
    {
        Lines {
            level,
            style,
            clock,
            writer,
            journal: None,
            chronicle: None,
            repeats: Mutex::default(),
        }
    }

    pub(super) fn with_journal(self, journal: Option<Journal>) -> Lines<W> {
        Lines { journal, ..self }
    }

    pub(super) fn with_chronicle(self, chronicle: Chronicle) -> Lines<W> {
        Lines {
            chronicle: Some(chronicle),
            ..self
        }
    }

    /// The level that events with a name are heard from.
    fn named_level(&self) -> Level {
        match self.chronicle {
            Some(_) => self.level.max(Level::INFO),
            None => self.level,
        }
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: Fn() -> Box<dyn Write> + Send + Sync + 'static,
{
    fn enabled(&self, about: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // A span costs little, and its fields explain a warning below it
        let level = match line::ours(about.target()) {
            true if about.fields().field("event").is_some() => self.named_level(),
            true => self.level,
            // The SDK prints whole answers of credential services even in its warnings; what they mean for us, we say
            false if about.target().starts_with("aws_") => return false,
            false => self.level.min(Level::WARN),
        };
        *about.level() <= level
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.named_level().into())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            record.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.extend(of_span);
            }
        }
        event.record(&mut fields);
        let (now, about) = (self.clock.now(), event.metadata());
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        let news = repeats.judge(*about.level(), &mut fields, now.steady);
        drop(repeats);
        let shown = fields.shown();
        let told = news && *about.level() <= Level::INFO;
        if let (Some(chronicle), Some(_), true) = (&self.chronicle, &fields.event, told) {
            let text = line::line(Style::Text { colours: false }, now.wall, about, &shown);
            let object = line::object(now.wall, about, &shown);
            chronicle.tell(text.trim_end().to_owned(), object);
        }
        // What is said again and again is heard by those who want every attempt.
        let level = if news { *about.level() } else { Level::DEBUG };
        if level > self.level {
            return;
        }
        if let Some(journal) = &self.journal {
            let message = line::message(about, &shown);
            if journal.send(level, &message, &fields).is_ok() {
                return;
            }
        }
        let line = line::line(self.style, now.wall, about, &shown);
        // Nobody is left to be told that logs cannot be written
        let _ = (self.writer)().write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a sink").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Level, style: Style, act: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = Lines::new(level, style, Clock::system(), move || {
            Box::new(writer.clone())
        });
        tracing::subscriber::with_default(Registry::default().with(lines), act);
        let bytes = sink.0.lock().expect("a sink").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn the_journal_gets_fields_of_their_own_and_the_line_as_before() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let journal = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = Lines::new(Level::INFO, Style::Journald, Clock::system(), move || {
            Box::new(writer.clone())
        })
        .with_journal(Journal::at(&path));
        let many = "x".repeat(10_000_000);
        tracing::subscriber::with_default(Registry::default().with(lines), || {
            tracing::error!(
                event = "refused",
                profiles = crate::telemetry::list(["a", "b"].into_iter(), 2),
                journal.digest = "sha256:00",
                reason = "two\nlines\nPRIORITY=0",
                "version refused"
            );
            tracing::info!(n = 1, "plain");
            tracing::info!(many, "too long for a datagram");
        });
        let mut buffer = vec![0; 65_536];
        let mut next = || {
            let length = journal.recv(&mut buffer).expect("an entry");
            String::from_utf8(buffer[..length].to_vec()).expect("UTF-8")
        };
        let (_, id) = crate::telemetry::EVENTS
            .iter()
            .find(|(name, _)| *name == "refused")
            .expect("an event");
        assert_eq!(
            next(),
            format!(
                "MESSAGE=version refused profiles=\"a, b and 2 more\" reason=\"two\\nlines\\nPRIORITY=0\"\n\
                 PRIORITY=3\nSYSLOG_IDENTIFIER=appconfigd\nAPPCONFIGD_EVENT=refused\nMESSAGE_ID={id}\n\
                 PROFILE=a\nPROFILE=b\nREASON=two\\nlines\\nPRIORITY=0\nDIGEST=sha256:00\n"
            )
        );
        assert_eq!(
            next(),
            "MESSAGE=plain n=1\nPRIORITY=6\nSYSLOG_IDENTIFIER=appconfigd\n"
        );
        let rest = sink.0.lock().expect("a sink").clone();
        let rest = String::from_utf8(rest).expect("UTF-8");
        assert!(
            rest.starts_with("<6>too long for a datagram many=xxx"),
            "{}",
            rest.len()
        );
        assert_eq!(rest.lines().count(), 1);
    }

    #[test]
    fn what_repeats_is_left_to_debug_and_what_has_a_name_is_in_the_chronicle_at_any_level() {
        let told = |level: Level| {
            let sink = Sink::default();
            let writer = sink.clone();
            let chronicle = Chronicle::new();
            let lines = Lines::new(level, Style::Journald, Clock::system(), move || {
                Box::new(writer.clone())
            })
            .with_chronicle(chronicle.clone());
            tracing::subscriber::with_default(Registry::default().with(lines), || {
                for retry_in_seconds in 1..=3 {
                    tracing::warn!(
                        event = "service_pending",
                        service = "app",
                        retry_in_seconds,
                        "yet to be told"
                    );
                }
                tracing::info!(event = "service_notified", service = "app", "told");
                tracing::debug!(event = "swapped", "in place");
                tracing::info!("nameless");
            });
            let lines = sink.0.lock().expect("a sink").clone();
            let lines = String::from_utf8(lines).expect("UTF-8");
            let (latest, _) = chronicle.listen();
            let names = latest.iter().map(|told| told.event["event"].to_string());
            assert_eq!(
                names.collect::<String>(),
                "\"service_pending\"\"service_notified\""
            );
            let first = &latest[0].text;
            assert!(
                first.ends_with("  WARN yet to be told service=app retry_in_seconds=1"),
                "{first}"
            );
            lines
                .lines()
                .map(|line| line[3..].split(' ').next().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(told(Level::ERROR), "");
        assert_eq!(told(Level::INFO), "yet told nameless");
        assert_eq!(told(Level::DEBUG), "yet yet yet told in nameless");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot rename")]
    struct Outer(#[source] io::Error);

    #[test]
    fn the_journal_gets_priority_message_and_fields_on_one_line() {
        let lines = logged(Level::TRACE, Style::Journald, || {
            let failure = Outer(io::Error::other("two\nlines"));
            let failure: &dyn std::error::Error = &failure;
            tracing::error!(error = failure, "turned down");
            tracing::warn!(profile = "a b", count = 3, "late");
            tracing::info!(
                path = "/etc/x",
                empty = "",
                quote = "a\"=\\",
                "in sync\n<0>forged"
            );
            tracing::debug!(ok = true, ratio = 0.5);
            tracing::trace!("fine");
        });
        assert_eq!(
            lines,
            "<3>turned down error=\"cannot rename: two\\nlines\"\n\
             <4>late profile=\"a b\" count=3\n\
             <6>in sync\\n<0>forged path=/etc/x empty=\"\" quote=\"a\\\"=\\\\\"\n\
             <7>ok=true ratio=0.5\n\
             <7>fine\n"
        );
    }

    #[test]
    fn text_has_the_time_in_utc_and_colours_only_when_asked() {
        let text = logged(Level::INFO, Style::Text { colours: false }, || {
            tracing::info!(esc = "\u{1b}[31m\u{202e}", "hello");
        });
        let (time, rest) = text.split_at(24);
        assert!(
            time.parse::<jiff::Timestamp>().is_ok() && time.ends_with('Z'),
            "{time}"
        );
        assert_eq!(rest, "  INFO hello esc=\\u{1b}[31m\\u{202e}\n");
        let coloured = logged(Level::INFO, Style::Text { colours: true }, || {
            tracing::error!("x")
        });
        assert!(
            coloured.contains("\u{1b}[31mERROR\u{1b}[0m x"),
            "{coloured:?}"
        );
    }

    #[test]
    fn json_is_one_object_a_line_and_no_field_hides_level_or_time() {
        let text = logged(Level::INFO, Style::Json, || {
            tracing::warn!(level = "forged", n = -1, text = "a\nb", "message");
        });
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["level"], "warn");
        assert_eq!(value["field_level"], "forged");
        assert_eq!(value["message"], "message");
        assert_eq!(value["text"], "a\nb");
        assert_eq!(value["n"], -1);
        assert_eq!(value["target"], "appconfigd::telemetry::layer::tests");
        assert!(
            value["timestamp"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z'))
        );
    }

    #[test]
    fn libraries_are_heard_from_warn_only_and_by_their_name() {
        let lines = logged(Level::TRACE, Style::Journald, || {
            tracing::info!(target: "hyper::client", "body");
            tracing::debug!(target: "appconfigd_other", "body");
            tracing::warn!(target: "hyper::client", "closed");
            tracing::error!(target: "aws_config::imds", "a whole answer");
            tracing::info!(target: "appconfigd", "ours");
        });
        assert_eq!(lines, "<4>hyper::client: closed\n<6>ours\n");
        let lines = logged(Level::ERROR, Style::Journald, || {
            tracing::warn!(target: "hyper::client", "closed");
            tracing::info!("ours");
        });
        assert_eq!(lines, "");
    }

    #[test]
    fn fields_of_spans_stand_before_those_of_the_event_which_win() {
        let lines = logged(Level::INFO, Style::Journald, || {
            let span = tracing::info_span!(
                "poll",
                profile = "a",
                attempt = 1,
                label = tracing::field::Empty
            );
            span.record("label", "v2");
            let _entered = span.enter();
            tracing::info!(attempt = 2, status = 200, "polled");
        });
        assert_eq!(lines, "<6>polled profile=a attempt=2 label=v2 status=200\n");
    }
}
