//! The tables of keys of docs/settings.md, from the declarations by which the program reads its settings.

use std::collections::BTreeSet;

use appconfigd::settings::reference::{Row, tables};

const BEGIN: &str = "<!-- keys of ";
const END: &str = "<!-- end of keys -->";

/// The page with the table of every mapping where it says `<!-- keys of a probe -->`, up to `<!-- end of keys -->`.
/// `<!-- keys of a target: adopt files -->` asks for these keys, and they are left out of the other table of targets.
///
/// An error where a mapping has no place, or a place no mapping.
pub fn filled(page: &str) -> Result<String, String> {
    let tables = tables();
    let mut asked = BTreeSet::new();
    let taken: BTreeSet<(&str, &str)> = page
        .lines()
        .filter_map(marker)
        .flat_map(|(noun, keys)| keys.into_iter().map(move |key| (noun, key)))
        .collect();
    let mut filled = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        filled.push_str(line);
        filled.push('\n');
        let Some((noun, keys)) = marker(line) else {
            continue;
        };
        let table = tables.iter().find(|table| table.noun == noun);
        let table = table.ok_or_else(|| format!("no mapping is called {noun}"))?;
        let gone = keys
            .iter()
            .find(|key| table.rows.iter().all(|row| row.key != **key));
        if let Some(key) = gone {
            return Err(format!("{noun} has no key `{key}`"));
        }
        let wanted = |row: &&Row| match keys.is_empty() {
            true => !taken.contains(&(noun, row.key)),
            false => keys.contains(&row.key),
        };
        filled.push_str("| key | value | default | what |\n|---|---|---|---|\n");
        for row in table.rows.iter().filter(wanted) {
            asked.insert((table.noun, row.key));
            let default = match row.default {
                "" => String::new(),
                default => format!("{default} "),
            };
            let Row {
                key, value, text, ..
            } = row;
            filled.push_str(&format!("| `{key}` | {value} | {default}| {text} |\n"));
        }
        if !lines.any(|line| line == END) {
            return Err(format!("no `{END}` below the keys of {noun}"));
        }
        filled.push_str(END);
        filled.push('\n');
    }
    let all = tables
        .iter()
        .flat_map(|table| table.rows.iter().map(|row| (table.noun, row.key)));
    let missing: Vec<String> = all
        .filter(|key| !asked.contains(key))
        .map(|(noun, key)| format!("`{key}` of {noun}"))
        .collect();
    match missing.is_empty() {
        true => Ok(filled),
        false => Err(format!("no place for {}", missing.join(", "))),
    }
}

fn marker(line: &str) -> Option<(&str, Vec<&str>)> {
    let inner = line.strip_prefix(BEGIN)?.strip_suffix(" -->")?;
    let (noun, keys) = inner.split_once(": ").unwrap_or((inner, ""));
    Some((noun, keys.split_whitespace().collect()))
}
