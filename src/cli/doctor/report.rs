//! What was found, said as it is found.

use crate::cli::Exit;
use crate::cli::screen::{colours, stream_out, wrote};
use crate::cli::status::layout::{Page, Tone};
use crate::words::count;

/// Columns before what is said.
const INDENT: usize = 22;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    Warning,
    Failure,
    /// A failure that may pass by itself: the service, or what lies before it, cannot be reached.
    Unreachable,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failure | Verdict::Unreachable => "failure",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Verdict::Ok => Tone::Well,
            Verdict::Warning => Tone::Wary,
            Verdict::Failure | Verdict::Unreachable => Tone::Bad,
        }
    }
}

/// Prints findings, and remembers how bad they are.
#[derive(Debug)]
pub struct Report {
    colours: bool,
    found: Vec<Verdict>,
}

impl Report {
    pub fn new() -> Report {
        Report {
            colours: colours(),
            found: Vec::new(),
        }
    }

    pub fn ok(&mut self, check: &str, said: &str) {
        self.say(Verdict::Ok, check, said, "");
    }

    /// `next`: what to do.
    pub fn say(&mut self, verdict: Verdict, check: &str, said: &str, next: &str) {
        self.found.push(verdict);
        wrote(stream_out(&finding(
            verdict,
            check,
            said,
            next,
            self.colours,
        )));
    }

    pub fn failures(&self) -> usize {
        let failures = [Verdict::Failure, Verdict::Unreachable];
        let found = self.found.iter();
        found.filter(|verdict| failures.contains(verdict)).count()
    }

    /// The last line, and how the command ends.
    pub fn end(self) -> Exit {
        let failures = self.failures();
        let of = |verdict: Verdict| self.found.iter().filter(|found| **found == verdict).count();
        let line = match (failures, of(Verdict::Warning)) {
            (0, 0) => "all is well".to_owned(),
            (failures, warnings) => format!(
                "{}, {}",
                count(failures, "failure"),
                count(warnings, "warning")
            ),
        };
        wrote(stream_out(&format!("\n{line}\n")));
        match (failures, of(Verdict::Failure)) {
            (0, _) => Exit::Done,
            (_, 0) => Exit::Unreachable,
            _ => Exit::Failed,
        }
    }
}

fn finding(verdict: Verdict, check: &str, said: &str, next: &str, colours: bool) -> String {
    let mut page = Page::new(colours);
    let word = verdict.word();
    page.hanging(&format!("{word:<7}  {check:<11}  "), INDENT, said);
    if !next.is_empty() {
        page.hanging(&format!("{:INDENT$}next: ", ""), INDENT, next);
    }
    let toned = page.toned(verdict.tone(), word);
    page.text.replacen(word, &toned, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_paragraph_with_its_next_step_and_what_is_hostile_in_it_is_shown_as_text() {
        let said = "cannot reach \u{1b}[31mred";
        let finding = finding(Verdict::Failure, "network", said, "see to it", false);
        assert_eq!(
            finding,
            "failure  network      cannot reach \\u{1b}[31mred\n                      next: see to it\n"
        );
    }

    #[test]
    fn a_failure_that_may_pass_is_75_and_any_other_1() {
        let end = |found: &[Verdict]| {
            let report = Report {
                colours: false,
                found: found.to_vec(),
            };
            report.end()
        };
        assert_eq!(end(&[Verdict::Ok, Verdict::Warning]), Exit::Done);
        assert_eq!(end(&[Verdict::Ok, Verdict::Unreachable]), Exit::Unreachable);
        assert_eq!(end(&[Verdict::Failure, Verdict::Unreachable]), Exit::Failed);
    }
}
