//! `plan`: what would happen, and nothing happens.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use appconfigd::protocol::Digest;
use serde_json::json;

use crate::directories::as_nobody;
use crate::world::{Server, World, metadata, stderr, stdout, wait_for};

const SETTINGS: &str = "profiles:\n  limits:\ntargets:\n  /etc/app/limits.json: {from: limits, notify: app}\nservices:\n  app: {command: [sh, -c, echo told >> told]}\n";

/// `plan` with these arguments: exit code and standard output. That nothing in the world has changed is checked here,
/// for every plan of every test.
fn plan(world: &World, arguments: &[&str]) -> (Option<i32>, String, String) {
    let before = listing(&world.path("."));
    let output = world.output(&[&["plan"], arguments].concat());
    let after = listing(&world.path("."));
    let names = before.keys().chain(after.keys());
    let touched: BTreeMap<&String, _> = names
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| (name, (before.get(name), after.get(name))))
        .collect();
    assert!(touched.is_empty(), "`plan` wrote something: {touched:#?}");
    (output.status.code(), stdout(&output), stderr(&output))
}

/// What a write to a file or directory would change.
#[derive(Debug, PartialEq)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    digest: Digest,
}

/// Every file and directory below this one.
fn listing(directory: &Path) -> BTreeMap<String, Entry> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let bytes = match metadata.is_file() {
            true => fs::read(&path).unwrap(),
            false => Vec::new(),
        };
        // The logs of a daemon and its server may grow meanwhile.
        if path.extension().is_some_and(|extension| extension == "log") {
            continue;
        }
        let name = path.display().to_string();
        // SQLite as root gives the log the owner that it has already; nothing but this time changes by that.
        let changed = match name.ends_with("-wal") || name.ends_with("-shm") {
            true => (0, 0),
            false => (metadata.ctime(), metadata.ctime_nsec()),
        };
        let entry = Entry {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed,
            digest: Digest::of(&bytes),
        };
        if metadata.is_dir() {
            waiting.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        found.insert(name, entry);
    }
    found
}

fn once(world: &World) {
    let output = world.output(&["once"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// Waits until the daemon has nothing left to do.
fn settled(world: &World) {
    world.wait_for_status("/targets/~1etc~1app~1limits.json/state", &json!("in_sync"));
    world.wait_for_status("/services/app/state", &json!("acknowledged"));
}

#[test]
fn without_a_ledger_the_profiles_are_fetched_and_new_files_are_shown_whole() {
    let (world, server) = World::served(&[("shop/prod/limits.json", "{\"limit\": 1}\n")], SETTINGS);
    let (exit, shown, complaints) = plan(&world, &[]);
    assert_eq!(exit, Some(2), "{complaints}");
    assert_eq!(complaints, "");
    for part in [
        "target /etc/app/limits.json would be made, owner ",
        "mode 0644:\n--- /dev/null\n+++ /etc/app/limits.json\n@@ -0,0 +1 @@\n+{\"limit\": 1}\n",
        "service app would be notified (its command): /etc/app/limits.json would change\n",
        "1 of 1 target would change, 1 service would be notified\n",
    ] {
        assert!(shown.contains(part), "{part:?} in:\n{shown}");
    }
    assert_eq!(server.count("shop/prod/limits", "start"), 1);
    assert_eq!(server.count("shop/prod/limits", "get"), 1);
    assert!(world.read("told").is_none(), "no service is told");
}

#[test]
fn under_local_settings_it_needs_no_other_server() {
    let world = World::new();
    world.deploy("shop/prod/limits.json", "{}\n");
    world.write(
        "appconfigd.yaml",
        &format!("local: {{directory: store}}\nroot: root\ndefaults: {{application: shop, environment: prod}}\n{SETTINGS}"),
    );
    fs::create_dir_all(world.target("/etc/app")).unwrap();
    let (exit, shown, complaints) = plan(&world, &[]);
    assert_eq!(exit, Some(2), "{complaints}");
    assert!(shown.contains("+{}\n"), "{shown}");
    assert_eq!(complaints, "");
}

#[test]
fn what_the_ledger_has_is_not_polled_and_no_difference_is_0() {
    let (world, server) = World::served(&[("shop/prod/limits.json", "{\"limit\": 1}\n")], SETTINGS);
    once(&world);
    let calls = server.calls("shop/prod/limits");
    world.deploy("shop/prod/limits.json", "{\"limit\": 2}\n");
    let (exit, shown, complaints) = plan(&world, &[]);
    assert_eq!((exit, complaints.as_str()), (Some(0), ""), "{shown}");
    assert!(
        shown.ends_with("no difference: nothing would change in 1 target\n"),
        "{shown}"
    );
    assert_eq!(server.calls("shop/prod/limits"), calls);
    // Also with nobody to poll.
    server.stop();
    assert_eq!(plan(&world, &[]).0, Some(0));
}

#[test]
fn a_file_that_was_edited_is_a_difference_and_the_edit_would_be_kept() {
    let (world, _server) = World::served(&[("shop/prod/limits.json", "a\nb\nc\n")], SETTINGS);
    once(&world);
    fs::write(world.target("/etc/app/limits.json"), "a\nB\nc\n").unwrap();
    let (exit, shown, _) = plan(&world, &[]);
    assert_eq!(exit, Some(2));
    let diff =
        "--- /etc/app/limits.json\n+++ /etc/app/limits.json\n@@ -1,3 +1,3 @@\n a\n-B\n+b\n c\n";
    assert!(shown.contains(diff), "{shown}");
    assert!(shown.contains("it would be kept in history"), "{shown}");
    assert!(shown.contains("service app would be notified"), "{shown}");
}

#[test]
fn settings_that_changed_are_planned_with_the_configuration_that_is_there() {
    let (world, server) = World::served(&[("shop/prod/limits.json", "{\"limit\": 1}\n")], SETTINGS);
    once(&world);
    world.write("limits.j2", "limit = {{ config.limit }}\n");
    world.settings(
        &server,
        &SETTINGS.replace("from: limits", "from: limits, template: limits.j2"),
    );
    let (exit, shown, _) = plan(&world, &[]);
    assert_eq!(exit, Some(2));
    assert!(shown.contains("-{\"limit\": 1}\n+limit = 1\n"), "{shown}");
}

#[test]
fn other_metadata_alone_is_a_difference_without_a_diff_and_without_a_notification() {
    let (world, _server) = World::served(&[("shop/prod/limits.json", "{}\n")], SETTINGS);
    once(&world);
    let file = world.target("/etc/app/limits.json");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let (exit, shown, _) = plan(&world, &[]);
    assert_eq!(
        exit,
        Some(0),
        "the mode of a file that is there is kept: {shown}"
    );
    let text = world.read("appconfigd.yaml").unwrap();
    world.write(
        "appconfigd.yaml",
        &text.replace("notify: app", "notify: app, mode: 0640"),
    );
    let (exit, shown, _) = plan(&world, &[]);
    assert_eq!(exit, Some(2), "{shown}");
    assert!(
        shown.contains("target /etc/app/limits.json would get other metadata, its content stays:\nmode 0666 -> 0640\n"),
        "{shown}"
    );
    assert!(!shown.contains("@@"), "{shown}");
    assert!(
        shown.ends_with("1 of 1 target would change, 0 services would be notified\n"),
        "{shown}"
    );
    assert_eq!(metadata(&file).2, 0o666);
}

#[test]
fn a_sensitive_profile_is_shown_by_its_digests_only() {
    let lines = "profiles:\n  key: {sensitive: true}\n  base:\ntargets:\n  /etc/app/key: {from: key}\n  /etc/app/both.json: {from: [base, key], merge: true}\n";
    let store = [
        ("shop/prod/key.json", "{\"key\": \"hush-hush\"}"),
        ("shop/prod/base.json", "{\"a\": 1}"),
    ];
    let (world, _server) = World::served(&store, lines);
    fs::write(world.target("/etc/app/key"), "older-secret").unwrap();
    let (exit, shown, complaints) = plan(&world, &[]);
    assert_eq!(exit, Some(2), "{complaints}");
    let all = format!("{shown}{complaints}");
    assert!(!all.contains("hush"), "{all}");
    assert!(!all.contains("older"), "{all}");
    assert_eq!(
        shown
            .matches("the content is sensitive and not shown")
            .count(),
        2
    );
    let now = format!("  now  {}\n", Digest::of(b"older-secret"));
    let then = format!("  then {}\n", Digest::of(b"{\"key\": \"hush-hush\"}"));
    assert!(shown.contains(&now) && shown.contains(&then), "{shown}");
}

#[test]
fn a_refused_configuration_is_1_and_what_is_there_stays() {
    let lines = "profiles:\n  limits: {validate: {format: json}}\n  other:\ntargets:\n  /etc/app/limits.json: {from: limits}\n  /etc/app/other: {from: other}\n";
    let store = [
        ("shop/prod/limits.json", "{\"limit\": "),
        ("shop/prod/other.txt", "other\n"),
    ];
    let (world, _server) = World::served(&store, lines);
    let (exit, shown, complaints) = plan(&world, &[]);
    assert_eq!(exit, Some(1), "before 2: {shown}");
    assert!(
        complaints.starts_with("profile limits: refused: "),
        "{complaints}"
    );
    assert!(
        shown.contains(
            "target /etc/app/limits.json would stay as it is, because of profile limits\n"
        ),
        "{shown}"
    );
    assert!(shown.contains("+other\n"), "the rest is planned: {shown}");
    // Asked for the other target alone, it is not looked at.
    let (exit, _, complaints) = plan(&world, &["/etc/app/other"]);
    assert_eq!((exit, complaints.as_str()), (Some(2), ""));
}

#[test]
fn a_source_that_cannot_be_reached_is_75_and_a_service_that_says_no_is_1() {
    let (world, server) = World::served(&[("shop/prod/limits.json", "{}")], SETTINGS);
    world.withdraw("shop/prod/limits.json");
    let (exit, _, complaints) = plan(&world, &[]);
    assert_eq!(exit, Some(1), "{complaints}");
    assert!(
        complaints.starts_with("error: profile `limits`: ")
            && complaints.contains("ResourceNotFoundException"),
        "{complaints}"
    );
    server.stop();
    let (exit, shown, complaints) = plan(&world, &[]);
    assert_eq!(exit, Some(75), "{complaints}");
    assert!(
        complaints.contains("error: profile `limits`: StartConfigurationSession")
            && complaints.contains("the ledger has nothing of it"),
        "{complaints}"
    );
    assert!(
        shown.contains("target /etc/app/limits.json would stay as it is"),
        "{shown}"
    );
}

#[test]
fn a_refusal_goes_before_a_source_that_is_not_reached_and_that_before_a_difference() {
    let lines = "profiles:\n  bad: {validate: {format: json}}\n  slow:\n  good:\ntargets:\n  /etc/app/bad: {from: bad}\n  /etc/app/slow: {from: slow}\n  /etc/app/good: {from: good}\n";
    let store = [
        ("shop/prod/bad.json", "{"),
        ("shop/prod/slow.txt", "slow"),
        ("shop/prod/good.txt", "good"),
    ];
    let (world, server) = World::served(&store, lines);
    server.faults(json!([{"kind": "throttle", "operation": "any", "profile": "shop/prod/slow"}]));
    std::thread::scope(|scope| {
        let all = scope.spawn(|| plan(&world, &[]));
        let two = plan(&world, &["/etc/app/slow", "/etc/app/good"]);
        let all = all.join().unwrap();
        assert_eq!(all.0, Some(1), "{}", all.2);
        assert!(all.2.contains("profile bad: refused") && all.2.contains("Throttling"));
        assert_eq!(two.0, Some(75), "{}", two.2);
        assert!(two.1.contains("\n+good\n"), "{}", two.1);
    });
}

#[test]
fn a_profile_that_is_not_required_may_be_missing() {
    let lines = "profiles:\n  base:\n  extra: {required: false}\ntargets:\n  /etc/app/all.json: {from: [base, extra], merge: true}\n";
    let (world, _server) = World::served(&[("shop/prod/base.json", "{\"a\": 1}")], lines);
    let (exit, shown, complaints) = plan(&world, &[]);
    assert_eq!(exit, Some(2), "{complaints}");
    assert!(
        complaints.starts_with("note: profile `extra`: "),
        "{complaints}"
    );
    assert!(shown.contains("+  \"a\": 1\n"), "{shown}");
}

#[test]
fn a_service_that_was_never_told_is_a_difference_without_any_file() {
    let (world, server) = World::served(&[("shop/prod/limits.json", "{}\n")], SETTINGS);
    once(&world);
    world.settings(
        &server,
        &SETTINGS
            .replace("notify: app", "notify: [app, late]")
            .replace(
                "services:\n",
                "services:\n  late: {reload: {unit: late.service}}\n",
            ),
    );
    let (exit, shown, _) = plan(&world, &[]);
    assert_eq!(exit, Some(2), "{shown}");
    assert!(
        shown.contains("service late would be notified (reload late.service): it was never told of /etc/app/limits.json\n"),
        "{shown}"
    );
    assert!(!shown.contains("service app"), "{shown}");
    assert!(!shown.contains("@@"), "{shown}");
}

#[test]
fn beside_a_daemon_it_reads_what_the_daemon_has() {
    let (world, server) = World::served(&[("shop/prod/limits.json", "{\"limit\": 1}\n")], SETTINGS);
    let daemon = world.run();
    settled(&world);
    let output = world.output(&["plan"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    fs::write(world.target("/etc/app/limits.json"), "edited\n").unwrap();
    let output = world.output(&["plan"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stdout(&output).contains("-edited\n+{\"limit\": 1}\n"));
    assert_eq!(
        server.count("shop/prod/limits", "start"),
        1,
        "the daemon's own session"
    );
    // The daemon goes on as before.
    world.deploy("shop/prod/limits.json", "{\"limit\": 2}\n");
    world.wait_for_target("/etc/app/limits.json", "{\"limit\": 2}\n");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn after_a_daemon_was_killed_its_ledger_is_read_and_left_as_it_is() {
    let (world, _server) =
        World::served(&[("shop/prod/limits.json", "{\"limit\": 1}\n")], SETTINGS);
    let daemon = world.run();
    settled(&world);
    daemon.kill();
    let log = world.target("/var/lib/appconfigd/ledger.db-wal");
    assert!(log.exists(), "the daemon had no time to tidy up");
    assert_eq!(plan(&world, &[]).0, Some(0));
}

#[test]
fn bytes_that_are_no_text_are_not_shown() {
    let world = World::new();
    world.deploy("shop/prod/blob.bin", b"\xff\x00\x1b[2J");
    let server = Server::start(&world);
    world.settings(
        &server,
        "profiles:\n  blob:\ntargets:\n  /etc/app/blob: {from: blob}\n",
    );
    fs::write(world.target("/etc/app/blob"), b"\xfe").unwrap();
    let (exit, shown, _) = plan(&world, &[]);
    assert_eq!(exit, Some(2));
    assert!(
        shown.contains("would be replaced:\nbinary files differ\n"),
        "{shown}"
    );
}

#[test]
fn a_configuration_does_not_steer_the_terminal_of_whoever_looks() {
    let world = World::new();
    world.deploy("shop/prod/text.txt", "\u{1b}]0;owned\u{7}\r\n");
    let server = Server::start(&world);
    world.settings(
        &server,
        "profiles:\n  text:\ntargets:\n  /etc/app/text: {from: text}\n",
    );
    let (_, shown, _) = plan(&world, &[]);
    assert!(shown.contains("+\\u{1b}]0;owned\\u{7}\\r\n"), "{shown:?}");
}

#[test]
fn a_target_that_the_settings_do_not_have_is_66() {
    let (world, _server) = World::served(&[], SETTINGS);
    for wrong in ["/etc/app/limit.json", "etc/app/limits.json", "limits", ""] {
        let (exit, shown, complaints) = plan(&world, &[wrong]);
        assert_eq!((exit, shown.as_str()), (Some(66), ""), "{wrong}");
        assert!(
            complaints.starts_with(&format!("error: `{wrong}` is no target of "))
                && complaints.contains("its targets are: /etc/app/limits.json"),
            "{complaints}"
        );
    }
}

#[test]
fn wrong_settings_are_78_before_anything_else() {
    let (world, _server) = World::served(&[], SETTINGS);
    let text = world.read("appconfigd.yaml").unwrap();
    world.write("appconfigd.yaml", &format!("{text}\ntargts: {{}}\n"));
    assert_eq!(plan(&world, &["/no/such"]).0, Some(78));
    world.write(
        "appconfigd.yaml",
        &text.replace("from: limits", "from: limits, template: t.j2"),
    );
    world.write("t.j2", "{% if %}");
    let (exit, _, complaints) = plan(&world, &[]);
    assert_eq!(exit, Some(78), "{complaints}");
    assert!(complaints.contains("t.j2"), "{complaints}");
}

#[test]
fn a_target_whose_directory_is_missing_is_1_and_says_what_to_do() {
    let (world, _server) = World::served(&[("shop/prod/limits.json", "{}")], SETTINGS);
    fs::remove_dir(world.target("/etc/app")).unwrap();
    let (exit, shown, complaints) = plan(&world, &[]);
    assert_eq!(exit, Some(1), "{shown}");
    assert!(
        complaints.contains("etc/app") && complaints.contains("create it"),
        "{complaints}"
    );
}

#[test]
fn an_interrupted_transaction_is_said_and_a_difference() {
    // The command kills the daemon that runs it: the transaction stays open.
    let lines = SETTINGS.replace("echo told >> told", "kill -9 $PPID");
    let (world, _server) = World::served(&[("shop/prod/limits.json", "{}\n")], &lines);
    let mut daemon = world.run();
    assert_eq!(daemon.wait(), None, "killed");
    wait_for("the file is in place", || {
        world.target("/etc/app/limits.json").exists().then_some(())
    });
    let (exit, shown, _) = plan(&world, &[]);
    assert_eq!(exit, Some(2), "{shown}");
    assert!(shown.contains("a transaction is open since "), "{shown}");
}

#[test]
fn a_directory_that_cannot_be_written_is_said_beside_the_diff() {
    let (world, _server) = World::served(&[("shop/prod/limits.json", "{}\n")], SETTINGS);
    let Some(mut command) = as_nobody(&world, &["plan"]) else {
        return;
    };
    let directory = world.target("/etc/app");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    command.envs([
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(
        shown.contains("+{}\nwhoever runs `plan` could not write it: `")
            && shown.contains("root/etc/app`: Permission denied"),
        "{shown}"
    );
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    let output = command.output().unwrap();
    assert!(!stdout(&output).contains("could not write"));
}

#[test]
fn what_is_held_or_left_alone_is_said_and_is_no_difference() {
    let lines = SETTINGS.replace("notify: app", "notify: app, on_drift: report");
    let (world, _server) = World::served(&[("shop/prod/limits.json", "{\"limit\": 1}\n")], &lines);
    let daemon = world.run();
    world.wait_for_status("/state", &json!("healthy"));
    assert!(world.output(&["hold", "limits"]).status.success());
    let status = world.status().unwrap();
    let held = &status["profiles"]["limits"]["received"]["digest"];
    world.deploy("shop/prod/limits.json", "{\"limit\": 2}\n");
    wait_for("the second version is received", || {
        let status = world.status()?;
        (status["profiles"]["limits"]["received"]["digest"] != *held).then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
    let (exit, shown, _) = plan(&world, &[]);
    assert_eq!(exit, Some(0), "{shown}");
    assert!(shown.contains(", held since "), "{shown}");
    assert!(shown.contains("a newer one was received"), "{shown}");

    let daemon = world.run();
    world.wait_for_status("/daemon/pid", &json!(daemon.pid().as_raw()));
    assert!(
        world
            .output(&["hold", "/etc/app/limits.json"])
            .status
            .success()
    );
    world.output(&["release", "limits"]);
    assert_eq!(daemon.stop(), Some(0));
    let (exit, shown, _) = plan(&world, &[]);
    assert_eq!(exit, Some(0), "{shown}");
    let target = "target /etc/app/limits.json is held since ";
    assert!(shown.contains(target), "{shown}");
    assert!(
        shown.contains("appconfigd release /etc/app/limits.json"),
        "{shown}"
    );

    let daemon = world.run();
    world.wait_for_status("/daemon/pid", &json!(daemon.pid().as_raw()));
    assert!(
        world
            .output(&["release", "/etc/app/limits.json"])
            .status
            .success()
    );
    world.wait_for_target("/etc/app/limits.json", "{\"limit\": 2}\n");
    world.wait_for_status("/state", &json!("healthy"));
    assert_eq!(daemon.stop(), Some(0));
    fs::write(world.target("/etc/app/limits.json"), "by hand").unwrap();
    let (exit, shown, _) = plan(&world, &[]);
    assert_eq!(exit, Some(0), "{shown}");
    assert!(shown.contains("left alone (`on_drift: report`)"), "{shown}");
}

#[test]
fn a_plan_that_waits_for_an_answer_says_so_while_it_waits() {
    let world = World::new();
    // Connections are taken by the kernel, and nobody answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let settings = format!(
        "aws: {{region: eu-west-1, endpoint_url: \"http://{address}\"}}\nroot: root\ndefaults: {{application: shop, environment: prod}}\n{SETTINGS}"
    );
    world.write("appconfigd.yaml", &settings);
    fs::create_dir_all(world.target("/etc/app")).unwrap();
    let said = fs::File::create(world.path("said")).unwrap();
    let mut plan = world.command(&["plan"]).stderr(said).spawn().unwrap();
    wait_for("it says that it waits", || {
        world
            .read("said")?
            .starts_with("note: no answer yet about 1 profile; ")
            .then_some(())
    });
    assert_eq!(plan.try_wait().unwrap(), None, "it still waits");
    plan.kill().unwrap();
    plan.wait().unwrap();
}
