//! Names and paths inside messages: in backticks, on one line, of bounded length.

/// Characters of a name that a message shows.
const LONGEST: usize = 160;

/// `name` in backticks, control characters escaped, cut after 160 characters.
pub(super) fn name(name: &str) -> String {
    let mut shown: String = name
        .chars()
        .take(LONGEST)
        .flat_map(|character| match character.is_control() {
            true => character.escape_unicode().collect::<Vec<_>>(),
            false => vec![character],
        })
        .collect();
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_stays_on_one_line_and_short() {
        assert_eq!(super::name("a\nb\u{1b}"), "`a\\u{a}b\\u{1b}`");
        assert!(super::name(&"é".repeat(10_000)).chars().count() < 170);
    }
}
