//! Which other templates a template names.

/// A name in `{% include %}`, `{% import %}`, `{% from %}` or `{% extends %}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub name: String,
    /// From 1, in the template that names it.
    pub line: usize,
    /// `ignore missing` stands beside it.
    pub optional: bool,
}

/// The names that are written out as strings. One that is computed is not found, and so never loaded: what a template reads
/// is known when it is loaded, and a configuration cannot choose files.
pub(super) fn references(source: &str) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut rest = source;
    let mut raw = false;
    while let Some(start) = rest.find("{%").into_iter().chain(rest.find("{#")).min() {
        let from = rest.get(start..).unwrap_or_default();
        let after = from.get(2..).unwrap_or_default();
        if from.starts_with("{#") {
            // inside `raw` it is text
            rest = match raw {
                true => after,
                false => after.split_once("#}").map_or("", |(_, rest)| rest),
            };
            continue;
        }
        let line = source.len() - from.len();
        let line = source.get(..line).unwrap_or_default();
        let line = line.matches('\n').count() + 1;
        let (block, following) = block(after);
        let words = block.trim_start_matches(['-', '+']).trim_start();
        let keyword: String = words
            .chars()
            .take_while(char::is_ascii_alphabetic)
            .collect();
        match (keyword.as_str(), raw) {
            ("endraw", true) => raw = false,
            (_, true) => {
                rest = after;
                continue;
            }
            ("raw", false) => raw = true,
            ("include" | "import" | "from" | "extends", false) => {
                let (names, remainder) = strings(words);
                let optional = remainder
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .windows(2)
                    .any(|pair| pair == ["ignore", "missing"]);
                found.extend(names.into_iter().map(|name| Reference {
                    name,
                    line,
                    optional,
                }));
            }
            _ => {}
        }
        rest = following;
    }
    found
}

/// Splits after the `%}` that ends a block; one inside a string does not.
fn block(text: &str) -> (&str, &str) {
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => drop(characters.next()),
            (Some(open), close) if open == close => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, '%') if text.get(at..).is_some_and(|end| end.starts_with("%}")) => {
                return (
                    text.get(..at).unwrap_or_default(),
                    text.get(at + 2..).unwrap_or_default(),
                );
            }
            _ => {}
        }
    }
    (text, "")
}

/// The strings of a block, and the block without them.
fn strings(block: &str) -> (Vec<String>, String) {
    let mut names = Vec::new();
    let mut remainder = String::new();
    let mut characters = block.chars();
    while let Some(character) = characters.next() {
        if !matches!(character, '"' | '\'') {
            remainder.push(character);
            continue;
        }
        let mut name = String::new();
        while let Some(next) = characters.next() {
            match next {
                '\\' => name.extend(characters.next()),
                next if next == character => break,
                next => name.push(next),
            }
        }
        names.push(name);
        remainder.push(' ');
    }
    (names, remainder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(source: &str) -> Vec<(String, usize, bool)> {
        let found = references(source).into_iter();
        found
            .map(|one| (one.name, one.line, one.optional))
            .collect()
    }

    #[test]
    fn names_are_found_where_the_engine_would_load_them() {
        let source = "a\n{%- include 'a.j2' %}{# {% include 'not' %} #}\n{% from \"b%}.j2\" import x %}\
            {% raw %}{% include 'not' %}{# {% endraw %}{% include ['c', \"d\"] ignore missing -%}\n\
            {% set x = 'include' %}{{ 'include' }}{% extends config.name %}{%import 'e' as e%}";
        assert_eq!(
            names(source),
            [
                ("a.j2".to_owned(), 2, false),
                ("b%}.j2".to_owned(), 3, false),
                ("c".to_owned(), 3, true),
                ("d".to_owned(), 3, true),
                ("e".to_owned(), 4, false),
            ]
        );
    }

    proptest! {
        #[test]
        fn no_template_makes_the_search_panic_or_hang(source in "([{}%#'\"\\\\é -]|include|raw|endraw){0,60}") {
            for found in references(&source) {
                prop_assert!((1..=source.lines().count()).contains(&found.line));
            }
        }
    }
}
