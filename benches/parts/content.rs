//! From a configuration to a target's bytes: JSON held against a schema, and a template over it; beside parsing alone.

use std::fs;

use appconfigd::content::{Content, Input};
use appconfigd::protocol::Configuration;
use appconfigd::settings::{ProfileName, Settings, TargetPath};
use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::settings;

const SIZES: [usize; 2] = [4 * 1024, 1024 * 1024];
const SCHEMA: &str = r#"{"type": "object", "required": ["limits"], "properties": {"limits": {"type": "array", "items": {
  "type": "object", "required": ["name", "rate"], "additionalProperties": false,
  "properties": {"name": {"type": "string", "pattern": "^[a-z0-9-]+$"}, "rate": {"type": "integer", "minimum": 0}, "on": {"type": "boolean"}}}}}}"#;
const TEMPLATE: &str = "{% for limit in config.limits %}{% if limit.on %}limit {{ limit.name }} {{ limit.rate }};\n{% endif %}{% endfor %}";
const LINES: &str = "
profiles: {limits: {validate: {format: json, schema: limits.schema.json}}}
targets: {/limits.conf: {from: limits, template: limits.j2}}
";

struct Made {
    _directory: TempDir,
    settings: Settings,
    content: Content,
    configuration: Configuration,
}

/// A JSON configuration of about so many bytes.
fn make(bytes: usize) -> Made {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("limits.schema.json"), SCHEMA).unwrap();
    fs::write(directory.path().join("limits.j2"), TEMPLATE).unwrap();
    let settings = settings(directory.path(), LINES);
    let limit = |number: usize| json!({"name": format!("customer-{number:08}"), "rate": number, "on": number.is_multiple_of(2)});
    let each = limit(1_000).to_string().len() + 1;
    let limits: Vec<Value> = (0..bytes / each).map(limit).collect();
    let text = json!({ "limits": limits }).to_string();
    Made {
        content: Content::load(&settings).unwrap(),
        settings,
        configuration: Configuration::new(Bytes::from(text), Some("application/json".into()), None),
        _directory: directory,
    }
}

#[divan::bench(args = SIZES)]
fn validate(bencher: Bencher<'_, '_>, bytes: usize) {
    let made = make(bytes);
    let profile = &made.settings.profiles[&ProfileName::from("limits")];
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        made.content
            .validate(profile, &made.configuration, None)
            .unwrap();
    });
}

#[divan::bench(args = SIZES)]
fn render(bencher: Bencher<'_, '_>, bytes: usize) {
    let made = make(bytes);
    let profile = &made.settings.profiles[&ProfileName::from("limits")];
    let target = &made.settings.targets[&TargetPath::new("/limits.conf").unwrap()];
    let input = Input {
        profile,
        configuration: Some(&made.configuration),
    };
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| made.content.render(target, &[input]).unwrap());
}

/// The floor of both.
#[divan::bench(args = SIZES)]
fn bare_parse(bencher: Bencher<'_, '_>, bytes: usize) {
    let made = make(bytes);
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| serde_json::from_slice::<Value>(made.configuration.bytes()).unwrap());
}
