use appconfigd::content::{Content, Input, LoadError, Refused};
use appconfigd::protocol::Configuration;
use appconfigd::settings::{Circumstances, ProfileName, Settings, TargetPath, read};
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;

use super::in_time;
use super::parts::{find, parts};

const SETTINGS: &str = "
defaults: {application: shop, environment: prod}
profiles: {data: , more: {required: false}}
targets:
  /etc/rendered: {from: [data, more], template: template.j2}
  /etc/merged.json: {from: [data, more], merge: true}
  /etc/merged.yaml: {from: [data, more], merge: true}
  /etc/merged.toml: {from: [data, more], merge: true}
  /etc/verbatim: {from: data}
";
/// What a rendering may have.
const LARGEST: usize = 16 * 1024 * 1024;

thread_local! {
    static DIRECTORY: TempDir = tempfile::tempdir().expect("a directory");
}

/// A template, a content type, a configuration of it, and perhaps a second one (type, bytes): the template is loaded or
/// its faults have places; it renders in time to a bounded length, the same twice, or is refused with a reason, and so
/// is a merge; no reason shows a value of the configuration; what a merge writes as JSON, YAML and TOML says the same
/// when it is read again; what nobody changes arrives byte for byte.
pub fn hold(bytes: &[u8]) {
    let parts = parts(bytes);
    let part = |index: usize| parts.get(index).copied();
    let template = part(0).unwrap_or_default();
    let data = configuration(part(1), part(2).unwrap_or_default());
    let more = part(4).map(|bytes| configuration(part(3), bytes));

    let settings = settings(template);
    let content = match in_time("loading", || Content::load(&settings)) {
        Ok(content) => content,
        Err(faults) => {
            loaded_not(&faults, template);
            settings_without_template(&settings)
        }
    };
    let made = Made {
        settings: &settings,
        content: &content,
        data: &data,
        more: more.as_ref(),
    };
    let rendered = made.of("/etc/rendered");
    if let Ok(rendered) = &rendered {
        assert!(rendered.len() <= LARGEST);
    }
    let (json, yaml, toml) = (
        made.of("/etc/merged.json"),
        made.of("/etc/merged.yaml"),
        made.of("/etc/merged.toml"),
    );
    assert_eq!(made.of("/etc/verbatim").as_ref(), Ok(data.bytes()));
    for why in [&rendered, &json, &yaml, &toml]
        .into_iter()
        .filter_map(|made| made.as_ref().err())
    {
        shows_no_value(why, template, &[Some(&data), more.as_ref()]);
    }
    if let Ok(json) = &json {
        let value: Value = serde_json::from_slice(json).expect("a merge writes JSON");
        // Where it is a key, the reader of YAML takes it for a merge key even in quotes: its parser keeps no quotes.
        if find(json, b"\"<<\":").is_some() {
            return;
        }
        assert!(yaml.is_ok(), "JSON but no YAML: {value}");
        for (kind, made) in [
            ("json", &json.clone()),
            ("yaml", yaml.as_ref().expect("YAML")),
        ] {
            assert_eq!(again(&content, &settings, kind, made), value, "as {kind}");
        }
        // TOML has no null, and cares for the order of keys.
        if let Ok(toml) = &toml {
            assert_eq!(again(&content, &settings, "toml", toml), value, "as toml");
        }
    }
}

struct Made<'a> {
    settings: &'a Settings,
    content: &'a Content,
    data: &'a Configuration,
    more: Option<&'a Configuration>,
}

impl Made<'_> {
    /// A target's bytes, made twice.
    fn of(&self, path: &str) -> Result<Bytes, Refused> {
        let target = &self.settings.targets[&TargetPath::new(path).expect("a path")];
        let input = |name: &ProfileName| Input {
            profile: &self.settings.profiles[name],
            configuration: match name.as_str() {
                "data" => Some(self.data),
                _ => self.more,
            },
        };
        let inputs: Vec<Input<'_>> = target.from.iter().map(input).collect();
        let made = in_time(path, || self.content.render(target, &inputs));
        let twice = self.content.render(target, &inputs);
        assert_eq!(made, twice, "`{path}` is another the second time");
        if let Err(why) = &made {
            assert!(!why.reason.trim().is_empty(), "`{path}`: no reason");
        }
        made
    }
}

/// What these bytes say, as JSON, when they come as a configuration.
fn again(content: &Content, settings: &Settings, kind: &str, bytes: &Bytes) -> Value {
    let content_type = format!("application/{kind}");
    let configuration = Configuration::new(bytes.clone(), Some(content_type), None);
    let made = Made {
        settings,
        content,
        data: &configuration,
        more: None,
    };
    let json = made.of("/etc/merged.json");
    let json = json.unwrap_or_else(|why| panic!("what was written as {kind} is refused: {why}"));
    serde_json::from_slice(&json).expect("JSON")
}

fn configuration(content_type: Option<&[u8]>, bytes: &[u8]) -> Configuration {
    let content_type = content_type.map(|name| String::from_utf8_lossy(name).trim().to_owned());
    Configuration::new(Bytes::copy_from_slice(bytes), content_type, None)
}

/// With this template in its place.
fn settings(template: &[u8]) -> Settings {
    DIRECTORY.with(|directory| {
        let file = directory.path().join("appconfigd.yaml");
        if !file.exists() {
            std::fs::write(&file, SETTINGS).expect("a file");
            // Another template, for those that include one.
            std::fs::write(directory.path().join("part.j2"), "{{ config }}").expect("a file");
        }
        std::fs::write(directory.path().join("template.j2"), template).expect("a file");
        let read = read(&file, &Circumstances::default());
        read.expect("these settings are valid").settings
    })
}

/// The rest of what is held does not need the template.
fn settings_without_template(settings: &Settings) -> Content {
    let mut settings = settings.clone();
    settings
        .targets
        .retain(|path, _| path.as_str() != "/etc/rendered");
    Content::load(&settings).expect("nothing is left to load")
}

fn loaded_not(faults: &[LoadError], template: &[u8]) {
    assert!(!faults.is_empty(), "refused without a fault");
    let lines = template.split(|byte| *byte == b'\n').count();
    for fault in faults {
        assert!(!fault.message.trim().is_empty(), "{fault:?}");
        let own = fault.file.ends_with("template.j2");
        if let Some((line, column)) = fault.at.filter(|_| own) {
            assert!((1..=lines).contains(&line) && column >= 1, "{fault:?}");
        }
    }
}

/// Strings of a configuration in which `secret` stands are in no reason, unless the template or a content type says them too.
fn shows_no_value(why: &Refused, template: &[u8], data: &[Option<&Configuration>]) {
    let template = String::from_utf8_lossy(template);
    for configuration in data.iter().flatten() {
        let Ok(value) = serde_json::from_slice::<Value>(configuration.bytes()) else {
            continue;
        };
        let (mut values, mut keys) = (Vec::new(), Vec::new());
        strings(&value, &mut values, &mut keys);
        values.retain(|text| text.len() >= 8 && text.contains("secret"));
        values.retain(|text| !keys.iter().any(|key| key.contains(text.as_str())));
        let types = || data.iter().flatten().filter_map(|one| one.content_type());
        let is_said = |text: &String| {
            template.contains(text.as_str()) || types().any(|name| name.contains(text.as_str()))
        };
        for text in values.iter().filter(|text| !is_said(text)) {
            assert!(!why.reason.contains(text.as_str()), "shows `{text}`: {why}");
        }
    }
}

fn strings(value: &Value, values: &mut Vec<String>, keys: &mut Vec<String>) {
    match value {
        Value::String(text) => values.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, values, keys)),
        Value::Object(entries) => {
            for (key, value) in entries {
                keys.push(key.clone());
                strings(value, values, keys);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
