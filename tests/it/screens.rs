//! The status as an operator sees it, in each state: pictures of the screen in `screens/`, and the JSON of the same
//! moment against the schema that is shipped.
//!
//! `APPCONFIGD_TEST_PICTURES=1` takes the pictures anew. Of two a `.seen` is kept as well, which is the screen to the letter, with the
//! times and numbers of that run: docs/status.svg is made of them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::mount::Mount;
use crate::skip::skip;
use crate::sources::root;
use crate::stand::unwrapped;
use crate::world::{Server, World, wait_for};

const PROFILE: &str = "/profiles/limits/state";
const HEAD: &str = "profiles:\n  limits: {validate: {format: json}}\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\n  /etc/app/copy.json: {from: limits, on_drift: report}\nservices:\n  app: {check: [sh, -c, \"! grep bad root/etc/app/limits.json\"], command: [\"true\"]}\n";

#[test]
fn each_state_has_its_screen_which_fits_80_columns_and_names_the_next_step() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{\"limit\": 1}");
    let server = Server::start(&world);
    world.settings(&server, HEAD);
    let state = world.target("/var/lib/appconfigd");
    let disk = Mount::tmpfs(&state, "2m");

    picture(&world, "fresh", &["`systemctl start appconfigd`"]);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    picture(&world, "in-sync", &[]);

    world.deploy("shop/prod/limits.json", "{\"limit\": ");
    world.wait_for_status(PROFILE, &json!("refused"));
    picture(
        &world,
        "refused",
        &["`appconfigd retry limits`", "`appconfigd reload`"],
    );

    world.deploy("shop/prod/limits.json", "{\"limit\": \"bad\"}");
    world.wait_for_status(PROFILE, &json!("quarantined"));
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
    picture(&world, "quarantined", &["`appconfigd retry limits`"]);

    world.deploy("shop/prod/limits.json", "{\"limit\": 2}");
    world.wait_for_status("/state", &json!("healthy"));
    let held = world.output(&["hold", "limits"]);
    assert_eq!(held.status.code(), Some(0), "{held:?}");
    world.deploy("shop/prod/limits.json", "{\"limit\": 3}");
    wait_for("a newer version is received", || {
        let profile = world.status()?["profiles"]["limits"].clone();
        (profile["received"]["digest"] != profile["installed"]["digest"]).then_some(())
    });
    picture(&world, "held", &["`appconfigd release limits`"]);
    assert_eq!(world.output(&["release", "limits"]).status.code(), Some(0));

    let copy = world.target("/etc/app/copy.json");
    fs::write(&copy, "by hand").unwrap();
    world.wait_for_status("/targets/~1etc~1app~1copy.json/state", &json!("drifted"));
    picture(&world, "drifted", &["`appconfigd plan /etc/app/copy.json`"]);
    fs::remove_file(&copy).unwrap();
    world.wait_for_status("/state", &json!("healthy"));

    let late = "  late: {signal: {name: HUP, pid_file: /run/late.pid}}\n";
    let notify = HEAD.replace("notify: app", "notify: [app, late]");
    world.settings(&server, &format!("{notify}{late}"));
    assert_eq!(world.output(&["reload"]).status.code(), Some(0));
    wait_for("the service is asked for", || {
        let service = world.status()?["services"]["late"].clone();
        service["last_result"].is_string().then_some(())
    });
    picture(&world, "pending", &["`appconfigd retry`"]);
    world.settings(&server, HEAD);
    assert_eq!(world.output(&["reload"]).status.code(), Some(0));

    match disk {
        None => skip("file systems cannot be mounted here"),
        Some(disk) => {
            let filler = disk.fill();
            let long = "x".repeat(100_000);
            world.deploy(
                "shop/prod/limits.json",
                format!("{{\"limit\": \"{long}\"}}"),
            );
            wait_for("the ledger is full", || {
                let reason = world.status()?["profiles"]["limits"]["reason"].clone();
                reason.as_str()?.contains("free space").then_some(())
            });
            picture(
                &world,
                "ledger-full",
                &["free space", "`appconfigd doctor`"],
            );
            fs::remove_file(filler).unwrap();
            world.wait_for_status("/state", &json!("healthy"));
        }
    }

    server.stop();
    world.wait_for_status(PROFILE, &json!("unreachable"));
    picture(&world, "aws-down", &["`appconfigd doctor`"]);
    assert_eq!(daemon.stop(), Some(0));
}

/// Holds the screen against its picture, the JSON of about the same moment against the schema; every step is named.
fn picture(world: &World, name: &str, steps: &[&str]) {
    valid(&world.status().unwrap());
    let file = root().join(format!("tests/it/screens/{name}.txt"));
    let expected = fs::read_to_string(&file).unwrap_or_default();
    // What is not on it may still be on its way, such as the end of a poll.
    let (mut last, mut seen) = (String::new(), String::new());
    let rewrite = std::env::var_os("APPCONFIGD_TEST_PICTURES").is_some();
    let since = std::time::Instant::now();
    while last.is_empty() || (last != expected && !rewrite && since.elapsed().as_secs() < 10) {
        let screen = String::from_utf8(world.output(&["status"]).stdout).unwrap();
        for line in screen.lines() {
            let whole = line.split_whitespace().count() == 1;
            assert!(line.chars().count() <= 80 || whole, "{name}: {line}");
        }
        assert!(!screen.contains('\u{1b}'), "colours for no terminal");
        last = normal(&screen, world);
        seen = screen;
    }
    let kept = file.with_extension("seen");
    if rewrite {
        fs::write(&file, &last).unwrap();
    } else {
        assert_eq!(last, expected, "{name}: {}", world.log());
    }
    if rewrite && kept.exists() {
        fs::write(&kept, &seen).unwrap();
    }
    if let Ok(kept) = fs::read_to_string(&kept) {
        assert_eq!(normal(&kept, world), last, "{name}: what was kept");
        // Wrapped as the program wraps: no line differs but in its numbers and times.
        let lines = |screen: &str| -> Vec<String> {
            let lines = screen.lines().map(|line| places(line, world.path("")));
            let lines = lines.map(|line| spans(&line, true));
            lines.map(|line| line.trim_end().to_owned()).collect()
        };
        assert_eq!(lines(&kept), lines(&seen), "{name}: what was kept");
    }
    let said = unwrapped(&last);
    let next: Vec<&String> = said
        .iter()
        .filter(|line| line.starts_with("next: "))
        .collect();
    assert_eq!(next.is_empty(), steps.is_empty(), "{name}: {last}");
    for step in steps {
        assert!(
            said.iter().any(|line| line.contains(step)),
            "{name}: {step}\n{last}"
        );
    }
    every_row_that_is_not_well_has_its_next_step(name, &said);
}

fn every_row_that_is_not_well_has_its_next_step(name: &str, said: &[String]) {
    let well = ["current", "in sync", "acknowledged", "not running"];
    let heading = |line: &&String| line.starts_with(|c: char| c.is_uppercase());
    let mut rows = said.iter().enumerate().filter(|(_, line)| {
        let row = ["limits ", "/etc/", "app ", "late "];
        row.iter().any(|begin| line.starts_with(begin))
    });
    let count = rows.clone().count();
    assert!(count >= 4, "{name}: {said:?}");
    assert!(said.iter().any(|line| heading(&line)), "{name}");
    let unwell = rows.by_ref().filter(|(_, line)| {
        let (_, rest) = line.split_once(' ').unwrap();
        !well.iter().any(|word| rest.starts_with(word))
    });
    for (at, line) in unwell {
        let below = said[at + 1..].iter();
        let mut below = below.take_while(|line| {
            let said = ["why: ", "newest: ", "next: "];
            said.iter().any(|begin| line.starts_with(begin))
                || line.starts_with(|c: char| c.is_lowercase() && !line.starts_with("late "))
        });
        assert!(
            below.any(|line| line.starts_with("next: ")),
            "{name}: {line}\n{said:?}"
        );
    }
}

/// Against the schema that is shipped.
fn valid(status: &Value) {
    let text = fs::read_to_string(root().join("docs/status.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let validator = jsonschema::options().build(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(status)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:?}\n{status:#}");
    assert!(!validator.is_valid(&json!({"schema": 2})));
    for (key, wrong) in [
        ("state", json!("fine")),
        ("daemon", json!(1)),
        ("targets", json!([])),
    ] {
        let mut other = status.clone();
        other[key] = wrong;
        assert!(!validator.is_valid(&other), "{key} is not looked at");
    }
}

/// Without what differs from run to run, in columns as they are; paragraphs are wrapped anew, for names of directories
/// and ports have lengths of their own.
fn normal(screen: &str, world: &World) -> String {
    let mut normal = String::new();
    let mut paragraph = String::new();
    for line in screen.lines().chain([""]) {
        if let Some(more) = line.strip_prefix("    ") {
            paragraph.push(' ');
            paragraph.push_str(more.trim());
            continue;
        }
        if !paragraph.is_empty() {
            wrap(
                &mut normal,
                &spans(&places(&paragraph, world.path("")), false),
            );
            paragraph.clear();
        }
        match line.strip_prefix("  ") {
            Some(said) => paragraph = said.to_owned(),
            None => {
                normal.push_str(spans(&places(line, world.path("")), true).trim_end());
                normal.push('\n');
            }
        }
    }
    normal.pop();
    normal
}

fn wrap(into: &mut String, paragraph: &str) {
    let mut line = "  ".to_owned();
    for word in paragraph.split(' ') {
        if line.len() + word.len() > 79 {
            into.push_str(line.trim_end());
            into.push('\n');
            line = "    ".to_owned();
        }
        line.push_str(word);
        line.push(' ');
    }
    into.push_str(line.trim_end());
    into.push('\n');
}

/// The world's directory, ports, process numbers, times.
fn places(line: &str, world: impl AsRef<Path>) -> String {
    let world = world.as_ref().display().to_string();
    let line = line.replace(world.trim_end_matches('/'), "WORLD");
    let words = line.split(' ').map(|word| {
        let bare = word.trim_end_matches([',', ';', ':', '`']);
        let rest = &word[bare.len()..];
        let time = bare.len() >= 20 && bare.ends_with('Z') && bare.starts_with("20");
        let port = bare.find("127.0.0.1:");
        match (time, port) {
            (true, _) => format!("TIME{rest}"),
            (false, Some(at)) => format!("{}127.0.0.1:PORT{rest}", &bare[..at]),
            (false, None) => word.to_owned(),
        }
    });
    let line = words.collect::<Vec<_>>().join(" ");
    match line.split_once(", process ") {
        Some((head, tail)) => {
            let tail = tail.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{head}, process N{tail}")
        }
        None => line,
    }
}

/// `N s` for lengths of time; `columns`: what follows stays where it is.
pub fn spans(line: &str, columns: bool) -> String {
    let mut normal = String::new();
    // A poll that is due at this moment.
    let due = line.strip_suffix("  now").filter(|_| columns);
    let line = due.map_or(line.to_owned(), |row| format!("{row}  in 1 s"));
    let mut rest = line.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        let digits = from.chars().take_while(char::is_ascii_digit).count();
        let after = &from[digits..];
        let unit = [" s", " min", " h", " d"].into_iter().find(|unit| {
            let follows = after.strip_prefix(unit);
            follows.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
        });
        normal.push_str(before);
        let begins = before.is_empty() || before.ends_with(' ');
        match unit.filter(|_| begins) {
            Some(unit) => {
                normal.push_str("N s");
                let length = digits + unit.len();
                rest = &from[length..];
                let cell = columns && (rest.starts_with("  ") || rest.is_empty());
                let missing = length.saturating_sub(3);
                normal.extend(std::iter::repeat_n(' ', if cell { missing } else { 0 }));
            }
            None => {
                normal.push_str(&from[..digits]);
                rest = after;
            }
        }
    }
    normal + rest
}
