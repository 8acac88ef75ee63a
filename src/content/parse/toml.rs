//! TOML 1.1.

use serde_json::Value;

use crate::content::parse::Broken;
use crate::content::parse::walk::Walk;

pub(super) fn parse(text: &str) -> Result<Value, Broken> {
    let walk = Walk::toml();
    let value = toml::Deserializer::parse(text).and_then(|from| walk.value(from));
    value.map_err(|fault| Broken {
        at: fault
            .span()
            .map(|span| super::position(text.as_bytes(), span.start)),
        reason: match walk.problem() {
            Some(problem) => problem.into(),
            None => reason(fault.message()).into(),
        },
    })
}

/// The parser's own sentence, unless it is one that could quote a value.
fn reason(message: &str) -> String {
    if message.contains("invalid type") || message.contains("invalid value") {
        return "a value of an unexpected kind".to_owned();
    }
    message.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_toml_is_refused_with_its_place() {
        for (text, place) in [
            ("a = 1\na = 2\n", (2, 1)),
            ("[a]\n[a]\n", (2, 2)),
            ("a = hidden\n", (1, 5)),
            ("a = 18446744073709551616\n", (1, 5)),
            ("a = 1 b = 2\n", (1, 9)),
            ("a = \"hidden\n", (1, 12)),
            ("a = inf\n", (1, 5)),
        ] {
            let broken = parse(text).expect_err(text);
            assert_eq!(broken.at, Some(place), "{text:?}: {broken}");
            assert!(!broken.reason.contains("hidden"), "{broken}");
        }
    }

    #[test]
    fn tables_keep_their_order_and_dates_become_strings() {
        let text = "z = 1979-05-27T07:32:00Z\na = [1, 'x']\n[t]\nd = 07:32:00\n[[u]]\nv = true\n";
        let value = parse(text).expect("a table");
        assert_eq!(
            value,
            json!({"z": "1979-05-27T07:32:00Z", "a": [1, "x"], "t": {"d": "07:32:00"}, "u": [{"v": true}]})
        );
        let keys: Vec<_> = value.as_object().expect("a table").keys().collect();
        assert_eq!(keys, ["z", "a", "t", "u"]);
    }
}
