//! A tree of YAML in which every node knows its place.

use super::finding::{Findings, Place, Spot};

#[derive(Clone, Debug)]
pub struct Node {
    pub at: Place,
    pub kind: Kind,
    /// Nodes in this tree, itself included.
    pub size: usize,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// The text as it is written, without quotes and escapes.
    Scalar {
        text: String,
        quoted: bool,
    },
    Sequence(Vec<Node>),
    /// Each key once, in the order written.
    Mapping(Vec<(Spot<String>, Node)>),
    /// Something that was reported when it was read.
    Broken,
}

impl Node {
    pub fn new(at: Place, kind: Kind) -> Node {
        let below = match &kind {
            Kind::Sequence(items) => items.iter().map(|item| item.size).sum(),
            Kind::Mapping(entries) => entries.iter().map(|(_, value)| value.size + 1).sum(),
            Kind::Scalar { .. } | Kind::Broken => 0,
        };
        Node {
            at,
            kind,
            size: below + 1,
        }
    }

    pub fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar {
                text,
                quoted: false,
            } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// What stands here, for "expected …, found …".
    pub fn noun(&self) -> &'static str {
        match &self.kind {
            _ if self.is_null() => "nothing",
            Kind::Scalar { .. } => "a text",
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
            Kind::Broken => "something unreadable",
        }
    }

    /// The text of a scalar that is not null; otherwise a finding that says what was `expected`.
    pub fn text(&self, expected: &str, findings: &mut Findings) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } if !self.is_null() => {
                if text.contains('\0') {
                    findings.error(self.at, "a text cannot hold a NUL character");
                    return None;
                }
                Some(text)
            }
            _ => {
                self.unexpected(expected, findings);
                None
            }
        }
    }

    pub fn unexpected(&self, expected: &str, findings: &mut Findings) {
        match self.kind {
            Kind::Broken => {}
            _ if self.is_null() => {
                findings
                    .error(self.at, format!("expected {expected}, found nothing"))
                    .help("give it a value, or remove the line");
            }
            _ => {
                let help = match self.kind {
                    Kind::Sequence(_) => "write one value here, without brackets or dashes",
                    _ => "write one value here, without braces or keys",
                };
                findings
                    .error(
                        self.at,
                        format!("expected {expected}, found {}", self.noun()),
                    )
                    .help(help);
            }
        }
    }
}
