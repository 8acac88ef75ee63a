//! Mappings whose keys are names that the author chose.

use super::field::Written;
use super::finding::{Findings, Spot};
use super::node::{Kind, Node};
use super::reference::Tables;

/// Names with what stands under them, in the order written. A value that could not be read keeps its name, so that
/// nobody who refers to it is told that it does not exist.
#[derive(Clone, Debug)]
pub struct Entries<T>(pub Vec<Entry<T>>);

#[derive(Clone, Debug)]
pub struct Entry<T> {
    pub name: Spot<String>,
    /// `None` after a finding.
    pub value: Option<T>,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Entries(Vec::new())
    }
}

impl<T: Written> Written for Entries<T> {
    fn read(node: &Node, findings: &mut Findings) -> Option<Entries<T>> {
        let Kind::Mapping(entries) = &node.kind else {
            if node.is_null() {
                return Some(Entries::default());
            }
            if !matches!(node.kind, Kind::Broken) {
                findings
                    .error(
                        node.at,
                        format!("expected names with their settings, found {}", node.noun()),
                    )
                    .help("write each as `NAME: {…}`");
            }
            return None;
        };
        let read = entries.iter().filter_map(|(name, value)| {
            if name.value.is_empty() || name.value.contains(char::is_control) {
                findings
                    .error(
                        name.at,
                        "a name has at least one character and no control characters",
                    )
                    .help("choose another name");
                return None;
            }
            Some(Entry {
                name: name.clone(),
                value: T::read(value, findings),
            })
        });
        Some(Entries(read.collect()))
    }

    fn kind(tables: &mut Tables) -> String {
        format!("{} by name", T::kind(tables))
    }
}
