//! Commands that were run, with the end of what they wrote, until somebody records them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::process::Occasion;
use crate::settings::{ServiceName, TargetPath};

/// Of one service or target and one errand; a probe may be tried many times before anybody records it.
const WAITING: usize = 5;
/// Bytes of output; escaping has made them more.
const LONGEST: usize = 4096;

/// What a command was run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    Check,
    Notify,
    Probe,
    /// A target's `validate_command`.
    Validate,
}

/// Whom it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Service(ServiceName),
    Target(TargetPath),
}

/// A command that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub owner: Owner,
    pub errand: Errand,
    pub at: Timestamp,
    /// The command, on one line.
    pub command: String,
    /// How it ended, in words.
    pub outcome: String,
    /// The last 4 KiB at most, without control characters.
    pub output: String,
}

/// Runs that wait to be recorded; all clones share them.
#[derive(Clone, Debug, Default)]
pub struct Runs(Arc<Mutex<VecDeque<Ran>>>);

impl Errand {
    pub fn word(self) -> &'static str {
        match self {
            Errand::Check => "check",
            Errand::Notify => "notify",
            Errand::Probe => "probe",
            Errand::Validate => "validate",
        }
    }
}

impl Owner {
    pub fn occasion(&self, errand: Errand) -> Occasion {
        let (service, target) = match self {
            Owner::Service(name) => (Some(name.to_string()), None),
            Owner::Target(path) => (None, Some(path.to_string())),
        };
        Occasion {
            service,
            target,
            what: Some(errand.word()),
        }
    }
}

impl Runs {
    pub fn add(&self, mut ran: Ran) {
        let surplus = ran.output.len().saturating_sub(LONGEST);
        let cut = (surplus..).find(|at| ran.output.is_char_boundary(*at));
        ran.output.drain(..cut.unwrap_or_default());
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let like = |one: &Ran| one.owner == ran.owner && one.errand == ran.errand;
        if runs.iter().filter(|one| like(one)).count() >= WAITING
            && let Some(oldest) = runs.iter().position(like)
        {
            runs.remove(oldest);
        }
        runs.push_back(ran);
    }

    /// All of them, the oldest first; they wait no more.
    pub fn take(&self) -> Vec<Ran> {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(service: &str, output: String) -> Ran {
        Ran {
            owner: Owner::Service(ServiceName::from(service)),
            errand: Errand::Probe,
            at: Timestamp::UNIX_EPOCH,
            command: "ask".to_owned(),
            outcome: "exited with status 1".to_owned(),
            output,
        }
    }

    #[test]
    fn the_newest_tries_of_every_service_wait_and_no_more() {
        let runs = Runs::default();
        runs.add(ran("quiet", "once".to_owned()));
        for number in 0..100 {
            runs.add(ran("loud", number.to_string()));
        }
        let waiting: Vec<String> = runs.take().into_iter().map(|ran| ran.output).collect();
        assert_eq!(waiting, ["once", "95", "96", "97", "98", "99"]);
        assert_eq!(runs.take(), []);
    }

    #[test]
    fn what_is_kept_of_an_output_is_its_end_cut_between_characters() {
        let runs = Runs::default();
        let long = format!("start{}end", "\u{fffd}".repeat(3000));
        runs.add(ran("loud", long.clone()));
        let kept = runs.take().remove(0).output;
        assert!(long.ends_with(&kept) && kept.len() <= LONGEST && kept.len() > LONGEST - 4);
    }
}
