//! Services as written.

use std::time::Duration;

use super::Child;
use super::Names;
use super::http::HttpCall;
use crate::settings::field::written;
use crate::settings::quantity::Mode;
use crate::settings::valid::{Command, OnFailure, OnStart, Principal, ReloadVerb, Sandbox, Signal};

use super::conditions::WhenChanged;
use super::pace::Windows;

written!(Service, "a service" {
    check: Command,
    reload: Reload,
    signal: Signalled,
    command: Command,
    http: HttpCall,
    child: Child,
    probe: Probe,
    on_failure: OnFailure,
    timeout: Duration,
    user: Principal,
    group: Principal,
    working_directory: String,
    umask: Mode,
    environment: Names,
    grace: Duration,
    sandbox: Sandbox,
    when_changed: WhenChanged,
    on_start: OnStart,
    settle: Duration,
    settle_max: Duration,
    min_interval: Duration,
    splay: Duration,
    window: Windows,
    give_up_after: Duration,
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
