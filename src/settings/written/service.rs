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
    /// a command that runs after the swap and before anybody is notified; another status than 0 and the files go
    /// back
    check: Command = "none",
    /// a job of systemd
    reload: Reload,
    /// a signal to a process
    signal: Signalled,
    /// a program that ends; a status other than 0 is a no
    command: Command,
    /// a request
    http: HttpCall,
    /// the program that `appconfigd exec` runs, [below](#the-child-of-exec)
    child: Child,
    /// asks afterwards whether the service is well
    probe: Probe = "none",
    /// `keep`: the files stay when the service says no; it is notified again with growing pauses
    on_failure: OnFailure = "`rollback`",
    /// the limit of each run of `check`, `command` and `validate_command`, of a unit's job and of a request
    timeout: Duration = "`30s`",
    /// as whom `check`, `command` and the command of `probe` run, with the user's groups, HOME,
    /// SHELL, USER and LOGNAME. Needs root, and setpriv of util-linux
    user: Principal = "ours",
    /// as which group
    group: Principal = "that of `user`",
    /// where they start
    working_directory: String as "absolute path" = "the settings file's",
    /// what files that they make lack of permission; at most `777`
    umask: Mode = "ours",
    /// variables of appconfigd's own environment that they get beside [the others](#commands)
    environment: Names = "none",
    /// between TERM and KILL, when their time is up
    grace: Duration = "`5s`",
    /// `none`: they run in a transient unit of systemd, outside of whatever confines appconfigd's own
    /// (systemd-run). Their environment and arguments are then to be seen by every user (`systemctl show`)
    sandbox: Sandbox = "`ours`",
    /// the parts of its targets that it wants to hear of, [below](#of-what-a-service-hears)
    when_changed: WhenChanged = "every change",
    /// `always`: notified once after every start of the daemon, also where it knows of everything
    on_start: OnStart = "`if_pending`",
    /// a newer version waits until no newer one has come for so long; [pace](#pace)
    settle: Duration = "none",
    /// but at most for so long
    settle_max: Duration = "4 × `settle`",
    /// from one notification to the next newer version
    min_interval: Duration = "none",
    /// every host comes later by a time of its own, at most by this
    splay: Duration = "none",
    /// a newer version waits until one is open
    window: Windows = "none",
    /// how long a notification that is not acknowledged is tried again
    give_up_after: Duration = "never",
});

written!(Reload, "`reload`" {
    /// as systemctl shows it, such as `nginx.service`. A unit that is not active needs no notification: it reads
    /// its files when it starts
    unit: String as "name of a unit" = "required",
    /// the job, as systemctl calls it
    verb: ReloadVerb = "`reload`",
});

written!(Signalled, "`signal`" {
    /// `HUP`, `USR1`, with or without `SIG`; no real-time signal. On KILL and STOP no process can read its files,
    /// so they are errors; TERM, INT and QUIT are warned of: a process that ends when it is notified has said no
    name: Signal = "required",
    /// holds the process's number; below the alternate root, as targets are
    pid_file: String as "absolute path",
    /// the unit's main process
    unit: String as "name of a unit",
    /// alone: the process that runs this file and was not started by another one that does, which is the master and
    /// not its workers. Exactly one, otherwise nobody is signalled and `status` names them. A script runs its
    /// interpreter. Beside `pid_file` or `unit`: what the process must run
    executable: String as "absolute path",
    /// as whom the process must run
    user: Principal = "alone with `executable`: ours",
});

written!(Probe, "a probe" {
    /// a URL; an answer 2xx is a success. Never through a proxy
    http: String as "URL",
    /// exit 0 is a success
    command: Command,
    /// from the end of the notification; a probe without its successes by then says no, if it said yes before the
    /// change or the service was not running then
    within: Duration = "`10s`",
    /// in a row
    successes: u32 = "`1`",
    /// before the first try. A program that reloads gracefully (nginx, HAProxy) may let an old worker answer for a
    /// moment: give it a second or two
    delay: Duration = "`0s`",
    /// between two tries
    interval: Duration = "`1s`",
});
