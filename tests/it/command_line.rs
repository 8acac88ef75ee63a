//! What every command has in common: flags, exit codes, help, the two outputs.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::world::{PROGRAM, Server, World, stderr, stdout, wait_for};

/// All of them, each with what it cannot do without.
const COMMANDS: &[&[&str]] = &[
    &["run"],
    &["exec", "--", "true"],
    &["once"],
    &["check"],
    &["plan"],
    &["status"],
    &["wait", "--timeout", "0s"],
    &["events"],
    &["doctor"],
    &["refresh"],
    &["reload"],
    &["retry"],
    &["hold", "limits"],
    &["release", "limits"],
    &["rollback", "limits"],
    &["history"],
    &["diff", "limits"],
    &["forget", "limits"],
    &["fetch", "shop", "prod", "limits"],
    &["serve", "--directory", "store"],
    &["systemd-dropin"],
];

const SETTINGS: &str = "profiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {from: limits}\n";

pub fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// A world whose one profile is served, and its server.
pub fn served() -> (World, Server) {
    World::served(&[("shop/prod/limits.json", "{}\n")], SETTINGS)
}

/// Settings that hold, at this path of the world.
pub fn settings_at(world: &World, name: &str) -> String {
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
    for command in COMMANDS {
        if matches!(command[0], "fetch" | "serve") {
            continue;
        }
        let output = world.output(&[&["--settings", "missing.yaml"], *command].concat());
        let text = stderr(&output);
        assert_eq!(code(&output), Some(66), "{command:?}: {text}");
        assert!(text.contains("missing.yaml"), "{command:?}: {text}");
        let output = world.output(&[&["--settings", "wrong.yaml"], *command].concat());
        let text = stderr(&output);
        assert_eq!(code(&output), Some(78), "{command:?}: {text}");
        assert!(
            text.starts_with("wrong.yaml:1:1: error: ") && text.ends_with("\n1 error\n"),
            "{command:?}: {text}"
        );
        assert_eq!(stdout(&output), "", "{command:?}");
    }
}

#[test]
fn without_a_daemon_who_asks_it_gets_3() {
    let (world, _server) = served();
    let asking = [
        "status", "wait", "events", "refresh", "reload", "retry", "hold", "release", "rollback",
        "forget",
    ];
    for command in COMMANDS.iter().filter(|words| asking.contains(&words[0])) {
        let output = world.output(command);
        assert_eq!(code(&output), Some(3), "{command:?}: {}", stderr(&output));
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
    assert!(result.contains("\nlimits   current  "), "{result}");
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
    let listed = overview.split_once("Commands:\n").unwrap().1;
    let listed = listed.split_once("\n\n").unwrap().0.lines();
    let listed: Vec<&str> = listed
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|word| !matches!(*word, "" | "help"))
        .collect();
    let known: Vec<&str> = COMMANDS.iter().map(|words| words[0]).collect();
    assert_eq!(
        listed, known,
        "left: the help, right: the commands of these tests"
    );
    for command in known {
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
    for command in COMMANDS.iter().map(|words| words[0]) {
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

#[test]
fn a_result_that_a_full_disk_does_not_take_is_a_failure_and_says_so() {
    let (world, _server) = served();
    // `doctor` fails anyway: no unit runs it, and nobody serves where it looks.
    for arguments in [["plan"], ["check"], ["--help"], ["doctor"]] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let mut command = world.command(&arguments);
        let output = command.stdout(full.unwrap()).output().unwrap();
        let said = stderr(&output);
        assert!(
            said.contains("cannot write the result to standard output: No space left"),
            "{said}"
        );
        assert_eq!(code(&output), Some(1), "{arguments:?}");
    }
}
