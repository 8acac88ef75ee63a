//! Rows into records.

use bytes::Bytes;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};

use super::columns::{Json, Seconds, Text, digest_text, size, text, text_or_null};
use super::error::damage;
use super::installed;
use super::record::{
    FoundFile, HeldProfile, Hold, Intent, Poll, Quarantine, Refusal, SavedSession, SavedToken,
    ServiceCondition, ServiceRecord, State, Version,
};
use super::{telling, watched};
use crate::install::{Attributes, Metadata};
use crate::protocol::{Digest, Identity};
use crate::settings::{NotAName, ServiceName, TargetPath};

/// Everything but bodies, as of one moment.
pub(super) fn state(connection: &Connection) -> rusqlite::Result<State> {
    // One transaction, so that a reader beside the writer sees one commit's end and not halves of two.
    let transaction = connection.unchecked_transaction()?;
    let mut state = State::default();
    each(
        &transaction,
        "SELECT identity, token, issued_at, sent, interval_seconds, fresh FROM sessions",
        |row| {
            let session = SavedSession {
                token: SavedToken(row.get::<_, String>(1)?.into()),
                issued_at: text(row, 2)?,
                sent: row.get(3)?,
                interval: row.get::<_, Text<Seconds>>(4)?.0.0,
                fresh: row.get(5)?,
            };
            state.sessions.insert(identity(row, 0)?, session);
            Ok(())
        },
    )?;
    each(
        &transaction,
        "SELECT identity, last, next FROM polls",
        |row| {
            let poll = Poll {
                last: text(row, 1)?,
                next: text(row, 2)?,
            };
            state.polls.insert(identity(row, 0)?, poll);
            Ok(())
        },
    )?;
    each(
        &transaction,
        "SELECT identity, digest, label, content_type, size, since FROM received",
        |row| {
            state.received.insert(identity(row, 0)?, version(row)?);
            Ok(())
        },
    )?;
    each(
        &transaction,
        "SELECT identity, digest, label, content_type, size, since FROM accepted",
        |row| {
            state.accepted.insert(identity(row, 0)?, version(row)?);
            Ok(())
        },
    )?;
    each(
        &transaction,
        "SELECT identity, digest, label, content_type, size, since FROM history ORDER BY identity, position",
        |row| {
            let versions = state.history.or_default(&identity(row, 0)?);
            versions.reserve_exact(1);
            versions.push(version(row)?);
            Ok(())
        },
    )?;
    each(
        &transaction,
        "SELECT target, digest, size, uid, gid, mode, at, reason FROM found_files ORDER BY id",
        |row| {
            state.found_files.push(FoundFile {
                target: target(row, 0)?,
                digest: text(row, 1)?,
                size: size(row, 2)?,
                metadata: metadata(row, 3)?,
                at: text(row, 6)?,
                reason: row.get(7)?,
            });
            Ok(())
        },
    )?;
    decisions(&transaction, &mut state)?;
    telling::rows(&transaction, &mut state)?;
    state.history_bytes = state.count_history_bytes();
    Ok(state)
}

/// The part of the state that is not about configurations' bytes.
fn decisions(connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
    each(
        connection,
        "SELECT identity, digest, reason, since FROM refusals",
        |row| {
            let refusal = Refusal {
                digest: text(row, 1)?,
                reason: row.get(2)?,
                since: text(row, 3)?,
            };
            state.refusals.insert(identity(row, 0)?, refusal);
            Ok(())
        },
    )?;
    installed::read(connection, state)?;
    each(
        connection,
        "SELECT service, target, digest FROM acknowledged",
        |row| {
            if let Some(watch) = watched::named(&row.get::<_, String>(1)?) {
                let watches = state.watched.or_default(&service(row, 0)?);
                watches.insert(watch, text_or_null(row, 2)?);
                return Ok(());
            }
            let targets = state.acknowledged.or_default(&service(row, 0)?);
            targets.insert(target(row, 1)?, text_or_null(row, 2)?);
            Ok(())
        },
    )?;
    each(
        connection,
        "SELECT service, condition, since, last_result FROM services",
        |row| {
            let record = ServiceRecord {
                condition: condition(row, 1)?,
                since: text(row, 2)?,
                last_result: row.get(3)?,
            };
            state.services.insert(service(row, 0)?, record);
            Ok(())
        },
    )?;
    each(connection, "SELECT id, intent FROM intents", |row| {
        let id: i64 = row.get(0)?;
        let Json(intent) = row.get::<_, Json<Intent>>(1)?;
        if intent.id != id.cast_unsigned() {
            return Err(damage("an intent's row has another number than the intent"));
        }
        state.intents.insert(intent.id, intent);
        Ok(())
    })?;
    each(
        connection,
        "SELECT identity, digest, label, content_type, size, version_since, since, until FROM held_profiles",
        |row| {
            let held = HeldProfile {
                version: version(row)?,
                hold: hold(row, 6)?,
            };
            state.held_profiles.insert(identity(row, 0)?, held);
            Ok(())
        },
    )?;
    each(
        connection,
        "SELECT target, since, until FROM held_targets",
        |row| {
            state.held_targets.insert(target(row, 0)?, hold(row, 1)?);
            Ok(())
        },
    )?;
    each(
        connection,
        "SELECT quarantine FROM quarantine ORDER BY id",
        |row| {
            let Json(quarantine) = row.get::<_, Json<Quarantine>>(0)?;
            state.quarantine.push(quarantine);
            Ok(())
        },
    )
}

/// The body with this digest; bytes that have another one are damage.
pub(super) fn body(connection: &Connection, digest: Digest) -> rusqlite::Result<Option<Bytes>> {
    let mut select = connection.prepare_cached("SELECT bytes FROM bodies WHERE digest = ?1")?;
    let bytes = select
        .query_row([digest_text(&digest)], |row| {
            Ok(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?))
        })
        .optional()?;
    match bytes {
        Some(bytes) if Digest::of(&bytes) != digest => {
            Err(damage("a body's bytes are not those that were written"))
        }
        bytes => Ok(bytes),
    }
}

/// The words of the column `condition`.
pub(super) fn condition_word(condition: ServiceCondition) -> &'static str {
    match condition {
        ServiceCondition::Acknowledged => "acknowledged",
        ServiceCondition::Pending => "pending",
        ServiceCondition::Nobody => "nobody",
        ServiceCondition::Failed => "failed",
        ServiceCondition::NotRunning => "not_running",
    }
}

fn condition(row: &Row<'_>, column: usize) -> rusqlite::Result<ServiceCondition> {
    let word: String = row.get(column)?;
    let all = [
        ServiceCondition::Acknowledged,
        ServiceCondition::Pending,
        ServiceCondition::Nobody,
        ServiceCondition::Failed,
        ServiceCondition::NotRunning,
    ];
    all.into_iter()
        .find(|condition| condition_word(*condition) == word)
        .ok_or_else(|| damage("a service's condition is none that was written"))
}

/// Calls for every row; nothing but the row at hand is in memory.
pub(super) fn each(
    connection: &Connection,
    select: &str,
    mut row: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut select = connection.prepare(select)?;
    let mut rows = select.query([])?;
    while let Some(found) = rows.next()? {
        row(found)?;
    }
    Ok(())
}

/// The columns `digest, label, content_type, size, since` behind the first.
fn version(row: &Row<'_>) -> rusqlite::Result<Version> {
    Ok(Version {
        digest: text(row, 1)?,
        label: row.get(2)?,
        content_type: row.get(3)?,
        size: size(row, 4)?,
        since: text(row, 5)?,
    })
}

/// The columns `since, until` from `first` on.
fn hold(row: &Row<'_>, first: usize) -> rusqlite::Result<Hold> {
    Ok(Hold {
        since: text(row, first)?,
        until: text_or_null(row, first + 1)?,
    })
}

/// The columns `uid, gid, mode` from `first` on.
pub(super) fn metadata(row: &Row<'_>, first: usize) -> rusqlite::Result<Metadata> {
    Ok(Metadata {
        uid: row.get(first)?,
        gid: row.get(first + 1)?,
        mode: row.get(first + 2)?,
        attributes: Attributes::default(),
    })
}

fn identity(row: &Row<'_>, column: usize) -> rusqlite::Result<Identity> {
    row.get(column).map(Identity)
}

pub(super) fn target(row: &Row<'_>, column: usize) -> rusqlite::Result<TargetPath> {
    name(row, column)
}

pub(super) fn service(row: &Row<'_>, column: usize) -> rusqlite::Result<ServiceName> {
    name(row, column)
}

/// A text that this program can have written as a name.
fn name<T: TryFrom<String, Error = NotAName>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    T::try_from(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}
