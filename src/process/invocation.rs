//! The words that start a command: its own, and before them those that make it another user's or free of our sandbox.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::account::{Account, SETPRIV};
use super::{Surroundings, lookup};
use crate::settings::{Command, Sandbox};

/// What is started, and what it is given.
pub struct Invocation {
    pub path: PathBuf,
    pub words: Vec<String>,
    pub environment: BTreeMap<OsString, OsString>,
    /// The transient unit in which the command runs.
    pub unit: Option<String>,
}

/// A shell that becomes the program.
const START: &str = "exec \"$0\" \"$@\"";
const SHELL: &str = "/bin/sh";
const SYSTEMD_RUN: &str = "systemd-run";

impl Invocation {
    /// `limit`: when systemd ends a transient unit that we have not ended, because we are gone.
    pub fn of(
        command: &Command,
        surroundings: &Surroundings,
        limit: Duration,
    ) -> io::Result<Invocation> {
        let path = lookup::program(lookup::name(command), surroundings)?;
        let options = &surroundings.options;
        let account = Account::of(options)?;
        let mut invocation = Invocation {
            path,
            words: words(command),
            environment: lookup::environment(surroundings, account.as_ref()),
            unit: None,
        };
        if options.sandbox == Sandbox::None {
            invocation.leave_sandbox(surroundings, account.as_ref(), limit)?;
            return Ok(invocation);
        }
        let umask = options.umask.map(|umask| format!("umask {umask:04o} && "));
        if account.is_some() || umask.is_some() {
            // Also without `umask`: setpriv keeps its capabilities until it runs something else, and would start what the user may
            // not.
            let line = format!("{}{START}", umask.unwrap_or_default());
            let shell = [SHELL.to_owned(), "-c".to_owned(), line];
            let work = "`user`, `group` or `umask` is set";
            invocation.put_before(shell.into(), surroundings, work)?;
        }
        if let Some(account) = &account {
            invocation.put_before(account.words(), surroundings, "`user` and `group` are set")?;
        }
        Ok(invocation)
    }

    /// The tools that the options need beside the program itself; an error names the first that is missing.
    pub fn tools(surroundings: &Surroundings) -> io::Result<()> {
        let options = &surroundings.options;
        if options.sandbox == Sandbox::None {
            lookup::tool(SYSTEMD_RUN, "a command leaves our sandbox", surroundings)?;
        } else if options.user.is_some() || options.group.is_some() {
            lookup::tool(SETPRIV, "`user` and `group` are set", surroundings)?;
        }
        Ok(())
    }

    fn put_before(
        &mut self,
        mut words: Vec<String>,
        surroundings: &Surroundings,
        work: &'static str,
    ) -> io::Result<()> {
        let name = words.first().map(String::as_str).unwrap_or_default();
        self.path = lookup::tool(name, work, surroundings)?;
        words.append(&mut self.words);
        self.words = words;
        Ok(())
    }

    fn leave_sandbox(
        &mut self,
        surroundings: &Surroundings,
        account: Option<&Account>,
        limit: Duration,
    ) -> io::Result<()> {
        let options = &surroundings.options;
        let unit = format!("appconfigd-run-{:016x}.service", fastrand::u64(..));
        let seconds = |time: Duration| time.as_secs_f64().ceil();
        let mut words: Vec<String> = [
            SYSTEMD_RUN,
            "--quiet",
            "--no-ask-password",
            "--pipe",
            "--wait",
            "--collect",
            "--service-type=exec",
        ]
        .map(str::to_owned)
        .into();
        words.push(format!("--unit={unit}"));
        let directory = lookup::directory(surroundings).display();
        words.push(format!("--working-directory={directory}"));
        words.push(format!("--property=RuntimeMaxSec={}", seconds(limit) + 1.0));
        words.push(format!(
            "--property=TimeoutStopSec={}",
            seconds(options.grace)
        ));
        if let Some(umask) = options.umask {
            words.push(format!("--property=UMask={umask:04o}"));
        }
        if let Some((uid, gid)) = account.map(Account::ids) {
            words.extend([format!("--uid={uid}"), format!("--gid={gid}")]);
        }
        for (name, value) in &self.environment {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            words.push(format!("--setenv={name}={value}"));
        }
        words.push("--".to_owned());
        words.push(self.path.display().to_string());
        // systemd puts values in place of `$NAME`; two dollars are one to it.
        let own = self.words.iter().skip(1);
        words.extend(own.map(|word| word.replace('$', "$$")));
        self.path = lookup::tool(SYSTEMD_RUN, "a command leaves our sandbox", surroundings)?;
        self.words = words;
        self.unit = Some(unit);
        Ok(())
    }
}

fn words(command: &Command) -> Vec<String> {
    match command {
        Command::Argv(argv) => argv.clone(),
        Command::Shell(line) => vec![SHELL.to_owned(), "-c".to_owned(), line.clone()],
    }
}
