//! The child of `exec` as written.

use std::time::Duration;

use super::Names;
use crate::settings::field::written;
use crate::settings::keyword::Ending;
use crate::settings::valid::{Command, OnChange, Restart, Signal};

written!(Child, "`child`" {
    /// the program
    command: Command = "that of the command line, which wins",
    /// how it reads new files: by a start anew, or on a signal
    on_change: OnChange = "`restart`",
    /// whether it is started again when it has ended by itself, `on-failure` not after status 0; after pauses from 1 s to 60 s, which begin anew when it has run for 10 s
    restart: Restart = "`no`",
    /// tells it to end; TERM that is sent to `exec` arrives as this signal
    kill_signal: Ending = "`TERM`",
    /// then it is killed, and its process group with it
    kill_timeout: Duration = "`10s`",
    /// so long it must run after a start or a signal to have said yes; `0s` is not at all
    min_uptime: Duration = "`1s`",
    /// variables from a configuration
    env: Env = "none",
});

written!(Env, "`env`" {
    /// a profile, or a list of profiles, which are merged (RFC 7396, later ones win)
    from: Names = "required",
    /// before every name
    prefix: String = "none",
    /// between the keys of nested objects
    separator: String = "`_`",
    /// `false`: keys keep their case
    upper_case: bool = "`true`",
});

written!(
    /// The long form of `on_change`.
    Changed, "`on_change`" {
    /// on which the program reads its files; one that does not handle it is not sent it
    signal: Signal = "required",
}
);
