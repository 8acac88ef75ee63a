//! Holds the code against the table of modules in docs/architecture.md, and files against the rules of the house.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{Source, files_below, production, root, sources};

/// Module → modules that it may import, in the order of the table.
type Table = Vec<(String, BTreeSet<String>)>;

/// Files that may have more lines of code than the rest, each with its reason. An entry that is no longer needed fails.
const LONG_FILES: &[(&str, &str)] = &[];

const MOST_LINES_OF_CODE: usize = 400;

/// Names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &[
    "common",
    "helper",
    "helpers",
    "manager",
    "misc",
    "shared",
    "util",
    "utils",
    "utilities",
];

#[test]
fn every_import_points_down_the_table_of_layers() {
    let table = table(&architecture());
    let complaints: Vec<String> = sources()
        .iter()
        .flat_map(|source| complaints(&table, source))
        .collect();
    assert!(
        complaints.is_empty(),
        "imports against docs/architecture.md:\n{}",
        complaints.join("\n")
    );
}

#[test]
fn the_table_of_layers_lists_only_modules_that_stand_below() {
    let problems = order_problems(&table(&architecture()));
    assert!(
        problems.is_empty(),
        "docs/architecture.md:\n{}",
        problems.join("\n")
    );
}

#[test]
fn the_architecture_page_names_exactly_the_modules_that_exist() {
    let named: BTreeSet<String> = table(&architecture())
        .into_iter()
        .map(|(module, _)| module)
        .collect();
    let existing: BTreeSet<String> = sources()
        .iter()
        .filter_map(|source| source.module().first().cloned())
        .collect();
    assert_eq!(
        named, existing,
        "left: the page, right: the modules below src/"
    );

    let library = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let (library, _) = production(&library);
    let declared: BTreeSet<String> = library
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert_eq!(
        declared, existing,
        "left: `pub mod` in src/lib.rs, right: the modules below src/"
    );
}

#[test]
fn no_file_has_more_code_than_one_can_keep_in_mind() {
    let allowed: BTreeMap<&str, &str> = LONG_FILES.iter().copied().collect();
    let long: BTreeMap<String, usize> = sources()
        .iter()
        .map(|source| {
            (
                source.path.to_str().unwrap().to_owned(),
                source.lines_of_code(),
            )
        })
        .filter(|(_, lines)| *lines > MOST_LINES_OF_CODE)
        .collect();
    for (path, lines) in &long {
        assert!(
            allowed.contains_key(path.as_str()),
            "src/{path} has {lines} lines of code: split it by noun"
        );
    }
    for (path, reason) in allowed {
        assert!(
            long.contains_key(path),
            "src/{path} is short enough, its exception can go: {reason}"
        );
    }
}

#[test]
fn folders_have_a_mod_rs_and_files_are_named_after_what_they_hold() {
    let directory = root().join("src");
    let mut problems = Vec::new();
    for file in files_below(&directory) {
        let path = file.strip_prefix(&directory).unwrap();
        let folder = file.parent().unwrap();
        if folder != directory && !folder.join("mod.rs").is_file() {
            problems.push(format!("src/{}: its folder has no mod.rs", path.display()));
        }
        for part in path.with_extension("").components() {
            let name = part.as_os_str().to_str().unwrap();
            if EMPTY_NAMES.contains(&name) {
                problems.push(format!(
                    "src/{}: `{name}` does not say what is inside",
                    path.display()
                ));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_layer_check_sees_what_it_is_there_for() {
    let table = table(
        "| module | may import | what |\n|---|---|---|\n| `top` | `middle` `bottom` | a |\n| `middle` | `bottom` | b |\n| `bottom` | | c |\n\n| `not` | `part` |\n",
    );
    assert_eq!(table.len(), 3);
    let found = |path: &str, text: &str| {
        complaints(
            &table,
            &Source {
                path: path.into(),
                production: production(text).0,
            },
        )
    };

    assert!(
        found(
            "middle/mod.rs",
            "use crate::bottom::X; use crate::middle::y::Z; fn super_() {}"
        )
        .is_empty()
    );
    assert!(
        found(
            "middle/y.rs",
            "use super::Z; fn f() -> bottom::X {} // crate::top"
        )
        .is_empty()
    );
    assert!(
        found(
            "middle/mod.rs",
            "#[cfg(test)] mod tests { use crate::top::X; }"
        )
        .is_empty()
    );

    for (path, text, expected) in [
        (
            "middle/mod.rs",
            "\nuse crate::top::X;",
            "src/middle/mod.rs:2: `middle` may not import `top`",
        ),
        (
            "bottom.rs",
            "fn f() { crate::middle::g() }",
            "src/bottom.rs:1: `bottom` may not import `middle`",
        ),
        (
            "bottom.rs",
            "use crate::{\n    bottom::{a::B, C},\n    top::{self, D},\n};",
            "src/bottom.rs:3: `bottom` may not import `top`",
        ),
        (
            "bottom.rs",
            "use crate :: top;",
            "src/bottom.rs:1: `bottom` may not import `top`",
        ),
        (
            "middle/mod.rs",
            "use crate::attic::X;",
            "src/middle/mod.rs:1: `attic` is not in the table of modules",
        ),
        (
            "attic/mod.rs",
            "",
            "src/attic/mod.rs:1: `attic` is not in the table of modules",
        ),
        (
            "middle/mod.rs",
            "use crate::*;",
            "src/middle/mod.rs:1: imports the whole library",
        ),
        (
            "middle/y.rs",
            "use super::super::top::X;",
            "src/middle/y.rs:1: climbs to the library's root by `super`",
        ),
        (
            "middle/mod.rs",
            "use super::top;",
            "src/middle/mod.rs:1: climbs to the library's root by `super`",
        ),
        (
            "main.rs",
            "fn main() { appconfigd::bottom::f() }",
            "src/main.rs:1: the program may use `cli` only, not `bottom`",
        ),
    ] {
        assert_eq!(found(path, text), [expected], "for {text:?} in {path}");
    }

    let upward = vec![
        ("bottom".to_owned(), BTreeSet::from(["top".to_owned()])),
        ("top".to_owned(), BTreeSet::from(["bottom".to_owned()])),
    ];
    assert_eq!(
        order_problems(&upward),
        ["`top` lists `bottom`, which does not stand below it"]
    );
}

fn architecture() -> String {
    std::fs::read_to_string(root().join("docs/architecture.md")).unwrap()
}

/// The table whose head begins `| module | may import |`.
fn table(page: &str) -> Table {
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| module | may import |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let table: Table = rows
        .map(|row| {
            let mut cells = row.trim_matches('|').split('|').map(names);
            let module = cells
                .next()
                .unwrap_or_default()
                .into_iter()
                .next()
                .expect("a row begins with a module's name");
            (
                module,
                cells.next().unwrap_or_default().into_iter().collect(),
            )
        })
        .collect();
    assert!(
        !table.is_empty(),
        "docs/architecture.md has no table `| module | may import | …`"
    );
    table
}

/// The words in backticks.
fn names(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Rows that list a module which is unknown or stands above them.
fn order_problems(table: &Table) -> Vec<String> {
    let mut problems = Vec::new();
    for (row, (module, imports)) in table.iter().enumerate() {
        for import in imports {
            if !table.iter().skip(row + 1).any(|(below, _)| below == import) {
                problems.push(format!(
                    "`{module}` lists `{import}`, which does not stand below it"
                ));
            }
        }
    }
    problems
}

/// What is wrong with the imports of one file.
fn complaints(table: &Table, source: &Source) -> Vec<String> {
    let code = &source.production;
    let here = |at: usize| {
        format!(
            "src/{}:{}",
            source.path.display(),
            code[..at].matches('\n').count() + 1
        )
    };
    let Some(module) = source.module().first().cloned() else {
        let used = roots(code, "appconfigd")
            .into_iter()
            .filter(|(_, name)| name != "cli");
        return used
            .map(|(at, name)| format!("{}: the program may use `cli` only, not `{name}`", here(at)))
            .collect();
    };
    let Some((_, allowed)) = table.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "{}: `{module}` is not in the table of modules",
            here(0)
        )];
    };

    let mut complaints = Vec::new();
    for (at, name) in roots(code, "crate") {
        if name == "*" {
            complaints.push(format!("{}: imports the whole library", here(at)));
        } else if !table.iter().any(|(known, _)| *known == name) {
            complaints.push(format!(
                "{}: `{name}` is not in the table of modules",
                here(at)
            ));
        } else if name != module && !allowed.contains(&name) {
            complaints.push(format!("{}: `{module}` may not import `{name}`", here(at)));
        }
    }
    let compact: String = code
        .chars()
        .filter(|c| *c == '\n' || !c.is_whitespace())
        .collect();
    let climb = "super::".repeat(source.module().len());
    if let Some(at) = compact.find(&climb) {
        // Deeper inline modules would be allowed more; production code has none.
        let line = compact[..at].matches('\n').count() + 1;
        complaints.push(format!(
            "src/{}:{line}: climbs to the library's root by `super`",
            source.path.display()
        ));
    }
    complaints
}

/// Every first segment after `crate::` (or another root), with its place: `crate::{a::B, c}` gives `a` and `c`.
fn roots(code: &str, root: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        let after = code[at + root.len()..].trim_start();
        if before.is_alphanumeric() || before == '_' {
            continue;
        }
        let Some(path) = after.strip_prefix("::") else {
            continue;
        };
        let path = path.trim_start();
        let start = code.len() - path.len();
        match path.strip_prefix('{') {
            Some(group) => found.extend(group_members(group, start + 1)),
            None => found.push((start, first_segment(path))),
        }
    }
    found
}

/// The first segments of the members of a `{…}` group, with their places.
fn group_members(group: &str, offset: usize) -> Vec<(usize, String)> {
    let (mut depth, mut expecting, mut members) = (0usize, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expecting = true,
            c if expecting && !c.is_whitespace() => {
                members.push((offset + at, first_segment(&group[at..])));
                expecting = false;
            }
            _ => {}
        }
    }
    members
}

fn first_segment(path: &str) -> String {
    if path.starts_with('*') {
        return "*".to_owned();
    }
    path.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}
