//! History as statements: configurations that were received, files that were found.

use rusqlite::params;

use super::changes::Changes;
use super::columns::{Text, digest_text, size, size_in, text};
use super::limits::Candidate;
use super::record::{FoundFile, Version};
use crate::protocol::{Configuration, Digest, Identity};

impl Changes<'_> {
    pub(super) fn receive(
        &mut self,
        identity: &Identity,
        configuration: &Configuration,
        version: &Version,
    ) -> rusqlite::Result<()> {
        let select = "SELECT digest FROM received WHERE identity = ?1";
        self.losing(select, identity, Some(version.digest))?;
        let digest = digest_text(&version.digest);
        let size_of_version = size_in(version.size)?;
        let since = version.since.to_string();
        self.keep_body(&version.digest, configuration.bytes())?;
        self.execute(
            "INSERT OR REPLACE INTO received (identity, digest, label, content_type, size, since)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                &*identity.0,
                digest,
                version.label,
                version.content_type,
                size_of_version,
                since
            ],
        )?;

        let mut bytes = self.history_bytes()?;
        let mut older = self.history_of(identity)?;
        let next = older
            .last()
            .map_or(1, |newest| newest.position.saturating_add(1));
        match older.iter().position(|old| old.digest == version.digest) {
            Some(at) if at + 1 == older.len() => {
                self.forget(identity, &older.remove(at))?;
            }
            earlier => {
                if let Some(at) = earlier {
                    let old = older.remove(at);
                    bytes = bytes.saturating_sub(old.size);
                    self.forget(identity, &old)?;
                }
                bytes = bytes.saturating_add(older.last().map_or(0, |newest| newest.size));
            }
        }
        self.execute(
            "INSERT INTO history (identity, position, digest, label, content_type, size, since)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                &*identity.0,
                next,
                digest,
                version.label,
                version.content_type,
                size_of_version,
                since
            ],
        )?;
        let surplus = (older.len() + 1).saturating_sub(self.limits.per_profile);
        for old in older.iter().take(surplus) {
            bytes = bytes.saturating_sub(old.size);
            self.forget(identity, old)?;
        }
        *self.history_bytes = Some(bytes);
        self.trim(bytes)
    }

    pub(super) fn keep(&mut self, file: &FoundFile) -> rusqlite::Result<()> {
        let mut bytes = self.history_bytes()?.saturating_add(file.size);
        let mut older = self.found_of(file)?;
        let mut going: Vec<Found> = older.extract_if(.., |old| old.repeated).collect();
        let surplus = (older.len() + 1).saturating_sub(self.limits.per_target);
        going.extend(older.drain(..surplus.min(older.len())));
        for old in &going {
            bytes = bytes.saturating_sub(old.size);
            self.unfind(old.id, old.digest)?;
        }
        self.execute(
            "INSERT INTO found_files (target, digest, size, uid, gid, mode, at, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                file.target.as_str(),
                digest_text(&file.digest),
                size_in(file.size)?,
                file.metadata.uid,
                file.metadata.gid,
                file.metadata.mode,
                Text(file.at),
                file.reason
            ],
        )?;
        *self.history_bytes = Some(bytes);
        self.trim(bytes)
    }

    pub(super) fn forget_profile(&mut self, identity: &Identity) -> rusqlite::Result<()> {
        self.lift(identity, i64::MAX)?;
        for select in [
            "SELECT digest FROM received WHERE identity = ?1",
            "SELECT digest FROM accepted WHERE identity = ?1",
            "SELECT digest FROM history WHERE identity = ?1",
            "SELECT digest FROM held_profiles WHERE identity = ?1",
        ] {
            self.losing(select, identity, None)?;
        }
        for delete in [
            "DELETE FROM sessions WHERE identity = ?1",
            "DELETE FROM polls WHERE identity = ?1",
            "DELETE FROM received WHERE identity = ?1",
            "DELETE FROM accepted WHERE identity = ?1",
            "DELETE FROM refusals WHERE identity = ?1",
            "DELETE FROM history WHERE identity = ?1",
            "DELETE FROM held_profiles WHERE identity = ?1",
        ] {
            self.execute(delete, [&*identity.0])?;
        }
        *self.history_bytes = None;
        Ok(())
    }

    pub(super) fn forget_target(&mut self, target: &str) -> rusqlite::Result<()> {
        let select = "SELECT digest FROM found_files WHERE target = ?1";
        let digests: Vec<Digest> = self.collect(select, [target], |row| text(row, 0))?;
        self.unnamed.extend(digests);
        for delete in [
            "DELETE FROM found_files WHERE target = ?1",
            "DELETE FROM installed WHERE target = ?1",
            "DELETE FROM installed_attributes WHERE target = ?1",
            "DELETE FROM installed_parts WHERE target = ?1",
            "DELETE FROM acknowledged WHERE target = ?1",
            "DELETE FROM held_targets WHERE target = ?1",
            "DELETE FROM runs WHERE target = ?1",
        ] {
            self.execute(delete, [target])?;
        }
        *self.history_bytes = None;
        Ok(())
    }

    /// Drops the oldest of history when it holds too many bytes.
    fn trim(&mut self, bytes: u64) -> rusqlite::Result<()> {
        if bytes <= self.limits.bytes {
            return Ok(());
        }
        let select = "SELECT at, size, id, digest FROM found_files ORDER BY id";
        let mut candidates = self.collect(select, [], |row| {
            Ok(Candidate {
                at: text(row, 0)?,
                size: size(row, 1)?,
                key: Kept::Found(row.get(2)?, text(row, 3)?),
            })
        })?;
        let select = "SELECT since, size, identity, position, digest FROM history AS this
             WHERE position < (SELECT max(position) FROM history WHERE identity = this.identity)
             ORDER BY identity, position";
        candidates.extend(self.collect(select, [], |row| {
            let size = size(row, 1)?;
            let old = Old {
                position: row.get(3)?,
                digest: text(row, 4)?,
                size,
            };
            Ok(Candidate {
                at: text(row, 0)?,
                size,
                key: Kept::Version(Identity(row.get::<_, String>(2)?.into()), old),
            })
        })?);
        for going in self.limits.excess(candidates, bytes) {
            match going {
                Kept::Found(id, digest) => self.unfind(id, digest)?,
                Kept::Version(identity, old) => self.forget(&identity, &old)?,
            }
        }
        *self.history_bytes = None;
        Ok(())
    }

    fn forget(&mut self, identity: &Identity, old: &Old) -> rusqlite::Result<()> {
        self.unnamed.insert(old.digest);
        self.execute(
            "DELETE FROM history WHERE identity = ?1 AND position = ?2",
            (&*identity.0, old.position),
        )
    }

    fn unfind(&mut self, id: i64, digest: Digest) -> rusqlite::Result<()> {
        self.unnamed.insert(digest);
        self.execute("DELETE FROM found_files WHERE id = ?1", [id])
    }

    /// Oldest first.
    fn history_of(&self, identity: &Identity) -> rusqlite::Result<Vec<Old>> {
        let select =
            "SELECT position, digest, size FROM history WHERE identity = ?1 ORDER BY position";
        self.collect(select, [&*identity.0], |row| {
            Ok(Old {
                position: row.get(0)?,
                digest: text(row, 1)?,
                size: size(row, 2)?,
            })
        })
    }

    /// The files kept for the target of this one, oldest first.
    fn found_of(&self, file: &FoundFile) -> rusqlite::Result<Vec<Found>> {
        let select = "SELECT id, digest, size, digest = ?2 AND uid = ?3 AND gid = ?4 AND mode = ?5
             FROM found_files WHERE target = ?1 ORDER BY id";
        let metadata = &file.metadata;
        let digest = digest_text(&file.digest);
        let values = (
            file.target.as_str(),
            digest,
            metadata.uid,
            metadata.gid,
            metadata.mode,
        );
        self.collect(select, values, |row| {
            Ok(Found {
                id: row.get(0)?,
                digest: text(row, 1)?,
                size: size(row, 2)?,
                repeated: row.get(3)?,
            })
        })
    }

    fn history_bytes(&mut self) -> rusqlite::Result<u64> {
        if let Some(bytes) = *self.history_bytes {
            return Ok(bytes);
        }
        let select = "SELECT (SELECT coalesce(sum(size), 0) FROM found_files)
             + (SELECT coalesce(sum(size), 0) FROM history)
             - (SELECT coalesce(sum(size), 0) FROM (SELECT size, max(position) FROM history GROUP BY identity))";
        let bytes = self.connection.query_row(select, [], |row| size(row, 0))?;
        *self.history_bytes = Some(bytes);
        Ok(bytes)
    }
}

/// A row of `history`.
struct Old {
    position: i64,
    digest: Digest,
    size: u64,
}

/// A row of `found_files`.
struct Found {
    id: i64,
    digest: Digest,
    size: u64,
    /// It is the file that is about to be kept again.
    repeated: bool,
}

enum Kept {
    Found(i64, Digest),
    Version(Identity, Old),
}
