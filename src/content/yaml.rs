//! Writes YAML that YAML 1.1 and 1.2 read alike: what either could take for something else than a string is in quotes, and
//! floating-point numbers have the dot and the sign that YAML 1.1 asks for.

use serde_json::{Map, Number, Value};

/// `value` in blocks, with a newline at the end.
pub(super) fn write(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(object) if !object.is_empty() => mapping(&mut text, object, 0),
        Value::Array(items) if !items.is_empty() => sequence(&mut text, items, 0),
        scalar => {
            flat(&mut text, scalar);
            text.push('\n');
        }
    }
    text
}

fn mapping(text: &mut String, object: &Map<String, Value>, depth: usize) {
    for (index, (key, value)) in object.iter().enumerate() {
        // the first one stands behind the dash of a sequence, or at the margin
        if index > 0 || !text.ends_with("- ") {
            indent(text, depth);
        }
        string(text, key);
        text.push(':');
        match value {
            Value::Object(object) if !object.is_empty() => {
                text.push('\n');
                mapping(text, object, depth + 1);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                sequence(text, items, depth + 1);
            }
            scalar => {
                text.push(' ');
                flat(text, scalar);
                text.push('\n');
            }
        }
    }
}

fn sequence(text: &mut String, items: &[Value], depth: usize) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 || !text.ends_with("- ") {
            indent(text, depth);
        }
        text.push_str("- ");
        match item {
            Value::Object(object) if !object.is_empty() => mapping(text, object, depth + 1),
            Value::Array(items) if !items.is_empty() => sequence(text, items, depth + 1),
            scalar => {
                flat(text, scalar);
                text.push('\n');
            }
        }
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

/// A scalar or an empty collection.
fn flat(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(value) => text.push_str(&number(value)),
        Value::String(value) => string(text, value),
        Value::Array(_) => text.push_str("[]"),
        Value::Object(_) => text.push_str("{}"),
    }
}

fn number(number: &Number) -> String {
    let text = number.to_string();
    if !number.is_f64() {
        return text;
    }
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let dot = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) {
        ""
    } else {
        "+"
    };
    format!("{mantissa}{dot}e{sign}{exponent}")
}

fn string(text: &mut String, value: &str) {
    if plain(value) {
        text.push_str(value);
        return;
    }
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                escape(text, character)
            }
            control if control.is_control() => escape(text, control),
            other => text.push(other),
        }
    }
    text.push('"');
}

fn escape(text: &mut String, character: char) {
    text.push_str(&format!("\\u{:04x}", u32::from(character)));
}

/// Words, paths, host names and sentences that no YAML takes for anything but a string.
fn plain(value: &str) -> bool {
    let reserved = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf",
    ];
    let starts = |first: char| first.is_alphabetic() || matches!(first, '_' | '/');
    value.starts_with(starts)
        && value
            .ends_with(|last: char| last.is_alphanumeric() || matches!(last, '_' | '/' | '.' | ')'))
        && value.chars().all(|character| {
            character.is_alphanumeric()
                || matches!(
                    character,
                    '_' | '/' | '.' | '-' | ' ' | '(' | ')' | '+' | '@'
                )
        })
        && !reserved.contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn collections_are_blocks_and_ambiguous_strings_are_quoted() {
        let value = json!({
            "z": 1, "on": "yes", "mode": "0644", "time": "12:30:00", "date": "2001-01-01", "e": "",
            "text": "a\nb\u{85}\"\\", "path": "/etc/app v1.d", "f": [1e-7, 1e300, 2.0, 0.5], "80": null,
            "l": [{"a": 1, "b": [true, "x"]}, [[], {}, [1]], "- x"], "o": {}, "tail": "x ", "c": "a: b", "h": "a #b"
        });
        assert_eq!(
            write(&value),
            r##"z: 1
"on": "yes"
mode: "0644"
time: "12:30:00"
date: "2001-01-01"
e: ""
text: "a\nb\u0085\"\\"
path: /etc/app v1.d
f:
  - 1.0e-7
  - 1.0e+300
  - 2.0
  - 0.5
"80": null
l:
  - a: 1
    b:
      - true
      - x
  - - []
    - {}
    - - 1
  - "- x"
o: {}
tail: "x "
c: "a: b"
h: "a #b"
"##
        );
        assert_eq!(write(&json!("on")), "\"on\"\n");
        assert_eq!(write(&json!([])), "[]\n");
    }
}
