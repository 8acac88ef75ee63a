//! The variables of a program: names from the keys of a configuration, values from its scalars.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::content::quote;
use crate::settings::Naming;

/// What the kernel takes as one `NAME=value`, its NUL included (execve(2)).
const LONGEST: usize = 128 * 1024;
/// The kernel's limit is on arguments and environment together, a quarter of the stack's: 2 MiB at the usual 8.
const MOST: usize = 1024 * 1024;
/// Variables that decide which programs and libraries run. A configuration that may set them may run anything.
const RESERVED: [&str; 1] = ["PATH"];
const RESERVED_PREFIX: &str = "LD_";

/// An object of strings, as JSON, in the order of the names.
///
/// Nested keys are joined. Null sets nothing; a list is its JSON on one line. Two keys of one name, a name that no shell
/// could use, and what the kernel would not take are refused.
pub fn write(naming: &Naming, value: &Value) -> Result<String, String> {
    let Value::Object(_) = value else {
        return Err("variables are made of an object, and this is none".to_owned());
    };
    let mut made = Made {
        naming,
        variables: BTreeMap::new(),
        size: 0,
    };
    made.take(&naming.prefix, "", value)?;
    let variables: BTreeMap<_, _> = made.variables.iter().map(|(k, (_, v))| (k, v)).collect();
    let mut text = serde_json::to_string_pretty(&variables)
        .map_err(|_| "the variables cannot be written as JSON".to_owned())?;
    text.push('\n');
    Ok(text)
}

struct Made<'a> {
    naming: &'a Naming,
    /// By name: the key that it was made of, and the value.
    variables: BTreeMap<String, (String, String)>,
    size: usize,
}

impl Made<'_> {
    fn take(&mut self, name: &str, path: &str, value: &Value) -> Result<(), String> {
        let text = match value {
            Value::Object(object) => {
                let joint = if path.is_empty() {
                    ""
                } else {
                    &self.naming.separator
                };
                for (key, value) in object {
                    let part = self.part(key);
                    let path = format!("{path}/{key}");
                    self.take(&format!("{name}{joint}{part}"), &path, value)?;
                }
                return Ok(());
            }
            Value::Null => return Ok(()),
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) => value.to_string(),
        };
        self.add(name, path, text)
    }

    fn add(&mut self, name: &str, path: &str, text: String) -> Result<(), String> {
        let at = quote::name(path);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!(
                "{at} makes `{name}`, which is no name of a variable: give `env` a `prefix`"
            ));
        }
        if RESERVED.contains(&name) || name.starts_with(RESERVED_PREFIX) {
            return Err(format!(
                "{at} makes `{name}`, which decides what code runs: give `env` a `prefix`"
            ));
        }
        if text.contains('\0') {
            return Err(format!(
                "the value at {at} holds a NUL, which ends a variable"
            ));
        }
        let size = name.len() + text.len() + 2;
        self.size = self.size.saturating_add(size);
        if size > LONGEST {
            return Err(format!(
                "the value at {at} is longer than the {LONGEST} bytes that a variable may have"
            ));
        }
        if self.size > MOST {
            return Err(format!("the variables are more than {MOST} bytes"));
        }
        let key = path.to_owned();
        if let Some((other, _)) = self.variables.insert(name.to_owned(), (key, text)) {
            let other = quote::name(&other);
            return Err(format!("{other} and {at} both make `{name}`"));
        }
        Ok(())
    }

    /// A key as part of a name: what is neither letter nor digit becomes `_`.
    fn part(&self, key: &str) -> String {
        let sound = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let part: String = key.chars().map(sound).collect();
        match self.naming.upper_case {
            true => part.to_ascii_uppercase(),
            false => part,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn naming(prefix: &str) -> Naming {
        Naming {
            prefix: prefix.to_owned(),
            separator: "_".to_owned(),
            upper_case: true,
        }
    }

    fn variables(naming: &Naming, value: &Value) -> Result<Value, String> {
        write(naming, value).map(|text| serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn names_are_the_joined_keys_and_values_the_scalars() {
        let value = json!({
            "db": {"host-name": "x y", "port": 5432, "tls": true, "none": null, "empty": {}},
            "list": [1, "two"], "text": "a\nb", "ünï": ""
        });
        let expected = json!({
            "S_DB_HOST_NAME": "x y", "S_DB_PORT": "5432", "S_DB_TLS": "true",
            "S_LIST": "[1,\"two\"]", "S_TEXT": "a\nb", "S__N_": ""
        });
        assert_eq!(variables(&naming("S_"), &value), Ok(expected));
        let kept = Naming {
            prefix: String::new(),
            separator: "__".to_owned(),
            upper_case: false,
        };
        let expected = json!({"db__hostName": "x"});
        assert_eq!(
            variables(&kept, &json!({"db": {"hostName": "x"}})),
            Ok(expected)
        );
    }

    #[test]
    fn what_is_no_set_of_variables_is_refused_by_its_key_and_without_its_value() {
        let long = "secret".repeat(30_000);
        for (value, message) in [
            (
                json!(["secret"]),
                "variables are made of an object, and this is none",
            ),
            (json!({"a-b": "secret", "a_b": 1}), "both make `A_B`"),
            (json!({"a": {"b": 1}, "a_b": "secret"}), "both make `A_B`"),
            (
                json!({"1st": "secret"}),
                "`/1st` makes `1ST`, which is no name",
            ),
            (
                json!({"": "secret"}),
                "`/` makes ``, which is no name of a variable",
            ),
            (
                json!({"path": "/secret"}),
                "`/path` makes `PATH`, which decides",
            ),
            (
                json!({"ld": {"preload": "secret"}}),
                "makes `LD_PRELOAD`, which decides",
            ),
            (json!({"a": "secret\u{0}"}), "the value at `/a` holds a NUL"),
            (json!({ "a": long }), "the value at `/a` is longer than"),
        ] {
            let said = variables(&naming(""), &value).unwrap_err();
            assert!(
                said.contains(message) && !said.contains("secret"),
                "{said} is not about {message}"
            );
        }
        let many: serde_json::Map<_, _> = (0..20)
            .map(|n| (format!("a{n}"), Value::from("x".repeat(100_000))))
            .collect();
        let said = variables(&naming(""), &many.into()).unwrap_err();
        assert_eq!(said, "the variables are more than 1048576 bytes");
    }

    proptest! {
        #[test]
        fn every_name_is_one_that_a_shell_can_use(keys in prop::collection::vec(".{0,6}", 1..6)) {
            let value: serde_json::Map<_, _> = keys.into_iter().map(|k| (k, Value::from(1))).collect();
            if let Ok(Value::Object(made)) = variables(&naming("P"), &value.into()) {
                for name in made.keys() {
                    prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{}", name);
                }
            }
        }
    }
}
