//! An orderly stop that cannot wait any longer.

use crate::ledger::Change;

use super::machine::Machine;
use super::phase::Phase;

impl Machine {
    /// What is to be recorded when our own stop cuts the running transaction short: an attempt in which nobody has been
    /// notified does not count. Nothing may be asked of this machine afterwards.
    pub fn cut_short(&self) -> Option<Change> {
        let id = match &self.phase {
            Phase::Swapping(open) | Phase::Checking(open) => open.intent.id,
            Phase::Planning(draft)
            | Phase::Repairing(draft)
            | Phase::Staging(draft)
            | Phase::CheckingStaged(draft)
            | Phase::Baselining(draft) => draft.resumes.as_ref()?.id,
            _ => return None,
        };
        // As it was committed: what has been noted in memory since is not to be trusted after a crash.
        let mut intent = self.state.intents.get(&id)?.clone();
        intent.attempts = intent.attempts.saturating_sub(1);
        Some(Change::Intent(intent))
    }
}
