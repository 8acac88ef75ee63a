//! A transient unit of systemd in which a command runs: ending its client does not end it.

use std::time::Duration;

use super::{PATIENCE, Surroundings, run};
use crate::settings::Command;

/// Stopped when dropped, unless it has ended.
pub struct Unit {
    name: Option<String>,
}

impl Unit {
    pub fn new(name: String) -> Unit {
        Unit { name: Some(name) }
    }

    /// Its client has, and that waits for it.
    pub fn has_ended(&mut self) {
        self.name = None;
    }

    /// TERM, grace and KILL are systemd's work.
    pub async fn stop(&mut self, grace: Duration) {
        if let Some(name) = self.name.take() {
            stop(name, grace + PATIENCE).await;
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // Without a runtime, and where systemd cannot be asked, the unit's own time limit is left.
        if let Some(name) = self.name.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(stop(name, PATIENCE));
        }
    }
}

async fn stop(name: String, limit: Duration) {
    let words = ["systemctl", "--no-ask-password", "stop", "--", &name];
    let command = Command::Argv(words.map(str::to_owned).into());
    // Boxed: a run stops units by another run.
    let stopped = Box::pin(run(&command, &Surroundings::default(), limit)).await;
    if let Err(error) = stopped {
        tracing::warn!(unit = %name, reason = %error, "a command's unit could not be stopped");
    }
}
