//! The child of `exec` as written.

use std::time::Duration;

use super::Names;
use crate::settings::field::written;
use crate::settings::keyword::Ending;
use crate::settings::valid::{Command, OnChange, Restart, Signal};

written!(Child, "`child`" {
    command: Command,
    on_change: OnChange,
    restart: Restart,
    kill_signal: Ending,
    kill_timeout: Duration,
    min_uptime: Duration,
    env: Env,
});

written!(Env, "`env`" {
    from: Names,
    prefix: String,
    separator: String,
    upper_case: bool,
});

written!(
    /// The long form of `on_change`.
    Changed, "`on_change`" { signal: Signal }
);
