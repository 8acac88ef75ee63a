//! The rows of installed files, of their attributes, and of their parts.

use rusqlite::{Connection, params};

use super::changes::Changes;
use super::columns::{Json, Text, digest_text, text};
use super::error::damage;
use super::record::{Installed, State};
use super::rows::{each, metadata, service, target};
use super::schema;
use crate::settings::TargetPath;

impl Changes<'_> {
    /// `None`: the target is none of ours any more.
    pub(super) fn installed(
        &self,
        target: &TargetPath,
        installed: Option<&Installed>,
    ) -> rusqlite::Result<()> {
        let path = target.as_str();
        self.execute("DELETE FROM installed_attributes WHERE target = ?1", [path])?;
        self.execute("DELETE FROM installed_parts WHERE target = ?1", [path])?;
        let Some(Installed {
            digest,
            metadata,
            since,
            parts,
        }) = installed
        else {
            return self.execute("DELETE FROM installed WHERE target = ?1", [path]);
        };
        if !metadata.attributes.is_empty() {
            self.execute(
                "INSERT INTO installed_attributes (target, attributes) VALUES (?1, ?2)",
                params![path, Json(&metadata.attributes)],
            )?;
        }
        self.execute(
            "INSERT OR REPLACE INTO installed (target, digest, uid, gid, mode, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                path,
                digest_text(digest),
                metadata.uid,
                metadata.gid,
                metadata.mode,
                Text(*since)
            ],
        )?;
        for (service, digest) in parts {
            self.execute(
                "INSERT INTO installed_parts (target, service, digest) VALUES (?1, ?2, ?3)",
                (path, service.as_str(), digest_text(digest)),
            )?;
        }
        Ok(())
    }
}

/// A ledger of an older schema has neither attributes nor parts.
pub(super) fn read(connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
    each(
        connection,
        "SELECT target, digest, uid, gid, mode, since FROM installed",
        |row| {
            let installed = Installed {
                digest: text(row, 1)?,
                metadata: metadata(row, 2)?,
                since: text(row, 5)?,
                parts: Default::default(),
            };
            state.installed.insert(target(row, 0)?, installed);
            Ok(())
        },
    )?;
    if schema::version(connection)? < 2 {
        return Ok(());
    }
    each(
        connection,
        "SELECT target, attributes FROM installed_attributes",
        |row| {
            let installed = state.installed.get_mut(&target(row, 0)?);
            let installed =
                installed.ok_or_else(|| damage("attributes of a target without a row"))?;
            installed.metadata.attributes = row.get::<_, Json<_>>(1)?.0;
            Ok(())
        },
    )?;
    each(
        connection,
        "SELECT target, service, digest FROM installed_parts",
        |row| {
            let installed = state.installed.get_mut(&target(row, 0)?);
            let installed = installed.ok_or_else(|| damage("parts of a target without a row"))?;
            installed.parts.insert(service(row, 1)?, text(row, 2)?);
            Ok(())
        },
    )
}
