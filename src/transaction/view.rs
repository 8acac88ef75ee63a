//! What others may see of a machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ledger::State;
use crate::protocol::Identity;
use crate::settings::TargetPath;

use super::Component;
use super::machine::{LeftOut, Machine};
use super::phase::Phase;

impl Machine {
    pub fn component(&self) -> &Arc<Component> {
        &self.component
    }

    /// What the ledger holds of this component, as far as commits have been confirmed.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Nothing under way and nothing to do before [`Machine::next_tick`].
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// True once no interrupted transaction waits to be taken up, and none that was is still before its notifications.
    pub fn files_stand(&self) -> bool {
        self.stands_in(&self.phase)
    }

    fn stands_in(&self, phase: &Phase) -> bool {
        match phase {
            // What came meanwhile waits for these to end, and these may wait for READY: it must not count.
            Phase::Telling(_) | Phase::Notifying(_) | Phase::Probing(_) | Phase::Closing { .. } => {
                true
            }
            Phase::TellingBack(_) | Phase::ProbingBack(_) | Phase::ClosingBack(..) => true,
            Phase::Idle => self.recover.is_empty() && self.dirty.is_nothing(),
            Phase::Planning(_) | Phase::Repairing(_) | Phase::Recording(..) | Phase::Staging(_) => {
                false
            }
            Phase::CheckingStaged(_) | Phase::Baselining(_) | Phase::Opening(..) => false,
            Phase::Swapping(_)
            | Phase::Checking(_)
            | Phase::Turning(..)
            | Phase::PuttingBack(_) => false,
            Phase::TakingUp(_) | Phase::Ordering(..) => false,
            Phase::Blocked { then, .. } => self.stands_in(then),
        }
    }

    pub fn waiting(&self) -> &BTreeMap<TargetPath, String> {
        &self.waiting
    }

    pub fn left_out(&self) -> &BTreeMap<Identity, LeftOut> {
        &self.left_out
    }

    /// Why the whole queue pauses, if it does.
    pub fn trouble(&self) -> Option<&str> {
        match &self.phase {
            Phase::Blocked { reason, .. } => Some(reason),
            _ => self.rest.as_ref().map(|retry| retry.reason.as_str()),
        }
    }

    /// The steady time of the next tick that this machine needs.
    pub fn next_tick(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Blocked { until, .. } => Some(*until),
            Phase::Idle if self.stopping() => None,
            // Until the rest is over nothing else is tried, however long it has been due.
            Phase::Idle => match self.rest.as_ref().and_then(|rest| rest.until) {
                Some(until) => Some(until),
                None => {
                    let barred = self.barred.values().map(|retry| retry.due);
                    let services = self.services.values().filter_map(|pausing| pausing.due);
                    let paced = self.deferred.due();
                    let times = barred.chain(services).chain(self.expiries.dues());
                    times.chain(paced).chain(self.watches_due()).min()
                }
            },
            _ => None,
        }
    }
}
