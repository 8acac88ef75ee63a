//! `exec`: a program with its files in place, as a child.

use crate::child::{Child, adopting, forward, keep_from_stopping_us};
use crate::daemon::{RunEnd, definition};
use crate::settings::{Command, Settings};

use super::run::{keep, reread};
use super::screen::err;
use super::start::{leave, logs, runtime};
use super::{Exit, Globals};

/// Puts the files in place, runs a command as a child, tells it of changes, and ends as it does
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The command and its arguments; without it that of the settings
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        let settings = match globals.read_settings() {
            Ok(settings) => settings,
            Err(exit) => return exit,
        };
        let command = (!self.command.is_empty()).then_some(Command::Argv(self.command));
        let settings = match settings.with_child(command.as_ref()) {
            Ok(settings) => settings,
            Err(error) => {
                err!("error: {error}");
                return Exit::Usage;
            }
        };
        logs(globals);
        if let Err(error) = keep_from_stopping_us() {
            return unable(&error);
        }
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(exit) => return exit,
        };
        let globals = globals.clone();
        let ended = runtime.block_on(adopting(whole(settings, globals, command)));
        leave(runtime);
        match ended {
            Ok(Some(exit)) => exit,
            Ok(None) => Exit::Failed,
            Err(error) => unable(&error),
        }
    }
}

async fn whole(settings: Settings, globals: Globals, command: Option<Command>) -> Exit {
    let Some(definition) = definition(&settings) else {
        return Exit::Usage;
    };
    let child = Child::new(definition);
    // Before everything that takes time: the kernel keeps from process 1 what it has not said that it wants.
    if let Err(error) = forward(&child) {
        return unable(&error);
    }
    let again = reread(globals.clone(), move |settings| {
        let settings = settings.with_child(command.as_ref());
        settings.map_err(|error| error.to_string())
    });
    let kept = Box::pin(keep(settings, &globals, again, Some(child.clone()))).await;
    if !matches!(kept, Ok(RunEnd::Stopped)) {
        child.end(nix::sys::signal::Signal::SIGTERM);
    }
    let last = child.over().await;
    match kept {
        Ok(RunEnd::Stopped) => Exit::Child(last.status()),
        Ok(RunEnd::NotReady) => Exit::Unreachable,
        Ok(RunEnd::Broken) => Exit::Failed,
        Err(exit) => exit,
    }
}

fn unable(error: &std::io::Error) -> Exit {
    err!("error: cannot keep a child: {error}");
    Exit::Failed
}
