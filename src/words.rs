//! Words for screens and logs: counts; and what others have written (programs, services, errors), made safe for them.

use std::error::Error;

/// `1 error`, `2 errors`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// The text with control characters escaped, and what steers the direction of writing; those in `kept` stay.
pub fn escape(text: &str, kept: &[char]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        let harmful = character.is_control() || steers(character);
        if harmful && !kept.contains(&character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
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

/// An error and its causes: each is told once, for a message does not repeat its cause.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = causes(error).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ")
}

/// The last cause, which is the error itself where it has none: what the operating system or the peer said.
pub fn last_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    causes(error).last().unwrap_or(error)
}

/// The error, then its causes.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Line separators, and the marks that change the direction of writing.
fn steers(character: char) -> bool {
    matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
}

fn join(text: &str) -> String {
    let escaped = escape(text, &['\n']);
    let lines: Vec<&str> = escaped
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_do_not_reach_a_screen() {
        assert_eq!(
            escape("a\x1b[31mb\r\nc\t\u{202e}", &['\n']),
            "a\\u{1b}[31mb\\r\nc\\t\\u{202e}"
        );
        assert_eq!(escape("a\nb", &[]), "a\\nb");
    }

    #[test]
    fn the_end_of_long_output_is_what_is_kept() {
        assert_eq!(last_line("one\n\n  two\nthree\n", 8), "…o; three");
        assert_eq!(last_line("one\n", 8), "one");
        assert_eq!(one_line("one\ntwo", 4), "one;…");
        assert_eq!(last_line("", 8), "");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot rename")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn an_error_is_told_with_its_causes_or_by_the_last_of_them() {
        let error = Outer(std::io::Error::other("no room"));
        assert_eq!(with_causes(&error), "cannot rename: no room");
        assert_eq!(last_cause(&error).to_string(), "no room");
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
