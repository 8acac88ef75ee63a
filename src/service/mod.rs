//! Notifies the programs that depend on targets, and asks whether they are well.

mod child;
mod clocks;
mod command;
mod http;
mod left_behind;
mod pid_file;
mod probe;
mod ran;
mod request;
mod running_process;
mod signal;
mod unit;
mod whose;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::child::Child;
use crate::clock::{Clock, Now};
use crate::process::Surroundings;
use crate::settings::{
    Command, Notify, ProbeAsk, ReloadVerb, Service, SignalTarget, TargetPath, Whose,
};

pub use ran::{Errand, Owner, Ran};

use clocks::Clocks;
use command::Asked;
use http::Http;
use left_behind::LeftBehind;
use pid_file::PidFile;
use ran::Runs;
use signal::Recipient;
use unit::Unit;

/// What came of a check, a notification or a probe. Texts are one line for screens and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Rejected(String),
    /// Could not start, not permitted, timed out, cancelled, killed by a signal that we did not send.
    Undecided(String),
    /// Only from `notify`: nobody to signal yet. Weighs as undecided does, and is no failure: who starts later reads the files.
    Nobody(String),
    /// Only from `notify`: the service does not run and reads the files when it starts.
    NotRunning(String),
}

/// Whether a service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    Yes,
    No,
    /// No way to tell (a bare command), or the question failed.
    Unknown,
}

/// Asks and tells services. Cheap to clone. Needs a Tokio runtime with IO and time.
///
/// A question that is dropped half-way kills the command that it runs; a unit job that systemd has taken goes on.
#[derive(Clone, Debug)]
pub struct Services {
    root: Option<PathBuf>,
    surroundings: Surroundings,
    http: Http,
    left_behind: LeftBehind,
    /// Commands that nobody has recorded yet.
    runs: Runs,
    clock: Clock,
    /// Of `exec`.
    child: Option<Child>,
    /// Both clocks when this was made: a wall clock that has been set since then proves nothing.
    began: Now,
}

impl Services {
    /// `root`: the alternate root below which PID files lie. `surroundings`: where commands run, and what they get
    /// beside the allow-listed variables; `systemctl` too is searched in their PATH.
    pub fn new(root: Option<PathBuf>, surroundings: Surroundings) -> Services {
        let clock = Clock::system();
        Services {
            root,
            surroundings,
            http: Http::default(),
            child: None,
            runs: Runs::default(),
            left_behind: LeftBehind::of_our_unit(),
            began: clock.now(),
            clock,
        }
    }

    /// The same with the child of `exec` as one of the programs that can be notified.
    pub fn with_child(self, child: Option<Child>) -> Services {
        Services { child, ..self }
    }

    /// The same for somebody else, who records what commands write.
    pub fn for_another(&self) -> Services {
        Services {
            runs: Runs::default(),
            ..self.clone()
        }
    }

    /// The commands that have ended since this was asked last, the oldest first; of each service or target and errand a few.
    pub fn ran(&self) -> Vec<Ran> {
        self.runs.take()
    }

    /// Takes back what could not be recorded.
    pub fn put_back(&self, ran: Vec<Ran>) {
        let since = self.runs.take();
        for one in ran.into_iter().chain(since) {
            self.runs.add(one);
        }
    }

    /// Files that these services depend on have just been replaced, or have been seen to be others.
    pub fn files_changed<'a>(&self, mut services: impl Iterator<Item = &'a Service>) {
        if let Some(child) = &self.child
            && services.any(|service| matches!(service.notify, Notify::Child(_)))
        {
            child.files_changed();
        }
    }

    /// Programs named in check, command and reload, looked up before the commit: the first that is missing, as an error text.
    pub fn missing_program(&self, service: &Service) -> Option<String> {
        let check = service.check.as_ref().map(|command| ("check", command));
        let systemctl = unit::systemctl(&[]);
        let notify = match &service.notify {
            Notify::Command(command) => Some(("command", command)),
            Notify::Http(_) => None,
            Notify::Reload { .. } => Some(("reload", &systemctl)),
            Notify::Signal { to, .. } => match to {
                SignalTarget::Unit(_) => Some(("signal", &systemctl)),
                SignalTarget::PidFile(_) | SignalTarget::Executable(_) => None,
            },
            Notify::Child(_) => None,
        };
        let probe = service.probe.as_ref().and_then(|probe| match &probe.ask {
            ProbeAsk::Command(command) => Some(("probe", command)),
            ProbeAsk::Http(_) => None,
        });
        let own = self.of(service, &[]);
        [check, notify, probe]
            .into_iter()
            .flatten()
            .find_map(|(key, command)| {
                // systemctl is ours, whatever the service's own commands run as.
                let surroundings = match matches!(key, "reload" | "signal") {
                    true => &self.surroundings,
                    false => &own,
                };
                let error = surroundings.program(command).err()?;
                Some(format!("`{key}`: {error}"))
            })
    }

    /// Whether the service would see a notification now. A unit that waits for its next automatic restart would not.
    pub async fn running(&self, service: &Service) -> Running {
        let unit = match &service.notify {
            Notify::Command(_) | Notify::Http(_) => return Running::Unknown,
            Notify::Signal {
                to: SignalTarget::PidFile(path),
                whose,
                ..
            } => return self.pid_file(path, whose).running(),
            Notify::Signal {
                to: SignalTarget::Executable(_),
                whose,
                ..
            } => {
                return match signal::by_executable(whose.clone()).await {
                    Ok(_) => Running::Yes,
                    Err(Verdict::Nobody(_)) => Running::No,
                    Err(_) => Running::Unknown,
                };
            }
            Notify::Signal {
                to: SignalTarget::Unit(unit),
                ..
            } => unit,
            Notify::Reload { unit, .. } => unit,
            Notify::Child(_) => return child::running(self.child.as_ref()),
        };
        match self.unit(unit, service).state().await {
            Ok(state) if state.is_running() => Running::Yes,
            Ok(_) => Running::No,
            Err(_) => Running::Unknown,
        }
    }

    /// Whether a service that ran does not run any more.
    pub async fn has_ended(&self, service: &Service) -> bool {
        if let Notify::Signal {
            to: SignalTarget::PidFile(path),
            whose,
            ..
        } = &service.notify
        {
            self.pid_file(path, whose).wait_while_rewritten().await;
        }
        if let Notify::Child(_) = service.notify {
            return child::has_ended(self.child.as_ref());
        }
        self.running(service).await == Running::No
    }

    /// `validate_command` of a target; `{staged}` in argv is `staged`.
    pub async fn check_staged(
        &self,
        target: &TargetPath,
        command: &Command,
        staged: &Path,
        limit: Duration,
    ) -> Verdict {
        let owner = Owner::Target(target.clone());
        let asked = self.asked(owner, Errand::Validate, self.surroundings.clone());
        match command::with_staged(command, staged) {
            Ok(command) => asked.judge(&command, limit).await,
            Err(text) => Verdict::Undecided(text),
        }
    }

    /// `check`; accepted where there is none.
    pub async fn check(&self, service: &Service, about: &[(String, String)]) -> Verdict {
        match &service.check {
            Some(check) => {
                let asked = self.asked_of(service, Errand::Check, about);
                let verdict = asked.judge(check, service.timeout).await;
                self.left_behind.look(&service.name);
                verdict
            }
            None => Verdict::Accepted,
        }
    }

    /// Tells the service once. `since`: when the files were put in place; a process that started later has read them.
    /// `about` is added to the environment of commands.
    pub async fn notify(
        &self,
        service: &Service,
        since: Timestamp,
        about: &[(String, String)],
    ) -> Verdict {
        match &service.notify {
            Notify::Reload { unit, verb } => self.unit(unit, service).notify(*verb).await,
            Notify::Signal { signal, to, whose } => {
                let recipient = match to {
                    SignalTarget::PidFile(path) => Recipient::PidFile(self.pid_file(path, whose)),
                    SignalTarget::Unit(unit) => {
                        Recipient::Unit(self.unit(unit, service), whose.clone())
                    }
                    SignalTarget::Executable(_) => Recipient::Executable(whose.clone()),
                };
                signal::notify(signal, recipient, self.since(since)).await
            }
            Notify::Child(rules) => {
                child::notify(self.child.as_ref(), rules, self.since(since)).await
            }
            Notify::Command(command) => {
                let asked = self.asked_of(service, Errand::Notify, about);
                let verdict = asked.judge(command, service.timeout).await;
                self.left_behind.look(&service.name);
                verdict
            }
            Notify::Http(call) => {
                let socket = call.unix_socket.as_ref().map(|path| self.rooted(path));
                let limit = call.timeout.unwrap_or(service.timeout);
                request::notify(call, socket.as_deref(), limit).await
            }
        }
    }

    /// One try of the probe, for the baseline: `None` where there is no probe.
    pub async fn try_probe(&self, service: &Service) -> Option<Result<(), String>> {
        let probe = service.probe.as_ref()?;
        let asked = self.asked_of(service, Errand::Probe, &[]);
        let limit = probe.within.min(service.timeout);
        let tried = probe::once(&probe.ask, &self.http, &asked, limit).await;
        Some(tried.map_err(probe::Failure::into_text))
    }

    /// The whole probe: accepted where there is none. Rejected when it does not succeed in time.
    pub async fn probe(&self, service: &Service, about: &[(String, String)]) -> Verdict {
        let child = matches!(service.notify, Notify::Child(_))
            .then_some(self.child.as_ref())
            .flatten();
        if let Some(child) = child
            && !child.was_there().await
        {
            return Verdict::Accepted;
        }
        let verdict = self.whole_probe(service, about).await;
        if let Some(child) = child {
            child.judged();
        }
        verdict
    }

    async fn whole_probe(&self, service: &Service, about: &[(String, String)]) -> Verdict {
        match &service.probe {
            Some(probe) => {
                let asked = self.asked_of(service, Errand::Probe, about);
                probe::whole(probe, &self.http, &asked, service.timeout).await
            }
            None => Verdict::Accepted,
        }
    }

    /// `reset-failed` and `start` of a unit that was active when the transaction began and is not now.
    /// Accepted where the unit runs in the end; undecided for a service that is no unit, which nobody here can start.
    pub async fn start_again(&self, service: &Service) -> Verdict {
        match &service.notify {
            Notify::Reload { unit, .. }
            | Notify::Signal {
                to: SignalTarget::Unit(unit),
                ..
            } => self.unit(unit, service).start_again().await,
            Notify::Child(_) => child::start_again(self.child.as_ref()).await,
            Notify::Signal {
                to: SignalTarget::PidFile(_) | SignalTarget::Executable(_),
                ..
            }
            | Notify::Command(_)
            | Notify::Http(_) => {
                Verdict::Undecided("it is not a unit of systemd: start it by hand".to_owned())
            }
        }
    }

    fn since(&self, files: Timestamp) -> signal::Since {
        signal::Since {
            files,
            clocks: self.clocks(),
        }
    }

    fn unit<'a>(&'a self, name: &'a str, service: &Service) -> Unit<'a> {
        Unit::new(name, &self.surroundings, service.timeout)
    }

    fn pid_file(&self, path: &Path, whose: &Whose) -> PidFile {
        PidFile::new(self.rooted(path), whose.clone(), self.clocks())
    }

    fn rooted(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    fn clocks(&self) -> Clocks {
        Clocks {
            began: self.began,
            now: self.clock.now(),
        }
    }

    fn asked_of(&self, service: &Service, errand: Errand, about: &[(String, String)]) -> Asked<'_> {
        let owner = Owner::Service(service.name.clone());
        self.asked(owner, errand, self.of(service, about))
    }

    fn asked(&self, owner: Owner, errand: Errand, surroundings: Surroundings) -> Asked<'_> {
        let surroundings = surroundings.on(owner.occasion(errand));
        Asked {
            owner,
            errand,
            surroundings,
            runs: &self.runs,
            clock: &self.clock,
        }
    }

    fn of(&self, service: &Service, about: &[(String, String)]) -> Surroundings {
        let name = ("APPCONFIGD_SERVICE".to_owned(), service.name.to_string());
        let surroundings = self.surroundings.under(&service.commands);
        surroundings.with(about).with(&[name])
    }
}

impl ReloadVerb {
    /// The word of systemctl.
    pub fn word(self) -> &'static str {
        match self {
            ReloadVerb::Reload => "reload",
            ReloadVerb::Restart => "restart",
            ReloadVerb::ReloadOrRestart => "reload-or-restart",
            ReloadVerb::TryRestart => "try-restart",
            ReloadVerb::TryReloadOrRestart => "try-reload-or-restart",
            ReloadVerb::Start => "start",
        }
    }
}

#[cfg(test)]
mod tests;
