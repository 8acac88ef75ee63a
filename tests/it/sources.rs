//! Reads the project's Rust sources as its rules see them: production code, without comments, literals and tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The project's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One file below `src/`.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to `src/`, e.g. `poll/session.rs`.
    pub(crate) path: PathBuf,
    /// What is left of the file, line for line: comments, literals and `#[cfg(test)]` items are blank.
    pub(crate) production: String,
}

impl Source {
    /// The file's place in the tree of modules: `poll/session.rs` and `poll/session/mod.rs` are both `["poll", "session"]`.
    pub(crate) fn module(&self) -> Vec<String> {
        let mut parts: Vec<String> = self
            .path
            .with_extension("")
            .components()
            .map(|part| part.as_os_str().to_str().unwrap().to_owned())
            .collect();
        if matches!(
            parts.last().map(String::as_str),
            Some("mod" | "lib" | "main")
        ) {
            parts.pop();
        }
        parts
    }

    pub(crate) fn lines_of_code(&self) -> usize {
        self.production
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count()
    }
}

/// Every file below `src/` that is not a file of unit tests, in order of paths.
pub(crate) fn sources() -> Vec<Source> {
    let directory = root().join("src");
    let mut sources = Vec::new();
    let mut tests = BTreeSet::new();
    for file in files_below(&directory) {
        if file.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let path = file.strip_prefix(&directory).unwrap().to_owned();
        let (production, test_modules) = production(&std::fs::read_to_string(&file).unwrap());
        let source = Source { path, production };
        for name in test_modules {
            tests.insert([source.module(), vec![name]].concat());
        }
        sources.push(source);
    }
    sources.retain(|source| !tests.iter().any(|test| source.module().starts_with(test)));
    assert!(
        sources.len() > 10,
        "the sources are not where this test looks for them"
    );
    sources
}

/// Every file of the tree, sorted, without what git, cargo and the tests' setup put there.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let name = entry.file_name();
            if kind.is_dir()
                && !matches!(
                    name.to_str(),
                    Some(".git" | "target" | ".venv" | "__pycache__")
                )
            {
                open.push(entry.path());
            } else if kind.is_file() && name != ".git" {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

/// A file's production code, and the names of the modules that it declares for tests only (`#[cfg(test)] mod tests;`).
pub(crate) fn production(text: &str) -> (String, Vec<String>) {
    let mut code = without_comments_and_literals(text);
    let mut modules = Vec::new();
    const MARK: &str = "#[cfg(test)]";
    while let Some(start) = code.find(MARK) {
        let (end, ended_by) = end_of_item(&code, start + MARK.len());
        let item = &code[start + MARK.len()..end];
        if ended_by == ';' {
            let mut words = item.trim_end_matches(';').split_whitespace();
            if words.any(|word| word == "mod") {
                modules.extend(words.next().map(str::to_owned));
            }
        }
        let blank: String = code[start..end]
            .chars()
            .map(|c| if c == '\n' { c } else { ' ' })
            .collect();
        code.replace_range(start..end, &blank);
    }
    (code, modules)
}

/// Where the item ends that begins at `from`: behind its `;`, or behind the brace that closes its body.
fn end_of_item(code: &str, from: usize) -> (usize, char) {
    let mut depth = 0usize;
    for (at, c) in code[from..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == '}' && !code[from + at + 1..].trim_start().starts_with(';') {
                    return (from + at + 1, '}');
                }
            }
            ';' if depth == 0 => return (from + at + 1, ';'),
            _ => {}
        }
    }
    (code.len(), '}')
}

/// The text with comments and the insides of literals as spaces; line ends stay.
fn without_comments_and_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = match chars[i] {
            '/' if at(i + 1) == '/' => end_of_line(&chars, i),
            '/' if at(i + 1) == '*' => end_of_block_comment(&chars, i),
            '"' => end_of_string(&chars, i),
            'r' if !is_word(at(i.wrapping_sub(1)))
                || (at(i.wrapping_sub(1)) == 'b' && !is_word(at(i.wrapping_sub(2)))) =>
            {
                end_of_raw_string(&chars, i).unwrap_or(i)
            }
            '\'' => end_of_char(&chars, i).unwrap_or(i),
            _ => i,
        };
        if end > i {
            out.extend(
                chars[i..end.min(chars.len())]
                    .iter()
                    .map(|&c| if c == '\n' { c } else { ' ' }),
            );
            i = end;
        } else {
            out.push(chars[i]);
            i += 1;
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn end_of_line(chars: &[char], from: usize) -> usize {
    chars[from..]
        .iter()
        .position(|&c| c == '\n')
        .map_or(chars.len(), |length| from + length)
}

fn end_of_block_comment(chars: &[char], from: usize) -> usize {
    let (mut depth, mut i) = (0, from);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => {
                (depth, i) = (depth - 1, i + 2);
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], from: usize) -> usize {
    let mut i = from + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// `r"…"`, `r#"…"#` and so on; `None` where the `r` begins something else.
fn end_of_raw_string(chars: &[char], from: usize) -> Option<usize> {
    let hashes = chars[from + 1..].iter().take_while(|&&c| c == '#').count();
    let open = from + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let mut i = open + 1;
    while i < chars.len() {
        if chars[i] == '"'
            && chars[i + 1..]
                .iter()
                .take(hashes)
                .filter(|&&c| c == '#')
                .count()
                == hashes
        {
            return Some(i + 1 + hashes);
        }
        i += 1;
    }
    Some(chars.len())
}

/// `'x'` and `'\u{…}'`; `None` for a lifetime.
fn end_of_char(chars: &[char], from: usize) -> Option<usize> {
    if chars.get(from + 1) == Some(&'\\') {
        let close = chars.get(from + 3..)?.iter().position(|&c| c == '\'')?;
        return Some(from + 3 + close + 1);
    }
    (chars.get(from + 2) == Some(&'\'')).then_some(from + 3)
}

#[test]
fn comments_literals_and_tests_are_not_production_code() {
    let text = r####"
use crate::a; // crate::b
/* crate::c /* crate::d */ crate::e */
const T: &str = "crate::f \" crate::g"; const R: &str = r#"crate::h " crate::i"#; const C: char = '"'; const B: &[u8] = br"crate::j\";
fn borrow<'a>(x: &'a str) -> char { '\'' }
#[cfg(test)]
use crate::k;
#[cfg(test)]
#[allow(dead_code)]
mod tests {
    fn f() { let s = "}"; crate::l::m(); }
}
#[cfg(test)]
mod cases;
use crate::n;
"####;
    let (code, modules) = production(text);
    for gone in [
        "crate::b", "crate::c", "crate::e", "crate::f", "crate::g", "crate::h", "crate::i",
        "crate::j", "crate::k", "crate::l",
    ] {
        assert!(!code.contains(gone), "{gone} is still there:\n{code}");
    }
    for kept in ["crate::a", "crate::n", "fn borrow<'a>(x: &'a str)"] {
        assert!(code.contains(kept), "{kept} is gone:\n{code}");
    }
    assert_eq!(modules, ["cases"]);
    assert_eq!(
        code.lines().count(),
        text.lines().count(),
        "lines keep their numbers"
    );
}
