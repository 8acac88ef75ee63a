//! From configurations to a target's bytes: validate, parse, merge, render. Pure but for loading schemas and templates.

mod environment;
mod file;
mod load;
mod media;
mod merge;
mod parse;
mod parts;
mod quote;
mod schema;
mod template;
#[cfg(test)]
mod tests;
mod write;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;

use crate::protocol::{Configuration, Digest};
use crate::settings::{FileSet, Format, Profile, ProfileName, Render, Settings, Target};

use crate::content::schema::Schema;
use crate::content::template::Template;

/// Schemas and templates of one settings file, loaded and compiled.
pub struct Content {
    schemas: BTreeMap<PathBuf, Schema>,
    templates: BTreeMap<PathBuf, Template>,
    marks: load::Marks,
    /// Every file that was read.
    files: BTreeSet<PathBuf>,
}

/// A schema or template that does not load: which setting names it, where, why.
#[derive(Debug, thiserror::Error)]
#[error("{what} `{}`: {message}", file.display())]
pub struct LoadError {
    /// "schema of profile `x`", "template of target `/y`".
    pub what: String,
    /// The file with the fault: that of the setting, or one that it names.
    pub file: PathBuf,
    /// Line and column in `file`, from 1, where known.
    pub at: Option<(usize, usize)>,
    pub message: String,
}

/// Why a configuration or a target's rendering is turned down: one or more lines, without the bytes of the configuration.
/// Names of keys may occur, values never.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    pub reason: String,
}

/// One of a target's profiles with the configuration it counts with.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    pub profile: &'a Profile,
    /// `None` only for profiles that are not required.
    pub configuration: Option<&'a Configuration>,
}

impl Content {
    /// Reads and compiles every schema and template that the settings name, each file once. All that is wrong, in one go.
    pub fn load(settings: &Settings) -> Result<Content, Vec<LoadError>> {
        let mut marks = BTreeMap::new();
        let mut files = BTreeSet::new();
        let mut errors = Vec::new();
        let schemas = load::schemas(settings, &mut marks, &mut errors);
        files.extend(marks.keys().cloned());
        let templates = load::templates(settings, &mut marks, &mut files, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Content {
            schemas,
            templates,
            marks,
            files,
        })
    }

    /// The schemas and templates that were read, those that templates include among them.
    pub fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }

    /// All of them have the same bytes.
    pub fn is_same(&self, other: &Content) -> bool {
        self.marks == other.marks
    }

    /// Changes whenever a schema or template that these profiles and targets name has other bytes, those that a template
    /// includes among them: with it and their settings it is known whether old judgements still hold.
    pub fn fingerprint<'a>(
        &self,
        profiles: impl Iterator<Item = &'a Profile>,
        targets: impl Iterator<Item = &'a Target>,
    ) -> Digest {
        let schemas = profiles.filter_map(|profile| profile.validate.schema.as_ref());
        let recipes = targets.flat_map(Target::recipes);
        let templates = recipes.filter_map(|render| match render {
            Render::Template { file, .. } => Some(file),
            Render::Verbatim | Render::Merge { .. } | Render::Environment(_) | Render::Files(_) => {
                None
            }
        });
        let named: BTreeSet<&PathBuf> = schemas.chain(templates).collect();
        let marks = named.into_iter().filter_map(|file| self.marks.get(file));
        let all: Vec<u8> = marks.flat_map(|mark| *mark.as_bytes()).collect();
        Digest::of(&all)
    }

    /// The profile's own `validate`. `accepted_size`: bytes of the accepted configuration, for `max_shrink`.
    pub fn validate(
        &self,
        profile: &Profile,
        configuration: &Configuration,
        accepted_size: Option<u64>,
    ) -> Result<(), Refused> {
        sizes(profile, configuration, accepted_size)?;
        let validate = &profile.validate;
        if validate.format.is_none() && validate.schema.is_none() {
            return Ok(());
        }
        let value = parsed(profile, configuration, "`validate.schema`")?;
        let Some(file) = &validate.schema else {
            return Ok(());
        };
        let shown = file.display();
        let Some(schema) = self.schemas.get(file) else {
            return Err(refused(format!("schema `{shown}` is not loaded")));
        };
        schema.check(&value).map_err(|violations| {
            let lines = violations.join("\n  ");
            refused(format!("violates schema `{shown}`:\n  {lines}"))
        })
    }

    /// The bytes of a target that is one file. `inputs` in the order of `from`.
    pub fn render(&self, target: &Target, inputs: &[Input<'_>]) -> Result<Bytes, Refused> {
        self.make(&target.render, inputs)
    }

    /// The files of a directory target, by relative path. `inputs`: of all its profiles. A file that is made from nothing, since
    /// none of its profiles has a configuration or must have one, is left out.
    pub fn render_files(
        &self,
        set: &FileSet,
        inputs: &[Input<'_>],
    ) -> Result<BTreeMap<String, Bytes>, Refused> {
        let mut made = BTreeMap::new();
        for (path, file) in &set.files {
            let of = |name: &ProfileName| inputs.iter().find(|input| input.profile.name == *name);
            let inputs: Vec<Input<'_>> = file.from.iter().filter_map(of).copied().collect();
            let templated = matches!(file.render, Render::Template { .. });
            if !templated && inputs.iter().all(|input| input.configuration.is_none()) {
                continue;
            }
            let bytes = self.make(&file.render, &inputs);
            let bytes = bytes.map_err(|why| refused(format!("file `{path}`: {why}")))?;
            made.insert(path.clone(), bytes);
        }
        Ok(made)
    }

    fn make(&self, render: &Render, inputs: &[Input<'_>]) -> Result<Bytes, Refused> {
        match render {
            Render::Files(_) => Err(refused("a directory target is not one file")),
            Render::Verbatim => match inputs {
                [input] => match input.configuration {
                    Some(configuration) => Ok(configuration.bytes().clone()),
                    None => Err(nothing()),
                },
                _ => Err(refused("a verbatim target has exactly one profile")),
            },
            Render::Merge { format } => {
                let merged = merged(inputs)?.ok_or_else(nothing)?;
                let bytes = write::write(*format, &merged).map_err(refused)?;
                Ok(bytes.into())
            }
            Render::Environment(naming) => {
                let merged = merged(inputs)?.ok_or_else(nothing)?;
                let text = environment::write(naming, &merged).map_err(refused)?;
                Ok(text.into())
            }
            Render::Template { file, merge } => {
                let Some(template) = self.templates.get(file) else {
                    let shown = file.display();
                    return Err(refused(format!("template `{shown}` is not loaded")));
                };
                let bytes = rendered(template, *merge, inputs)?;
                Ok(bytes.into())
            }
        }
    }
}

fn sizes(
    profile: &Profile,
    configuration: &Configuration,
    accepted_size: Option<u64>,
) -> Result<(), Refused> {
    let size = configuration.bytes().len() as u64;
    if let Some(most) = profile.validate.max_size
        && size > most
    {
        return Err(refused(format!(
            "{size} bytes are more than `max_size`, {most} bytes"
        )));
    }
    if let Some(share) = profile.validate.max_shrink
        && let Some(accepted) = accepted_size
        && size < accepted
        // 29 % of 100 bytes are 29 bytes, whatever binary fractions say
        && (accepted - size) as f64 > accepted as f64 * share + 1e-6
    {
        let most = (share * 1000.0).round() / 10.0;
        return Err(refused(format!(
            "{size} bytes are too few: the accepted configuration has {accepted}, and `max_shrink` is {most}%"
        )));
    }
    Ok(())
}

/// The configuration's value, which `what` needs.
fn parsed(profile: &Profile, configuration: &Configuration, what: &str) -> Result<Value, Refused> {
    let Some(format) = media::of(profile, configuration) else {
        let content_type = match configuration.content_type() {
            Some(content_type) => format!("content type {}", quote::name(content_type)),
            None => "a missing content type".to_owned(),
        };
        return Err(refused(format!(
            "{what} needs a format, and {content_type} names none: set `validate.format` of profile `{}`",
            profile.name
        )));
    };
    parse::parse(format, configuration.bytes())
        .map_err(|broken| refused(format!("not {}: {broken}", media::name(format))))
}

/// The inputs that are there, merged in their order. `None`: none is there.
fn merged(inputs: &[Input<'_>]) -> Result<Option<Value>, Refused> {
    let mut merged = None;
    for input in inputs {
        let Some(configuration) = input.configuration else {
            continue;
        };
        let name = &input.profile.name;
        if media::of(input.profile, configuration) == Some(Format::Text) {
            return Err(refused(format!(
                "profile `{name}`: text cannot be merged; set `validate.format`"
            )));
        }
        let value = parsed(input.profile, configuration, "`merge`")
            .map_err(|why| refused(format!("profile `{name}`: {why}")))?;
        merged = Some(match merged {
            None => value,
            Some(target) => merge::patch(target, value),
        });
    }
    Ok(merged)
}

fn rendered(template: &Template, merge: bool, inputs: &[Input<'_>]) -> Result<Vec<u8>, Refused> {
    let mut values = Vec::with_capacity(inputs.len());
    for input in inputs {
        values.push((input.profile.name.as_str(), lenient(input)?));
    }
    let profiles: Vec<(&str, Option<&Value>)> = values
        .iter()
        .map(|(name, value)| (*name, value.as_ref()))
        .collect();
    let none = Value::Null;
    let merged = match merge {
        true => Some(merged(inputs)?.unwrap_or(Value::Null)),
        false => None,
    };
    let config = match (&merged, profiles.as_slice()) {
        (Some(merged), _) => Some(merged),
        (None, [(_, only)]) => Some(only.unwrap_or(&none)),
        (None, _) => None,
    };
    template.render(config, &profiles).map_err(refused)
}

/// As a template sees it: what does not parse is a string.
fn lenient(input: &Input<'_>) -> Result<Option<Value>, Refused> {
    let Some(configuration) = input.configuration else {
        return Ok(None);
    };
    let bytes = configuration.bytes();
    if let Some(format) = media::of(input.profile, configuration)
        && let Ok(value) = parse::parse(format, bytes)
    {
        return Ok(Some(value));
    }
    match parse::text(bytes) {
        Ok(text) => Ok(Some(Value::String(text.to_owned()))),
        Err(broken) => Err(refused(format!(
            "profile `{}`: a template cannot hold it: {broken}",
            input.profile.name
        ))),
    }
}

fn nothing() -> Refused {
    refused("none of its profiles has a configuration")
}

fn refused(reason: impl Into<String>) -> Refused {
    Refused {
        reason: reason.into(),
    }
}
