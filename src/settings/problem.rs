//! A problem as its reader sees it.

use std::fmt;
use std::path::{Path, PathBuf};

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

use super::finding::{Finding, Place};
use super::text::{Texts, nth_line};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The settings cannot be used.
    Error,
    Warning,
}

/// Something wrong at a place of a file: what, and where it helps what to do about it.
///
/// Shown as `FILE:LINE:COLUMN: error: MESSAGE`, then the source line, a caret, and the help, without a last line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
    pub help: Option<String>,
    excerpts: Vec<Excerpt>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    /// Shown for other lines than the problem's own.
    file: Option<PathBuf>,
    line: usize,
    text: String,
    /// In characters; never empty.
    start: usize,
    end: usize,
    label: Option<String>,
}

impl Problem {
    /// A problem in a file that is not a settings file, such as a template. `text` is the file's, where it is known.
    pub fn elsewhere(
        file: PathBuf,
        at: Option<(usize, usize)>,
        message: String,
        text: Option<&str>,
    ) -> Problem {
        let (line, column) = at.unwrap_or((1, 1));
        let start = column.saturating_sub(1);
        let excerpt = text.map(|text| Excerpt::new(nth_line(text, line), line, start, start));
        Problem {
            severity: Severity::Error,
            file,
            line,
            column,
            message,
            help: None,
            excerpts: excerpt.into_iter().collect(),
        }
    }

    pub fn with_help(self, help: impl Into<String>) -> Problem {
        Problem {
            help: Some(help.into()),
            ..self
        }
    }

    pub(super) fn of(finding: Finding, texts: &Texts) -> Problem {
        let Finding {
            at,
            severity,
            message,
            help,
            also,
        } = finding;
        let mut excerpts = vec![Excerpt::of(at, texts)];
        if let Some((place, label)) = also {
            let same_line = (place.text, place.line) == (at.text, at.line);
            let file = (!same_line).then(|| texts.name(place.text).to_owned());
            excerpts.push(Excerpt {
                file,
                label: Some(label),
                ..Excerpt::of(place, texts)
            });
        }
        Problem {
            severity,
            file: texts.name(at.text).to_owned(),
            line: at.line,
            column: at.start + 1,
            message: plain(&message),
            help: help.as_deref().map(plain),
            excerpts,
        }
    }
}

/// What a text of the settings quotes must not steer the reader's terminal.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && character != '\n' {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            file,
            line,
            column,
            message,
            ..
        } = self;
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(
            f,
            "{}:{line}:{column}: {severity}: {message}",
            file.display()
        )?;
        let rendered = self.rendered();
        if !rendered.is_empty() {
            write!(f, "\n{rendered}")?;
        }
        Ok(())
    }
}

impl Problem {
    /// Source lines, carets and help.
    fn rendered(&self) -> String {
        if self.excerpts.is_empty() {
            return self
                .help
                .as_ref()
                .map_or(String::new(), |help| format!("  = help: {help}"));
        }
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_level(level);
        let [own, others @ ..] = self.excerpts.as_slice() else {
            return String::new();
        };
        let (same, other): (Vec<_>, Vec<_>) = others.iter().partition(|other| other.file.is_none());
        let notes = same
            .iter()
            .map(|excerpt| excerpt.annotation(AnnotationKind::Context));
        group = group.element(own.snippet(AnnotationKind::Primary).annotations(notes));
        for excerpt in other {
            group = group.element(excerpt.snippet(AnnotationKind::Context));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        Renderer::plain().render(&[group])
    }
}

impl Excerpt {
    fn of(at: Place, texts: &Texts) -> Excerpt {
        const MASK: &str = "***";
        let mut line: Vec<char> = texts.line(at.text, at.line).chars().collect();
        let (mut start, mut end) = (at.start, at.end.min(line.len()));
        // From the last, so that the places of the others stay what they are.
        for piece in texts.hidden(at.text, at.line).into_iter().rev() {
            // What pointed behind the piece points behind the mask, what pointed into it to the mask.
            let moved = |place: usize, within: usize| match place {
                place if place >= piece.end => place - piece.len() + MASK.len(),
                place if place > piece.start => piece.start + within,
                place => place,
            };
            (start, end) = (moved(start, 0), moved(end, MASK.len()));
            line.splice(piece, MASK.chars());
        }
        Excerpt::new(&line.into_iter().collect::<String>(), at.line, start, end)
    }

    fn new(line_text: &str, line: usize, start: usize, end: usize) -> Excerpt {
        /// Longer lines are cut: an error message is no place for a megabyte.
        const LONGEST: usize = 400;
        // What the renderer itself does for the older half of the control characters.
        let shown = |character| match character {
            '\u{80}'..='\u{9f}' => '\u{fffd}',
            other => other,
        };
        let text: String = line_text.chars().take(LONGEST).map(shown).collect();
        let length = text.chars().count();
        let start = start.min(length);
        let end = end.min(length).max(start + 1);
        Excerpt {
            file: None,
            line,
            text,
            start,
            end,
            label: None,
        }
    }

    fn snippet(&self, kind: AnnotationKind) -> Snippet<'_, Annotation<'_>> {
        let snippet = Snippet::source(self.text.as_str())
            .line_start(self.line)
            .fold(false);
        let shown = self.file.as_ref().map(|file| format!("{}", file.display()));
        let snippet = match shown {
            Some(file) => snippet.path(file),
            None => snippet,
        };
        snippet.annotation(self.annotation(kind))
    }

    fn annotation(&self, kind: AnnotationKind) -> Annotation<'_> {
        let offset = |character: usize| {
            let found = self.text.char_indices().nth(character);
            found.map_or(self.text.len(), |(offset, _)| offset)
        };
        let span = offset(self.start)..offset(self.end);
        kind.span(span).label(self.label.as_deref())
    }
}

/// Why there are no settings: at least one error, with the warnings between them.
#[derive(Debug)]
pub struct Problems {
    /// The settings file itself is not there: nothing about its content is known.
    pub missing: bool,
    pub list: Vec<Problem>,
}

impl Problems {
    pub fn errors(&self) -> usize {
        self.list
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .count()
    }

    pub(super) fn wrong(list: Vec<Problem>) -> Problems {
        Problems {
            missing: false,
            list,
        }
    }

    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Problems {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        let missing = matches!(error.kind(), NotFound | NotADirectory);
        let (message, help) = if missing {
            (
                "there is no such settings file".to_owned(),
                "name another with `--settings FILE`",
            )
        } else {
            (
                format!("cannot read the settings file: {error}"),
                "it must be a file that this user may read",
            )
        };
        let problem = Problem::elsewhere(file.to_owned(), None, message, None).with_help(help);
        Problems {
            missing,
            list: vec![problem],
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
