//! Of which changes services want to be notified, as written.

use crate::settings::field::Written;
use crate::settings::finding::{Findings, Spot};
use crate::settings::node::{Kind, Node};
use crate::settings::reference::Tables;

/// Targets and profiles, each with the parts of it that count.
#[derive(Clone, Debug)]
pub struct WhenChanged(pub Vec<(Spot<String>, Which)>);

/// What of it counts.
#[derive(Clone, Debug)]
pub enum Which {
    Whole,
    Pointers(Vec<Spot<String>>),
}

impl Written for WhenChanged {
    /// A name, a list of names, or a mapping from names to JSON pointers.
    fn read(node: &Node, findings: &mut Findings) -> Option<WhenChanged> {
        let whole = |node: &Node, findings: &mut Findings| {
            let value = String::read(node, findings)?;
            Some((Spot { at: node.at, value }, Which::Whole))
        };
        match &node.kind {
            Kind::Sequence(items) => super::list(node.at, items, findings, whole).map(WhenChanged),
            Kind::Mapping(entries) if entries.is_empty() => {
                findings
                    .error(node.at, "no change would ever be one")
                    .help("name at least one target or profile, or remove the line");
                None
            }
            Kind::Mapping(entries) => {
                let parts = |(name, node): &(Spot<String>, Node), findings: &mut Findings| {
                    Some((name.clone(), pointers(node, findings)?))
                };
                let read: Vec<_> = entries.iter().map(|entry| parts(entry, findings)).collect();
                read.into_iter()
                    .collect::<Option<Vec<_>>>()
                    .map(WhenChanged)
            }
            _ => whole(node, findings).map(|one| WhenChanged(vec![one])),
        }
    }

    fn kind(_: &mut Tables) -> String {
        "name, list of names, or JSON pointers by name".to_owned()
    }
}

fn pointers(node: &Node, findings: &mut Findings) -> Option<Which> {
    let pointers = match &node.kind {
        Kind::Sequence(items) => super::list(node.at, items, findings, pointer)?,
        _ => vec![pointer(node, findings)?],
    };
    Some(Which::Pointers(pointers))
}

/// Empty is the whole document.
fn pointer(node: &Node, findings: &mut Findings) -> Option<Spot<String>> {
    let text = node.text("a JSON pointer such as `/database/host`", findings)?;
    let escaped = text
        .split('~')
        .skip(1)
        .all(|rest| rest.starts_with(['0', '1']));
    if !text.is_empty() && !text.starts_with('/') {
        findings
            .error(node.at, format!("`{text}` is not a JSON pointer"))
            .help(format!("write `/{}`", text.replace('.', "/")));
        return None;
    }
    if !escaped {
        findings
            .error(node.at, format!("`{text}` is not a JSON pointer"))
            .help("in a key, `~` is written `~0` and `/` is written `~1`");
        return None;
    }
    Some(Spot {
        at: node.at,
        value: text.to_owned(),
    })
}
