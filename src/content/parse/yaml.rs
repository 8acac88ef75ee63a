//! YAML 1.2, one document.

use serde_json::Value;

use crate::content::parse::Broken;
use crate::content::parse::walk::Walk;

/// Flow collections inside one another, strings and comments not told apart. The scanner's time grows with the square of
/// this, long before the parser's own limit of 128 levels is looked at.
const FLOW_DEPTH: usize = 500;

pub(super) fn parse(text: &str) -> Result<Value, Broken> {
    flow_depth(text)?;
    let walk = Walk::yaml();
    let from = serde_yaml::Deserializer::from_str(text);
    walk.value(from).map_err(|fault| Broken {
        at: fault.location().map(|at| (at.line(), at.column())),
        reason: match walk.problem() {
            Some(problem) => problem.into(),
            None => reason(&fault.to_string()).into(),
        },
    })
}

/// The parser's own sentence, without positions and without the words of a message that could quote a value.
fn reason(message: &str) -> String {
    if message.contains("invalid type") || message.contains("invalid value") {
        return "a value of an unexpected kind".to_owned();
    }
    let sentence = message.split(" at line ").next().unwrap_or_default();
    sentence.to_owned()
}

fn flow_depth(text: &str) -> Result<(), Broken> {
    let mut depth = 0_usize;
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > FLOW_DEPTH {
            let reason = "recursion limit exceeded";
            return Err(Broken::here(text.as_bytes(), offset, reason));
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
                "a: 1\nb: 2\na: 3\n",
                "line 3 column 1: a key for the second time",
            ),
            (
                "80: a\n\"80\": b\n",
                "line 2 column 1: a key for the second time",
            ),
            (
                "a: 18446744073709551616\n",
                "line 1 column 4: a whole number beyond 64 bits",
            ),
            (
                "a: .inf\n",
                "line 1 column 4: a number that is infinite or not a number",
            ),
            (
                "~: a\n",
                "line 1 column 1: a key that is no string, whole number or boolean",
            ),
            (
                "? [a]\n: b\n",
                "line 1 column 3: a key that is no string, whole number or boolean",
            ),
            ("a: !hidden b\n", "line 1 column 4: a YAML tag"),
            (
                "a: 1\n<<: hidden\n",
                "line 1 column 1: a merge key (`<<`) whose value is no mapping",
            ),
            ("a: *hidden\n", "line 1 column 4: unknown anchor"),
            (
                "--- a\n--- b\n",
                "deserializing from YAML containing more than one document is not supported",
            ),
            (
                "a: 'hidden\n",
                "line 2 column 1: found unexpected end of stream",
            ),
            (
                "a: b: hidden\n",
                "line 1 column 5: mapping values are not allowed in this context",
            ),
        ] {
            let broken = parse(text).expect_err(text);
            assert_eq!(broken.to_string(), message, "{text:?}");
        }
    }

    #[test]
    fn scalar_keys_become_their_text_and_the_core_schema_holds() {
        let value = parse("80: yes\ntrue: 0644\nz: ~\na: {b: 0x10, c: 1.5}\n").expect("a mapping");
        assert_eq!(
            value.to_string(),
            r#"{"80":"yes","true":"0644","z":null,"a":{"b":16,"c":1.5}}"#
        );
    }

    #[test]
    fn aliases_and_merge_keys_are_carried_out() {
        let text =
            "base: &base {a: 1, b: 2}\nmore: &more {b: 9, c: 3}\nx: {<<: [*base, *more], a: 0}\n";
        let value = parse(text).expect("a mapping");
        assert_eq!(value["x"], json!({"a": 0, "b": 2, "c": 3}));
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        parse(&bomb).expect_err("a bomb");
        let long = format!(
            "a: &a {}\nb: [{}*a]\n",
            "x".repeat(1 << 20),
            "*a, ".repeat(40)
        );
        let broken = parse(&long).expect_err("a bomb of long strings");
        assert!(broken.reason.contains("too many aliases"), "{broken}");
    }
}
