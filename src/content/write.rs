//! A merged value as the bytes of a file.

use serde_json::Value;

use crate::settings::Format;

/// The bytes of `value`: JSON indented by two spaces, YAML in blocks, TOML in tables, each with a newline at the end. The
/// order of keys is kept as far as the format has it. The error says what the format cannot hold, without any value.
pub(super) fn write(format: Format, value: &Value) -> Result<Vec<u8>, String> {
    let mut text = match format {
        Format::Json => serde_json::to_string_pretty(value)
            .map_err(|_| "the value cannot be written as JSON".to_owned())?,
        Format::Yaml => crate::content::yaml::write(value),
        Format::Toml => toml(value)?,
        Format::Text => match value {
            Value::String(text) => return Ok(text.clone().into_bytes()),
            _ => return Err("only a string can be written as text".to_owned()),
        },
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text.into_bytes())
}

fn toml(value: &Value) -> Result<String, String> {
    if !value.is_object() {
        return Err("TOML holds a table, and this is none".to_owned());
    }
    let mut path = String::new();
    if let Some(fault) = not_toml(value, &mut path) {
        let at = crate::content::quote::name(&path);
        return Err(format!("TOML cannot hold {fault}, as at {at}"));
    }
    toml::to_string_pretty(value).map_err(|_| "the value cannot be written as TOML".to_owned())
}

/// What TOML has no word for; `path` then points at it.
fn not_toml(value: &Value, path: &mut String) -> Option<&'static str> {
    let end = path.len();
    match value {
        Value::Null => return Some("null"),
        Value::Number(number) if number.is_u64() && !number.is_i64() => {
            return Some("a whole number beyond 63 bits");
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push('/');
                path.push_str(&index.to_string());
                if let Some(fault) = not_toml(item, path) {
                    return Some(fault);
                }
                path.truncate(end);
            }
        }
        Value::Object(object) => {
            for (key, item) in object {
                path.push('/');
                path.push_str(key);
                if let Some(fault) = not_toml(item, path) {
                    return Some(fault);
                }
                path.truncate(end);
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::parse::parse;
    use proptest::prelude::*;
    use serde_json::json;

    fn written(format: Format, value: &Value) -> String {
        String::from_utf8(write(format, value).expect("writable")).expect("UTF-8")
    }

    #[test]
    fn each_format_has_its_own_look_and_ends_with_a_newline() {
        let value = json!({"z": 1, "a": {"on": "yes", "n": "0644"}, "l": [true, "x"]});
        assert_eq!(
            written(Format::Json, &value),
            "{\n  \"z\": 1,\n  \"a\": {\n    \"on\": \"yes\",\n    \"n\": \"0644\"\n  },\n  \"l\": [\n    true,\n    \"x\"\n  ]\n}\n"
        );
        let yaml = written(Format::Yaml, &value);
        assert!(yaml.starts_with("z: 1\na:\n"), "{yaml}");
        assert!(
            yaml.contains("\"yes\"") && yaml.contains("\"0644\""),
            "{yaml}"
        );
        assert!(yaml.ends_with('\n'), "{yaml}");
        let toml = written(Format::Toml, &value);
        assert!(toml.contains("[a]\n") && toml.ends_with('\n'), "{toml}");
    }

    #[test]
    fn what_toml_cannot_hold_is_named_by_its_path() {
        for (value, message) in [
            (json!([1]), "TOML holds a table, and this is none"),
            (
                json!({"a": [{"b": null}]}),
                "TOML cannot hold null, as at `/a/0/b`",
            ),
            (
                json!({"a": 18446744073709551615u64}),
                "TOML cannot hold a whole number beyond 63 bits, as at `/a`",
            ),
        ] {
            assert_eq!(write(Format::Toml, &value), Err(message.to_owned()));
        }
    }

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>()
                .prop_filter("finite", |number| number.is_finite())
                .prop_map(Value::from),
            "[ -~éß\n\t\u{85}\u{2028}\u{feff}\u{1}]{0,12}".prop_map(Value::from),
            prop_oneof![
                Just("yes"),
                Just("no"),
                Just("~"),
                Just("null"),
                Just("1e3"),
                Just("0o7"),
                Just("<<")
            ]
            .prop_map(Value::from),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        let node = scalar().prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                object(inner),
            ]
        });
        object(node)
    }

    fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[ -;=-~]{0,5}", inner, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_it_was(value in value()) {
            for format in [Format::Json, Format::Yaml, Format::Toml] {
                let bytes = write(format, &value).expect("writable");
                let back = parse(format, &bytes);
                prop_assert_eq!(back.as_ref(), Ok(&value), "{:?}: {}", format, String::from_utf8_lossy(&bytes));
            }
        }
    }
}
