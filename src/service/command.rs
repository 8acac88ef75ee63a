//! Commands as questions: exit 0 is yes, any other exit is no, and everything else is no answer.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::Verdict;
use super::ran::{Errand, Owner, Ran, Runs};
use crate::clock::Clock;
use crate::process::{Ended, Run, Shown, Surroundings, run};
use crate::settings::Command;

/// Characters of a command's output that a verdict quotes.
const QUOTED: usize = 300;

/// Statuses by which a shell says that it found no program, or could not run it.
const SHELL_COULD_NOT: [i32; 2] = [126, 127];

/// On whose behalf a command is run, and where.
pub struct Asked<'a> {
    pub owner: Owner,
    pub errand: Errand,
    pub surroundings: Surroundings,
    pub runs: &'a Runs,
    pub clock: &'a Clock,
}

impl Asked<'_> {
    /// Runs the command and judges by how it ended. Never `NotRunning`.
    pub async fn judge(&self, command: &Command, limit: Duration) -> Verdict {
        match self.run(command, limit).await {
            Ok(run) if run.ended == Ended::Exited(0) => Verdict::Accepted,
            Ok(run) => {
                let text = failure(command, &run, limit);
                match (&run.ended, command) {
                    (Ended::Exited(status), _)
                        if self.surroundings.could_not_start(*status, &run.output) =>
                    {
                        Verdict::Undecided(text)
                    }
                    (Ended::Exited(status), Command::Shell(_))
                        if SHELL_COULD_NOT.contains(status) =>
                    {
                        Verdict::Undecided(text)
                    }
                    (Ended::Exited(_), _) => Verdict::Rejected(text),
                    (Ended::Killed(_) | Ended::TimedOut, _) => Verdict::Undecided(text),
                }
            }
            Err(error) => Verdict::Undecided(not_started(&error)),
        }
    }

    /// Runs the command; what it wrote waits to be recorded.
    pub async fn run(&self, command: &Command, limit: Duration) -> io::Result<Run> {
        let run = run(command, &self.surroundings, limit).await?;
        self.runs.add(Ran {
            owner: self.owner.clone(),
            errand: self.errand,
            at: self.clock.now().wall,
            command: Shown(command).to_string(),
            outcome: ending(&run.ended, limit),
            output: run.output.clone(),
        });
        Ok(run)
    }
}

/// Why a command that was run did not say yes.
pub fn failure(command: &Command, run: &Run, limit: Duration) -> String {
    let ended = ending(&run.ended, limit);
    let words = run.last_words(QUOTED);
    let colon = if words.is_empty() { "" } else { ": " };
    format!("`{}` {ended}{colon}{words}", Shown(command))
}

fn ending(ended: &Ended, limit: Duration) -> String {
    match ended {
        Ended::Exited(status) => format!("exited with status {status}"),
        Ended::Killed(signal) => format!("was killed by signal {signal}"),
        Ended::TimedOut => format!("did not end within {limit:?} and was stopped"),
    }
}

/// Why a command was not run: an error of [`run`] with its cause.
pub fn not_started(error: &std::io::Error) -> String {
    // The inner error says what was attempted; the source below it is what the system answered.
    let cause = error.get_ref().and_then(|attempt| attempt.source());
    match cause {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The command with the staged file's path for every `{staged}`.
///
/// In a shell line a path of plain characters stands as it is, inside any quotes; any other is put in single quotes.
pub fn with_staged(command: &Command, staged: &Path) -> Result<Command, String> {
    let path = staged.to_str().ok_or_else(|| {
        let shown = staged.display();
        format!("cannot name the staged file `{shown}` to a command: it is not valid UTF-8")
    })?;
    Ok(match command {
        Command::Argv(argv) => Command::Argv(
            argv.iter()
                .map(|part| part.replace("{staged}", path))
                .collect(),
        ),
        Command::Shell(line) => Command::Shell(line.replace("{staged}", &quoted(path))),
    })
}

fn quoted(path: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ',');
    match !path.is_empty() && path.chars().all(plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}
