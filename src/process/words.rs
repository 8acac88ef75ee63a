//! Commands and their output as text that is safe on a screen and in a log.

use std::fmt;

use crate::settings::Command;

/// A command on one short line, for messages.
pub struct Shown<'a>(pub &'a Command);

/// Characters of a command that a message shows.
const COMMAND: usize = 120;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = match self.0 {
            Command::Argv(argv) => argv.join(" "),
            Command::Shell(line) => line.clone(),
        };
        f.write_str(&one_line(&line, COMMAND))
    }
}

/// The text on one line: control characters escaped, lines joined, cut after about `limit` characters.
pub fn one_line(text: &str, limit: usize) -> String {
    let joined = join(text);
    match joined.char_indices().nth(limit) {
        Some((cut, _)) => format!("{}…", joined.get(..cut).unwrap_or_default()),
        None => joined,
    }
}

/// As [`one_line`], but it is the start that is cut off.
pub fn last_line(text: &str, limit: usize) -> String {
    let joined = join(text);
    let surplus = joined.chars().count().saturating_sub(limit);
    if surplus == 0 {
        return joined;
    }
    let kept: String = joined.chars().skip(surplus).collect();
    format!("…{kept}")
}

/// The text with every control character but the line feed escaped, and what turns the direction of writing.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => escaped.push('\n'),
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                escaped.extend(character.escape_unicode());
            }
            other if other.is_control() => escaped.extend(other.escape_default()),
            other => escaped.push(other),
        }
    }
    escaped
}

fn join(text: &str) -> String {
    let escaped = escape(text);
    let lines: Vec<&str> = escaped
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn control_characters_do_not_reach_a_screen() {
        assert_eq!(
            escape("a\x1b[31mb\r\nc\t\u{202e}"),
            "a\\u{1b}[31mb\\r\nc\\t\\u{202e}"
        );
    }

    #[test]
    fn the_end_of_long_output_is_what_is_kept() {
        assert_eq!(last_line("one\n\n  two\nthree\n", 8), "…o; three");
        assert_eq!(last_line("one\n", 8), "one");
        assert_eq!(one_line("one\ntwo", 4), "one;…");
        assert_eq!(last_line("", 8), "");
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_and_bounded(text in any::<String>(), limit in 0usize..50) {
            for line in [one_line(&text, limit), last_line(&text, limit)] {
                prop_assert!(!line.chars().any(char::is_control));
                prop_assert!(line.chars().count() <= limit + 1);
            }
        }
    }
}
