//! The child of `exec`.

use std::time::Duration;

use super::{optional, time};
use crate::settings::finding::Findings;
use crate::settings::valid::Child;
use crate::settings::written;

/// Without its environment, whose place is not known here.
pub fn child(written: &written::Child, findings: &mut Findings) -> Option<Child> {
    let usual = Child::default();
    let kill_timeout = time(
        &written.kill_timeout,
        usual.kill_timeout,
        "kill_timeout",
        findings,
    );
    let kill_signal = optional(&written.kill_signal)?.map(|ending| ending.0);
    Some(Child {
        command: optional(&written.command)?,
        on_change: optional(&written.on_change)?.unwrap_or(usual.on_change),
        restart: optional(&written.restart)?.unwrap_or(usual.restart),
        kill_signal: kill_signal.unwrap_or(usual.kill_signal),
        kill_timeout: kill_timeout?,
        min_uptime: optional::<Duration>(&written.min_uptime)?.unwrap_or(usual.min_uptime),
        environment: None,
    })
}
