//! Notifications by HTTP as written.

use std::time::Duration;

use crate::settings::entries::Entries;
use crate::settings::field::{Written, written};
use crate::settings::finding::Findings;
use crate::settings::node::{Kind, Node};
use crate::settings::reference::Tables;
use crate::settings::valid::HttpMethod;

pub type Headers = Entries<String>;

written!(HttpCall, "`http`" {
    /// `http://…` or `https://…`, without user and password
    url: String as "URL" = "required",
    /// the request's method
    method: HttpMethod = "`POST`",
    /// such as `Authorization`; they are never shown
    headers: Headers = "none",
    /// what is sent with it
    body: String = "none",
    /// the statuses that say yes
    expect: Statuses = "any 2xx",
    /// a PEM bundle of the authorities that are trusted, and no other
    ca: String as "path" = "those of the system",
    /// the request goes there, whatever host the URL names; below the alternate root, as targets are
    unix_socket: String as "absolute path",
    /// until the whole answer is there
    timeout: Duration = "the service's",
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

    fn kind(_: &mut Tables) -> String {
        "status from 200 to 599, or list of them".to_owned()
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
