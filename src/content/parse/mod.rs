//! From bytes to one kind of value, strictly.
//!
//! What formats allow and programs read differently is refused: duplicate keys, whole numbers beyond 64 bits, NUL, a byte
//! order mark (but in text), several YAML documents, YAML tags, keys that are no scalars. YAML's keys that are whole
//! numbers or booleans become their text; YAML's merge keys (`<<`) are carried out; TOML's dates become strings.

mod json;
mod toml;
mod walk;
mod yaml;

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use crate::settings::Format;

/// Why some bytes are not of a format: never a part of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Line and column, from 1, where known.
    pub at: Option<(usize, usize)>,
    pub reason: Cow<'static, str>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.at {
            write!(f, "line {line} column {column}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// The value that `bytes` say; a text's is one string.
pub(super) fn parse(format: Format, bytes: &[u8]) -> Result<Value, Broken> {
    let text = text(bytes)?;
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        return Err(Broken::here(bytes, offset, "a NUL character"));
    }
    if format != Format::Text && text.starts_with('\u{feff}') {
        return Err(Broken::here(bytes, 0, "a byte order mark"));
    }
    match format {
        Format::Json => json::parse(text),
        Format::Yaml => yaml::parse(text),
        Format::Toml => toml::parse(text),
        Format::Text => Ok(Value::String(text.to_owned())),
    }
}

/// `bytes` as UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Broken> {
    std::str::from_utf8(bytes)
        .map_err(|fault| Broken::here(bytes, fault.valid_up_to(), "a byte that is not UTF-8"))
}

/// Line and column, from 1, of a byte's offset; columns count characters.
pub(super) fn position(bytes: &[u8], offset: usize) -> (usize, usize) {
    let before = bytes.get(..offset).unwrap_or(bytes);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default()
        .iter()
        .filter(|byte| **byte & 0xc0 != 0x80)
        .count();
    (line, column + 1)
}

impl Broken {
    fn here(bytes: &[u8], offset: usize, reason: impl Into<Cow<'static, str>>) -> Broken {
        Broken {
            at: Some(position(bytes, offset)),
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn refusal(format: Format, bytes: impl AsRef<[u8]>) -> String {
        match parse(format, bytes.as_ref()) {
            Ok(value) => panic!("parsed as {value}"),
            Err(broken) => broken.to_string(),
        }
    }

    fn speaks_of_depth(reason: &str) -> bool {
        ["nest", "deep", "recursion"]
            .iter()
            .any(|word| reason.contains(word))
    }

    /// Whatever the bytes were: a value, or a reason that fits a line.
    fn said_in_a_line(parsed: Result<Value, Broken>) -> bool {
        parsed.map_or_else(|broken| !broken.to_string().contains('\n'), |_| true)
    }

    #[test]
    fn every_format_refuses_invalid_utf8_and_nul_and_names_the_place() {
        for format in [Format::Json, Format::Yaml, Format::Toml, Format::Text] {
            assert_eq!(
                refusal(format, b"a\nb\xff"),
                "line 2 column 2: a byte that is not UTF-8"
            );
            assert_eq!(refusal(format, "é\n\0"), "line 2 column 1: a NUL character");
        }
    }

    #[test]
    fn a_byte_order_mark_is_refused_but_in_text() {
        for format in [Format::Json, Format::Yaml, Format::Toml] {
            assert_eq!(
                refusal(format, "\u{feff}{}"),
                "line 1 column 1: a byte order mark"
            );
        }
        assert_eq!(
            parse(Format::Text, "\u{feff}a".as_bytes()),
            Ok(json!("\u{feff}a"))
        );
    }

    #[test]
    fn deep_nesting_is_refused_and_never_overflows_the_stack() {
        for (format, open) in [
            (Format::Json, "["),
            (Format::Json, "{\"a\":"),
            (Format::Yaml, "["),
            (Format::Yaml, "{a: "),
            (Format::Yaml, "- "),
            (Format::Toml, "a = ["),
        ] {
            let deep = match format {
                Format::Toml => format!("a = {}", "[".repeat(20_000)),
                _ => open.repeat(20_000),
            };
            let reason = refusal(format, deep);
            assert!(speaks_of_depth(&reason), "{format:?} {open}: {reason}");
        }
        let dotted = refusal(Format::Toml, format!("{} = 1", vec!["a"; 5_000].join(".")));
        assert!(speaks_of_depth(&dotted), "{dotted}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for format in [Format::Json, Format::Yaml, Format::Toml, Format::Text] {
                prop_assert!(said_in_a_line(parse(format, &bytes)));
            }
        }

        #[test]
        fn no_text_of_structural_characters_makes_a_parser_panic(
            text in r#"([\[\]{}:,"'#&*!|>%@`=.<\-\n\t \\]|[a-c0-9]|<<: |--- |&a |\*a ){0,80}"#
        ) {
            for format in [Format::Json, Format::Yaml, Format::Toml] {
                prop_assert!(said_in_a_line(parse(format, text.as_bytes())));
            }
        }
    }
}
