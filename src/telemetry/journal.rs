//! The journal's own protocol: one datagram an entry, with fields that can be searched for.
//!
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. An entry that cannot be sent (too long, a full queue, no journal) goes
//! the way of lines instead.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::Level;

use super::catalogue::message_id;
use super::fields::Fields;
use super::line::priority;
use super::list::names;
use crate::words::escape;

pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Which field of ours is which of the journal's.
const NAMES: [(&str, &str); 11] = [
    ("profiles", "PROFILE"),
    ("journal.profile", "PROFILE"),
    ("targets", "TARGET"),
    ("target_path", "TARGET"),
    ("services", "SERVICE"),
    ("service", "SERVICE"),
    ("label", "VERSION"),
    ("journal.version", "VERSION"),
    ("journal.digest", "DIGEST"),
    ("reason", "REASON"),
    ("result", "RESULT"),
];

/// A way to the journal.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// `None` where there is no journal.
    pub(super) fn at(path: &Path) -> Option<Journal> {
        let socket = UnixDatagram::unbound().ok()?;
        // Nobody waits for a journal that hangs.
        socket.set_nonblocking(true).ok()?;
        let journal = Journal {
            socket,
            path: path.to_owned(),
        };
        path.exists().then_some(journal)
    }

    /// `line` is the message with its fields, as text.
    pub(super) fn send(&self, level: Level, line: &str, fields: &Fields) -> io::Result<()> {
        let entry = entry(level, line, fields);
        self.socket.send_to(&entry, &self.path).map(drop)
    }
}

fn entry(level: Level, line: &str, fields: &Fields) -> Vec<u8> {
    let mut entry = String::new();
    let mut put = |name: &str, value: &str| {
        // One line each: a line feed in a value would begin another field.
        entry.push_str(&format!("{name}={}\n", escape(value, &[])));
    };
    put("MESSAGE", line.trim_end_matches('\n'));
    put("PRIORITY", &priority(level).to_string());
    put("SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
    if let Some(event) = &fields.event {
        put("APPCONFIGD_EVENT", event);
        if let Some(id) = message_id(event) {
            put("MESSAGE_ID", id);
        }
    }
    for (name, value) in fields.named.iter().chain(&fields.journal) {
        let Some((_, of_journal)) = NAMES.iter().find(|(ours, _)| ours == name) else {
            continue;
        };
        for value in names(value.as_str().unwrap_or_default()) {
            put(of_journal, value);
        }
    }
    entry.into_bytes()
}
