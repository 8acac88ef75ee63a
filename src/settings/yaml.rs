//! From YAML's text to a tree. Stricter than YAML: keys are texts and unique, no tags, no `<<`, one document.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::finding::{Findings, Place, Spot};
use super::node::{Kind, Node};
use super::text::{lines, nth_line};

/// Settings nest six deep.
const DEEPEST: usize = 64;
/// What aliases may multiply a file to.
const MOST_ALIASED: usize = 100_000;

/// The tree of a text, an empty one as a mapping without entries; `None` after a finding that ends the reading.
pub fn parse(text: &str, index: usize, findings: &mut Findings) -> Option<Node> {
    let mut builder = Builder {
        text: index,
        end: End::of(text),
        findings,
        stack: Vec::new(),
        anchors: HashMap::new(),
        aliased: 0,
        root: None,
    };
    let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
    loop {
        match parser.next_event() {
            None => break,
            Some(Err(error)) => {
                builder.scan_error(&error, text);
                return None;
            }
            Some(Ok((event, span))) => builder.event(event, span)?,
        }
    }
    let empty = Place {
        text: index,
        line: 1,
        ..Place::default()
    };
    Some(
        builder
            .root
            .unwrap_or(Node::new(empty, Kind::Mapping(Vec::new()))),
    )
}

struct Builder<'f> {
    text: usize,
    end: End,
    findings: &'f mut Findings,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    aliased: usize,
    root: Option<Node>,
}

/// The last place of a text. What is missing there the parser puts on a line behind it.
#[derive(Clone, Copy)]
struct End {
    line: usize,
    column: usize,
}

impl End {
    fn of(text: &str) -> End {
        let line = lines(text).count().max(1);
        let column = nth_line(text, line).chars().count();
        End { line, column }
    }

    /// Line and column of a mark, inside the text.
    fn hold(self, mark: &Marker) -> (usize, usize) {
        match mark.line().max(1) {
            line if line > self.line => (self.line, self.column),
            line => (line, mark.col()),
        }
    }
}

struct Frame {
    at: Place,
    anchor: usize,
    open: Open,
}

/// A collection whose end has not been seen.
enum Open {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<(Spot<String>, Node)>,
        seen: HashMap<String, Place>,
        key: Key,
    },
}

enum Key {
    /// The next node is a key.
    Awaited,
    Read(Spot<String>),
    /// Reported; the value that comes is dropped.
    Rejected,
}

impl Builder<'_> {
    /// `None`: a finding that ends the reading.
    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let at = self.place(span);
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                self.findings
                    .error(at, "a second document begins here")
                    .help(
                        "a settings file is one document: remove the line `---`, or make two files",
                    );
                return None;
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.tag(tag.as_deref(), at);
                let quoted = style != ScalarStyle::Plain;
                let node = Node::new(
                    at,
                    Kind::Scalar {
                        text: text.into_owned(),
                        quoted,
                    },
                );
                self.finish(node, anchor);
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag(tag.as_deref(), at);
                self.open(Frame {
                    at,
                    anchor,
                    open: Open::Sequence(Vec::new()),
                })?;
            }
            Event::MappingStart(anchor, tag) => {
                self.tag(tag.as_deref(), at);
                let open = Open::Mapping {
                    entries: Vec::new(),
                    seen: HashMap::new(),
                    key: Key::Awaited,
                };
                self.open(Frame { at, anchor, open })?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Frame { at, anchor, open } = self.stack.pop()?;
                let kind = match open {
                    Open::Sequence(items) => Kind::Sequence(items),
                    Open::Mapping { entries, .. } => Kind::Mapping(entries),
                };
                self.finish(Node::new(at, kind), anchor);
            }
            Event::Alias(anchor) => {
                let node = self.alias(anchor, at)?;
                self.finish(node, 0);
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        Some(())
    }

    fn open(&mut self, frame: Frame) -> Option<()> {
        if self.stack.len() >= DEEPEST {
            self.findings
                .error(
                    frame.at,
                    format!("this is nested more than {DEEPEST} levels deep"),
                )
                .help("no setting needs that: look for brackets that are not closed");
            return None;
        }
        self.stack.push(frame);
        Some(())
    }

    fn finish(&mut self, node: Node, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|frame| &mut frame.open) {
            None => self.root = Some(node),
            Some(Open::Sequence(items)) => items.push(node),
            Some(Open::Mapping { entries, seen, key }) => {
                match std::mem::replace(key, Key::Awaited) {
                    Key::Awaited => *key = accept(node, seen, self.findings),
                    Key::Read(spot) => entries.push((spot, node)),
                    Key::Rejected => {}
                }
            }
        }
    }

    /// A copy of what the alias names, placed where the alias stands.
    fn alias(&mut self, anchor: usize, at: Place) -> Option<Node> {
        let Some(node) = self.anchors.get(&anchor) else {
            self.findings
                .error(at, "this alias stands inside of what it names")
                .help("write the value out");
            return Some(Node::new(at, Kind::Broken));
        };
        self.aliased = self.aliased.saturating_add(node.size);
        if self.aliased > MOST_ALIASED {
            self.findings
                .error(at, "the aliases up to here multiply the file too much")
                .help("write the values out");
            return None;
        }
        Some(node.clone())
    }

    fn tag(&mut self, tag: Option<&Tag>, at: Place) {
        if let Some(Tag { handle, suffix }) = tag {
            let handle = if handle == "tag:yaml.org,2002:" {
                "!!"
            } else {
                handle
            };
            self.findings
                .error(
                    at,
                    format!("the tag `{handle}{suffix}` has no meaning here"),
                )
                .help("remove the tag");
        }
    }

    fn scan_error(&mut self, error: &ScanError, text: &str) {
        let (line, column) = self.end.hold(error.marker());
        // The parser counts bytes in a line that begins with `%`.
        let column = column.min(nth_line(text, line).chars().count());
        let place = Place {
            text: self.text,
            line,
            start: column,
            end: column,
        };
        let finding = self
            .findings
            .error(place, format!("this is not YAML: {}", error.info()));
        if error.info().contains("tab") {
            finding.help("indent with spaces");
        } else if error.info().contains("did not find expected") || error.info().contains("quote") {
            finding
                .help("look for a bracket, a quote or a colon that is missing here or just above");
        }
    }

    fn place(&self, span: Span) -> Place {
        let (line, start) = self.end.hold(&span.start);
        let (last, end) = self.end.hold(&span.end);
        Place {
            text: self.text,
            line,
            start,
            end: if last > line {
                usize::MAX
            } else {
                end.max(start)
            },
        }
    }
}

fn accept(node: Node, seen: &mut HashMap<String, Place>, findings: &mut Findings) -> Key {
    let at = node.at;
    let Kind::Scalar { text, quoted } = node.kind else {
        if !matches!(node.kind, Kind::Broken) {
            findings
                .error(at, format!("a key is a text, this is {}", node.noun()))
                .help("write it as `KEY: VALUE`, with quotes around the key if it needs them");
        }
        return Key::Rejected;
    };
    // In quotes it is a text like any other, in YAML too.
    if text == "<<" && !quoted {
        findings
            .error(at, "merge keys (`<<`) are not part of the settings")
            .help("write the keys out, or put what profiles share under `defaults:`");
        return Key::Rejected;
    }
    if let Some(first) = seen.get(&text) {
        findings
            .error(at, format!("the key `{text}` stands here a second time"))
            .also(*first, "first here")
            .help("remove one of the two, or rename it");
        return Key::Rejected;
    }
    seen.insert(text.clone(), at);
    Key::Read(Spot { at, value: text })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> (Option<Node>, usize) {
        let mut findings = Findings::default();
        let node = parse(text, 0, &mut findings);
        let failed = findings.has_errors();
        (node, usize::from(failed))
    }

    #[test]
    fn a_merge_key_is_one_only_without_quotes() {
        for (text, errors) in [("<<: x", 1), ("\"<<\": x", 0), ("'<<': x", 0)] {
            assert_eq!(parsed(text).1, errors, "{text}");
        }
    }

    #[test]
    fn nine_levels_of_nine_aliases_are_refused_quickly() {
        let mut text = "a0: &a0 [x]\n".to_owned();
        for level in 1..10 {
            let before = level - 1;
            let items = vec![format!("*a{before}"); 9].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(matches!(parsed(&text), (None, 1)));
    }

    #[test]
    fn deep_nesting_is_refused_without_a_deep_stack() {
        let text = "[".repeat(100_000);
        assert!(matches!(parsed(&text), (None, 1)));
    }

    #[test]
    fn an_alias_is_what_it_names() {
        let (node, failures) = parsed("a: &x [1, 2]\nb: *x\n");
        assert_eq!(failures, 0);
        let Some(Node {
            kind: Kind::Mapping(entries),
            ..
        }) = node
        else {
            panic!("a mapping")
        };
        assert!(matches!(&entries[1].1.kind, Kind::Sequence(items) if items.len() == 2));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            parsed(&text);
        }

        #[test]
        fn text_of_yaml_s_own_characters_never_panics(text in "[-a0:,\\[\\]{}&*!|>'\"%@`#?~<\\\\ \\t\\r\\n]{0,60}") {
            parsed(&text);
        }
    }
}
