//! The licences of what is linked into the program, with their texts as their authors ship them.

#![expect(
    clippy::indexing_slicing,
    reason = "a tool of the packager: where cargo says something else than it did, it ends"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Crates by name with version, licence and where they come from; then each text once, with whose it is.
pub fn list(repository: &Path) -> Result<String, Box<dyn Error>> {
    let metadata = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
        ])
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .current_dir(repository)
        .output()?;
    if !metadata.status.success() {
        return Err(String::from_utf8_lossy(&metadata.stderr).into());
    }
    let metadata: Value = serde_json::from_slice(&metadata.stdout)?;
    let linked = linked(&metadata);
    let mut lines = Vec::new();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in array(&metadata["packages"]) {
        if !linked.contains(text(&package["id"])) || package["source"].is_null() {
            continue;
        }
        let crate_ = format!("{} {}", text(&package["name"]), text(&package["version"]));
        let licence = match text(&package["license"]) {
            "" => "see its text below",
            licence => licence,
        };
        lines.push(format!("{crate_}: {licence}\n"));
        let manifest = Path::new(text(&package["manifest_path"]));
        let mut own = Vec::new();
        texts_below(manifest.parent().unwrap_or(Path::new(".")), &mut own)?;
        if own.is_empty() {
            own.push(customary(repository, package)?);
        }
        for licence in own {
            texts.entry(licence).or_default().push(crate_.clone());
        }
    }
    lines.sort();
    let mut page = format!(
        "appconfigd contains {} crates of others, and SQLite, which is in the public domain.\n\n{}",
        lines.len(),
        lines.concat()
    );
    for (licence, crates) in texts {
        page.push_str(&format!(
            "\n{}\n{}\n\n{}\n",
            "-".repeat(80),
            crates.join(", "),
            licence.trim_end()
        ));
    }
    Ok(page)
}

/// What the program is made of: normal dependencies, from it downwards.
fn linked(metadata: &Value) -> BTreeSet<&str> {
    let nodes: BTreeMap<&str, &Value> = array(&metadata["resolve"]["nodes"])
        .map(|node| (text(&node["id"]), node))
        .collect();
    let mut found = BTreeSet::new();
    let mut open = vec![text(&metadata["resolve"]["root"])];
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        let node = nodes.get(id).copied().unwrap_or(&Value::Null);
        let normal = array(&node["deps"]).filter(|dependency| {
            array(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null())
        });
        open.extend(normal.map(|dependency| text(&dependency["pkg"])));
    }
    found
}

/// Beside the manifest and below it: parts of a crate may be others' and have texts of their own.
fn texts_below(directory: &Path, texts: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    let mut files: Vec<_> = fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    for file in files {
        let kind = file.file_type()?;
        let name = file.file_name().to_string_lossy().to_uppercase();
        let is_licence = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|start| name.starts_with(start))
            && !name.ends_with(".RS");
        if kind.is_dir() {
            texts_below(&file.path(), texts)?;
        } else if kind.is_file() && is_licence {
            let text = String::from_utf8_lossy(&fs::read(file.path())?).into_owned();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
    }
    Ok(())
}

/// The text that the licence has everywhere, of a crate that comes without one.
fn customary(repository: &Path, package: &Value) -> Result<String, Box<dyn Error>> {
    let authors: Vec<&str> = array(&package["authors"]).map(text).collect();
    let whose = match authors.is_empty() {
        true => format!("the authors of {}", text(&package["name"])),
        false => authors.join(", "),
    };
    let licence = text(&package["license"]);
    if licence.split([' ', '/', '(', ')']).any(|it| it == "MIT") {
        let ours = fs::read_to_string(repository.join("LICENSE-MIT"))?;
        let permission = ours
            .find("Permission is")
            .ok_or("LICENSE-MIT has changed")?;
        let (_, permission) = ours.split_at(permission);
        return Ok(format!(
            "MIT License\n\nCopyright (c) {whose}\n\n{permission}"
        ));
    }
    if licence.contains("Apache-2.0") {
        return Ok(fs::read_to_string(repository.join("LICENSE-APACHE"))?);
    }
    Err(format!(
        "{} comes without the text of `{licence}`",
        text(&package["name"])
    )
    .into())
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
