//! The texts that make up the settings: the main file and its drop-ins.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::finding::{Findings, Place};
use super::problem::Problems;
use super::secret::{Hidden, hidden};

/// A settings file's text.
#[derive(Debug)]
pub struct Text {
    /// As messages show it.
    pub name: PathBuf,
    pub text: String,
    lines: Vec<Range<usize>>,
    /// Looked for when something is to be shown.
    hidden: OnceLock<Hidden>,
}

impl Text {
    fn new(name: PathBuf, text: String) -> Text {
        let text = without_mark(text);
        let lines = lines(&text).collect();
        Text {
            name,
            text,
            lines,
            hidden: OnceLock::new(),
        }
    }
}

/// The main file's text first, then those of its drop-ins in byte order.
#[derive(Debug)]
pub struct Texts(Vec<Text>);

const DROP_INS: &str = "appconfigd.d";

impl Texts {
    /// Texts from memory, the main file's first.
    pub fn new(main: (PathBuf, String), drop_ins: Vec<(PathBuf, String)>) -> Texts {
        let texts = std::iter::once(main).chain(drop_ins);
        Texts(texts.map(|(name, text)| Text::new(name, text)).collect())
    }

    /// Reads the main file and the drop-ins beside it. A drop-in that cannot be read is a finding; a main file that
    /// cannot be read ends the matter.
    pub fn load(file: &Path) -> Result<(Texts, Findings), Problems> {
        let main = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) => return Err(Problems::unreadable(file, &error)),
        };
        let mut texts = Texts(Vec::new());
        let mut findings = Findings::default();
        texts.add(file.to_owned(), Ok(main), &mut findings);
        let directory = file.parent().unwrap_or(Path::new("")).join(DROP_INS);
        for path in drop_ins(&directory, &mut findings) {
            let bytes = std::fs::read(&path);
            texts.add(path, bytes, &mut findings);
        }
        Ok((texts, findings))
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &Text)> {
        self.0.iter().enumerate()
    }

    pub fn name(&self, text: usize) -> &Path {
        self.0.get(text).map_or(Path::new(""), |text| &text.name)
    }

    /// A line without its end, counted from 1; empty where there is none.
    pub fn line(&self, text: usize, line: usize) -> &str {
        let found = self.0.get(text).and_then(|text| {
            let range = text.lines.get(line.checked_sub(1)?)?;
            text.text.get(range.clone())
        });
        found.unwrap_or_default()
    }

    /// What messages do not repeat of a line, in characters and in order.
    pub fn hidden(&self, text: usize, line: usize) -> Vec<Range<usize>> {
        let Some(text) = self.0.get(text) else {
            return Vec::new();
        };
        let lines = text.lines.iter();
        let lines = lines.map(|range| text.text.get(range.clone()).unwrap_or_default());
        let hidden = text.hidden.get_or_init(|| hidden(lines));
        let hidden = hidden.iter().filter(|(at, _)| *at == line);
        hidden.map(|(_, range)| range.clone()).collect()
    }

    fn add(&mut self, name: PathBuf, bytes: std::io::Result<Vec<u8>>, findings: &mut Findings) {
        let at = Place {
            text: self.0.len(),
            line: 1,
            ..Place::default()
        };
        let text = match bytes {
            Ok(bytes) => decoded(bytes, at, findings),
            Err(error) => {
                findings
                    .error(at, format!("cannot read this file: {error}"))
                    .help(format!(
                        "every `*.yaml` in `{DROP_INS}` is part of the settings"
                    ));
                String::new()
            }
        };
        self.0.push(Text::new(name, text));
    }
}

/// A line of a text without its end, counted from 1; empty where there is none.
pub fn nth_line(text: &str, line: usize) -> &str {
    let range = line.checked_sub(1).and_then(|index| lines(text).nth(index));
    range.and_then(|range| text.get(range)).unwrap_or_default()
}

/// Where the lines of a text are, without their ends, which are as YAML says: `\n`, `\r\n` or `\r`.
pub fn lines(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        let rest = text.get(start..)?;
        let length = rest.find(['\n', '\r']);
        next = length.map(|length| {
            let end = start + length;
            let both = text.get(end..).is_some_and(|rest| rest.starts_with("\r\n"));
            end + if both { 2 } else { 1 }
        });
        Some(start..start + length.unwrap_or(rest.len()))
    })
}

/// `path` from the root of the file system; itself where the working directory is not known.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn drop_ins(directory: &Path, findings: &mut Findings) -> Vec<PathBuf> {
    let at = Place {
        line: 1,
        ..Place::default()
    };
    let mut entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect::<Vec<_>>(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let shown = directory.display();
            findings
                .error(at, format!("cannot list `{shown}`: {error}"))
                .help("the `*.yaml` files in there are part of the settings");
            Vec::new()
        }
    };
    entries.retain(|path| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.ends_with(b".yml") && !name.starts_with(b".") {
            findings
                .warning(
                    at,
                    format!("`{}` is not read: its name ends in `.yml`", path.display()),
                )
                .help("name it `*.yaml` to make it part of the settings");
        }
        name.ends_with(b".yaml") && !name.starts_with(b".")
    });
    entries.sort();
    entries
}

fn decoded(bytes: Vec<u8>, at: Place, findings: &mut Findings) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        findings
            .error(Place { line, ..at }, "this line is not UTF-8")
            .help("save the file in the encoding UTF-8");
        String::new()
    })
}

fn without_mark(text: String) -> String {
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_whatever_ends_lines() {
        assert_eq!(nth_line("a\nb\r\nc\rd", 1), "a");
        assert_eq!(nth_line("a\nb\r\nc\rd", 2), "b");
        assert_eq!(nth_line("a\nb\r\nc\rd", 3), "c");
        assert_eq!(nth_line("a\nb\r\nc\rd", 4), "d");
        assert_eq!(nth_line("a\nb\r\nc\rd", 5), "");
        assert_eq!(nth_line("", 1), "");
    }
}
