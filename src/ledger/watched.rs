//! The rows of services and the watches whose state they were told of. They stand among those of targets, as `watch:NAME`,
//! which no path can be.

use jiff::Timestamp;

use super::changes::Changes;
use super::columns::{Text, digest_text};
use crate::protocol::Digest;
use crate::settings::{ServiceName, WatchName};

const PREFIX: &str = "watch:";

/// The watch that a row is about; `None`: it is about a target.
pub(super) fn named(column: &str) -> Option<WatchName> {
    column.strip_prefix(PREFIX).map(WatchName::from)
}

fn column(watch: &WatchName) -> String {
    format!("{PREFIX}{watch}")
}

impl Changes<'_> {
    pub(super) fn watch_acknowledged(
        &self,
        service: &ServiceName,
        watch: &WatchName,
        digest: Option<&Digest>,
    ) -> rusqlite::Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO acknowledged (service, target, digest) VALUES (?1, ?2, ?3)",
            (service.as_str(), column(watch), digest.map(digest_text)),
        )
    }

    pub(super) fn watch_dropped(
        &self,
        service: &ServiceName,
        watch: &WatchName,
    ) -> rusqlite::Result<()> {
        self.execute(
            "DELETE FROM acknowledged WHERE service = ?1 AND target = ?2",
            (service.as_str(), column(watch)),
        )?;
        self.execute(
            "DELETE FROM watch_changes WHERE watch = ?1
             AND NOT EXISTS (SELECT 1 FROM acknowledged WHERE target = ?2)",
            (watch.as_str(), column(watch)),
        )
    }

    pub(super) fn watch_changed(&self, watch: &WatchName, at: Timestamp) -> rusqlite::Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO watch_changes (watch, at) VALUES (?1, ?2)",
            (watch.as_str(), Text(at)),
        )
    }
}
