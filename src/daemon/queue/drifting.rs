//! What a queue does about targets that others have changed.

use crate::transaction::{Event, Scope};

use super::super::drift::Noticed;
use super::Queue;

impl Queue {
    pub(super) fn noticed(&mut self, noticed: Noticed) {
        self.drift.take(noticed, self.steady());
    }

    /// Judges what was looked at, and looks at what is due. Never while a transaction is open: what it does is no drift.
    pub(super) fn judge_drift(&mut self) {
        if self.stopping {
            return;
        }
        let now = self.hands.clock.now();
        let installed = &self.machine.state().installed;
        let (drifted, news) = self.drift.judge(installed, now.steady, self.is_busy());
        if !drifted.is_empty() {
            self.machine.try_again(&news, now);
            let profiles = Default::default();
            let scope = Scope::Some {
                profiles,
                targets: drifted,
            };
            let actions = self.on(Event::Wake(scope));
            self.act(actions);
        }
        let open = self.is_busy();
        self.drift.work(now.steady, open);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.step.is_some() || !self.machine.is_idle() || !self.machine.files_stand()
    }
}
