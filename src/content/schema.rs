//! JSON Schema: compiled once, violations told without the configuration's values.

use std::path::Path;

use serde_json::Value;

/// A schema file's fault: line and column where known, and what is wrong.
pub(super) type Fault = (Option<(usize, usize)>, String);

#[cfg(feature = "schema")]
pub(super) use with::Schema;
#[cfg(not(feature = "schema"))]
pub(super) use without::Schema;

#[cfg(feature = "schema")]
mod with {
    use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
    use jsonschema::{ValidationError, Validator};

    use super::{Fault, Path, Value};
    use crate::content::{parse, quote};
    use crate::settings::Format;

    /// Violations that one message lists.
    const LISTED: usize = 10;
    /// Names of properties that one violation lists.
    const NAMES: usize = 5;

    /// A compiled schema.
    pub(in crate::content) struct Schema(Validator);

    impl Schema {
        /// JSON, or YAML by the file's extension. References lead into the same file or to the known drafts only.
        pub(in crate::content) fn load(file: &Path, bytes: &[u8]) -> Result<Schema, Fault> {
            let extension = file.extension().and_then(|extension| extension.to_str());
            let format = match extension {
                Some("yaml" | "yml") => Format::Yaml,
                _ => Format::Json,
            };
            let schema = parse::parse(format, bytes)
                .map_err(|broken| (broken.at, broken.reason.into_owned()))?;
            match jsonschema::options().offline().build(&schema) {
                Ok(validator) => Ok(Schema(validator)),
                // unlike a configuration, a schema may be quoted
                Err(fault) => {
                    let path = fault.instance_path().as_str();
                    let at = match path {
                        "" => String::new(),
                        path => format!("at {}: ", quote::name(path)),
                    };
                    let message: String = fault.to_string().chars().take(300).collect();
                    Err((None, format!("not a JSON Schema: {at}{message}")))
                }
            }
        }

        /// The violations, one a line: path of the value, what is wrong with it.
        pub(in crate::content) fn check(&self, value: &Value) -> Result<(), Vec<String>> {
            if self.0.is_valid(value) {
                return Ok(());
            }
            let mut violations = self.0.iter_errors(value);
            let mut lines: Vec<String> = violations.by_ref().take(LISTED).map(line).collect();
            if violations.next().is_some() {
                lines.push("and more".to_owned());
            }
            Err(lines)
        }
    }

    fn line(violation: ValidationError<'_>) -> String {
        let place = match violation.instance_path().as_str() {
            "" => "the whole".to_owned(),
            path => quote::name(path),
        };
        format!("{place} {}", reason(&violation))
    }

    /// What is wrong, in words and limits of the schema; of the configuration only kinds of values and names of properties.
    fn reason(violation: &ValidationError<'_>) -> String {
        match violation.kind() {
            Kind::Type { kind } => {
                let expected = match kind {
                    TypeKind::Single(one) => one.to_string(),
                    TypeKind::Multiple(several) => {
                        let names: Vec<_> = several.iter().map(|one| one.to_string()).collect();
                        names.join(" or ")
                    }
                };
                format!("is {}, not {expected}", kind_of(violation.instance()))
            }
            Kind::Required { property } => match property.as_str() {
                Some(property) => format!("lacks {}", quote::name(property)),
                None => "lacks a property".to_owned(),
            },
            Kind::AdditionalProperties { unexpected }
            | Kind::UnevaluatedProperties { unexpected } => {
                format!("must not have {}", names(unexpected))
            }
            Kind::AdditionalItems { limit } => format!("has more than {limit} items"),
            Kind::MaxItems { limit } => format!("has more than {limit} items"),
            Kind::MinItems { limit } => format!("has fewer than {limit} items"),
            Kind::MaxProperties { limit } => format!("has more than {limit} properties"),
            Kind::MinProperties { limit } => format!("has fewer than {limit} properties"),
            Kind::MaxLength { limit } => format!("is longer than {limit} characters"),
            Kind::MinLength { limit } => format!("is shorter than {limit} characters"),
            Kind::Maximum { limit } => format!("is greater than {limit}"),
            Kind::Minimum { limit } => format!("is less than {limit}"),
            Kind::ExclusiveMaximum { limit } => format!("is not less than {limit}"),
            Kind::ExclusiveMinimum { limit } => format!("is not greater than {limit}"),
            Kind::MultipleOf { multiple_of } => format!("is not a multiple of {multiple_of}"),
            Kind::Pattern { pattern } => {
                format!("does not match the pattern {}", quote::name(pattern))
            }
            Kind::Format { format } => format!("is not of the format {}", quote::name(format)),
            Kind::Enum { .. } => "is none of the values that the schema lists".to_owned(),
            Kind::Constant { .. } => "is not the value that the schema names".to_owned(),
            Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => {
                "fits none of the schema's alternatives".to_owned()
            }
            Kind::OneOfMultipleValid { .. } => {
                "fits more than one of the schema's alternatives".to_owned()
            }
            Kind::PropertyNames { error } => {
                format!("has a property whose name {}", reason(error))
            }
            Kind::UniqueItems => "has equal items".to_owned(),
            Kind::FalseSchema => "is not allowed".to_owned(),
            Kind::Contains => "has too few or too many items that fit `contains`".to_owned(),
            Kind::UnevaluatedItems { .. } => "has items that are not allowed".to_owned(),
            Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => {
                "cannot be matched with the schema's pattern".to_owned()
            }
            other => format!("violates {}", quote::name(other.keyword())),
        }
    }

    fn kind_of(value: &Value) -> &'static str {
        match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        }
    }

    fn names(unexpected: &[String]) -> String {
        let names = unexpected.iter().take(NAMES);
        let mut names: Vec<_> = names.map(|name| quote::name(name)).collect();
        if unexpected.len() > NAMES {
            names.push(format!("{} others", unexpected.len() - NAMES));
        }
        names.join(", ")
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use serde_json::json;

        fn schema(schema: Value) -> Schema {
            let bytes = schema.to_string();
            match Schema::load(Path::new("x.json"), bytes.as_bytes()) {
                Ok(schema) => schema,
                Err((_, reason)) => panic!("{reason}"),
            }
        }

        fn fault(file: &str, text: &str) -> Fault {
            match Schema::load(Path::new(file), text.as_bytes()) {
                Ok(_) => panic!("loaded"),
                Err(fault) => fault,
            }
        }

        #[test]
        fn every_violation_is_listed_with_path_and_reason() {
            let schema = schema(json!({
                "type": "object", "required": ["rate"], "additionalProperties": false,
                "properties": {
                    "rate": {}, "burst": {"type": "integer", "maximum": 5},
                    "hosts": {"items": {"type": ["string", "null"], "pattern": "^[a-z]+$"}}
                }
            }));
            let violations = schema
                .check(&json!({"burst": 9, "hosts": ["A", 5], "x\ny": 1}))
                .expect_err("violations");
            assert_eq!(
                violations,
                [
                    "`/burst` is greater than 5",
                    "`/hosts/0` does not match the pattern `^[a-z]+$`",
                    "`/hosts/1` is number, not null or string",
                    "the whole must not have `x\\u{a}y`",
                    "the whole lacks `rate`",
                ]
            );
        }

        #[test]
        fn the_list_of_violations_is_bounded() {
            let schema = schema(json!({"items": {"type": "string"}}));
            let violations = schema.check(&json!(vec![1; 100_000])).expect_err("many");
            assert_eq!(violations.len(), LISTED + 1);
            assert_eq!(violations.last().map(String::as_str), Some("and more"));
        }

        #[test]
        fn a_recursive_schema_follows_the_deepest_configuration_that_parses() {
            let schema = schema(json!({"anyOf": [{"type": "integer"}, {"items": {"$ref": "#"}}]}));
            let text = format!("{}1{}", "[".repeat(126), "]".repeat(126));
            let deepest = parse::parse(Format::Json, text.as_bytes()).expect("parsed");
            assert!(schema.check(&deepest).is_ok());
            assert!(schema.check(&json!([["x"], [[{}]]])).is_ok());
        }

        #[test]
        fn a_schema_that_only_names_itself_does_not_recurse_for_ever() {
            let own = schema(json!({"$ref": "#"}));
            assert_eq!(own.check(&json!({"a": 1})), Ok(()));
            let all = schema(json!({"allOf": [{"$ref": "#"}]}));
            assert_eq!(all.check(&json!({"a": 1})), Ok(()));
        }

        #[test]
        fn a_schema_in_yaml_is_read_by_its_extension() {
            let loaded = Schema::load(Path::new("x.yaml"), b"type: object\n");
            let schema = loaded.map_err(|(_, reason)| reason).expect("a schema");
            assert!(schema.check(&json!({})).is_ok());
            assert!(schema.check(&json!([])).is_err());
        }

        #[test]
        fn a_schema_that_is_none_says_where_and_why() {
            assert_eq!(
                fault("x.json", "{\n  \"type\": }"),
                (Some((2, 11)), "expected value".to_owned())
            );
            let (at, reason) = fault("x.json", r#"{"properties": {"a": {"type": "nothing"}}}"#);
            assert_eq!(at, None);
            assert!(
                reason.starts_with("not a JSON Schema: at `/properties/a/type`: "),
                "{reason}"
            );
            let (_, reason) = fault("x.json", r#"{"$ref": "https://example.com/x.json"}"#);
            assert!(reason.contains("https://example.com/x.json"), "{reason}");
            let (_, reason) = fault("x.json", r#"{"$ref": "file:///etc/hostname"}"#);
            assert!(reason.contains("file:///etc/hostname"), "{reason}");
        }
    }
}

#[cfg(not(feature = "schema"))]
mod without {
    use super::{Fault, Path, Value};

    /// No schema loads without the feature.
    pub(in crate::content) enum Schema {}

    impl Schema {
        pub(in crate::content) fn load(_: &Path, _: &[u8]) -> Result<Schema, Fault> {
            let reason = "this program is built without the Cargo feature `schema`";
            Err((None, reason.to_owned()))
        }

        pub(in crate::content) fn check(&self, _: &Value) -> Result<(), Vec<String>> {
            match *self {}
        }
    }
}
