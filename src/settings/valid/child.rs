//! The program that `exec` keeps running, and what it is told.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{
    Command, Notify, OnFailure, Service, ServiceName, Settings, Signal, Target, TargetPath,
};

/// The service that `exec` keeps where the settings declare none.
const NAME: &str = "exec";

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Child {
    /// `None`: it stands on the command line of `exec`, which wins.
    pub command: Option<Command>,
    pub on_change: OnChange,
    pub restart: Restart,
    /// By which it is told to end.
    pub kill_signal: Signal,
    /// From `kill_signal` to KILL.
    pub kill_timeout: Duration,
    /// So long it must run after a start or a signal to have taken its files.
    pub min_uptime: Duration,
    /// The target that holds its variables; also among `Settings::targets`.
    pub environment: Option<TargetPath>,
}

/// What the child needs in order to read its files anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum OnChange {
    Restart,
    Signal(Signal),
}

/// Whether the child is started again when it has ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Restart {
    Never,
    /// Not after status 0.
    OnFailure,
    Always,
}

/// How variables are made of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Naming {
    /// Before every name; may be empty.
    pub prefix: String,
    /// Between the keys of nested objects.
    pub separator: String,
    pub upper_case: bool,
}

impl Default for Child {
    fn default() -> Child {
        Child {
            command: None,
            on_change: OnChange::Restart,
            restart: Restart::Never,
            kill_signal: Signal {
                name: "TERM".to_owned(),
                number: nix::sys::signal::Signal::SIGTERM as i32,
            },
            kill_timeout: Duration::from_secs(10),
            min_uptime: Duration::from_secs(1),
            environment: None,
        }
    }
}

impl Settings {
    /// The child, if one of the services is one. At most one is.
    pub fn child(&self) -> Option<(&Service, &Child)> {
        self.services
            .values()
            .find_map(|service| match &service.notify {
                Notify::Child(child) => Some((service.as_ref(), child)),
                Notify::Reload { .. }
                | Notify::Signal { .. }
                | Notify::Command(_)
                | Notify::Http(_) => None,
            })
    }

    /// The same for `exec`. `command` is that of the command line. Where no service is a child there is one more, and
    /// every target that notifies nobody notifies that one.
    pub fn with_child(mut self, command: Option<&Command>) -> Result<Settings, NoChild> {
        let declared = self.child().map(|(service, _)| service.clone());
        let mut service = match declared {
            Some(service) => service,
            None => self.undeclared()?,
        };
        if let Notify::Child(child) = &mut service.notify {
            child.command = command.cloned().or_else(|| child.command.take());
            if child.command.is_none() {
                return Err(NoChild::Command);
            }
            // Who waits for the child does not wait longer for the rest.
            self.stop_timeout = self.stop_timeout.min(child.kill_timeout);
        }
        let name = service.name.clone();
        self.services.insert(name, Arc::new(service));
        Ok(self)
    }

    fn undeclared(&mut self) -> Result<Service, NoChild> {
        let name = ServiceName::from(NAME);
        if self.services.contains_key(&name) {
            return Err(NoChild::Taken);
        }
        let silent = |target: &&mut Arc<Target>| target.notify.is_empty();
        for target in self.targets.values_mut().filter(silent) {
            *target = Arc::new(Target {
                notify: vec![name.clone()],
                ..target.as_ref().clone()
            });
        }
        Ok(Service {
            name,
            check: None,
            notify: Notify::Child(Child::default()),
            probe: None,
            on_failure: OnFailure::Rollback,
            timeout: super::DEFAULT_TIMEOUT,
            commands: super::CommandOptions::default(),
            conditions: super::Conditions::default(),
            pace: super::Pace::default(),
            give_up_after: None,
        })
    }
}

/// Why `exec` has nothing to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoChild {
    #[error(
        "no command: write it after `--`, or as `child: {{command: […]}}` of a service in the settings"
    )]
    Command,
    #[error(
        "no service of the settings is a child, and one that is none is called `{NAME}`: give one of them `child: {{}}`, or rename that one"
    )]
    Taken,
}
