//! The flags that stand before or after every command, and what follows from them: the settings, the directories.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, Args};

use super::Exit;
use super::screen::err;
use crate::settings::{self, Circumstances, Problems, Settings};
use crate::telemetry::{Format, Level};
use crate::words::count;

/// They stand after a command's own in its help.
const HEADING: &str = "Options of every command";

const SETTINGS_FILE: &str = "appconfigd.yaml";

/// Each may stand before or after the command.
#[derive(Args, Debug, Clone, Default)]
#[command(mut_args(everywhere))]
pub struct Globals {
    /// The settings file [default: /etc/appconfigd/appconfigd.yaml]
    #[arg(long, value_name = "FILE", env = "APPCONFIGD_SETTINGS")]
    pub settings: Option<PathBuf>,

    /// Where the state is kept [default: /var/lib/appconfigd]
    #[arg(long, value_name = "DIR", env = "APPCONFIGD_STATE_DIRECTORY")]
    pub state_directory: Option<PathBuf>,

    /// Where the control socket is [default: /run/appconfigd]
    #[arg(long, value_name = "DIR", env = "APPCONFIGD_RUNTIME_DIRECTORY")]
    pub runtime_directory: Option<PathBuf>,

    /// An alternate root: targets, state and runtime directories lie below it
    #[arg(long, value_name = "DIR", env = "APPCONFIGD_ROOT")]
    pub root: Option<PathBuf>,

    /// The least that is logged [default: info]
    #[arg(long, value_name = "LEVEL", env = "APPCONFIGD_LOG_LEVEL")]
    pub log_level: Option<Level>,

    /// How logs are written [default: auto: journal priorities under systemd, else text]
    #[arg(long, value_name = "FORMAT", env = "APPCONFIGD_LOG_FORMAT")]
    pub log_format: Option<Format>,
}

fn everywhere(argument: Arg) -> Arg {
    argument
        .global(true)
        .hide_env_values(true)
        .help_heading(HEADING)
}

/// Where the program keeps and finds things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    pub state: PathBuf,
    pub runtime: PathBuf,
}

/// The value of an environment variable, if it is set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process: the one place of the command line that reads it.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is the door: what it reads here is handed down"
)]
pub fn process_environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

impl Globals {
    pub fn log_level(&self) -> Level {
        self.log_level.unwrap_or(Level::Info)
    }

    pub fn log_format(&self) -> Format {
        self.log_format.unwrap_or(Format::Auto)
    }

    /// The settings file: flag, variable, systemd's directory, default.
    pub fn settings_file(&self, environment: Environment<'_>) -> PathBuf {
        let given = self.settings.clone();
        let of_systemd = || first_of_list(environment, "CONFIGURATION_DIRECTORY");
        given.unwrap_or_else(|| {
            let directory = of_systemd().unwrap_or_else(|| PathBuf::from("/etc/appconfigd"));
            directory.join(SETTINGS_FILE)
        })
    }

    /// State and runtime directory: flag (or its variable), systemd's variable, below the root, the user's, the
    /// system's. `settings_root` is the root that the settings end up with; the flag's wins where both are given.
    pub fn directories(
        &self,
        settings_root: Option<&Path>,
        is_root: bool,
        environment: Environment<'_>,
    ) -> Directories {
        let root = self.root.as_deref().or(settings_root);
        let given = self.state_directory.clone();
        let of_systemd = || first_of_list(environment, "STATE_DIRECTORY");
        let state = given
            .or_else(of_systemd)
            .unwrap_or_else(|| default_state(root, is_root, environment));

        let given = self.runtime_directory.clone();
        let of_systemd = || first_of_list(environment, "RUNTIME_DIRECTORY");
        let runtime = given
            .or_else(of_systemd)
            .unwrap_or_else(|| default_runtime(root, is_root, &state, environment));
        Directories { state, runtime }
    }

    /// The settings, after warnings about them on standard error; or, after all problems on standard error, how the
    /// command ends.
    pub fn read_settings(&self) -> Result<Settings, Exit> {
        let file = self.settings_file(&process_environment);
        match settings::read(&file, &self.circumstances(&process_environment)) {
            Ok(read) => {
                read.warnings.iter().for_each(|warning| err!("{warning}"));
                Ok(read.settings)
            }
            Err(problems) => Err(report(&problems)),
        }
    }

    /// What has a say in the settings' meaning from outside.
    pub fn circumstances(&self, environment: Environment<'_>) -> Circumstances {
        let endpoint = environment("AWS_ENDPOINT_URL_APPCONFIGDATA");
        let is_root = nix::unistd::geteuid().is_root();
        let runtime = self.directories(None, is_root, environment).runtime;
        Circumstances {
            runtime: std::path::absolute(runtime).ok(),
            root: self.root.clone(),
            endpoint_url: endpoint
                .and_then(|url| url.into_string().ok())
                .filter(|url| !url.is_empty()),
        }
    }
}

/// Prints problems and their number to standard error.
pub fn report(problems: &Problems) -> Exit {
    err!("{problems}");
    err!("{}", count(problems.errors(), "error"));
    if problems.missing {
        Exit::NoInput
    } else {
        Exit::Settings
    }
}

fn default_state(root: Option<&Path>, is_root: bool, environment: Environment<'_>) -> PathBuf {
    if let Some(root) = root {
        return root.join("var/lib/appconfigd");
    }
    if !is_root {
        let of_home = || Some(absolute(environment, "HOME")?.join(".local/state"));
        if let Some(directory) = absolute(environment, "XDG_STATE_HOME").or_else(of_home) {
            return directory.join("appconfigd");
        }
    }
    PathBuf::from("/var/lib/appconfigd")
}

fn default_runtime(
    root: Option<&Path>,
    is_root: bool,
    state: &Path,
    environment: Environment<'_>,
) -> PathBuf {
    match root {
        Some(root) => root.join("run/appconfigd"),
        None if is_root => PathBuf::from("/run/appconfigd"),
        None => match absolute(environment, "XDG_RUNTIME_DIR") {
            Some(directory) => directory.join("appconfigd"),
            None => state.join("run"),
        },
    }
}

/// systemd gives several directories separated by colons; ours is the first.
fn first_of_list(environment: Environment<'_>, name: &str) -> Option<PathBuf> {
    let list = environment(name)?;
    let first = std::env::split_paths(&list).next()?;
    (!first.as_os_str().is_empty()).then_some(first)
}

/// A directory from a variable; the XDG specification says that relative ones are to be ignored.
fn absolute(environment: Environment<'_>, name: &str) -> Option<PathBuf> {
    environment(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        globals: Globals,
        #[command(subcommand)]
        command: Subcommand,
    }

    #[derive(clap::Subcommand)]
    enum Subcommand {
        Check,
    }

    fn parsed(arguments: &[&str]) -> Globals {
        let program = Program::try_parse_from([&["appconfigd"], arguments].concat());
        let Ok(Program {
            globals,
            command: Subcommand::Check,
        }) = program
        else {
            panic!("{arguments:?} is not understood")
        };
        globals
    }

    fn directories(
        globals: &Globals,
        settings_root: Option<&str>,
        is_root: bool,
        environment: &[(&str, &str)],
    ) -> (String, String) {
        let read = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let Directories { state, runtime } =
            globals.directories(settings_root.map(Path::new), is_root, &read);
        (state.display().to_string(), runtime.display().to_string())
    }

    fn pair(state: &str, runtime: &str) -> (String, String) {
        (state.to_owned(), runtime.to_owned())
    }

    #[test]
    fn flags_may_stand_before_or_after_the_command() {
        let before = parsed(&[
            "--settings",
            "a.yaml",
            "--root",
            "/r",
            "--log-level",
            "debug",
            "check",
        ]);
        let after = parsed(&[
            "check",
            "--settings",
            "a.yaml",
            "--root",
            "/r",
            "--log-level",
            "debug",
        ]);
        for globals in [before, after] {
            assert_eq!(globals.settings.as_deref(), Some(Path::new("a.yaml")));
            assert_eq!(globals.root.as_deref(), Some(Path::new("/r")));
            assert_eq!(globals.log_level(), Level::Debug);
            assert_eq!(globals.log_format(), Format::Auto);
        }
    }

    #[test]
    fn root_without_flags_uses_the_system_s_directories() {
        let expected = pair("/var/lib/appconfigd", "/run/appconfigd");
        let xdg = [
            ("XDG_STATE_HOME", "/x"),
            ("XDG_RUNTIME_DIR", "/y"),
            ("HOME", "/root"),
        ];
        assert_eq!(directories(&Globals::default(), None, true, &xdg), expected);
    }

    #[test]
    fn another_user_uses_the_xdg_directories() {
        let none = Globals::default();
        let xdg = [
            ("XDG_STATE_HOME", "/x"),
            ("XDG_RUNTIME_DIR", "/y"),
            ("HOME", "/home/u"),
        ];
        assert_eq!(
            directories(&none, None, false, &xdg),
            pair("/x/appconfigd", "/y/appconfigd")
        );
        let home = [("HOME", "/home/u"), ("XDG_STATE_HOME", "relative")];
        let state = "/home/u/.local/state/appconfigd";
        assert_eq!(
            directories(&none, None, false, &home),
            pair(state, &format!("{state}/run"))
        );
    }

    #[test]
    fn a_root_holds_the_defaults_for_every_user() {
        let expected = pair("/r/var/lib/appconfigd", "/r/run/appconfigd");
        let xdg = [("XDG_STATE_HOME", "/x"), ("XDG_RUNTIME_DIR", "/y")];
        for is_root in [true, false] {
            assert_eq!(
                directories(&Globals::default(), Some("/r"), is_root, &xdg),
                expected
            );
            let flagged = Globals {
                root: Some("/r".into()),
                ..Globals::default()
            };
            assert_eq!(
                directories(&flagged, Some("/other"), is_root, &xdg),
                expected
            );
        }
    }

    #[test]
    fn systemd_s_directories_beat_the_root_and_the_first_of_the_list_counts() {
        let systemd = [
            ("STATE_DIRECTORY", "/s/one:/s/two"),
            ("RUNTIME_DIRECTORY", "/q"),
        ];
        let found = directories(&Globals::default(), Some("/r"), true, &systemd);
        assert_eq!(found, pair("/s/one", "/q"));
    }

    #[test]
    fn flags_beat_everything_and_are_taken_as_they_are() {
        let globals = Globals {
            state_directory: Some("a".into()),
            runtime_directory: Some("/b".into()),
            root: Some("/r".into()),
            ..Globals::default()
        };
        let systemd = [("STATE_DIRECTORY", "/s"), ("RUNTIME_DIRECTORY", "/q")];
        assert_eq!(directories(&globals, None, true, &systemd), pair("a", "/b"));
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let empty = [
            ("STATE_DIRECTORY", ""),
            ("RUNTIME_DIRECTORY", ""),
            ("HOME", ""),
        ];
        let expected = pair("/var/lib/appconfigd", "/var/lib/appconfigd/run");
        assert_eq!(
            directories(&Globals::default(), None, false, &empty),
            expected
        );
    }

    #[test]
    fn the_settings_file_is_looked_for_where_systemd_says() {
        let read =
            |name: &str| (name == "CONFIGURATION_DIRECTORY").then(|| OsString::from("/c:/d"));
        let file = Globals::default().settings_file(&read);
        assert_eq!(file, Path::new("/c/appconfigd.yaml"));
        let flagged = Globals {
            settings: Some("mine.yaml".into()),
            ..Globals::default()
        };
        assert_eq!(flagged.settings_file(&read), Path::new("mine.yaml"));
        let nothing = Globals::default().settings_file(&|_| None);
        assert_eq!(nothing, Path::new("/etc/appconfigd/appconfigd.yaml"));
    }
}
