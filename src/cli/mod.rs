//! Arguments, dispatch, exit codes; one file a subcommand.

mod check;
mod diff;
mod doctor;
mod events;
mod exec;
mod exit;
mod fetch;
mod first;
mod forget;
mod globals;
mod history;
mod hold;
mod limit;
mod once;
mod order;
mod plan;
mod recorded;
mod refresh;
mod release;
mod reload;
mod retry;
mod rollback;
mod run;
mod screen;
mod serve;
mod start;
mod status;
mod systemd_dropin;
mod wait;

pub use exit::Exit;
pub use globals::Globals;

use std::ffi::OsString;

use clap::{CommandFactory, Parser, Subcommand};

use crate::process::keep_descriptors_from_children;

/// Keeps configuration files right: polls AWS AppConfig, validates, renders, replaces files atomically, notifies services.
#[derive(Parser, Debug)]
#[command(name = "appconfigd", version, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(run::Arguments),
    Exec(exec::Arguments),
    Once(once::Arguments),
    Check(check::Arguments),
    Plan(plan::Arguments),
    Status(status::Arguments),
    Wait(wait::Arguments),
    Events(events::Arguments),
    Doctor(doctor::Arguments),
    Refresh(refresh::Arguments),
    Reload(reload::Arguments),
    Retry(retry::Arguments),
    Hold(hold::Arguments),
    Release(release::Arguments),
    Rollback(rollback::Arguments),
    History(history::Arguments),
    Diff(diff::Arguments),
    Forget(forget::Arguments),
    Fetch(fetch::Arguments),
    Serve(serve::Arguments),
    SystemdDropin(systemd_dropin::Arguments),
}

/// The command line as clap sees it, for manual pages and completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the program with these arguments (the first is the program's name).
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    keep_descriptors_from_children();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            screen::wrote(error.print());
            return screen::ending(exit);
        }
    };
    let exit = match arguments.command {
        Command::Run(command) => command.run(&arguments.globals),
        Command::Exec(command) => command.run(&arguments.globals),
        Command::Once(command) => command.run(&arguments.globals),
        Command::Check(command) => command.run(&arguments.globals),
        Command::Plan(command) => command.run(&arguments.globals),
        Command::Status(command) => command.run(&arguments.globals),
        Command::Wait(command) => command.run(&arguments.globals),
        Command::Events(command) => command.run(&arguments.globals),
        Command::Doctor(command) => command.run(&arguments.globals),
        Command::Refresh(command) => command.run(&arguments.globals),
        Command::Reload(command) => command.run(&arguments.globals),
        Command::Retry(command) => command.run(&arguments.globals),
        Command::Hold(command) => command.run(&arguments.globals),
        Command::Release(command) => command.run(&arguments.globals),
        Command::Rollback(command) => command.run(&arguments.globals),
        Command::History(command) => command.run(&arguments.globals),
        Command::Diff(command) => command.run(&arguments.globals),
        Command::Forget(command) => command.run(&arguments.globals),
        Command::Fetch(command) => command.run(&arguments.globals),
        Command::Serve(command) => command.run(&arguments.globals),
        Command::SystemdDropin(command) => command.run(&arguments.globals),
    };
    screen::ending(exit)
}
