//! Commands as written: a list, or a line for a shell.

use super::list;
use crate::settings::field::{Written, written};
use crate::settings::finding::Findings;
use crate::settings::node::{Kind, Node};
use crate::settings::reference::Tables;
use crate::settings::valid::Command;

written!(ShellLine, "a command in braces" {
    /// the line for `/bin/sh -c`
    shell: String,
});

impl Written for Command {
    fn read(node: &Node, findings: &mut Findings) -> Option<Command> {
        match &node.kind {
            Kind::Sequence(items) => {
                let argv = list(node.at, items, findings, argument)?;
                if argv
                    .first()
                    .is_some_and(|program| program.trim().is_empty())
                {
                    findings
                        .error(node.at, "the program's name is empty")
                        .help("the first item of a command is the program to run");
                    return None;
                }
                Some(Command::Argv(argv))
            }
            Kind::Mapping(entries) if entries.is_empty() => {
                findings
                    .error(node.at, "this command is empty")
                    .help("write a list such as `[nginx, -t]`, or `{shell: \"…\"}`");
                None
            }
            Kind::Mapping(_) => {
                let line = ShellLine::read(node, findings)?.shell;
                line.value().cloned().map(Command::Shell)
            }
            _ => {
                let text = node.text("a command, which is a list", findings)?;
                let argv: Vec<String> = words(text).iter().map(|word| flow_item(word)).collect();
                let shell = serde_json::Value::from(text);
                findings
                    .error(node.at, "a command is a list, this is a text")
                    .help(format!(
                        "write `[{}]`, or `{{shell: {shell}}}` to have a shell read it",
                        argv.join(", ")
                    ));
                None
            }
        }
    }

    fn kind(tables: &mut Tables) -> String {
        ShellLine::kind(tables);
        "command".to_owned()
    }
}

/// An item of an argv; it may be empty.
fn argument(node: &Node, findings: &mut Findings) -> Option<String> {
    if let Kind::Mapping(entries) = &node.kind {
        let staged = entries
            .first()
            .is_some_and(|(key, _)| key.value == "staged");
        let quoted = if staged { "\"{staged}\"" } else { "\"{…}\"" };
        findings
            .error(node.at, "an argument is a text, this is a mapping")
            .help(format!("put quotes around it: `{quoted}`"));
        return None;
    }
    if node.is_null() {
        findings
            .error(node.at, "this argument is nothing")
            .help("put quotes around it, `\"\"` for an empty argument");
        return None;
    }
    node.text("an argument", findings).map(str::to_owned)
}

/// As it would stand between brackets.
fn flow_item(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=+@".contains(c);
    let reserved = argument.starts_with(['-', '@', '=']) && argument.len() == 1;
    if argument.chars().all(plain) && !reserved && !argument.starts_with('@') {
        argument.to_owned()
    } else {
        serde_json::Value::from(argument).to_string()
    }
}

/// Words as a shell would see them, near enough for a suggestion: quotes hold words together, nothing is expanded.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
