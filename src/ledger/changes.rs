//! One change as statements: on disk what `State::apply` is in memory.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Params, params};

use super::columns::{Json, Seconds, Text, digest_text, size_in, text};
use super::limits::Limits;
use super::record::{Change, HeldProfile, Intent, Quarantine, Version};
use super::rows::condition_word;
use crate::protocol::{Digest, Identity};

/// The changes of one commit, inside a savepoint of the caller's.
pub(super) struct Changes<'a> {
    pub connection: &'a Connection,
    pub limits: &'a Limits,
    /// `State::history_bytes`; `None` until it is needed. Worthless when the savepoint is rolled back.
    pub history_bytes: &'a mut Option<u64>,
    /// Bodies that lost a name.
    pub unnamed: BTreeSet<Digest>,
}

impl<'a> Changes<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        limits: &'a Limits,
        history_bytes: &'a mut Option<u64>,
    ) -> Changes<'a> {
        Changes {
            connection,
            limits,
            history_bytes,
            unnamed: BTreeSet::new(),
        }
    }

    /// Makes all changes, then removes bodies that nothing names any more.
    pub(super) fn make(mut self, changes: &[Change]) -> rusqlite::Result<()> {
        for change in changes {
            self.one(change)?;
        }
        for digest in std::mem::take(&mut self.unnamed) {
            self.execute(
                "DELETE FROM bodies WHERE digest = ?1
                 AND NOT EXISTS (SELECT 1 FROM received WHERE digest = ?1)
                 AND NOT EXISTS (SELECT 1 FROM accepted WHERE digest = ?1)
                 AND NOT EXISTS (SELECT 1 FROM history WHERE digest = ?1)
                 AND NOT EXISTS (SELECT 1 FROM found_files WHERE digest = ?1)
                 AND NOT EXISTS (SELECT 1 FROM intent_versions WHERE digest = ?1)
                 AND NOT EXISTS (SELECT 1 FROM held_profiles WHERE digest = ?1)",
                [digest_text(&digest)],
            )?;
        }
        Ok(())
    }

    fn one(&mut self, change: &Change) -> rusqlite::Result<()> {
        match change {
            Change::Session {
                identity,
                session,
                poll,
            } => {
                match session {
                    Some(session) => self.execute(
                        "INSERT INTO sessions (identity, token, issued_at, sent, interval_seconds, fresh)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                         ON CONFLICT (identity) DO UPDATE SET token = excluded.token, issued_at = excluded.issued_at,
                         sent = excluded.sent, interval_seconds = excluded.interval_seconds, fresh = excluded.fresh",
                        params![
                            &*identity.0,
                            session.token.0,
                            Text(session.issued_at),
                            session.sent,
                            Text(Seconds(session.interval)),
                            session.fresh
                        ],
                    ),
                    None => self.execute("DELETE FROM sessions WHERE identity = ?1", [&*identity.0]),
                }?;
                match poll {
                    Some(poll) => self.execute(
                        "INSERT OR REPLACE INTO polls (identity, last, next) VALUES (?1, ?2, ?3)",
                        params![&*identity.0, Text(poll.last), Text(poll.next)],
                    ),
                    None => self.execute("DELETE FROM polls WHERE identity = ?1", [&*identity.0]),
                }
            }
            Change::Received {
                identity,
                configuration,
                at,
            } => self.receive(identity, configuration, &Version::of(configuration, *at)),
            Change::Accepted { identity, version } => {
                let select = "SELECT digest FROM accepted WHERE identity = ?1";
                self.losing(select, identity, version.as_ref().map(|version| version.digest))?;
                let Some(version) = version else {
                    return self.execute("DELETE FROM accepted WHERE identity = ?1", [&*identity.0]);
                };
                self.execute(
                    "INSERT OR REPLACE INTO accepted (identity, digest, label, content_type, size, since)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        &*identity.0,
                        digest_text(&version.digest),
                        version.label,
                        version.content_type,
                        size_in(version.size)?,
                        Text(version.since)
                    ],
                )
            }
            Change::Refused { identity, refusal } => match refusal {
                Some(refusal) => self.execute(
                    "INSERT OR REPLACE INTO refusals (identity, digest, reason, since) VALUES (?1, ?2, ?3, ?4)",
                    params![
                        &*identity.0,
                        digest_text(&refusal.digest),
                        refusal.reason,
                        Text(refusal.since)
                    ],
                ),
                None => self.execute("DELETE FROM refusals WHERE identity = ?1", [&*identity.0]),
            },
            Change::Installed { target, installed } => self.installed(target, installed.as_ref()),
            Change::Acknowledged {
                service,
                target,
                digest,
            } => self.execute(
                "INSERT OR REPLACE INTO acknowledged (service, target, digest) VALUES (?1, ?2, ?3)",
                (service.as_str(), target.as_str(), digest.as_ref().map(digest_text)),
            ),
            Change::AcknowledgementDropped { service, target } => self.execute(
                "DELETE FROM acknowledged WHERE service = ?1 AND target = ?2",
                (service.as_str(), target.as_str()),
            ),
            Change::WatchAcknowledged {
                service,
                watch,
                digest,
            } => self.watch_acknowledged(service, watch, digest.as_ref()),
            Change::WatchChanged { watch, at } => self.watch_changed(watch, *at),
            Change::WatchDropped { service, watch } => self.watch_dropped(service, watch),
            Change::Service { service, record } => match record {
                Some(record) => self.execute(
                    "INSERT OR REPLACE INTO services (service, condition, since, last_result) VALUES (?1, ?2, ?3, ?4)",
                    params![
                        service.as_str(),
                        condition_word(record.condition),
                        Text(record.since),
                        record.last_result
                    ],
                ),
                None => self.execute("DELETE FROM services WHERE service = ?1", [service.as_str()]),
            },
            Change::Notified { service, at } => self.notified(service, *at),
            Change::Waits { service, since } => self.waits(service, *since),
            Change::Retried { service, retry } => self.retried(service, retry.as_ref()),
            Change::Intent(intent) => self.intend(intent),
            Change::IntentClosed { id } => self.close(*id),
            Change::Quarantined(quarantine) => self.quarantine(quarantine),
            Change::QuarantineLifted { identity } => self.lift(identity, i64::MAX),
            Change::ProfileHeld { identity, held } => self.hold_profile(identity, held.as_ref()),
            Change::TargetHeld { target, hold } => match hold {
                Some(hold) => self.execute(
                    "INSERT OR REPLACE INTO held_targets (target, since, until) VALUES (?1, ?2, ?3)",
                    (target.as_str(), Text(hold.since), hold.until.map(Text)),
                ),
                None => self.execute("DELETE FROM held_targets WHERE target = ?1", [target.as_str()]),
            },
            Change::ProfileForgotten { identity } => self.forget_profile(identity),
            Change::TargetForgotten { target } => self.forget_target(target.as_str()),
            Change::Ran(run) => self.ran(run),
            Change::FileKept { file, bytes } => {
                let file = file.holding(bytes);
                self.keep_body(&file.digest, bytes)?;
                self.keep(&file)
            }
        }
    }

    fn hold_profile(
        &mut self,
        identity: &Identity,
        held: Option<&HeldProfile>,
    ) -> rusqlite::Result<()> {
        let select = "SELECT digest FROM held_profiles WHERE identity = ?1";
        self.losing(select, identity, held.map(|held| held.version.digest))?;
        let Some(HeldProfile { version, hold }) = held else {
            return self.execute(
                "DELETE FROM held_profiles WHERE identity = ?1",
                [&*identity.0],
            );
        };
        self.execute(
            "INSERT OR REPLACE INTO held_profiles (identity, digest, label, content_type, size, version_since, since, until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                &*identity.0,
                digest_text(&version.digest),
                version.label,
                version.content_type,
                size_in(version.size)?,
                Text(version.since),
                Text(hold.since),
                hold.until.map(Text)
            ],
        )
    }

    fn intend(&mut self, intent: &Intent) -> rusqlite::Result<()> {
        self.close(intent.id)?;
        let id = intent.id.cast_signed();
        self.execute(
            "INSERT INTO intents (id, opened_at, attempts, intent) VALUES (?1, ?2, ?3, ?4)",
            params![id, Text(intent.opened_at), intent.attempts, Json(intent)],
        )?;
        let before = intent.before.accepted.iter();
        let before = before.filter_map(|(identity, version)| Some((identity, version.as_ref()?)));
        let held_before = intent.before.held.iter();
        let held_before = held_before.filter_map(|(id, held)| Some((id, held.as_ref()?)));
        let holds = intent.holds.iter().chain(held_before);
        let holds = holds.map(|(identity, held)| (identity, &held.version));
        for (identity, version) in intent.profiles.iter().chain(before).chain(holds) {
            // It is named again: recovery and going back may want these bytes when history has dropped them.
            self.execute(
                "INSERT OR IGNORE INTO intent_versions (intent, identity, digest) VALUES (?1, ?2, ?3)",
                params![id, &*identity.0, digest_text(&version.digest)],
            )?;
        }
        Ok(())
    }

    fn close(&mut self, id: u64) -> rusqlite::Result<()> {
        let id = id.cast_signed();
        let select = "SELECT digest FROM intent_versions WHERE intent = ?1";
        let digests: Vec<Digest> = self.collect(select, [id], |row| text(row, 0))?;
        self.unnamed.extend(digests);
        self.execute("DELETE FROM intent_versions WHERE intent = ?1", [id])?;
        self.execute("DELETE FROM intents WHERE id = ?1", [id])
    }

    fn quarantine(&mut self, quarantine: &Quarantine) -> rusqlite::Result<()> {
        self.execute(
            "INSERT INTO quarantine (since, reason, quarantine) VALUES (?1, ?2, ?3)",
            params![Text(quarantine.since), quarantine.reason, Json(quarantine)],
        )?;
        let id = self.connection.last_insert_rowid();
        for identity in quarantine.profiles.keys() {
            self.execute(
                "INSERT INTO quarantine_profiles (identity, quarantine) VALUES (?1, ?2)",
                (&*identity.0, id),
            )?;
        }
        let kept = i64::try_from(self.limits.quarantine).unwrap_or(i64::MAX);
        for identity in quarantine.profiles.keys() {
            let newest_to_go = self
                .connection
                .prepare_cached(
                    "SELECT quarantine FROM quarantine_profiles WHERE identity = ?1
                     ORDER BY quarantine DESC LIMIT 1 OFFSET ?2",
                )?
                .query_row((&*identity.0, kept), |row| row.get(0))
                .optional()?;
            if let Some(newest_to_go) = newest_to_go {
                self.lift(identity, newest_to_go)?;
            }
        }
        Ok(())
    }

    /// Removes what the profile has part in, up to and with the row `last`.
    pub(super) fn lift(&mut self, identity: &Identity, last: i64) -> rusqlite::Result<()> {
        let select =
            "SELECT quarantine FROM quarantine_profiles WHERE identity = ?1 AND quarantine <= ?2";
        let ids: Vec<i64> = self.collect(select, (&*identity.0, last), |row| row.get(0))?;
        for id in ids {
            self.execute(
                "DELETE FROM quarantine_profiles WHERE quarantine = ?1",
                [id],
            )?;
            self.execute("DELETE FROM quarantine WHERE id = ?1", [id])?;
        }
        Ok(())
    }

    pub(super) fn keep_body(&mut self, digest: &Digest, bytes: &[u8]) -> rusqlite::Result<()> {
        self.execute(
            "INSERT INTO bodies (digest, bytes) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING",
            (digest_text(digest), bytes),
        )
    }

    /// Notes the digest that a profile's row is about to lose.
    pub(super) fn losing(
        &mut self,
        select: &str,
        identity: &Identity,
        new: Option<Digest>,
    ) -> rusqlite::Result<()> {
        let old: Vec<Digest> = self.collect(select, [&*identity.0], |row| text(row, 0))?;
        self.unnamed
            .extend(old.into_iter().filter(|old| Some(*old) != new));
        Ok(())
    }

    pub(super) fn execute(&self, statement: &str, values: impl Params) -> rusqlite::Result<()> {
        self.connection.prepare_cached(statement)?.execute(values)?;
        Ok(())
    }

    pub(super) fn collect<T>(
        &self,
        select: &str,
        values: impl Params,
        row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let mut select = self.connection.prepare_cached(select)?;
        select.query_map(values, row)?.collect()
    }
}
