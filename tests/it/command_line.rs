//! What every command has in common: flags, variables, directories, exit codes, the two outputs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::skip::skip;
use crate::world::{PROGRAM, Server, World, wait_for};

const COMMANDS: &[&str] = &[
    "run", "once", "check", "plan", "status", "refresh", "reload", "fetch", "serve",
];

const SETTINGS: &str = "profiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {from: limits}\n";

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// A world whose one profile is served, and its server.
fn served() -> (World, Server) {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{}\n");
    let server = Server::start(&world);
    world.settings(&server, SETTINGS);
    (world, server)
}

/// Settings that hold, at this path of the world.
fn settings_at(world: &World, name: &str) -> String {
    let file = world.write(
        name,
        "local: {directory: .}\ndefaults: {application: shop, environment: prod}\nprofiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {from: limits}\n",
    );
    file.to_str().unwrap().to_owned()
}

#[test]
fn flags_stand_before_or_after_the_command() {
    let world = World::new();
    let file = settings_at(&world, "mine.yaml");
    for arguments in [
        ["--settings", &file, "--log-level", "debug", "check"],
        ["check", "--settings", &file, "--log-level", "debug"],
        ["--settings", &file, "check", "--log-level", "debug"],
    ] {
        let output = world.output(&arguments);
        assert_eq!(code(&output), Some(0), "{}", stderr(&output));
        assert_eq!(
            stdout(&output),
            format!("{file}: ok: 1 profile, 1 target, 0 services\n")
        );
    }
}

#[test]
fn for_the_settings_the_flag_beats_the_variable_beats_systemd() {
    let world = World::new();
    let flag = settings_at(&world, "flag.yaml");
    let variable = settings_at(&world, "variable.yaml");
    let systemd = settings_at(&world, "one/appconfigd.yaml");
    let list = format!(
        "{}:{}",
        world.path("one").display(),
        world.path("two").display()
    );
    let check = |arguments: &[&str], variable: Option<&str>| {
        let mut command = world.command(&[&["check"], arguments].concat());
        command.env("CONFIGURATION_DIRECTORY", &list);
        match variable {
            Some(file) => command.env("APPCONFIGD_SETTINGS", file),
            None => command.env_remove("APPCONFIGD_SETTINGS"),
        };
        stdout(&command.output().unwrap())
    };
    let by_flag = check(&["--settings", &flag], Some(&variable));
    assert!(by_flag.starts_with(&flag), "{by_flag}");
    let by_variable = check(&[], Some(&variable));
    assert!(by_variable.starts_with(&variable), "{by_variable}");
    let by_systemd = check(&[], None);
    assert!(by_systemd.starts_with(&systemd), "{by_systemd}");
}

#[test]
fn without_flag_and_variables_the_settings_are_in_etc() {
    let mut command = Command::new(PROGRAM);
    let output = command.arg("check").env_clear().output().unwrap();
    if code(&output) == Some(0) {
        return skip("this machine has /etc/appconfigd/appconfigd.yaml");
    }
    assert_eq!(code(&output), Some(66));
    assert!(
        stderr(&output).contains("/etc/appconfigd/appconfigd.yaml"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn for_the_state_the_flag_beats_the_variable_beats_systemd_beats_the_root() {
    let (world, _server) = served();
    let at = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let (flag, variable, systemd) = (at("flag"), at("variable"), at("systemd"));
    let once = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = world.command(&[&["once"], arguments].concat());
        command.envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    };
    let list = format!("{systemd}:/nowhere");
    let mut variables = vec![
        ("STATE_DIRECTORY", list.as_str()),
        ("APPCONFIGD_STATE_DIRECTORY", variable.as_str()),
    ];
    let made = |name: &str| Path::new(name).join("ledger.db").exists();
    once(&["--state-directory", &flag], &variables);
    assert!(made(&flag) && !made(&variable) && !made(&systemd));
    once(&[], &variables);
    assert!(made(&variable) && !made(&systemd));
    variables.pop();
    once(&[], &variables);
    assert!(made(&systemd));
    assert!(!world.target("/var").exists(), "nothing of the default");
    once(&[], &[]);
    assert!(made(world.target("/var/lib/appconfigd").to_str().unwrap()));
}

#[test]
fn the_runtime_directory_is_found_by_the_same_order() {
    let (world, _server) = served();
    let at = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let (flag, variable, systemd) = (at("flag"), at("variable"), at("systemd"));
    let run = |arguments: &[&str], variables: &[(&str, &str)], expected: &Path| {
        let mut command = world.command(&[&["run"], arguments].concat());
        command.envs(variables.iter().copied());
        let daemon = world.run_by(command);
        let socket = expected.join("control.sock");
        wait_for(
            &format!("{} appears\n{}", socket.display(), world.log()),
            || socket.exists().then_some(()),
        );
        // Whoever asks finds it by the same order.
        let mut command = world.command(&[&["status"], arguments].concat());
        command.envs(variables.iter().copied());
        wait_for("the daemon is asked", || {
            let output = command.output().unwrap();
            (code(&output) == Some(0)).then_some(())
        });
        assert_eq!(daemon.stop(), Some(0));
    };
    let mut variables = vec![
        ("RUNTIME_DIRECTORY", systemd.as_str()),
        ("APPCONFIGD_RUNTIME_DIRECTORY", variable.as_str()),
    ];
    run(
        &["--runtime-directory", &flag],
        &variables,
        Path::new(&flag),
    );
    run(&[], &variables, Path::new(&variable));
    variables.pop();
    run(&[], &variables, Path::new(&systemd));
    run(&[], &[], &world.target("/run/appconfigd"));
}

#[test]
fn the_flag_root_beats_its_variable_and_that_the_settings() {
    let (world, _server) = served();
    for name in ["flag", "variable"] {
        fs::create_dir_all(world.path(name).join("etc/app")).unwrap();
    }
    let variable = world.path("variable");
    let once = |arguments: &[&str]| {
        let mut command = world.command(&[&["once"], arguments].concat());
        let output = command.env("APPCONFIGD_ROOT", &variable).output().unwrap();
        assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    };
    // A relative root is one of the working directory.
    once(&["--root", "flag"]);
    once(&[]);
    for name in ["flag", "variable"] {
        let root = world.path(name);
        assert!(root.join("etc/app/limits.json").exists(), "{name}");
        assert!(root.join("var/lib/appconfigd/ledger.db").exists(), "{name}");
    }
    assert!(!world.target("/etc/app/limits.json").exists());
}

/// The program as nobody, in a world that nobody may read and write; `None` where this machine cannot do that.
pub fn as_nobody(world: &World, arguments: &[&str]) -> Option<Command> {
    const NOBODY: &str = "65534";
    let is_root = nix::unistd::geteuid().is_root();
    let tried = Command::new("setpriv").arg("--version").output();
    if !is_root || tried.is_err() {
        skip("needs root and setpriv");
        return None;
    }
    let program = world.path("appconfigd");
    // A link, where it can be one: a copy that another thread's child still holds open cannot be executed.
    if !program.exists() && fs::hard_link(PROGRAM, &program).is_err() {
        fs::copy(PROGRAM, &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for name in [".", "home", "root", "root/etc", "root/etc/app"] {
        fs::create_dir_all(world.path(name)).unwrap();
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
        .arg(program)
        .args(arguments)
        .current_dir(world.path("."))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("APPCONFIGD_SETTINGS", world.path("appconfigd.yaml"));
    Some(command)
}

#[test]
fn another_user_than_root_has_its_own_directories() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{}\n");
    for name in ["store", "store/shop", "store/shop/prod"] {
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let target = world.path("home/limits.json");
    world.write(
        "appconfigd.yaml",
        &format!(
            "local: {{directory: store}}\ndefaults: {{application: shop, environment: prod}}\nprofiles:\n  limits:\ntargets:\n  {}: {{from: limits}}\n",
            target.display()
        ),
    );
    let Some(mut command) = as_nobody(&world, &["once"]) else {
        return;
    };
    let home = world.path("home");
    let output = command.env("HOME", &home).output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    assert!(home.join(".local/state/appconfigd/ledger.db").exists());
    assert!(target.exists());

    let state = world.path("home/state");
    let runtime = world.path("home/runtime");
    let mut command = as_nobody(&world, &["run"]).unwrap();
    command
        .env("XDG_STATE_HOME", &state)
        .env("XDG_RUNTIME_DIR", &runtime);
    let daemon = world.run_by(command);
    wait_for("the control socket appears", || {
        runtime
            .join("appconfigd/control.sock")
            .exists()
            .then_some(())
    });
    assert!(state.join("appconfigd/ledger.db").exists());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn what_nobody_may_do_is_said_with_the_place() {
    let (world, _server) = served();
    // The ledger is root's.
    assert_eq!(code(&world.output(&["once"])), Some(0));
    for command in ["once", "plan", "status"] {
        let Some(mut command) = as_nobody(&world, &[command]) else {
            return;
        };
        let output = command
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .output()
            .unwrap();
        let text = stderr(&output);
        assert_eq!(code(&output), Some(1), "{command:?}: {text}");
        assert!(
            text.contains("/var/lib/appconfigd")
                && text.to_lowercase().contains("permission denied"),
            "{command:?}: {text}"
        );
    }
}

#[test]
fn a_state_directory_that_cannot_be_made_is_named_with_the_way_to_another() {
    let (world, _server) = served();
    world.write("file", "");
    for command in ["once", "run"] {
        let output = world.output(&[command, "--state-directory", "file/state"]);
        let text = stderr(&output);
        assert_eq!(code(&output), Some(1), "{command}: {text}");
        assert!(
            text.contains(
                "(the state directory is `file/state`; `--state-directory` names another)"
            ),
            "{command}: {text}"
        );
    }
}

#[test]
fn wrong_usage_is_64_on_standard_error() {
    let world = World::new();
    for arguments in [
        &["chek"][..],
        &[],
        &["--no-such-flag", "check"],
        &["check", "--no-such-flag"],
        &["check", "more"],
        &["check", "--log-level", "loud"],
        &["check", "--log-format", "xml"],
        &["once", "--timeout", "soon"],
        &["fetch", "shop", "prod"],
        &["serve"],
        &["--settings"],
    ] {
        let output = world.output(arguments);
        assert_eq!(
            code(&output),
            Some(64),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(
            stderr(&output).starts_with("error: ") || stderr(&output).contains("Usage: appconfigd"),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn every_command_that_reads_settings_says_66_when_they_are_missing_and_78_when_they_are_wrong() {
    let world = World::new();
    world.write("wrong.yaml", "profles: {}\n");
    for command in [
        "run", "once", "check", "plan", "status", "refresh", "reload",
    ] {
        let output = world.output(&[command, "--settings", "missing.yaml"]);
        let text = stderr(&output);
        assert_eq!(code(&output), Some(66), "{command}: {text}");
        assert!(text.contains("missing.yaml"), "{command}: {text}");
        let output = world.output(&[command, "--settings", "wrong.yaml"]);
        let text = stderr(&output);
        assert_eq!(code(&output), Some(78), "{command}: {text}");
        assert!(
            text.starts_with("wrong.yaml:1:1: error: ") && text.ends_with(" error\n")
                || text.ends_with(" errors\n"),
            "{command}: {text}"
        );
        assert_eq!(stdout(&output), "", "{command}");
    }
}

#[test]
fn without_a_daemon_who_asks_it_gets_3() {
    let (world, _server) = served();
    for command in ["status", "refresh", "reload"] {
        let output = world.output(&[command]);
        assert_eq!(code(&output), Some(3), "{command}: {}", stderr(&output));
    }
    let output = world.output(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["daemon"], Value::Null);
    assert_eq!(stderr(&output), "");
}

#[test]
fn standard_output_carries_the_result_and_logs_go_to_standard_error() {
    let (world, _server) = served();
    let output = world.output(&["once", "--log-level", "trace", "--log-format", "json"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let result = stdout(&output);
    assert!(result.contains("profile limits: current"), "{result}");
    assert!(!result.contains("INFO") && !result.contains("DEBUG") && !result.contains("level"));
    let logs = stderr(&output);
    assert!(logs.lines().count() >= 2, "{logs}");
    for line in logs.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(entry.is_object(), "{line}");
    }
}

#[test]
fn the_log_level_is_the_least_that_is_logged() {
    let levels = |level: &str, variable: &str| {
        let (world, _server) = served();
        let mut command = world.command(&["once", "--log-format", "json"]);
        if !level.is_empty() {
            command.args(["--log-level", level]);
        }
        if !variable.is_empty() {
            command.env("APPCONFIGD_LOG_LEVEL", variable);
        }
        let output = command.output().unwrap();
        assert_eq!(code(&output), Some(0), "{}", stderr(&output));
        stderr(&output)
    };
    assert_eq!(levels("error", "trace"), "", "the flag beats the variable");
    assert_eq!(levels("", "warn"), "");
    let usual = levels("", "");
    assert!(
        usual.contains("\"level\":\"info\"") && !usual.contains("\"level\":\"debug\""),
        "{usual}"
    );
    assert!(levels("debug", "").contains("\"level\":\"debug\""));
}

#[test]
fn version_and_help_go_to_standard_output() {
    let world = World::new();
    let output = world.output(&["--version"]);
    assert_eq!(code(&output), Some(0));
    assert_eq!(
        stdout(&output),
        format!("appconfigd {}\n", env!("CARGO_PKG_VERSION"))
    );
    let output = world.output(&["--help"]);
    assert_eq!(code(&output), Some(0));
    let overview = stdout(&output);
    for command in COMMANDS {
        let line = overview
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{command} ")));
        let line = line.unwrap_or_else(|| panic!("{command} is not in:\n{overview}"));
        assert!(line.split_whitespace().count() > 3, "{line}");
    }
}

#[test]
fn the_help_of_every_command_is_one_screen_and_says_what_it_does() {
    let world = World::new();
    for command in COMMANDS {
        let output = world.output(&[command, "--help"]);
        assert_eq!(code(&output), Some(0), "{command}");
        let help = stdout(&output);
        assert!(help.lines().count() <= 50, "{command}:\n{help}");
        let first = help.lines().next().unwrap();
        assert!(
            first.starts_with(char::is_uppercase) && first.split(' ').count() > 3,
            "{command}: {first}"
        );
        assert!(
            help.contains(&format!("Usage: appconfigd {command}")),
            "{help}"
        );
        for flag in [
            "--settings",
            "--state-directory",
            "--runtime-directory",
            "--root",
            "--log-level",
            "--log-format",
        ] {
            assert!(help.contains(flag), "{command} has {flag}");
        }
        assert_eq!(stdout(&world.output(&[command, "-h"])), help, "{command}");
    }
}

#[test]
fn a_reader_that_has_gone_makes_nothing_panic() {
    let (world, _server) = served();
    let ended = |mut command: Command| {
        let output = command.output().unwrap();
        let text = stderr(&output);
        assert!(!text.contains("panic"), "{command:?}: {text}");
        assert!(
            matches!(code(&output), Some(0..=3)),
            "{command:?}: {:?} {text}",
            output.status
        );
    };
    for arguments in [
        "check",
        "plan",
        "once",
        "status --json",
        "status",
        "--help",
        "--version",
    ] {
        // The reader is gone before the first byte is written: a pipe whose other end is closed.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let words: Vec<&str> = arguments.split(' ').collect();
        let mut command = world.command(&words);
        command.stdout(writer).stderr(Stdio::piped());
        ended(command);
        // No standard output at all, and no standard error either.
        for closed in [">&-", ">&- 2>&-", "2>&-"] {
            let mut command = Command::new("sh");
            command
                .args(["-c", &format!("exec {PROGRAM} {arguments} {closed}")])
                .current_dir(world.path("."))
                .envs([
                    ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
                    ("AWS_SECRET_ACCESS_KEY", "secret"),
                ])
                .env("AWS_EC2_METADATA_DISABLED", "true")
                .env("APPCONFIGD_SETTINGS", world.path("appconfigd.yaml"));
            ended(command);
        }
    }
}

#[test]
fn fetch_says_so_when_nobody_takes_the_bytes() {
    let (world, server) = served();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = world.command(&["fetch", "shop", "prod", "limits", "--region", "eu-west-1"]);
    let output = command
        .args(["--endpoint-url", &server.endpoint()])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(code(&output), Some(1));
    assert!(
        stderr(&output).starts_with("error: cannot write to standard output: "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn commands_run_beside_the_settings_and_pid_files_lie_below_the_root() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{}\n");
    let server = Server::start(&world);
    world.settings(
        &server,
        "profiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {from: limits, notify: [where, app]}\nservices:\n  where: {command: [sh, -c, pwd > where]}\n  app: {signal: {name: HUP, pid_file: /run/app.pid}}\n",
    );
    let mut app = Command::new("sh")
        .args([
            "-c",
            "trap 'echo told > told' HUP; echo > ready; for i in $(seq 1200); do sleep 0.05; done",
        ])
        .current_dir(world.path("."))
        .spawn()
        .unwrap();
    wait_for("the program is ready", || world.read("ready"));
    world.write("root/run/app.pid", &format!("{}\n", app.id()));
    let output = world.command(&["once"]).current_dir("/").output().unwrap();
    let told = wait_for("the program is told", || {
        world.read("told").filter(|text| !text.is_empty())
    });
    app.kill().unwrap();
    app.wait().unwrap();
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    assert_eq!(told, "told\n");
    let directory = world.path(".").canonicalize().unwrap();
    assert_eq!(
        world.read("where").unwrap().trim(),
        directory.to_str().unwrap()
    );
}
