//! Services as written.

use std::time::Duration;

use super::Child;
use crate::settings::field::written;
use crate::settings::valid::{Command, OnFailure, Principal, ReloadVerb, Signal};

written!(Service, "a service" {
    check: Command,
    reload: Reload,
    signal: Signalled,
    command: Command,
    child: Child,
    probe: Probe,
    on_failure: OnFailure,
    timeout: Duration,
});

written!(Reload, "`reload`" { unit: String, verb: ReloadVerb });

written!(Signalled, "`signal`" {
    name: Signal,
    pid_file: String,
    unit: String,
    executable: String,
    user: Principal,
});

written!(Probe, "a probe" {
    http: String,
    command: Command,
    within: Duration,
    successes: u32,
    delay: Duration,
    interval: Duration,
});
