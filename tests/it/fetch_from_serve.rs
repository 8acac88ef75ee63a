//! `fetch` against `serve`, both as they are shipped: bytes, files, exit codes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Seek};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Output;

use appconfigd::protocol::Digest;
use serde_json::{Value, json};

use crate::world::{Server, World, metadata};

fn served(file: &str, bytes: &[u8]) -> (World, Server) {
    let world = World::new();
    world.deploy(file, bytes);
    let server = Server::start(&world);
    (world, server)
}

/// `fetch` with these arguments, against this endpoint; there are no settings.
fn fetch(world: &World, endpoint: &str, arguments: &[&str]) -> Output {
    let mut command = world.command(&[&["fetch"], arguments].concat());
    command
        .env_remove("APPCONFIGD_SETTINGS")
        .args(["--endpoint-url", endpoint, "--region", "eu-west-1"])
        .output()
        .unwrap()
}

/// Exit code and the complaint, with nothing on standard output.
fn refused(output: &Output) -> (Option<i32>, String) {
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(text.starts_with("error: "), "{text}");
    (output.status.code(), text)
}

#[test]
fn the_bytes_come_out_as_they_were_deployed() {
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let (world, server) = served("shop/prod/blob.bin", &bytes);
    let output = fetch(&world, &server.endpoint(), &["shop", "prod", "blob"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == bytes, "no byte more, no byte less");
    assert!(output.stderr.is_empty());
}

#[test]
fn each_exit_code_of_the_contract() {
    let (world, server) = served("shop/prod/limits.json", b"{}");
    world.deploy("shop/prod/empty.txt", "");
    let endpoint = server.endpoint();
    for (missing, what) in [
        (["nowhere", "prod", "limits"], "Application"),
        (["shop", "nowhere", "limits"], "Environment"),
        (["shop", "prod", "nowhere"], "profile"),
    ] {
        let (code, text) = refused(&fetch(&world, &endpoint, &missing));
        assert_eq!(code, Some(66), "{text}");
        assert!(text.contains("nowhere") && text.contains(what), "{text}");
    }
    let (code, text) = refused(&fetch(&world, &endpoint, &["shop", "prod", "empty"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is empty"), "{text}");

    let limits = ["shop", "prod", "limits", "--timeout", "1s"];
    server.faults(json!([{"kind": "throttle", "operation": "any"}]));
    let (code, text) = refused(&fetch(&world, &endpoint, &limits));
    assert_eq!(code, Some(75), "{text}");
    assert!(text.contains("Throttling") && text.contains("1s"), "{text}");
    server.faults(json!([{"kind": "internal_error", "operation": "get"}]));
    assert_eq!(refused(&fetch(&world, &endpoint, &limits)).0, Some(75));
    server.faults(json!([{"kind": "delay", "delay_ms": 60_000}]));
    assert_eq!(refused(&fetch(&world, &endpoint, &limits)).0, Some(75));
    server.stop();
    let (code, text) = refused(&fetch(&world, &endpoint, &limits));
    assert_eq!(code, Some(75), "{text}");
    assert!(text.contains(&endpoint), "{text}");

    let (code, _) = refused(&fetch(&world, "not-a-url", &limits));
    assert_eq!(code, Some(64));
}

#[test]
fn a_passing_fault_costs_time_and_not_the_configuration() {
    let (world, server) = served("shop/prod/limits.json", b"{\"limit\": 1}");
    server.faults(json!([
        {"kind": "drop_before", "operation": "start", "count": 1},
        {"kind": "truncate", "operation": "get", "count": 1, "bytes": 4},
        {"kind": "drop_after", "operation": "get", "count": 1},
    ]));
    let output = fetch(&world, &server.endpoint(), &["shop", "prod", "limits"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        output.stdout, b"{\"limit\": 1}",
        "and nothing of the torn one"
    );
}

#[test]
fn a_file_is_replaced_whole_and_keeps_owner_group_mode_and_attributes() {
    let (world, server) = served("shop/prod/limits.json", b"{\"limit\": 2}");
    let file = world.write("out.json", "{\"limit\": 1}, and longer than the new one");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(65534), Some(65534)).unwrap();
    }
    let before = metadata(&file);
    let inode = fs::metadata(&file).unwrap().ino();
    let mut reader = fs::File::open(&file).unwrap();
    let arguments = ["shop", "prod", "limits", "--output", "out.json"];
    let output = fetch(&world, &server.endpoint(), &arguments);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    assert_eq!(fs::read(&file).unwrap(), b"{\"limit\": 2}");
    assert_eq!(metadata(&file), before);
    assert_ne!(fs::metadata(&file).unwrap().ino(), inode, "a new file");
    // Whoever was reading the old one reads it to its end.
    let mut old = String::new();
    reader.rewind().unwrap();
    reader.read_to_string(&mut old).unwrap();
    assert_eq!(old, "{\"limit\": 1}, and longer than the new one");
    assert!(
        !world.path(".appconfigd").exists(),
        "nothing is left behind"
    );
}

#[test]
fn a_file_stays_untouched_when_nothing_can_be_fetched() {
    let (world, server) = served("shop/prod/empty.txt", b"");
    let file = world.write("out.json", "old");
    let before = fs::metadata(&file).unwrap();
    for profile in ["empty", "nowhere"] {
        let arguments = [
            "shop",
            "prod",
            profile,
            "--output",
            "out.json",
            "--metadata",
            "about.json",
        ];
        let output = fetch(&world, &server.endpoint(), &arguments);
        assert_ne!(output.status.code(), Some(0));
        let after = fs::metadata(&file).unwrap();
        assert_eq!(
            (after.ino(), after.mtime_nsec(), after.len()),
            (before.ino(), before.mtime_nsec(), before.len())
        );
        assert!(!world.path("about.json").exists());
    }
}

#[test]
fn the_metadata_has_exactly_four_keys() {
    let (world, server) = served("shop/prod/limits.json", b"{}");
    let about = |server: &Server| -> Value {
        let arguments = ["shop", "prod", "limits", "--metadata", "about.json"];
        let output = fetch(&world, &server.endpoint(), &arguments);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(
            output.stdout, b"{}",
            "the bytes still go to standard output"
        );
        serde_json::from_str(&world.read("about.json").unwrap()).unwrap()
    };
    let expected = |content_type: &str, label: Value| {
        json!({
            "content_type": content_type,
            "version_label": label,
            "digest": Digest::of(b"{}").to_string(),
            // Without a declared interval.
            "poll_interval_seconds": 60,
        })
    };
    assert_eq!(about(&server), expected("application/json", Value::Null));
    world.deploy(
        "shop/prod/limits.json.meta.yaml",
        "content_type: text/x-odd\nversion_label: v7\n",
    );
    let found = crate::world::wait_for("the sidecar is seen", || {
        let found = about(&server);
        (found["version_label"] == "v7").then_some(found)
    });
    assert_eq!(found, expected("text/x-odd", json!("v7")));
    let keys: BTreeSet<&str> = found
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(keys.len(), 4);
}

#[test]
fn a_symbolic_link_a_directory_and_a_missing_directory_are_refused_with_what_to_do() {
    let (world, server) = served("shop/prod/limits.json", b"{}");
    let file = world.write("real.json", "old");
    std::os::unix::fs::symlink(&file, world.path("link.json")).unwrap();
    for (output, word) in [
        ("link.json", "symbolic link"),
        ("store", "directory"),
        ("no/such/out.json", "no/such"),
    ] {
        let arguments = ["shop", "prod", "limits", "--output", output];
        let (code, text) = refused(&fetch(&world, &server.endpoint(), &arguments));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(word), "{text}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"old");
}
