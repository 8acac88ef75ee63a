//! Two versions of a file, as a unified diff that is safe to show on a terminal.

use std::fmt;

use imara_diff::{
    Algorithm, Diff, InternedInput, Interner, Token, UnifiedDiffConfig, UnifiedDiffPrinter,
};

use crate::words::escape;

/// The unified diff, every line of it ended; `before` is `None` for a file that is not there yet.
pub fn unified(path: &str, before: Option<&[u8]>, after: &[u8]) -> String {
    let from = if before.is_some() { path } else { "/dev/null" };
    between(from, path, before, after)
}

/// The same between two names.
pub fn between(from: &str, to: &str, before: Option<&[u8]>, after: &[u8]) -> String {
    let (Some(old), Some(new)) = (text(before.unwrap_or_default()), text(after)) else {
        return match before {
            Some(_) => "binary files differ\n".to_owned(),
            None => format!("a binary file of {} bytes\n", after.len()),
        };
    };
    let mut lines = InternedInput::default();
    lines.update_before(old.split_inclusive('\n'));
    lines.update_after(new.split_inclusive('\n'));
    let mut diff = Diff::compute(Algorithm::Histogram, &lines);
    diff.postprocess_lines(&lines);
    let printer = Printer(&lines.interner);
    let hunks = diff.unified_diff(&printer, UnifiedDiffConfig::default(), &lines);
    let hunks = hunks.to_string();
    let header = match hunks.is_empty() {
        true => String::new(),
        false => format!("--- {from}\n+++ {to}\n"),
    };
    // Whoever deploys a configuration must not steer the terminal of whoever looks.
    escape(&format!("{header}{hunks}"), &['\n', '\t'])
}

/// Hunks as `diff -u` and `patch` have them.
struct Printer<'a>(&'a Interner<&'a str>);

impl Printer<'_> {
    fn line(&self, mut out: impl fmt::Write, mark: char, token: Token) -> fmt::Result {
        let line = self.0[token];
        write!(out, "{mark}{line}")?;
        match line.ends_with('\n') {
            true => Ok(()),
            false => out.write_str("\n\\ No newline at end of file\n"),
        }
    }
}

impl UnifiedDiffPrinter for Printer<'_> {
    fn display_header(
        &self,
        mut out: impl fmt::Write,
        start_before: u32,
        start_after: u32,
        len_before: u32,
        len_after: u32,
    ) -> fmt::Result {
        let before = range(start_before, len_before);
        let after = range(start_after, len_after);
        writeln!(out, "@@ -{before} +{after} @@")
    }

    fn display_context_token(&self, out: impl fmt::Write, token: Token) -> fmt::Result {
        self.line(out, ' ', token)
    }

    fn display_hunk(
        &self,
        mut out: impl fmt::Write,
        before: &[Token],
        after: &[Token],
    ) -> fmt::Result {
        for &token in before {
            self.line(&mut out, '-', token)?;
        }
        for &token in after {
            self.line(&mut out, '+', token)?;
        }
        Ok(())
    }
}

/// Lines count from 1, one line has no length, and no line at all is named by the one before it.
fn range(start: u32, length: u32) -> String {
    match length {
        0 => format!("{start},0"),
        1 => format!("{}", start.saturating_add(1)),
        _ => format!("{},{length}", start.saturating_add(1)),
    }
}

/// What can be shown as lines: UTF-8 without NUL.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn a_line_that_changes_is_shown_in_its_surroundings() {
        let shown = unified("/etc/app", Some(b"a\nb\nc\n"), b"a\nB\nc\n");
        assert_eq!(
            shown,
            "--- /etc/app\n+++ /etc/app\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"
        );
    }

    #[test]
    fn a_new_file_comes_from_dev_null_and_a_missing_newline_is_said() {
        let shown = unified("/etc/app", None, b"a");
        let expected =
            "--- /dev/null\n+++ /etc/app\n@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_newline_at_the_end_is_a_difference() {
        let shown = unified("/x", Some(b"a"), b"a\n");
        assert!(
            shown.contains("-a\n\\ No newline at end of file\n+a\n"),
            "{shown}"
        );
    }

    #[test]
    fn lines_that_are_taken_away_or_put_in_are_where_patch_looks_for_them() {
        let shown = unified(
            "/x",
            Some(b"1\n2\n3\n4\n5\n6\n7\n8\n9\n"),
            b"0\n1\n2\n3\n4\n5\n6\n7\n8\n",
        );
        let first = "@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n";
        let last = "@@ -6,4 +7,3 @@\n 6\n 7\n 8\n-9\n";
        assert_eq!(shown, format!("--- /x\n+++ /x\n{first}{last}"));
        let emptied = unified("/x", Some(b"a\nb\n"), b"");
        assert_eq!(emptied, "--- /x\n+++ /x\n@@ -1,2 +0,0 @@\n-a\n-b\n");
        assert_eq!(unified("/x", Some(b"a\n"), b"a\n"), "");
    }

    #[test]
    fn what_is_no_text_is_not_shown() {
        for (before, after) in [(&b"\xff"[..], &b"a"[..]), (b"a", b"\xff"), (b"a", b"a\0b")] {
            assert_eq!(unified("/x", Some(before), after), "binary files differ\n");
        }
        assert_eq!(unified("/x", None, b"\0\0"), "a binary file of 2 bytes\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let shown = unified(
            "/x",
            Some(b"a\r\n"),
            "\u{1b}[2Ja\u{9b}\u{202e}\n".as_bytes(),
        );
        assert!(shown.contains("-a\\r\n"), "{shown}");
        assert!(shown.contains("+\\u{1b}[2Ja\\u{9b}\\u{202e}\n"), "{shown}");
    }
}
