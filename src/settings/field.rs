//! From nodes to types: what a value must look like to be read, and the one recipe for structs.

use super::finding::{Findings, Place, Spot};
use super::node::{Kind, Node};
use super::reference::{Row, Tables};

/// A type that can be read from a node. `None` only after a finding.
pub trait Written: Sized {
    fn read(node: &Node, findings: &mut Findings) -> Option<Self>;

    /// What is written there, in the reference's words; tables of keys that stand below it are added.
    fn kind(tables: &mut Tables) -> String;
}

/// A key of a struct as written. Apart from "not there" and "there" it can have been there and wrong: then nobody
/// complains a second time that it is missing.
#[derive(Clone, Debug, Default)]
pub enum Field<T> {
    #[default]
    Absent,
    Broken,
    Given(Given<T>),
}

#[derive(Clone, Debug)]
pub struct Given<T> {
    /// Where the key stands.
    pub key: Place,
    /// Where the value stands.
    pub at: Place,
    pub value: T,
}

impl<T> Field<T> {
    pub fn given(&self) -> Option<&Given<T>> {
        match self {
            Field::Given(given) => Some(given),
            Field::Absent | Field::Broken => None,
        }
    }

    pub fn value(&self) -> Option<&T> {
        self.given().map(|given| &given.value)
    }

    pub fn is_absent(&self) -> bool {
        matches!(self, Field::Absent)
    }
}

impl<T: Written> Field<T> {
    pub fn read(key: &Spot<String>, node: &Node, findings: &mut Findings) -> Field<T> {
        match T::read(node, findings) {
            Some(value) => Field::Given(Given {
                key: key.at,
                at: node.at,
                value,
            }),
            None => Field::Broken,
        }
    }
}

/// Declares a struct as written: every key optional, every other key a finding. `$noun` names it in messages. The text
/// above a key and the default behind it are its line in the reference; what is in backticks alone is the default as it
/// would be written. What a text has to be stands behind its type: `as "path"`.
macro_rules! written {
    ($(#[$meta:meta])* $name:ident, $noun:literal {
        $($(#[doc = $doc:literal])+ $key:ident: $type:ty $(as $kind:literal)? $(= $default:literal)?),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: $crate::settings::field::Field<$type>,)*
        }

        impl $crate::settings::field::Written for $name {
            fn read(
                node: &$crate::settings::node::Node,
                findings: &mut $crate::settings::finding::Findings,
            ) -> Option<$name> {
                use $crate::settings::field::{Field, entries, unknown_key};
                let mut written = $name::default();
                for (key, value) in entries(node, $noun, &[$(stringify!($key)),*], findings)? {
                    match key.value.as_str() {
                        $(stringify!($key) => written.$key = Field::read(key, value, findings),)*
                        _ => unknown_key(key, $noun, &[$(stringify!($key)),*], findings),
                    }
                }
                Some(written)
            }

            fn kind(tables: &mut $crate::settings::reference::Tables) -> String {
                use $crate::settings::field::row;
                tables.table($noun, |tables| {
                    vec![$(row::<$type>(
                        stringify!($key),
                        concat!($($doc),+),
                        &[$($kind)?],
                        &[$($default)?],
                        tables,
                    )),*]
                });
                "mapping".to_owned()
            }
        }
    };
}
pub(super) use written;

/// The line of a key in the reference.
pub fn row<T: Written>(
    key: &'static str,
    text: &'static str,
    kind: &[&'static str],
    default: &[&'static str],
    tables: &mut Tables,
) -> Row {
    let of_type = T::kind(tables);
    Row {
        key,
        value: kind.first().map_or(of_type, |kind| (*kind).to_owned()),
        default: default.first().copied().unwrap_or_default(),
        text: text.trim(),
    }
}

/// The entries of a mapping; nothing at all counts as a mapping without entries.
pub fn entries<'n>(
    node: &'n Node,
    noun: &str,
    known: &[&str],
    findings: &mut Findings,
) -> Option<&'n [(Spot<String>, Node)]> {
    match &node.kind {
        Kind::Mapping(entries) => Some(entries),
        _ if node.is_null() => Some(&[]),
        Kind::Broken => None,
        _ => {
            let list = super::suggestion::list(known);
            findings
                .error(
                    node.at,
                    format!("{noun} is a mapping, this is {}", node.noun()),
                )
                .help(format!("known keys: {list}"));
            None
        }
    }
}

pub fn unknown_key(key: &Spot<String>, noun: &str, known: &[&str], findings: &mut Findings) {
    findings
        .error(key.at, format!("{noun} has no key `{}`", key.value))
        .help(super::suggestion::key_help(&key.value, known));
}

/// A text with at least one character.
impl Written for String {
    fn read(node: &Node, findings: &mut Findings) -> Option<String> {
        let text = node.text("a text", findings)?;
        if text.trim().is_empty() {
            findings
                .error(node.at, "this text is empty")
                .help("give it a value, or remove the line");
            return None;
        }
        Some(text.to_owned())
    }

    fn kind(_: &mut Tables) -> String {
        "text".to_owned()
    }
}

impl Written for bool {
    fn read(node: &Node, findings: &mut Findings) -> Option<bool> {
        const HELP: &str = "write `true` or `false`, without quotes";
        match &node.kind {
            Kind::Scalar {
                text,
                quoted: false,
            } if text == "true" => Some(true),
            Kind::Scalar {
                text,
                quoted: false,
            } if text == "false" => Some(false),
            Kind::Scalar { text, quoted: true } if text == "true" || text == "false" => {
                findings
                    .error(node.at, format!("`{text}` in quotes is a text"))
                    .help(HELP);
                None
            }
            Kind::Scalar { text, .. } if !node.is_null() => {
                findings
                    .error(node.at, format!("`{text}` is neither `true` nor `false`"))
                    .help(HELP);
                None
            }
            _ => {
                node.unexpected("`true` or `false`", findings);
                None
            }
        }
    }

    fn kind(_: &mut Tables) -> String {
        "`true` or `false`".to_owned()
    }
}

/// A number of times, at least 1.
impl Written for u32 {
    fn read(node: &Node, findings: &mut Findings) -> Option<u32> {
        let text = node.text("a number", findings)?;
        match text.parse() {
            Ok(number) if number > 0 => Some(number),
            _ => {
                findings
                    .error(node.at, format!("`{text}` is not a number of times"))
                    .help("write a whole number from 1, such as `2`");
                None
            }
        }
    }

    fn kind(_: &mut Tables) -> String {
        "number from 1".to_owned()
    }
}
