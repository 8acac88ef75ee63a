//! `check` on settings files, right and wrong, through the built program.
//!
//! Beside each wrong file stands the whole text that is expected on standard error. After a deliberate change:
//! `BLESS=1 cargo test --test it check`, then read the difference.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::world::{PROGRAM, World};

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/settings")
        .join(folder)
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the fixtures' directory");
    let names = entries.map(|entry| {
        entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("UTF-8")
    });
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".yaml")).collect();
    names.sort();
    names
}

/// Runs `check` in a directory, without anything of this environment that has a say.
fn check_in(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.current_dir(directory).arg("check").args(arguments);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("APPCONFIGD_")
            || name.starts_with("AWS_")
            || name.ends_with("_DIRECTORY")
        {
            command.env_remove(name);
        }
    }
    command.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn expect_stderr(directory: &Path, name: &str, output: &Output, wrong: &mut Vec<String>) {
    let expected = directory.join(name).with_extension("stderr");
    let found = text(&output.stderr);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&expected, &found).expect("the expectation is written");
    }
    let expected = std::fs::read_to_string(&expected).unwrap_or_default();
    if expected != found {
        wrong.push(format!("{name}: expected\n{expected}\nfound\n{found}"));
    }
}

#[test]
fn every_wrong_settings_file_is_turned_down_with_the_expected_words() {
    let mut wrong = Vec::new();
    let mut number = 0;
    for folder in ["bad", "drop-ins-bad"] {
        let directory = fixtures(folder);
        for name in files(&directory) {
            number += 1;
            let output = check_in(&directory, &["--settings", &name]);
            if output.status.code() != Some(78) || !output.stdout.is_empty() {
                wrong.push(format!(
                    "{name}: {:?}, {}",
                    output.status,
                    text(&output.stdout)
                ));
            }
            expect_stderr(&directory, &name, &output, &mut wrong);
        }
    }
    assert!(
        number >= 30,
        "only {number} wrong settings files were found"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_last_line_counts_the_errors_and_each_begins_with_its_place() {
    let directory = fixtures("bad");
    for name in files(&directory) {
        let output = check_in(&directory, &["--settings", &name]);
        let stderr = text(&output.stderr);
        let place = format!("{name}:");
        let errors = stderr
            .lines()
            .filter(|line| line.starts_with(&place) && line.contains(": error: "));
        let number = errors.count();
        let expected = if number == 1 {
            "1 error".to_owned()
        } else {
            format!("{number} errors")
        };
        assert_eq!(stderr.lines().last(), Some(expected.as_str()), "{name}");
    }
}

#[test]
fn five_mistakes_of_different_kinds_give_five_errors_in_one_run() {
    let output = check_in(&fixtures("bad"), &["--settings", "36-five-mistakes.yaml"]);
    let stderr = text(&output.stderr);
    for place in [":2:65:", ":5:46:", ":8:11:", ":9:11:", ":13:12:"] {
        assert!(
            stderr.contains(&format!("36-five-mistakes.yaml{place} error: ")),
            "{place}\n{stderr}"
        );
    }
    assert!(stderr.ends_with("\n5 errors\n"), "{stderr}");
}

#[test]
fn every_right_settings_file_is_taken() {
    let directory = fixtures("good");
    let names = files(&directory);
    assert!(names.len() >= 5, "only {names:?} were found");
    for name in names {
        let output = check_in(&directory, &["--settings", &name]);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{name}: {stderr}");
        assert!(
            stdout.starts_with(&format!("{name}: ok: ")) && stdout.lines().count() == 1,
            "{stdout}"
        );
        // Right, and yet worth a word: a profile that nothing is made from, signals that nobody answers.
        let words: &[&str] = match name.as_str() {
            "01-smallest.yaml" => &["cannot say no"],
            "02-fuller.yaml" => &["`feature-flags`", "`shop` cannot say no"],
            _ => &[],
        };
        assert_eq!(
            stderr.matches(": warning: ").count(),
            words.len(),
            "{name}: {stderr}"
        );
        assert!(
            words.iter().all(|words| stderr.contains(words)),
            "{name}: {stderr}"
        );
    }
}

#[test]
fn drop_ins_add_to_the_main_file_and_their_paths_begin_beside_them() {
    let output = check_in(
        &fixtures("drop-ins-good"),
        &["--settings", "appconfigd.yaml"],
    );
    assert_eq!(
        text(&output.stdout),
        "appconfigd.yaml: ok: 2 profiles, 2 targets, 1 service\n"
    );
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn success_is_one_line_with_singular_and_plural_right() {
    let directory = fixtures("good");
    for (name, inventory) in [
        ("01-smallest.yaml", "1 profile, 1 target, 1 service"),
        ("02-fuller.yaml", "5 profiles, 2 targets, 2 services"),
    ] {
        let output = check_in(&directory, &["--settings", name]);
        assert_eq!(text(&output.stdout), format!("{name}: ok: {inventory}\n"));
    }
}

#[test]
fn warnings_are_shown_and_do_not_change_the_exit() {
    let directory = fixtures("warned");
    let mut wrong = Vec::new();
    for name in files(&directory) {
        let output = check_in(&directory, &["--settings", &name]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{name}: {}",
            text(&output.stderr)
        );
        expect_stderr(&directory, &name, &output, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_settings_file_that_does_not_exist_is_66() {
    let output = check_in(&fixtures("good"), &["--settings", "nowhere.yaml"]);
    assert_eq!(output.status.code(), Some(66));
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("nowhere.yaml:1:1: error: "), "{stderr}");
    assert!(stderr.ends_with("\n1 error\n"), "{stderr}");
}

#[test]
fn a_directory_in_the_settings_file_s_place_is_78() {
    let output = check_in(&fixtures("."), &["--settings", "good"]);
    assert_eq!(output.status.code(), Some(78), "{}", text(&output.stderr));
}

#[test]
fn a_loopback_endpoint_of_the_environment_allows_short_intervals() {
    let directory = fixtures("loopback");
    let refused = check_in(&directory, &["--settings", "every-second.yaml"]);
    assert_eq!(refused.status.code(), Some(78));
    let mut command = Command::new(PROGRAM);
    command
        .current_dir(&directory)
        .args(["--settings", "every-second.yaml", "check"]);
    command.env("AWS_ENDPOINT_URL_APPCONFIGDATA", "http://127.0.0.1:2772");
    let taken = command.output().expect("the program starts");
    assert_eq!(taken.status.code(), Some(0), "{}", text(&taken.stderr));
}

#[test]
fn the_examples_pass() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for example in ["nginx", "legacy-daemon", "container"] {
        let output = check_in(&examples.join(example), &["--settings", "appconfigd.yaml"]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{example}: {}",
            text(&output.stderr)
        );
        assert!(
            output.stderr.is_empty(),
            "{example}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn with_host_missing_users_groups_and_directories_are_errors_where_the_target_stands() {
    let directory = fixtures("host");
    let without = check_in(&directory, &["--settings", "nobody-here.yaml"]);
    assert_eq!(without.status.code(), Some(0), "{}", text(&without.stderr));
    let output = check_in(&directory, &["--host", "--settings", "nobody-here.yaml"]);
    assert_eq!(output.status.code(), Some(78));
    let mut wrong = Vec::new();
    expect_stderr(&directory, "nobody-here.yaml", &output, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn with_host_the_directories_of_targets_are_looked_for_below_the_root() {
    let root = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(root.path().join("run/app")).expect("a directory");
    let root = root.path().to_str().expect("UTF-8");
    let arguments = ["--host", "--settings", "06-json.yaml", "--root", root];
    let output = check_in(&fixtures("good"), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn with_host_a_watch_without_files_is_a_warning() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = "root: root\naws: {region: eu-west-1}\nwatches:\n  some: {paths: [/etc/some.pem], notify: web}\n  none: {paths: [/etc/none/*.pem], notify: web}\nservices: {web: {command: [\"true\"], check: [\"true\"]}}\n";
    std::fs::create_dir_all(directory.path().join("root/etc")).expect("a directory");
    std::fs::write(directory.path().join("root/etc/some.pem"), "").expect("a file");
    std::fs::write(directory.path().join("appconfigd.yaml"), settings).expect("a file");
    let output = check_in(
        directory.path(),
        &["--host", "--settings", "appconfigd.yaml"],
    );
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("warning: watch `none`: none of its files is there yet"),
        "{said}"
    );
    assert!(!said.contains("watch `some`"), "{said}");
}

#[test]
fn the_drop_in_lets_the_unit_read_what_is_watched_and_asks_for_nothing_where_it_can() {
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("live");
    std::fs::create_dir(&secret).expect("a directory");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("a mode");
    std::fs::write(secret.join("key.pem"), "").expect("a file");
    let printed = |path: &str| {
        let settings = format!(
            "aws: {{region: eu-west-1}}\nwatches: {{secrets: {{paths: [{path}], notify: web}}}}\nservices: {{web: {{command: [\"true\"]}}}}\n"
        );
        std::fs::write(directory.path().join("appconfigd.yaml"), settings).expect("a file");
        let output = Command::new(env!("CARGO_BIN_EXE_appconfigd"))
            .args(["systemd-dropin", "--settings", "appconfigd.yaml"])
            .current_dir(directory.path())
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let needs = printed(&format!("{}/*.pem", secret.display()));
    for line in [
        "# watch secrets: `appconfigd` may not read `",
        "AmbientCapabilities=CAP_DAC_READ_SEARCH",
    ] {
        assert!(needs.contains(line), "{needs}");
    }
    let needs = printed("/etc/passwd");
    assert!(needs.ends_with("# Nothing.\n"), "{needs}");
}

#[test]
fn the_drop_in_lets_the_unit_make_the_socket_of_metrics_where_the_settings_have_it() {
    let world = World::new();
    for (socket, expected) in [
        (
            "/etc/metrics.sock",
            "# metrics\nReadWritePaths=-/etc\n# metrics: `appconfigd` may not write to `/etc`\n",
        ),
        ("/run/appconfigd/metrics.sock", "# Nothing.\n"),
    ] {
        let settings = format!("aws: {{region: eu-west-1}}\nmetrics: {{listen: {socket}}}\n");
        world.write("appconfigd.yaml", &format!("{settings}defaults: {{application: a, environment: b}}\nprofiles: {{p: {{}}}}\ntargets: {{/run/appconfigd/p: {{from: p}}}}\n"));
        let output = world.output(&["systemd-dropin"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let printed = text(&output.stdout);
        let (_, printed) = printed.split_once("[Service]\n").expect("the section");
        assert!(printed.starts_with(expected), "{printed}");
    }
}

#[test]
fn with_host_the_socket_of_metrics_is_a_warning_where_the_unit_may_not_make_it() {
    let world = World::new();
    // As systemd would say it of the unit.
    let properties = world.path("properties");
    let script = format!("#!/bin/sh\ncat {}\n", properties.display());
    let systemctl = world.write("bin/systemctl", &script);
    std::fs::set_permissions(
        &systemctl,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("a mode");
    let settings = "aws: {region: eu-west-1}\nwatches: {w: {paths: [/etc/passwd], notify: s}}\nservices: {s: {command: [\"true\"], check: [\"true\"]}}\n";
    world.write(
        "appconfigd.yaml",
        &format!("{settings}metrics: {{listen: /etc/metrics.sock}}\n"),
    );
    let said = |properties: &str| {
        world.write("properties", properties);
        let path = std::env::var("PATH").expect("a path");
        let path = format!("{}:{path}", world.path("bin").display());
        let mut check = world.command(&["check", "--host"]);
        let output = check.env("PATH", path).output().expect("an end");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let strict = "LoadState=loaded\nProtectSystem=strict\n";
    let warned = said(strict);
    for part in [
        "appconfigd.yaml:4:1: warning: `appconfigd.service` may not write to `/etc` (ProtectSystem=strict)",
        "metrics: {listen: /etc/metrics.sock}",
        "`appconfigd systemd-dropin --as-root` prints the drop-in that allows it",
    ] {
        assert!(warned.contains(part), "{part}: {warned}");
    }
    assert_eq!(said(&format!("{strict}ReadWritePaths=-/etc\n")), "");
    assert_eq!(said("LoadState=not-found\n"), "");
}
