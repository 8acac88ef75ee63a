//! The rows that say when services are told: how long ago, how long until the next attempt.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::changes::Changes;
use super::columns::{Seconds, Text, digest_text, text};
use super::record::{Retry, State};
use super::rows::{each, service};
use super::schema;
use crate::settings::{ServiceName, WatchName};

/// A ledger of an older schema has none of these rows.
pub(super) fn rows(connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
    if schema::version(connection)? < 2 {
        return Ok(());
    }
    each(connection, "SELECT service, at FROM notified", |row| {
        state.notified.insert(service(row, 0)?, text(row, 1)?);
        Ok(())
    })?;
    each(connection, "SELECT service, since FROM waits", |row| {
        state.waits.insert(service(row, 0)?, text(row, 1)?);
        Ok(())
    })?;
    each(connection, "SELECT watch, at FROM watch_changes", |row| {
        let watch: String = row.get(0)?;
        let at = text(row, 1)?;
        state
            .watch_changes
            .insert(WatchName::from(watch.as_str()), at);
        Ok(())
    })?;
    each(
        connection,
        "SELECT service, failures, trying_seconds, last, pause_seconds, definition FROM retries",
        |row| {
            let retry = Retry {
                failures: row.get(1)?,
                trying: row.get::<_, Text<Seconds>>(2)?.0.0,
                last: text(row, 3)?,
                pause: row.get::<_, Text<Seconds>>(4)?.0.0,
                definition: text(row, 5)?,
            };
            state.retries.insert(service(row, 0)?, retry);
            Ok(())
        },
    )
}

impl Changes<'_> {
    pub(super) fn notified(&self, service: &ServiceName, at: Timestamp) -> rusqlite::Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO notified (service, at) VALUES (?1, ?2)",
            (service.as_str(), Text(at)),
        )
    }

    pub(super) fn waits(
        &self,
        service: &ServiceName,
        since: Option<Timestamp>,
    ) -> rusqlite::Result<()> {
        match since {
            Some(since) => self.execute(
                "INSERT OR REPLACE INTO waits (service, since) VALUES (?1, ?2)",
                (service.as_str(), Text(since)),
            ),
            None => self.execute("DELETE FROM waits WHERE service = ?1", [service.as_str()]),
        }
    }

    pub(super) fn retried(
        &self,
        service: &ServiceName,
        retry: Option<&Retry>,
    ) -> rusqlite::Result<()> {
        let name = service.as_str();
        let Some(retry) = retry else {
            return self.execute("DELETE FROM retries WHERE service = ?1", [name]);
        };
        self.execute(
            "INSERT OR REPLACE INTO retries (service, failures, trying_seconds, last, pause_seconds, definition)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                name,
                retry.failures,
                Text(Seconds(retry.trying)),
                Text(retry.last),
                Text(Seconds(retry.pause)),
                digest_text(&retry.definition)
            ],
        )
    }
}
