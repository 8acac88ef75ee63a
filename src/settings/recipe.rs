//! How a file is made: from which profiles, verbatim, merged or by a template.

use std::sync::Arc;

use super::field::Field;
use super::finding::{Findings, Place, Spot};
use super::path::{NamedKind, NamedPath};
use super::target::{TargetReader, once, unknown};
use super::valid::{Format, Profile, ProfileName, Render};
use super::written;

/// What is written of it.
pub(super) struct Recipe<'a> {
    /// A target, or a file of one.
    pub noun: &'static str,
    pub name: &'a Spot<String>,
    pub from: &'a Field<written::Names>,
    pub template: &'a Field<String>,
    pub merge: &'a Field<bool>,
}

impl TargetReader<'_> {
    pub(super) fn is_sensitive(&self, from: &[ProfileName]) -> bool {
        from.iter().any(|name| {
            let profile = self.profiles.get(name);
            profile.is_some_and(|profile| profile.as_ref().is_some_and(|p| p.sensitive))
        })
    }

    pub(super) fn from(
        &mut self,
        recipe: &Recipe<'_>,
        findings: &mut Findings,
    ) -> Option<Vec<ProfileName>> {
        let Recipe { noun, name, .. } = recipe;
        if recipe.from.is_absent() {
            findings
                .error(
                    name.at,
                    format!("the {noun} `{}` has no `from`", name.value),
                )
                .help("name the profile that it is made from: `from: NAME`");
        }
        let names = &recipe.from.value()?.0;
        let mut from = Vec::new();
        let mut sound = true;
        for Spot { at, value } in names {
            let profile = ProfileName::from(value.as_str());
            sound &= once(*at, value, from.contains(&profile), findings);
            if self.complete && !self.profiles.contains_key(&profile) {
                let known: Vec<&str> = self.profiles.keys().map(ProfileName::as_str).collect();
                unknown(*at, "profile", value, &known, findings);
                sound = false;
            }
            self.used.profiles.insert(profile.clone());
            from.push(profile);
        }
        sound.then_some(from)
    }

    pub(super) fn render(
        &self,
        recipe: &Recipe<'_>,
        from: Option<&[ProfileName]>,
        named: &mut Vec<NamedPath>,
        findings: &mut Findings,
    ) -> Option<Render> {
        let Recipe { noun, name, .. } = recipe;
        let merge = match recipe.merge {
            Field::Broken => return None,
            field => field.value().copied().unwrap_or(false),
        };
        match recipe.template {
            Field::Broken => None,
            Field::Given(given) => {
                let path = self
                    .directories
                    .name("the template", NamedKind::File, given);
                let file = path.path.clone();
                named.push(path);
                Some(Render::Template { file, merge })
            }
            Field::Absent if merge => {
                let at = recipe.merge.given().map_or(name.at, |given| given.key);
                self.merge(at, &name.value, from?, findings)
            }
            Field::Absent if from?.len() > 1 => {
                let at = recipe.from.given().map_or(name.at, |given| given.key);
                findings
                    .error(
                        at,
                        format!(
                            "a {noun} of several profiles needs to know how to put them together"
                        ),
                    )
                    .help("add `merge: true` (later profiles win), or a `template: FILE`");
                None
            }
            Field::Absent => Some(Render::Verbatim),
        }
    }

    /// The format that the path's ending names, else the one that all its profiles declare.
    fn merge(
        &self,
        at: Place,
        path: &str,
        from: &[ProfileName],
        findings: &mut Findings,
    ) -> Option<Render> {
        let profiles = from
            .iter()
            .map(|name| self.profiles.get(name).cloned().flatten());
        let profiles: Vec<Arc<Profile>> = profiles.collect::<Option<_>>()?;
        let text = profiles
            .iter()
            .find(|profile| profile.validate.format == Some(Format::Text));
        if let Some(profile) = text {
            findings
                .error(
                    at,
                    format!(
                        "the profile `{}` is text, which cannot be merged",
                        profile.name
                    ),
                )
                .help("leave it out of `from`, or use a `template`");
            return None;
        }
        let formats: Vec<Format> = profiles.iter().filter_map(|p| p.validate.format).collect();
        let declared = formats.first().filter(|first| {
            formats.len() == profiles.len() && formats.iter().all(|format| format == *first)
        });
        let Some(format) = by_ending(path).or(declared.copied()) else {
            findings
                .error(at, "it is not clear in which format the merged configuration is written")
                .help(
                    "end the path in `.json`, `.yaml` or `.toml`, or give all its profiles the same \
                     `validate: {format: …}`",
                );
            return None;
        };
        Some(Render::Merge { format })
    }
}

fn by_ending(path: &str) -> Option<Format> {
    match path.rsplit('/').next()?.rsplit_once('.')?.1 {
        "json" => Some(Format::Json),
        "yaml" | "yml" => Some(Format::Yaml),
        "toml" => Some(Format::Toml),
        _ => None,
    }
}
