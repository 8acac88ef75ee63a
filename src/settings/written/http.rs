//! Notifications by HTTP as written.

use std::time::Duration;

use crate::settings::entries::Entries;
use crate::settings::field::{Written, written};
use crate::settings::finding::Findings;
use crate::settings::node::{Kind, Node};
use crate::settings::valid::HttpMethod;

pub type Headers = Entries<String>;

written!(HttpCall, "`http`" {
    url: String,
    method: HttpMethod,
    headers: Headers,
    body: String,
    expect: Statuses,
    ca: String,
    unix_socket: String,
    timeout: Duration,
});

/// A status, or a list of at least one.
#[derive(Clone, Debug)]
pub struct Statuses(pub Vec<u16>);

impl Written for Statuses {
    fn read(node: &Node, findings: &mut Findings) -> Option<Statuses> {
        match &node.kind {
            Kind::Sequence(items) => super::list(node.at, items, findings, status).map(Statuses),
            _ => status(node, findings).map(|status| Statuses(vec![status])),
        }
    }
}

fn status(node: &Node, findings: &mut Findings) -> Option<u16> {
    let text = node.text("a status of HTTP, or a list of them", findings)?;
    let status = text
        .parse()
        .ok()
        .filter(|status| (200..600).contains(status));
    if status.is_none() {
        findings
            .error(node.at, format!("`{text}` is not a status that answers"))
            .help("write a number from 200 to 599, such as `204`");
    }
    status
}
