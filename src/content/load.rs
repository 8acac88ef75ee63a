//! Loads the schemas and templates that settings name, each file once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::content::LoadError;
use crate::content::file;
use crate::content::schema::Schema;
use crate::content::template::Template;
use crate::protocol::Digest;
use crate::settings::{Render, Settings};

/// Per schema or template that the settings name: a digest of its bytes and of all that it includes.
pub(super) type Marks = BTreeMap<PathBuf, Digest>;

pub(super) fn schemas(
    settings: &Settings,
    marks: &mut Marks,
    errors: &mut Vec<LoadError>,
) -> BTreeMap<PathBuf, Schema> {
    let mut seen: BTreeMap<PathBuf, Option<Schema>> = BTreeMap::new();
    for profile in settings.profiles.values() {
        let Some(file) = &profile.validate.schema else {
            continue;
        };
        if seen.contains_key(file) {
            continue;
        }
        let schema = file::read(file)
            .map_err(|message| (None, message))
            .and_then(|bytes| {
                marks.insert(file.clone(), Digest::of(&bytes));
                Schema::load(file, &bytes)
            });
        let schema = schema.map_err(|(at, message)| {
            errors.push(LoadError {
                what: format!("schema of profile `{}`", profile.name),
                file: file.clone(),
                at,
                message,
            });
        });
        seen.insert(file.clone(), schema.ok());
    }
    let loaded = seen.into_iter();
    loaded
        .filter_map(|(file, schema)| Some((file, schema?)))
        .collect()
}

pub(super) fn templates(
    settings: &Settings,
    marks: &mut Marks,
    files: &mut BTreeSet<PathBuf>,
    errors: &mut Vec<LoadError>,
) -> BTreeMap<PathBuf, Template> {
    let mut seen: BTreeMap<PathBuf, Option<Template>> = BTreeMap::new();
    let targets = settings.targets.values();
    let recipes = targets.flat_map(|target| target.recipes().map(move |recipe| (target, recipe)));
    for (target, recipe) in recipes {
        let Render::Template { file, .. } = recipe else {
            continue;
        };
        if seen.contains_key(file) {
            continue;
        }
        let what = format!("template of target `{}`", target.path);
        let mut read = BTreeMap::new();
        let template =
            Template::load(&what, file, &mut read).map_err(|faults| errors.extend(faults));
        marks.insert(file.clone(), mark(&read));
        files.extend(read.into_keys());
        seen.insert(file.clone(), template.ok());
    }
    let loaded = seen.into_iter();
    loaded
        .filter_map(|(file, template)| Some((file, template?)))
        .collect()
}

/// One digest over names and bytes, each with its length before it.
fn mark(read: &BTreeMap<PathBuf, Vec<u8>>) -> Digest {
    let mut all = Vec::new();
    for (file, bytes) in read {
        let file = file.as_os_str().as_encoded_bytes();
        all.extend_from_slice(&(file.len() as u64).to_be_bytes());
        all.extend_from_slice(file);
        all.extend_from_slice(Digest::of(bytes).as_bytes());
    }
    Digest::of(&all)
}
