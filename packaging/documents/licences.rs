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
        for licence in texts_beside(manifest)? {
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

fn texts_beside(manifest: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let directory = manifest.parent().unwrap_or(Path::new("."));
    let mut files: Vec<_> = fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    let mut texts = Vec::new();
    for file in files {
        let name = file.file_name().to_string_lossy().to_uppercase();
        let is_licence = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|start| name.starts_with(start));
        if is_licence && file.path().is_file() {
            texts.push(String::from_utf8_lossy(&fs::read(file.path())?).into_owned());
        }
    }
    Ok(texts)
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
