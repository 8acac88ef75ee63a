//! The README's quickstart, as a reader would follow it: its commands, and what it says that they print.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::documents::{Block, blocks};
use crate::screens::spans;
use crate::skip::skip;
use crate::sources::root;
use crate::world::{Daemon, PROGRAM, Server, World, listening, wait_for};

const QUICKSTART: &str = "examples/quickstart";

/// Where the reader of the README has the repository.
const CLONE: &str = "/home/you/appconfigd";

/// Where servers listen on the pages.
const ADDRESS: &str = "127.0.0.1:8099";

/// The documents whose commands are run, and whose `text` is what they print.
pub(crate) const FOLLOWED: [&str; 2] = ["README.md", "docs/commands.md"];

#[test]
fn the_quickstart_of_the_readme_does_what_the_readme_says() {
    assert!(follow(FOLLOWED[0]) >= 5, "is the quickstart still there?");
}

#[test]
fn the_commands_print_what_their_page_says() {
    assert!(follow(FOLLOWED[1]) >= 5, "is the page still there?");
}

#[test]
fn the_quickstart_started_again_goes_on_and_notifies_nobody() {
    let world = World::new();
    copy(Path::new(QUICKSTART), &world);
    let said = || world.read("examples/quickstart/root/var/log/greeter.log");
    let settings = "examples/quickstart/appconfigd.yaml";
    for run in 1..=2 {
        let before = world.log().len();
        let daemon = world.run_by(world.command(&["run", "--settings", settings]));
        wait_for("ready", || {
            world.log()[before..]
                .contains(" INFO ready\n")
                .then_some(())
        });
        // READY means that the files stand; telling may come right after it.
        wait_for("the greeter has been told", said);
        assert_eq!(daemon.stop(), Some(0));
        assert_eq!(
            said().as_deref(),
            Some("alto: Good morning!\n"),
            "run {run}"
        );
    }
}

/// Runs the commands of a document in a clone with nothing but the quickstart, and holds what it says that they print:
/// `text` is the standard output of the command above, `text log` are lines that the daemon logs after it.
///
/// `sh server` starts a server, whose `text` is its first line and which those after it talk to; `sh served=DIRECTORY` talks to
/// one over that directory of the repository where the reader has AWS; `sh if=PATH` is left out where there is no such path.
///
/// Returns the number of commands.
fn follow(document: &str) -> usize {
    let world = World::new();
    copy(Path::new(QUICKSTART), &world);
    copy(Path::new("examples/nginx"), &world);
    let text = fs::read_to_string(root().join(document)).unwrap();
    let mut daemon = None;
    let mut server = None;
    let mut commands = 0;
    let (mut printed, mut left_out) = (None, false);
    // What was logged before the last command proves nothing about it.
    let mut seen = 0;
    for block in blocks(&text) {
        let place = format!("{document}:{}", block.line);
        match block.info.as_str() {
            "sh daemon" => {
                daemon = Some(run(&world, &ours(&block)));
                wait_for("ready", || {
                    world.log().contains(" INFO ready\n").then_some(())
                });
            }
            "sh" => {
                seen = world.log().len();
                let command = ours(&block);
                printed = Some((shell(&world, &command, server.as_ref()), command));
                commands += 1;
            }
            "sh server" => {
                let command = ours(&block).replace(ADDRESS, "127.0.0.1:0");
                let mut shell = Command::new("sh");
                let shell = shell.args(["-c", &format!("exec {command}")]);
                let (child, address) =
                    listening(shell.current_dir(world.path("")).stderr(Stdio::null()));
                printed = Some((format!("listening on http://{address}\n"), command));
                server = Some(Server::of(child, address));
                commands += 1;
            }
            "text log" => {
                for line in block.text.lines() {
                    let line = normal(line, Path::new(CLONE));
                    wait_for(&format!("{place}: {line}"), || {
                        let log = world.log();
                        let mut lines = log[seen..].lines();
                        let found = lines.any(|said| normal(said, &world.path("")) == line);
                        found.then_some(())
                    });
                }
            }
            "text" => {
                let Some((mut printed, command)) = printed.take() else {
                    assert!(left_out, "{place}: of no command that is run");
                    continue;
                };
                let mut expected = normal(&block.text, Path::new(CLONE));
                if let Some(server) = &server {
                    expected = expected.replace(ADDRESS, server.address());
                }
                // While a poll is under way there is no next one to be named.
                if command.contains(" status") && normal(&printed, &world.path("")) != expected {
                    wait_for(&format!("{place}: it was {printed}"), || {
                        printed = shell(&world, &command, server.as_ref());
                        (normal(&printed, &world.path("")) == expected).then_some(())
                    });
                }
                assert_eq!(normal(&printed, &world.path("")), expected, "{place}");
            }
            info => {
                printed = None;
                left_out = false;
                let (kind, option) = info.split_once('=').unwrap_or((info, ""));
                let command = ours(&block);
                if kind == "sh served" {
                    let server = Server::over(&root().join(option));
                    printed = Some((shell(&world, &command, Some(&server)), command));
                } else if kind == "sh if" && Path::new(option).exists() {
                    printed = Some((shell(&world, &command, None), command));
                } else if kind == "sh if" {
                    skip(&format!("{place}: there is no `{option}`"));
                    left_out = true;
                }
                commands += usize::from(printed.is_some());
            }
        }
    }
    assert_eq!(daemon.expect("a daemon").stop(), Some(0));
    commands
}

/// Starts the daemon of a command line.
fn run(world: &World, line: &str) -> Daemon {
    let arguments = line.trim().strip_prefix(PROGRAM).expect("our program");
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let mut command = world.command(&arguments);
    command.env_remove("APPCONFIGD_SETTINGS");
    world.run_by(command)
}

/// The block's command with the built program in place of the release build.
fn ours(block: &Block) -> String {
    let mut command = block.text.replace("cargo run --release --", PROGRAM);
    command = command.replace("target/release/appconfigd", PROGRAM);
    let lines = command
        .lines()
        .map(|line| match line.strip_prefix("appconfigd ") {
            Some(arguments) => format!("{PROGRAM} {arguments}\n"),
            None => format!("{line}\n"),
        });
    lines.collect()
}

/// What the command writes to standard output. Its exit code is its own affair: `status` has several.
fn shell(world: &World, command: &str, server: Option<&Server>) -> String {
    let mut shell = Command::new("sh");
    if let Some(server) = server {
        // In place of the reader's account, or of the address on the page.
        shell
            .env("AWS_ENDPOINT_URL_APPCONFIGDATA", server.endpoint())
            .env("AWS_EC2_METADATA_DISABLED", "true");
    }
    let command = match server {
        Some(server) => command.replace(ADDRESS, server.address()),
        None => command.to_owned(),
    };
    let output = shell
        .args(["-c", &command])
        .current_dir(world.path(""))
        .env(
            "APPCONFIGD_SETTINGS",
            format!("{QUICKSTART}/appconfigd.yaml"),
        )
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "`{command}`: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Without what differs from run to run: times, the process's number, the place of the clone.
fn normal(text: &str, clone: &Path) -> String {
    let clone = clone.to_str().unwrap().trim_end_matches('/');
    let text = text.replace(clone, "CLONE");
    let words = text
        .split_inclusive([' ', '\n', ')', ',', ';', '"'])
        .map(|word| {
            let bare = word.trim_end_matches([' ', '\n', ')', ',', ';', '"']);
            let rest = &word[bare.len()..];
            let time = bare.len() >= 20 && bare.ends_with('Z') && bare.starts_with("20");
            match time {
                true => format!("TIME{rest}"),
                false => word.to_owned(),
            }
        });
    let text: String = words.collect();
    let text: String = text
        .split_inclusive('\n')
        .map(|line| match line.starts_with("  ") {
            true => spans(line, false),
            // A row: what follows a length of time stays in its column.
            false => spans(line.trim_end(), true).trim_end().to_owned() + "\n",
        })
        .collect();
    let numbered = ["(process ", ", process ", "  process ", "\"pid\": "];
    numbered
        .iter()
        .fold(text, |text, before| match text.split_once(before) {
            Some((head, tail)) => {
                let tail = tail.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{head}{before}N{tail}")
            }
            None => text,
        })
}

/// What is shipped of a directory, to the same place in the world: without what a run has left in its root.
fn copy(directory: &Path, world: &World) {
    let to = world.path("").join(directory);
    fs::create_dir_all(&to).unwrap();
    for entry in fs::read_dir(root().join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = directory.join(entry.file_name());
        let made = path.starts_with(format!("{QUICKSTART}/root"));
        if entry.file_type().unwrap().is_dir() {
            copy(&path, world);
        } else if !made || entry.file_name().to_str().unwrap().starts_with(".git") {
            fs::copy(entry.path(), world.path("").join(&path)).unwrap();
        }
    }
    if let Some(edited) = world.read(&format!(
        "{QUICKSTART}/configurations/shop/demo/greeting.json"
    )) {
        let as_shipped = edited.contains("Good morning") && edited.contains("alto");
        assert!(
            as_shipped,
            "somebody tried the quickstart here: `git checkout {QUICKSTART}` brings back what was edited"
        );
    }
}
