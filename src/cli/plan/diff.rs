//! Two versions of a file, as a unified diff that is safe to show on a terminal.

use std::time::Duration;

use similar::TextDiff;

use crate::words::escape;

/// After that long the diff is still right, and no longer the shortest.
const THINKING_TIME: Duration = Duration::from_secs(2);

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
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    let diff = TextDiff::configure()
        .newline_terminated(true)
        .timeout(THINKING_TIME)
        .diff_slices(&old, &new);
    // Whoever deploys a configuration must not steer the terminal of whoever looks.
    escape(
        &diff.unified_diff().header(from, to).to_string(),
        &['\n', '\t'],
    )
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
