//! Signals, sent through a pidfd to a process that can bear them.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::Verdict;
use super::clocks::Clocks;
use super::pid_file::PidFile;
use super::running_process::{Effect, HIDDEN, RunningProcess};
use super::unit::Unit;
use super::whose::{self, NotFound, Other};
use crate::child::{Child, State};
use crate::process::Pidfd;
use crate::settings::{Signal, Whose};

/// Whose process is signalled.
pub enum Recipient<'a> {
    PidFile(PidFile),
    /// The unit's main process, and what it must be.
    Unit(Unit<'a>, Whose),
    /// The master among those that run a file.
    Executable(Whose),
    /// The child of `exec`, as it was seen.
    Child {
        child: &'a Child,
        pid: i32,
        number: u64,
    },
}

/// Since when the files are in place, and how far the clocks can be trusted on that.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    pub files: Timestamp,
    pub clocks: Clocks,
}

/// How long a process is watched after its signal: one that dies of its new files mostly does so at once.
const WATCHED: Duration = Duration::from_millis(100);
/// How often and at what distance a process is looked at that holds a signal back.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(7);
/// By how much later than the files a process must have started, to be sure that it read them.
const CLEARLY: Duration = Duration::from_millis(100);

/// Signals the recipient's process once, unless it started after the files were in place.
pub async fn notify(signal: &Signal, recipient: Recipient<'_>, since: Since) -> Verdict {
    let name = &signal.name;
    let Some(number) = rustix::process::Signal::from_named_raw(signal.number) else {
        return Verdict::Undecided(format!("cannot send the real-time signal `{name}`"));
    };
    let (pid, pidfd, process) = match recipient.process().await {
        Ok(found) => found,
        Err(verdict) => return verdict,
    };
    if since.is_before(process.started) {
        debug!(pid, "started after the files were in place, not signalled");
        return Verdict::Accepted;
    }
    if would_die(pid, process, number).await {
        return Verdict::Undecided(format!(
            "process {pid} does not handle SIG{name} yet and would end by it"
        ));
    }
    debug!(pid, signal = %name, "signalling");
    match pidfd.signal(number) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Verdict::Nobody(format!(
                "nobody to signal yet: process {pid} has just ended"
            ));
        }
        Err(error) => {
            return Verdict::Undecided(format!(
                "cannot send SIG{name} to process {pid}: {error}; run as root or as the user of that process"
            ));
        }
    }
    match timeout(WATCHED, pidfd.ended()).await {
        Ok(()) => Verdict::Rejected(format!("process {pid} ended when it was sent SIG{name}")),
        Err(_) => Verdict::Accepted,
    }
}

/// Whether the signal would end a process that has not said what is to happen on it.
///
/// It is looked at several times. Who holds the signal back is waiting for it only if it does so all the time; and who is
/// on the way into sigwait(3) has the signal unblocked already, and is not yet seen to wait.
async fn would_die(pid: i32, found: RunningProcess, signal: rustix::process::Signal) -> bool {
    let mut process = found;
    let mut looks = Looks::default();
    for look in 1.. {
        let effect = process.effect_of(signal);
        if let Some(dies) = looks.saw(effect, || RunningProcess::waits_for_signals(pid)) {
            return dies;
        }
        if look == LOOKS {
            break;
        }
        sleep(BETWEEN_LOOKS).await;
        match RunningProcess::read(pid) {
            Some(again) => process = again,
            // Sending will tell that it is gone.
            None => return false,
        }
    }
    looks.was_bare
}

/// What several looks at a process have shown.
#[derive(Default)]
struct Looks {
    /// Once at least the signal would have ended it.
    was_bare: bool,
}

impl Looks {
    /// Whether it would end by the signal, as soon as that is sure.
    fn saw(&mut self, effect: Effect, waits: impl FnOnce() -> bool) -> Option<bool> {
        match effect {
            Effect::Borne => return Some(false),
            Effect::Deadly if waits() => return Some(false),
            Effect::Deadly => self.was_bare = true,
            Effect::Held => {}
        }
        None
    }
}

impl Recipient<'_> {
    async fn process(&self) -> Result<(i32, Pidfd, RunningProcess), Verdict> {
        match self {
            Recipient::PidFile(file) => file.process().map_err(|error| match error.is_absence() {
                true => Verdict::Nobody(error.to_string()),
                false => Verdict::Undecided(error.to_string()),
            }),
            Recipient::Unit(unit, whose) => main_process(unit, whose).await,
            Recipient::Executable(whose) => by_executable(whose.clone()).await,
            Recipient::Child { child, pid, number } => child_process(child, *pid, *number),
        }
    }
}

fn child_process(
    child: &Child,
    pid: i32,
    number: u64,
) -> Result<(i32, Pidfd, RunningProcess), Verdict> {
    let gone = || Verdict::Nobody("nobody to signal yet: the child has just ended".to_owned());
    let pidfd = Pidfd::open(pid).map_err(|_| gone())?;
    let process = RunningProcess::read(pid).ok_or_else(gone)?;
    // With the descriptor in hand: while it is published as running it has not been reaped.
    match child.state() == (State::Running { pid, number }) {
        true => Ok((pid, pidfd, process)),
        false => Err(gone()),
    }
}

/// Looks at every process of the host, which on a big one takes a moment.
pub async fn by_executable(whose: Whose) -> Result<(i32, Pidfd, RunningProcess), Verdict> {
    let context = tokio::runtime::Handle::current();
    let found = spawn_blocking(move || {
        // A descriptor of a process is watched by the runtime.
        let _in_runtime = context.enter();
        whose::find(&whose)
    });
    match found.await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(NotFound::Nobody(text))) => Err(Verdict::Nobody(text)),
        Ok(Err(NotFound::Undecided(text))) => Err(Verdict::Undecided(text)),
        Err(error) => Err(Verdict::Undecided(format!(
            "cannot look for the process: {error}"
        ))),
    }
}

async fn main_process(
    unit: &Unit<'_>,
    whose: &Whose,
) -> Result<(i32, Pidfd, RunningProcess), Verdict> {
    let pid = unit.running_state().await?.main_pid;
    let name = unit.name();
    if pid <= 1 {
        return Err(Verdict::Undecided(format!(
            "nobody to signal yet: unit `{name}` has no main process; \
             a unit of Type=forking needs PIDFile=, any other kind of unit needs `reload`"
        )));
    }
    let gone = || {
        let text =
            format!("nobody to signal yet: main process {pid} of unit `{name}` does not run");
        Verdict::Undecided(text)
    };
    let pidfd = Pidfd::open(pid).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => gone(),
        _ => Verdict::Undecided(format!(
            "cannot open process {pid} of unit `{name}`: {error}"
        )),
    })?;
    let process =
        RunningProcess::read(pid).ok_or_else(|| match RunningProcess::is_hidden(pid) {
            true => Verdict::Undecided(format!(
                "cannot see main process {pid} of unit `{name}`: {HIDDEN}"
            )),
            false => gone(),
        })?;
    // Asked again with the descriptor in hand: the number cannot have changed hands in between.
    if unit.running_state().await?.main_pid != pid {
        return Err(gone());
    }
    match whose::check(whose, pid, &process) {
        Ok(()) => Ok((pid, pidfd, process)),
        Err(Other::Stranger(why) | Other::Unknown(why)) => Err(Verdict::Undecided(format!(
            "main process {pid} of unit `{name}` {why}"
        ))),
    }
}

impl Since {
    /// Whether whatever started at this time since boot has certainly read the files. In doubt it has not:
    /// to be told once more does a process no harm, and not to be told at all does.
    fn is_before(&self, started: Duration) -> bool {
        let Clocks { began, now } = self.clocks;
        if self.files < began.wall || self.files > now.wall || !self.clocks.agree() {
            return false;
        }
        let ago = Duration::try_from(now.wall.duration_since(self.files)).unwrap_or(Duration::MAX);
        match now
            .steady
            .checked_sub(ago)
            .and_then(|files| files.checked_add(CLEARLY))
        {
            Some(files) => started > files,
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;

    fn at(wall: i64, steady: u64) -> Now {
        Now {
            wall: Timestamp::from_second(wall).unwrap(),
            steady: Duration::from_secs(steady),
        }
    }

    fn files(at: i64, began: Now, now: Now) -> Since {
        Since {
            files: Timestamp::from_second(at).unwrap(),
            clocks: Clocks { began, now },
        }
    }

    #[test]
    fn a_process_is_safe_to_signal_once_it_is_seen_to_bear_or_await_the_signal_or_always_holds_it_back()
     {
        let dies = |seen: &[(Effect, bool)]| {
            let mut looks = Looks::default();
            let sure = seen
                .iter()
                .find_map(|&(effect, waits)| looks.saw(effect, || waits));
            sure.unwrap_or(looks.was_bare)
        };
        let (bare, held) = ((Effect::Deadly, false), (Effect::Held, false));
        let (awaited, borne) = ((Effect::Deadly, true), (Effect::Borne, false));
        assert!(dies(&[bare; 5]));
        assert!(!dies(&[held; 5]));
        assert!(
            !dies(&[bare, held, bare, awaited]),
            "on its way into sigwait"
        );
        assert!(!dies(&[bare, borne]), "it has set its handler by now");
        assert!(dies(&[held, bare, held]), "it only let no signal through");
    }

    #[test]
    fn a_process_that_started_after_the_files_has_read_them() {
        let since = files(1050, at(1000, 100), at(1100, 200));
        assert!(since.is_before(Duration::from_secs(151)));
        assert!(!since.is_before(Duration::from_secs(150)));
        assert!(
            !since.is_before(Duration::from_millis(150_090)),
            "too close to call"
        );
    }

    #[test]
    fn a_wall_clock_that_was_set_proves_nothing() {
        // Set forward, a little and by far, and back.
        for wall in [1101, 2100, 1051] {
            let since = files(1050, at(1000, 100_000), at(wall, 100_100));
            assert!(
                !since.is_before(Duration::from_millis(100_099_000)),
                "{wall}"
            );
        }
        let since = files(1050, at(1000, 100_000), at(1100, 100_100));
        assert!(since.is_before(Duration::from_millis(100_099_000)));
    }

    #[test]
    fn files_that_were_there_before_us_or_come_from_the_future_prove_nothing() {
        for time in [999, 1101, -1_000_000] {
            let since = files(time, at(1000, 100), at(1100, 200));
            assert!(!since.is_before(Duration::from_secs(199)));
        }
    }
}
