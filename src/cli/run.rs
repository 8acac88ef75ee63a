//! `run`: the daemon in the foreground.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::globals::process_environment;
use super::screen::err;
use super::start::{directories, refused, silent, with_settings};
use super::{Exit, Globals};
use crate::child::{Child, ending};
use crate::clock::Clock;
use crate::daemon::control::{fits, prepare};
use crate::daemon::{Daemon, Reread, RunEnd, Systemd, control_socket, supervise};
use crate::settings::{self, Profile, Settings};
use crate::words::count;

/// Keeps the targets right until told to end (SIGTERM, SIGINT); SIGHUP reloads the settings
#[derive(clap::Args, Debug)]
pub struct Arguments {}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        with_settings(globals, async |settings| {
            if let Some((service, _)) = settings.child() {
                let service = service.name.as_str();
                tracing::warn!(
                    service,
                    "it is a child, and only `appconfigd exec` starts one"
                );
            }
            let reread = reread(globals.clone(), Ok);
            match Box::pin(keep(settings, globals, reread, None)).await {
                Ok(RunEnd::Stopped) => {
                    tracing::info!("stopped");
                    Exit::Done
                }
                Ok(RunEnd::NotReady) => Exit::Unreachable,
                Ok(RunEnd::Broken) => Exit::Failed,
                Err(exit) => exit,
            }
        })
    }
}

/// Runs a daemon to its end, or says why there is none.
pub async fn keep(
    settings: Settings,
    globals: &Globals,
    reread: Reread,
    child: Option<Child>,
) -> Result<RunEnd, Exit> {
    let directories = directories(globals, &settings);
    let socket = control_socket(&directories.runtime);
    fits(&socket).map_err(|error| silent(&error))?;
    prepare(&socket).map_err(|error| deaf(&socket, &error))?;
    let manager = process_environment("NOTIFY_SOCKET");
    let systemd = Systemd::new(manager, sd_notify::watchdog_enabled());
    // Without a service manager nobody is ordered after our READY, and unit jobs need not wait for it.
    let ready = !systemd.is_asked() && child.is_none();
    let clock = Clock::system();
    let started = tokio::select! {
        started = Daemon::start(settings, &directories.state, clock, ready, child.clone()) => started,
        () = ending(child.as_ref()) => return Ok(RunEnd::Stopped),
    };
    let daemon = started.map_err(|error| refused(&error, &directories.state))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        settings = %daemon.settings().file.display(),
        state_directory = %directories.state.display(),
        profiles = daemon.settings().profiles.len(),
        targets = daemon.settings().targets.len(),
        services = daemon.settings().services.len(),
        "started"
    );
    if let Some((directory, endpoint)) = daemon.local() {
        invite(daemon.settings(), directory, &endpoint);
    }
    supervise(daemon, socket.clone(), systemd, reread, child)
        .await
        .map_err(|error| deaf(&socket, &error))
}

fn deaf(socket: &Path, error: &std::io::Error) -> Exit {
    err!(
        "error: cannot listen on the control socket `{}`: {error}; give another --runtime-directory",
        socket.display()
    );
    Exit::Failed
}

/// The settings as they are now, for a reload; `of`: what becomes of them, or why they cannot be used.
pub fn reread(
    globals: Globals,
    of: impl Fn(Settings) -> Result<Settings, String> + Send + Sync + 'static,
) -> Reread {
    Arc::new(move || {
        let file = globals.settings_file(&process_environment);
        match settings::read(&file, &globals.circumstances(&process_environment)) {
            Ok(read) => {
                for warning in &read.warnings {
                    tracing::warn!(%warning, "settings");
                }
                of(read.settings)
            }
            Err(problems) => Err(format!("{problems}\n{}", count(problems.errors(), "error"))),
        }
    })
}

/// Under `local` settings somebody is trying things out: says which files to edit.
fn invite(settings: &Settings, directory: &Path, endpoint: &str) {
    tracing::info!(endpoint, directory = %directory.display(), "serving local configurations in place of AWS");
    let mut deployed = BTreeMap::new();
    for profile in settings.profiles.values() {
        let Some(file) = deployed_file(profile, directory) else {
            continue;
        };
        let feeds = settings
            .targets
            .values()
            .filter(|target| target.from.contains(&profile.name));
        let targets: Vec<String> = feeds
            .map(|target| {
                settings
                    .rooted(target.path.location())
                    .display()
                    .to_string()
            })
            .collect();
        tracing::info!(edit = %file.display(), targets = targets.join(", "), "edit this file to see a change travel");
        if profile.validate.schema.is_some() || profile.validate.format.is_some() {
            tracing::info!(edit = %file.display(), "make it break its format or schema to see a refusal");
        }
        deployed.insert(&profile.name, file.display().to_string());
    }
    let careful = settings
        .services
        .values()
        .filter(|service| service.check.is_some() || service.probe.is_some());
    for service in careful {
        let told = settings
            .targets
            .values()
            .filter(|target| target.notify.contains(&service.name));
        let files: BTreeSet<&str> = told
            .flat_map(|target| &target.from)
            .filter_map(|profile| deployed.get(profile).map(String::as_str))
            .collect();
        let edit = Vec::from_iter(files).join(", ");
        let service = service.name.as_str();
        tracing::info!(
            service,
            edit,
            "make it one that this service's check or probe says no to, to see a rollback"
        );
    }
}

/// The file that the embedded server serves for a profile, where it has a plain name.
fn deployed_file(profile: &Profile, directory: &Path) -> Option<PathBuf> {
    let folder = directory
        .join(&profile.application)
        .join(&profile.environment);
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut names = files.filter_map(|entry| entry.file_name().into_string().ok());
    let name = names.find(|name| {
        name.rsplit_once('.')
            .map_or(name.as_str(), |(stem, _)| stem)
            == profile.configuration_profile
    })?;
    Some(folder.join(name))
}
