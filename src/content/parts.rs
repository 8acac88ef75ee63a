//! Parts of a target that a service depends on: one digest over them.

use std::fmt::Write;

use serde_json::Value;

use crate::protocol::Digest;
use crate::settings::{Format, Parts, Render, Target, WhenChanged};

use super::{Content, Input, media, parse};

impl Content {
    /// The digest of the parts of this target, and of its profiles, that `when` names. Another choice of parts is another
    /// digest. What does not parse counts whole.
    pub fn parts(
        &self,
        target: &Target,
        bytes: &[u8],
        inputs: &[Input<'_>],
        when: &WhenChanged,
    ) -> Digest {
        let mut chosen = String::new();
        if let Some(parts) = when.targets.get(&target.path) {
            let value = || parsed(target, bytes, inputs);
            add(&mut chosen, target.path.as_str(), parts, bytes, value);
        }
        for input in inputs {
            let name = &input.profile.name;
            let Some(parts) = when.profiles.get(name) else {
                continue;
            };
            let Some(configuration) = input.configuration else {
                add(&mut chosen, name.as_str(), parts, b"", || None);
                continue;
            };
            let value = || {
                let format = media::of(input.profile, configuration)?;
                parse::parse(format, configuration.bytes()).ok()
            };
            add(
                &mut chosen,
                name.as_str(),
                parts,
                configuration.bytes(),
                value,
            );
        }
        Digest::of(chosen.as_bytes())
    }
}

/// One line a part: whose, which, what. Each is JSON, so that no value can pass for two.
fn add(
    chosen: &mut String,
    name: &str,
    parts: &Parts,
    bytes: &[u8],
    value: impl FnOnce() -> Option<Value>,
) {
    let mut line = |pointer: Option<&str>, what: String| {
        let head = serde_json::json!([name, pointer]);
        // Writing to a String does not fail.
        let _ = writeln!(chosen, "{head} {what}");
    };
    let whole = || Digest::of(bytes).to_string();
    match parts {
        Parts::Whole => line(None, whole()),
        Parts::Pointers(pointers) => {
            let Some(value) = value() else {
                return line(None, whole());
            };
            for pointer in pointers {
                let found = value.pointer(pointer);
                let what = found.map_or("nothing".to_owned(), |found| sorted(found).to_string());
                line(Some(pointer), what);
            }
        }
    }
}

/// The order of keys says nothing. At most as deep as the parsers' limit.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries = entries.into_iter();
            entries
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        _ => value.clone(),
    }
}

/// What a target's bytes say: by the path's ending, else as its only profile does.
fn parsed(target: &Target, bytes: &[u8], inputs: &[Input<'_>]) -> Option<Value> {
    let format = match target.path.file_name().rsplit_once('.') {
        Some((_, "json")) => Some(Format::Json),
        Some((_, "yaml" | "yml")) => Some(Format::Yaml),
        Some((_, "toml")) => Some(Format::Toml),
        _ => match (&target.render, inputs) {
            (Render::Merge { format }, _) => Some(*format),
            (Render::Verbatim, [input]) => media::of(input.profile, input.configuration?),
            _ => None,
        },
    };
    parse::parse(format?, bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::content::tests::{empty, target};
    use crate::settings::TargetPath;

    fn digest(path: &str, text: &str, pointers: &[&str]) -> Digest {
        let target = Target {
            path: TargetPath::new(path).unwrap(),
            ..target(&["p"], Render::Verbatim)
        };
        let pointers = pointers.iter().map(|one| (*one).to_owned()).collect();
        let when = WhenChanged {
            targets: BTreeMap::from([(TargetPath::new(path).unwrap(), Parts::Pointers(pointers))]),
            profiles: BTreeMap::new(),
        };
        empty().parts(&target, text.as_bytes(), &[], &when)
    }

    #[test]
    fn only_what_is_pointed_at_counts() {
        let of = |text| digest("/t.json", text, &["/a", "/b/0"]);
        let first = of(r#"{"a": {"x": 1, "y": 2}, "b": [1, 2], "c": 3}"#);
        for same in [
            r#"{"a": {"x": 1, "y": 2}, "b": [1, 3], "c": 4}"#,
            r#"{"b": [1], "a": {"y": 2, "x": 1}}"#,
        ] {
            assert_eq!(of(same), first, "{same}");
        }
        for other in [
            r#"{"a": {"x": 1, "y": 3}, "b": [1]}"#,
            r#"{"a": {"x": 1, "y": 2}, "b": [2]}"#,
            r#"{"a": {"x": 1, "y": 2}}"#,
            r#"{"a": null, "b": [1]}"#,
        ] {
            assert_ne!(of(other), first, "{other}");
        }
        assert_ne!(
            of(r#"{"a": null, "b": [1]}"#),
            of(r#"{"b": [1]}"#),
            "null is something"
        );
        assert_ne!(
            digest("/t.json", "{}", &["/a"]),
            digest("/t.json", "{}", &["/b"])
        );
    }

    #[test]
    fn what_does_not_parse_counts_whole() {
        for (path, one, other) in [
            ("/t.json", "{\"a\": 1", "{\"a\": 1 "),
            ("/t.conf", "a = 1\nb = 1", "a = 1\nb = 2"),
        ] {
            assert_ne!(
                digest(path, one, &["/a"]),
                digest(path, other, &["/a"]),
                "{path}"
            );
        }
        let yaml = |text| digest("/t.yaml", text, &["/a"]);
        assert_eq!(yaml("a: 1\nb: 1"), yaml("a: 1\nb: 2"));
    }
}
