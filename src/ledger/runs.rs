//! What commands wrote, kept for `history`. Not part of the state: nothing follows from it.

use rusqlite::{Connection, params};

use super::changes::Changes;
use super::columns::{Text, text};
use super::record::{CommandRun, RunFor};
use super::rows::{each, service, target};
use super::schema;

/// Of every service or target and each of its errands; the same run again moves to the end.
const PER_ERRAND: i64 = 5;
/// Of all, the newest.
const IN_ALL: i64 = 4096;

/// Everything that is kept, the oldest first. A ledger of an older schema has none.
pub(super) fn rows(connection: &Connection) -> rusqlite::Result<Vec<CommandRun>> {
    let mut runs = Vec::new();
    if schema::version(connection)? < 2 {
        return Ok(runs);
    }
    each(
        connection,
        "SELECT service, target, what, at, command, outcome, output FROM runs ORDER BY id",
        |row| {
            let is_target: Option<String> = row.get(1)?;
            let whose = match is_target {
                Some(_) => RunFor::Target(target(row, 1)?),
                None => RunFor::Service(service(row, 0)?),
            };
            runs.push(CommandRun {
                whose,
                what: row.get(2)?,
                at: text(row, 3)?,
                command: row.get(4)?,
                outcome: row.get(5)?,
                output: row.get(6)?,
            });
            Ok(())
        },
    )?;
    Ok(runs)
}

impl Changes<'_> {
    pub(super) fn ran(&self, run: &CommandRun) -> rusqlite::Result<()> {
        let (service, target) = match &run.whose {
            RunFor::Service(service) => (Some(service.as_str()), None),
            RunFor::Target(target) => (None, Some(target.as_str())),
        };
        self.execute(
            "DELETE FROM runs WHERE service IS ?1 AND target IS ?2 AND what = ?3
             AND command = ?4 AND outcome = ?5 AND output = ?6",
            params![
                service,
                target,
                run.what,
                run.command,
                run.outcome,
                run.output
            ],
        )?;
        self.execute(
            "INSERT INTO runs (service, target, what, at, command, outcome, output)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                service,
                target,
                run.what,
                Text(run.at),
                run.command,
                run.outcome,
                run.output
            ],
        )?;
        self.execute(
            "DELETE FROM runs WHERE service IS ?1 AND target IS ?2 AND what = ?3 AND id NOT IN
             (SELECT id FROM runs WHERE service IS ?1 AND target IS ?2 AND what = ?3 ORDER BY id DESC LIMIT ?4)",
            params![service, target, run.what, PER_ERRAND],
        )?;
        self.execute(
            "DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - ?1",
            [IN_ALL],
        )
    }
}
