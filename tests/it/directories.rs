//! Where settings, state and control socket are looked for, and what another user than root gets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::command_line::{code, served, settings_at};
use crate::skip::skip;
use crate::world::{PROGRAM, World, stderr, stdout, wait_for};

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
