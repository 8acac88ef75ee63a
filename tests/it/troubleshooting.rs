//! docs/troubleshooting.md: what an operator is said to see is what the program says.
//!
//! A block ` ```text said` has a message a line, with `…` where names and numbers stand: each is in a literal of the sources. With
//! `from=NAME` it stands on that screen of `screens/`, which other tests hold against the program.

use std::fs;

use crate::documents::blocks;
use crate::sources::{files_below, root};
use crate::stand::unwrapped;

#[test]
fn every_message_on_the_page_about_symptoms_is_one_of_the_programs() {
    let said = literals_of_the_program();
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let (mut looked_at, mut wrong) = (0, Vec::new());
    for block in blocks(&page) {
        let Some(from) = block.info.strip_prefix("text said") else {
            continue;
        };
        for line in block.text.lines() {
            let there = match from.trim().strip_prefix("from=") {
                Some(screen) => on_screen(screen, line),
                None => said.iter().any(|literal| literal.contains(line)),
            };
            if !there {
                wrong.push(format!("docs/troubleshooting.md:{}: {line}", block.line));
            }
            looked_at += 1;
        }
    }
    assert!(wrong.is_empty(), "nobody says:\n{}", wrong.join("\n"));
    assert!(looked_at > 30, "{looked_at}");
    let planted = "no daemon is running: nobody listens on `…`; start it by hand";
    assert!(!said.iter().any(|literal| literal.contains(planted)));
}

/// Whether the parts of a message stand on a screen one after the other.
fn on_screen(screen: &str, message: &str) -> bool {
    let file = root().join(format!("tests/it/screens/{screen}.txt"));
    let lines = unwrapped(&fs::read_to_string(file).unwrap());
    lines.iter().any(|line| {
        let mut rest = line.as_str();
        message.split('…').all(|part| {
            let found = rest.split_once(part);
            rest = found.map_or("", |(_, after)| after);
            found.is_some()
        })
    })
}

/// With `…` for what is filled in, and one space where there are several.
fn literals_of_the_program() -> Vec<String> {
    let files = files_below(&root().join("src")).into_iter();
    let sources = files.filter(|file| {
        let tests = file.components().any(|part| part.as_os_str() == "tests");
        let rust = file.extension().is_some_and(|extension| extension == "rs");
        rust && !tests && !file.ends_with("tests.rs")
    });
    sources
        .flat_map(|file| {
            let text = fs::read_to_string(file).unwrap();
            let (code, _) = text
                .split_once("#[cfg(test)]\nmod tests {")
                .unwrap_or((&text, ""));
            literals(code)
        })
        .map(|literal| message(&literal))
        .collect()
}

/// The texts between quotes, with their escapes resolved as far as messages have them.
fn literals(code: &str) -> Vec<String> {
    let mut literals = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let (before, from) = rest.split_at(at);
        let raw = before.ends_with('r') || before.ends_with('#');
        if from.starts_with("//") {
            rest = from.split_once('\n').map_or("", |(_, after)| after);
        } else if from.starts_with("'\"'") || from.starts_with("'\\\"'") {
            rest = from.trim_start_matches(['\'', '\\', '"']);
        } else if let Some(inner) = from.strip_prefix('"') {
            if raw {
                let hashes = before.len() - before.trim_end_matches('#').len();
                let end = format!("\"{}", "#".repeat(hashes));
                let (literal, after) = inner.split_once(&end).unwrap_or((inner, ""));
                literals.push(literal.to_owned());
                rest = after;
                continue;
            }
            let mut literal = String::new();
            let mut chars = inner.char_indices();
            rest = "";
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        rest = &inner[at + 1..];
                        break;
                    }
                    '\\' => match chars.next() {
                        Some((_, '\n')) => {
                            let after = chars.as_str().trim_start();
                            let skipped = chars.as_str().len() - after.len();
                            chars.by_ref().take(skipped).for_each(drop);
                        }
                        Some((_, 'n')) => literal.push('\n'),
                        Some((_, escaped)) => literal.push(escaped),
                        None => {}
                    },
                    c => literal.push(c),
                }
            }
            literals.push(literal);
        } else {
            rest = &from[1..];
        }
    }
    literals
}

/// A literal as a message: `{path}` is `…`, `{{` is `{`.
fn message(literal: &str) -> String {
    let mut message = String::new();
    let mut chars = literal.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if chars.peek() == Some(&c) => message.extend(chars.next()),
            '{' => {
                message.push('…');
                chars.by_ref().find(|c| *c == '}');
            }
            c => message.push(c),
        }
    }
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn literals_are_read_as_the_compiler_reads_them() {
    let code = "// \"not this\"\nlet c = '\"'; f(\"a {b} \\\n    c {{d}}\", r#\"e \"f\" {}\"#, \"g \\\"h\\\"\"); 'life: loop {}";
    let found: Vec<String> = literals(code)
        .iter()
        .map(|literal| message(literal))
        .collect();
    assert_eq!(found, ["a … c {d}", "e \"f\" …", "g \"h\""]);
}
