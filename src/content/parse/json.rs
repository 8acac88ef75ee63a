//! JSON (RFC 8259).

use serde_json::Value;
use serde_json::error::Category;

use crate::content::parse::Broken;
use crate::content::parse::walk::Walk;

pub(super) const TOO_LARGE: &str = "a whole number beyond 64 bits";

pub(super) fn parse(text: &str) -> Result<Value, Broken> {
    let walk = Walk::json();
    let mut from = serde_json::Deserializer::from_str(text);
    let value = walk
        .value(&mut from)
        .and_then(|value| from.end().map(|()| value));
    let value = value.map_err(|fault| Broken {
        at: Some((fault.line().max(1), fault.column().max(1))),
        reason: match (walk.problem(), fault.classify()) {
            (Some(problem), _) => problem.into(),
            (None, Category::Syntax | Category::Eof) => syntax(&fault).into(),
            // the message of any other error may quote the value
            (None, Category::Data | Category::Io) => "a value of an unexpected kind".into(),
        },
    })?;
    whole_numbers(text)?;
    Ok(value)
}

/// The parser's message without its position: one of a fixed set of sentences, never a quotation.
fn syntax(fault: &serde_json::Error) -> String {
    let message = fault.to_string();
    match message.rsplit_once(" at line ") {
        Some((reason, _)) => reason.to_owned(),
        None => message,
    }
}

/// Refuses the whole numbers that the parser has made floating-point numbers, for they have lost digits.
fn whole_numbers(text: &str) -> Result<(), Broken> {
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((start, byte)) = bytes.next() {
        match byte {
            b'"' => {
                while let Some((_, byte)) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'-' | b'0'..=b'9' => {
                let mut end = start + 1;
                while let Some((at, _)) = bytes.next_if(|(_, byte)| {
                    matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')
                }) {
                    end = at + 1;
                }
                let number = text.get(start..end).unwrap_or_default();
                let whole = !number.contains(['.', 'e', 'E']);
                if whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    return Err(Broken::here(text.as_bytes(), start, TOO_LARGE));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_programs_read_differently_is_refused_with_its_place() {
        for (text, message) in [
            (
                "{\"a\": 1,\n \"a\": 2}",
                "line 2 column 4: a key for the second time",
            ),
            (
                "{\"a\": {\"b\": 1, \"b\": 2}}",
                "line 1 column 18: a key for the second time",
            ),
            (
                "[18446744073709551616]",
                "line 1 column 2: a whole number beyond 64 bits",
            ),
            (
                "[\"\\\"1\", -9223372036854775809]",
                "line 1 column 9: a whole number beyond 64 bits",
            ),
            ("[1e999]", "line 1 column 6: number out of range"),
            ("{} {}", "line 1 column 4: trailing characters"),
            ("", "line 1 column 1: EOF while parsing a value"),
            ("[1,]", "line 1 column 4: trailing comma"),
            ("[NaN]", "line 1 column 2: expected value"),
            ("{\"k\": hidden}", "line 1 column 7: expected value"),
            (
                "[\"\n\"]",
                "line 2 column 1: control character (\\u0000-\\u001F) found while parsing a string",
            ),
        ] {
            let broken = parse(text).expect_err(text);
            assert_eq!(broken.to_string(), message, "{text:?}");
        }
    }

    #[test]
    fn numbers_at_the_bounds_keep_every_digit() {
        let text = "[18446744073709551615,-9223372036854775808,0.1,1e-7,123456789.12345678]";
        let value = parse(text).expect("numbers");
        assert_eq!(value.to_string(), text);
    }

    #[test]
    fn keys_keep_their_order() {
        let value = parse(r#"{"z": 1, "a": {"y": "<<", "<<": 0}}"#).expect("an object");
        assert_eq!(value.to_string(), r#"{"z":1,"a":{"y":"<<","<<":0}}"#);
        assert_eq!(value, json!({"z": 1, "a": {"y": "<<", "<<": 0}}));
    }
}
