//! The operator's hand: what the commands order, what the daemon makes of it, and who may order.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use serde_json::json;

use crate::skip::skip;
use crate::stand::unwrapped;
use crate::world::{Daemon, Server, World, wait_for};

/// `app` accepts what `bad` is not there to turn down, and writes down that it was told.
const LINES: &str = "profiles:\n  limits: {validate: {format: json}}\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {check: [sh, -c, \"! test -e bad\"], command: [sh, -c, echo told >> told]}\n";

/// A world whose daemon has installed `{"v":1}`.
fn started(lines: &str) -> (World, Server, Daemon) {
    let world = World::new();
    deploy(&world, 1);
    let server = Server::start(&world);
    world.settings(&server, lines);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    (world, server, daemon)
}

fn deploy(world: &World, version: u32) {
    world.deploy("shop/prod/limits.json", format!("{{\"v\":{version}}}"));
}

fn text(world: &World, path: &str) -> Option<String> {
    fs::read_to_string(world.target(path)).ok()
}

/// Runs a command: its exit code and all that it says.
fn ask(world: &World, arguments: &[&str]) -> (i32, String) {
    let output = world.output(arguments);
    let mut said = String::from_utf8(output.stdout).unwrap();
    said.push_str(&String::from_utf8(output.stderr).unwrap());
    (output.status.code().unwrap(), said)
}

#[test]
fn retry_lifts_a_quarantine_and_installs_without_a_poll() {
    let (world, server, _daemon) = started(LINES);
    world.write("bad", "");
    deploy(&world, 2);
    world.wait_for_status("/profiles/limits/state", &json!("quarantined"));
    assert_eq!(text(&world, "/etc/app/limits.json").unwrap(), "{\"v\":1}");

    let (code, said) = ask(&world, &["retry", "limits"]);
    assert_eq!(code, 1, "it still says no: {said}");
    assert!(said.contains("quarantined"), "{said}");

    fs::remove_file(world.path("bad")).unwrap();
    server.stop();
    ask(&world, &["retry"]);
    let installed = text(&world, "/etc/app/limits.json").unwrap();
    assert_eq!(
        installed,
        "{\"v\":2}",
        "the command waits for the outcome, and needs no service\n{}",
        world.log()
    );
}

#[test]
fn retry_lifts_a_refusal_of_a_staged_check_and_ends_as_refresh_does() {
    let lines = LINES.replace(
        "notify: app}",
        "notify: app, validate_command: [sh, -c, \"! test -e refuses\", \"{staged}\"]}",
    );
    let (world, _server, _daemon) = started(&lines);
    world.write("refuses", "");
    deploy(&world, 2);
    world.wait_for_status("/profiles/limits/state", &json!("refused"));
    assert_eq!(ask(&world, &["retry", "limits"]).0, 1);
    fs::remove_file(world.path("refuses")).unwrap();
    let (code, said) = ask(&world, &["retry", "limits"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("healthy"), "{said}");
    assert_eq!(text(&world, "/etc/app/limits.json").unwrap(), "{\"v\":2}");
}

#[test]
fn orders_need_a_daemon_and_names_that_it_knows() {
    let (world, _server, daemon) = started(LINES);
    let (code, said) = ask(&world, &["retry", "nothing"]);
    assert_eq!(code, 66, "{said}");
    assert!(said.contains("no profile `nothing`"), "{said}");
    assert_eq!(daemon.stop(), Some(0));
    let (code, said) = ask(&world, &["retry"]);
    assert_eq!(code, 3, "{said}");
}

#[test]
fn another_user_is_not_listened_to_whatever_the_mode_of_the_socket() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can be somebody else");
    }
    let (world, _server, _daemon) = started(LINES);
    let open = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let run = world.target("/run/appconfigd");
    for directory in run
        .ancestors()
        .take_while(|path| path.starts_with(world.path(".")))
    {
        open(directory.to_owned(), 0o755);
    }
    open(world.path("."), 0o755);
    open(run.join("control.sock"), 0o666);
    let mut command = world.command(&["status"]);
    command.uid(65_534).gid(65_534);
    let Ok(output) = command.output() else {
        return skip("the program lies where nobody else may run it");
    };
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("ask as root or as the daemon's user"),
        "{said}"
    );
}

/// A profile's history by `history --json`, newest first.
fn history(world: &World, name: &str) -> Vec<serde_json::Value> {
    let output = world.output(&["history", name, "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let history: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(history["schema"], 1);
    let entries = &history["profiles"][name];
    entries.as_array().unwrap().clone()
}

#[test]
fn history_marks_what_is_installed_received_and_quarantined_with_a_daemon_and_without() {
    let (world, _server, daemon) = started(LINES);
    world.write("bad", "");
    deploy(&world, 2);
    world.wait_for_status("/profiles/limits/state", &json!("quarantined"));
    let with = history(&world, "limits");
    let marks: Vec<_> = with.iter().map(|entry| entry["marks"].clone()).collect();
    assert_eq!(
        marks,
        [json!(["received", "quarantined"]), json!(["installed"])]
    );
    let (_, said) = ask(&world, &["history", "limits"]);
    assert!(
        said.contains("7 bytes, received last, quarantined"),
        "{said}"
    );
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(history(&world, "limits"), with);
    assert_eq!(ask(&world, &["history", "nothing"]).0, 66);
}

#[test]
fn a_file_that_was_replaced_is_in_history_and_diff_shows_what_it_had() {
    let world = World::new();
    deploy(&world, 1);
    let server = Server::start(&world);
    world.settings(&server, LINES);
    fs::write(world.target("/etc/app/limits.json"), "by hand\n").unwrap();
    let _daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    let (_, said) = ask(&world, &["history", "/etc/app/limits.json"]);
    assert!(
        said.contains("found at") && said.contains("8 bytes"),
        "{said}"
    );
    let (code, said) = ask(&world, &["diff", "/etc/app/limits.json", "one", "two"]);
    assert_eq!(code, 64, "{said}");
    let (code, said) = ask(&world, &["diff", "/etc/app/limits.json"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("-by hand\n+{\"v\":1}"), "{said}");
}

#[test]
fn diff_compares_versions_by_digest_and_label_and_lists_two_that_match() {
    let (world, _server, daemon) = started(LINES);
    let labelled = |version: u32, label: &str| {
        let meta = format!("content_type: application/json\nversion_label: {label}\n");
        world.deploy("shop/prod/limits.json.meta.yaml", meta);
        deploy(&world, version);
        world.wait_for_target("/etc/app/limits.json", &format!("{{\"v\":{version}}}"));
        world.wait_for_status("/profiles/limits/installed/label", &json!(label));
    };
    labelled(2, "two");
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(
        ask(&world, &["diff", "limits"]),
        (0, String::new()),
        "what is installed is what was received last"
    );
    let entries = history(&world, "limits");
    let first = entries.last().unwrap()["digest"].as_str().unwrap();
    let short = &first["sha256:".len()..][..8];
    let (code, said) = ask(&world, &["diff", "limits", short, "two"]);
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("-{\"v\":1}") && said.contains("+{\"v\":2}"),
        "{said}"
    );
    assert_eq!(ask(&world, &["diff", "limits", &short[..7]]).0, 66);

    labelled(3, "two");
    let (code, said) = ask(&world, &["diff", "limits", "two"]);
    assert_eq!(code, 66, "{said}");
    assert!(said.contains("`two` names 2 versions"), "{said}");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(
        ask(&world, &["diff", "limits", short]).0,
        2,
        "from the ledger"
    );
}

#[test]
fn bodies_of_sensitive_profiles_are_shown_only_when_asked_for() {
    let (world, _server, _daemon) =
        started(&LINES.replace("{validate:", "{sensitive: true, validate:"));
    world.write("bad", "");
    deploy(&world, 2);
    world.wait_for_status("/profiles/limits/state", &json!("quarantined"));
    let (code, said) = ask(&world, &["diff", "limits"]);
    assert_eq!(code, 2, "{said}");
    assert!(
        !said.contains("\"v\"") && said.contains("--show-sensitive"),
        "{said}"
    );
    let (_, said) = ask(&world, &["diff", "limits", "--show-sensitive"]);
    assert!(said.contains("+{\"v\":2}"), "{said}");
}

/// `/etc/app/limits.json` and `/etc/app/copy.json`, both made from `limits`.
fn two_targets() -> String {
    LINES.replace(
        "services:",
        "  /etc/app/copy.json: {from: limits}\nservices:",
    )
}

#[test]
fn a_held_profile_only_receives_says_so_in_status_and_is_released() {
    let (world, _server, daemon) = started(LINES);
    let (code, said) = ask(&world, &["hold", "limits"]);
    assert_eq!(code, 0, "{said}");
    deploy(&world, 2);
    wait_for("version 2 is received", || {
        (history(&world, "limits").len() == 2).then_some(())
    });
    let status = world.wait_for_status("/profiles/limits/state", &json!("held"));
    assert_eq!(status["state"], "degraded");
    assert_eq!(text(&world, "/etc/app/limits.json").unwrap(), "{\"v\":1}");
    assert_eq!(daemon.stop(), Some(0));

    let daemon = world.run();
    world.wait_for_status("/daemon/pid", &json!(daemon.pid().as_raw()));
    let status = world.wait_for_status("/profiles/limits/state", &json!("held"));
    let reason = status["profiles"]["limits"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("held at ") && reason.contains("since "),
        "{reason}"
    );
    assert!(reason.contains("`appconfigd release limits`"), "{reason}");
    assert_eq!(text(&world, "/etc/app/limits.json").unwrap(), "{\"v\":1}");
    let (code, said) = ask(&world, &["release", "limits"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(text(&world, "/etc/app/limits.json").unwrap(), "{\"v\":2}");
    let (code, said) = ask(&world, &["release", "limits"]);
    assert_eq!(code, 1, "{said}");
    let refusal = "error: `release limits` was not carried out: it is not held; `appconfigd status` shows what is";
    assert!(said.contains(refusal), "{said}");
    let path = "/etc/app/limits.json";
    let (code, said) = ask(&world, &["release", path]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&refusal.replace("limits", path)), "{said}");
}

#[test]
fn a_held_path_keeps_an_edit_and_release_brings_the_newest_with_the_edit_in_history() {
    let (world, _server, _daemon) = started(&two_targets());
    let path = "/etc/app/limits.json";
    assert_eq!(ask(&world, &["hold", path]).0, 0);
    fs::write(world.target(path), "edited\n").unwrap();
    deploy(&world, 2);
    world.wait_for_target("/etc/app/copy.json", "{\"v\":2}");
    let status = world.status().unwrap();
    assert_eq!(status["targets"][path]["state"], "drifted");
    let (code, said) = ask(&world, &["status"]);
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains(&format!("`appconfigd release {path}`")),
        "{said}"
    );
    assert_eq!(text(&world, path).unwrap(), "edited\n");
    let (code, said) = ask(&world, &["release", path]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(text(&world, path).unwrap(), "{\"v\":2}");
    let (_, said) = ask(&world, &["diff", path]);
    assert!(said.contains("-edited\n+{\"v\":2}"), "{said}");
}

#[test]
fn a_hold_for_a_while_ends_by_itself() {
    let (world, _server, _daemon) = started(LINES);
    let (code, said) = ask(&world, &["hold", "limits", "--for", "0s"]);
    assert_eq!(code, 64, "{said}");
    let (code, said) = ask(&world, &["hold", "limits", "--for", "3s"]);
    assert_eq!(code, 0, "{said}");
    assert!(unwrapped(&said).join("\n").contains(", until "), "{said}");
    deploy(&world, 2);
    wait_for("version 2 is received", || {
        (history(&world, "limits").len() == 2).then_some(())
    });
    world.wait_for_target("/etc/app/limits.json", "{\"v\":2}");
    world.wait_for_status("/profiles/limits/state", &json!("current"));
}

#[test]
fn rollback_installs_the_version_before_or_the_one_named_and_holds_the_profile() {
    let (world, _server, _daemon) = started(LINES);
    for version in [2, 3] {
        deploy(&world, version);
        world.wait_for_target("/etc/app/limits.json", &format!("{{\"v\":{version}}}"));
        world.wait_for_status("/state", &json!("healthy"));
    }
    let (code, said) = ask(&world, &["rollback", "limits"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(text(&world, "/etc/app/limits.json").unwrap(), "{\"v\":2}");
    world.wait_for_status("/profiles/limits/state", &json!("held"));
    let entries = history(&world, "limits");
    let first = entries.last().unwrap()["digest"].as_str().unwrap();
    let (code, said) = ask(
        &world,
        &[
            "rollback",
            "limits",
            "--to",
            &first["sha256:".len()..][..12],
        ],
    );
    assert_eq!(code, 0, "{said}");
    assert_eq!(text(&world, "/etc/app/limits.json").unwrap(), "{\"v\":1}");
    assert_eq!(
        history(&world, "limits").last().unwrap()["marks"],
        json!(["installed", "held"])
    );
    let told = world.read("told").unwrap();
    assert_eq!(told.lines().count(), 5, "the service is told of each");
    assert_eq!(
        ask(&world, &["rollback", "limits", "--to", "12345678"]).0,
        66
    );
    assert_eq!(ask(&world, &["release", "limits"]).0, 0);
    assert_eq!(text(&world, "/etc/app/limits.json").unwrap(), "{\"v\":3}");
}

#[test]
fn a_rollback_that_a_check_turns_down_leaves_what_was_there_and_holds_nothing() {
    let (world, _server, _daemon) = started(LINES);
    deploy(&world, 2);
    world.wait_for_target("/etc/app/limits.json", "{\"v\":2}");
    world.wait_for_status("/state", &json!("healthy"));
    world.write("bad", "");
    let (code, said) = ask(&world, &["rollback", "limits"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("`rollback limits` was not carried out: it went back"),
        "{said}"
    );
    assert_eq!(text(&world, "/etc/app/limits.json").unwrap(), "{\"v\":2}");
    world.wait_for_status("/profiles/limits/state", &json!("current"));
    assert_eq!(ask(&world, &["release", "limits"]).0, 1);
}

#[test]
fn a_version_that_todays_schema_refuses_needs_force() {
    let lines = LINES.replace("format: json", "format: json, max_shrink: 10%");
    let (world, _server, _daemon) = started(&lines);
    world.deploy(
        "shop/prod/limits.json",
        "{\"much\": \"longer than before\"}",
    );
    world.wait_for_target("/etc/app/limits.json", "{\"much\": \"longer than before\"}");
    world.wait_for_status("/state", &json!("healthy"));
    let (code, said) = ask(&world, &["rollback", "limits"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("`--force` installs it all the same"),
        "{said}"
    );
    let (code, said) = ask(&world, &["rollback", "limits", "--force"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(text(&world, "/etc/app/limits.json").unwrap(), "{\"v\":1}");
}

#[test]
fn forget_drops_what_the_settings_name_no_more_and_nothing_else() {
    let world = World::new();
    deploy(&world, 1);
    world.deploy("shop/prod/old.json", "{}");
    let server = Server::start(&world);
    let both = LINES
        .replace("targets:", "  old:\ntargets:")
        .replace("services:", "  /etc/app/old.json: {from: old}\nservices:");
    world.settings(&server, &both);
    fs::write(world.target("/etc/app/old.json"), "by hand").unwrap();
    let _daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    world.deploy("shop/prod/old.json", "{\"v\":2}");
    world.wait_for_target("/etc/app/old.json", "{\"v\":2}");
    world.wait_for_status("/state", &json!("healthy"));
    for name in ["old", "/etc/app/old.json", "limits"] {
        let (code, said) = ask(&world, &["forget", name]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("is in the settings"), "{said}");
    }
    world.settings(&server, LINES);
    assert_eq!(ask(&world, &["reload"]).0, 0);
    assert_eq!(ask(&world, &["forget", "/etc/app/old.json"]).0, 0);
    let (code, said) = ask(&world, &["forget", "shop/prod/old"]);
    assert_eq!(code, 0, "{said}");
    for name in ["old", "shop/prod/old", "/etc/app/old.json", "never"] {
        assert_eq!(ask(&world, &["forget", name]).0, 66, "{name}");
    }
    assert_eq!(text(&world, "/etc/app/old.json").unwrap(), "{\"v\":2}");

    world.settings(&server, &both);
    assert_eq!(ask(&world, &["reload"]).0, 0);
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(history(&world, "old").len(), 1, "it begins anew");
    let (_, said) = ask(&world, &["history", "/etc/app/old.json"]);
    assert_eq!(said, "");
    assert_eq!(history(&world, "limits").len(), 1);
}
