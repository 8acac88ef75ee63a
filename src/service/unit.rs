//! Units of systemd, through systemctl.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Verdict, command};
use crate::process::{Ended, Run, Surroundings, run};
use crate::settings::{Command, ReloadVerb};
use crate::words::one_line;

/// Characters of systemctl's words that a verdict quotes.
const QUOTED: usize = 300;
/// Lines of the unit's journal that are asked for, and how long its reader may take.
const JOURNAL_LINES: u32 = 5;
const JOURNAL_TIME: Duration = Duration::from_secs(5);

/// One unit and how it is asked for.
pub struct Unit<'a> {
    name: &'a str,
    surroundings: Surroundings,
    /// Of one call of systemctl, hence of one job.
    limit: Duration,
}

/// What systemd says of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    load: String,
    active: String,
    sub: String,
    result: String,
    /// A job waits or runs.
    job: bool,
    /// 0: none.
    pub main_pid: i32,
}

/// The command line of a call; `systemctl` is searched in the PATH of the surroundings.
pub fn systemctl(words: &[&str]) -> Command {
    let fixed = ["systemctl", "--no-ask-password"];
    Command::Argv(
        fixed
            .iter()
            .chain(words)
            .map(|&word| word.to_owned())
            .collect(),
    )
}

impl<'a> Unit<'a> {
    pub fn new(name: &'a str, surroundings: &Surroundings, limit: Duration) -> Unit<'a> {
        // Its words are read below.
        let surroundings = surroundings.with(&[("LC_ALL".to_owned(), "C".to_owned())]);
        Unit {
            name,
            surroundings,
            limit,
        }
    }

    pub fn name(&self) -> &str {
        self.name
    }

    /// What systemd says of the unit now; the error is a verdict's text.
    pub async fn state(&self) -> Result<State, String> {
        let properties = "LoadState,ActiveState,SubState,Job,Result,MainPID";
        let asked = self
            .ask(&["show", "-p", properties, "--", self.name])
            .await?;
        let Ended::Exited(0) = asked.ended else {
            return Err(self.explain("show", &asked));
        };
        State::parse(&asked.output).ok_or_else(|| {
            format!(
                "`systemctl show {}` did not tell the unit's state",
                self.name
            )
        })
    }

    /// The state of a unit that can be notified; otherwise the verdict, which is `NotRunning` or `Undecided`.
    pub async fn running_state(&self) -> Result<State, Verdict> {
        let state = self.state().await.map_err(Verdict::Undecided)?;
        let name = self.name;
        match (state.is_running(), state.load.as_str(), state.job) {
            (true, _, _) => Ok(state),
            (false, "not-found", _) => Err(Verdict::Undecided(format!(
                "systemd knows no unit `{name}`: install it, or correct the unit's name"
            ))),
            (false, _, true) => Err(Verdict::NotRunning(format!(
                "unit `{name}` is {} and a job of it waits: it reads the files when it starts",
                state.words()
            ))),
            (false, _, false) => Err(Verdict::NotRunning(format!(
                "unit `{name}` is {}: it reads the files when it starts",
                state.words()
            ))),
        }
    }

    /// The reload, restart or start that the settings ask for. Only `start` is for units that do not run.
    pub async fn notify(&self, verb: ReloadVerb) -> Verdict {
        let ran = match self.running_state().await {
            Ok(_) => true,
            Err(_) if verb == ReloadVerb::Start => false,
            Err(verdict) => return verdict,
        };
        let began = Instant::now();
        match self.job(verb.word()).await {
            Verdict::Accepted if ran => self.still_runs(verb.word(), began).await,
            verdict => verdict,
        }
    }

    /// Starts a unit that failed; accepted when it runs in the end.
    pub async fn start_again(&self) -> Verdict {
        // Without this a unit that was started too often is refused. Of no other use: its failure says nothing.
        let _ = self.ask(&["reset-failed", "--", self.name]).await;
        let began = Instant::now();
        match self.job("start").await {
            Verdict::Accepted => self.still_runs("start", began).await,
            verdict => verdict,
        }
    }

    async fn job(&self, verb: &str) -> Verdict {
        let began = Instant::now();
        let run = match self.ask(&[verb, "--", self.name]).await {
            Ok(run) => run,
            Err(text) => return Verdict::Undecided(text),
        };
        let text = match run.ended {
            Ended::Exited(0) => return Verdict::Accepted,
            Ended::Exited(_) if job_failed(&run.output) => {
                let explained = self.explain(verb, &run);
                format!("{explained}{}", self.journal(began).await)
            }
            Ended::TimedOut => {
                return Verdict::Undecided(format!(
                    "`systemctl {verb} {}` did not end within {:?}; systemd goes on with the job",
                    self.name, self.limit
                ));
            }
            Ended::Exited(_) | Ended::Killed(_) => {
                return Verdict::Undecided(self.explain(verb, &run));
            }
        };
        self.unless_stopping(text).await
    }

    /// After a job that succeeded: a unit that died of its new files did not accept them.
    async fn still_runs(&self, verb: &str, began: Instant) -> Verdict {
        // The job was done; that the question afterwards fails takes nothing from it.
        let Ok(state) = self.state().await else {
            return Verdict::Accepted;
        };
        if state.is_running() {
            return Verdict::Accepted;
        }
        let words = state.words();
        let name = self.name;
        if state.active == "deactivating" && state.job {
            return Verdict::Undecided(format!("unit `{name}` is being stopped"));
        }
        let journal = self.journal(began).await;
        let text = format!(
            "unit `{name}` is {words} after `systemctl {verb}`; see `journalctl -u {name}`{journal}"
        );
        self.unless_stopping(text).await
    }

    /// A rejection, unless the whole system is going down: then a failed job says nothing of the files.
    async fn unless_stopping(&self, text: String) -> Verdict {
        match self.ask(&["is-system-running"]).await {
            Ok(run) if run.output.trim() == "stopping" => {
                Verdict::Undecided(format!("the system is going down: {text}"))
            }
            _ => Verdict::Rejected(text),
        }
    }

    /// The last that the unit's processes have written since then, where its journal can be read.
    async fn journal(&self, since: Instant) -> String {
        let since = format!("--since=-{}s", since.elapsed().as_secs() + 1);
        let unit = format!("_SYSTEMD_UNIT={}", self.name);
        let lines = format!("--lines={JOURNAL_LINES}");
        let words = ["journalctl", "--quiet", "--no-pager", "--output=cat"];
        let words = words.iter().copied().chain([&*lines, &*since, &*unit]);
        let command = Command::Argv(words.map(str::to_owned).collect());
        let read = run(&command, &self.surroundings, self.limit.min(JOURNAL_TIME)).await;
        match read {
            Ok(run) if run.ended == Ended::Exited(0) => match run.last_words(QUOTED) {
                words if words.is_empty() => words,
                words => format!("; it wrote: {words}"),
            },
            _ => String::new(),
        }
    }

    async fn ask(&self, words: &[&str]) -> Result<Run, String> {
        run(&systemctl(words), &self.surroundings, self.limit)
            .await
            .map_err(|error| command::not_started(&error))
    }

    /// What systemctl said, and what to do about it.
    fn explain(&self, verb: &str, run: &Run) -> String {
        let name = self.name;
        let said = match run.output.trim() {
            "" => command::failure(&systemctl(&[verb, name]), run, self.limit),
            words => format!("`systemctl {verb} {name}`: {}", one_line(words, QUOTED)),
        };
        match remedy(&run.output) {
            Some(remedy) => format!("{said} ({remedy})"),
            None => said,
        }
    }
}

impl State {
    /// The unit has a process, or will have one when the job that runs has ended, that a notification reaches.
    pub fn is_running(&self) -> bool {
        match self.active.as_str() {
            "active" | "reloading" | "refreshing" => true,
            // Between two automatic restarts nobody is there to be told.
            "activating" => !self.sub.starts_with("auto-restart"),
            _ => false,
        }
    }

    fn words(&self) -> String {
        match self.result.as_str() {
            "" | "success" => format!("{} ({})", self.active, self.sub),
            result => format!("{} ({}, {result})", self.active, self.sub),
        }
    }

    fn parse(text: &str) -> Option<State> {
        let found: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        let of = |key: &str| found.get(key).copied().unwrap_or_default();
        let state = State {
            load: of("LoadState").to_owned(),
            active: of("ActiveState").to_owned(),
            sub: of("SubState").to_owned(),
            result: of("Result").to_owned(),
            job: !matches!(of("Job"), "" | "0"),
            main_pid: of("MainPID").parse().unwrap_or_default(),
        };
        (!state.active.is_empty()).then_some(state)
    }
}

/// systemctl's words for the job result `failed`. "canceled", "timed out" and a dependency's failure are others.
fn job_failed(output: &str) -> bool {
    output.lines().any(|line| {
        line.strip_prefix("Job for ")
            .is_some_and(|rest| rest.contains(" failed"))
    })
}

fn remedy(output: &str) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|word| output.contains(word));
    if says(&[
        "Interactive authentication required",
        "Access denied",
        "Permission denied",
    ]) {
        Some("not permitted: run as root, or let polkit allow this user to manage the unit")
    } else if says(&["not been booted with systemd", "Failed to connect to"]) {
        Some("systemd cannot be reached: notify by `signal` or `command` where it does not run")
    } else if says(&["is not applicable"]) {
        Some("the unit has no ExecReload=: add it, or set `verb` to restart")
    } else if says(&[" not found."]) {
        Some("install the unit, or correct its name")
    } else if says(&["attempted too often"]) {
        Some("it restarts oftener than StartLimitBurst= of the unit allows")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows_is_read() {
        let text = "MainPID=134\nResult=success\nLoadState=loaded\nActiveState=reloading\nSubState=reload\nJob=962\n";
        let state = State::parse(text).unwrap();
        assert!(state.is_running() && state.job);
        assert_eq!(state.main_pid, 134);
        assert_eq!(State::parse("Failed to connect"), None);
    }

    #[test]
    fn a_unit_between_two_automatic_restarts_does_not_run() {
        let state = |active: &str, sub: &str| {
            State::parse(&format!("ActiveState={active}\nSubState={sub}\nJob=\n")).unwrap()
        };
        assert!(!state("activating", "auto-restart").is_running());
        assert!(state("activating", "start").is_running());
        assert!(!state("deactivating", "stop-sigterm").is_running());
        assert!(!state("failed", "failed").is_running());
    }

    #[test]
    fn only_a_failed_job_of_the_unit_itself_is_a_failed_job() {
        assert!(job_failed(
            "Job for a.service failed because the control process exited with error code.\nSee"
        ));
        assert!(job_failed("Job for a.service failed.\n"));
        assert!(!job_failed("Job for a.service canceled.\n"));
        assert!(!job_failed("Job for a.service timed out.\n"));
        assert!(!job_failed(
            "Dependency job for a.service failed. See 'journalctl -xe' for details.\n"
        ));
        assert!(!job_failed(
            "Failed to reload a.service: Unit a.service not found.\n"
        ));
    }
}
