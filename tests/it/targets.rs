//! Kinds of target, and the ways that lead to one.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

use nix::unistd::geteuid;

use crate::skip::skip;
use crate::world::{Server, World, metadata};

/// A world whose one target has these settings, and whose service is this shell line.
fn world(target: &str, service: &str) -> (World, Server) {
    let world = World::new();
    let server = Server::start(&world);
    declare(&world, &server, target, service);
    (world, server)
}

fn declare(world: &World, server: &Server, target: &str, service: &str) {
    let lines = format!(
        "profiles:\n  limits:\ntargets:\n  /etc/app/limits.txt: {{from: limits, notify: app, {target}}}\nservices:\n  app: {{command: {{shell: \"{service}\"}}}}\n"
    );
    world.settings(server, &lines);
}

fn deploy(world: &World, text: &str) {
    world.deploy("shop/prod/limits.txt", text);
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

/// `once` until the poll that is due has been made: sessions are kept, and so are their intervals.
fn once(world: &World, server: &Server) -> Output {
    server.advance(2);
    std::thread::park_timeout(std::time::Duration::from_millis(1_200));
    world.output(&["once"])
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn nothing_left(world: &World, folder: &str) {
    let left = world.target(folder).join(".appconfigd");
    assert!(!left.exists(), "{left:?}");
}

fn works(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

const FILE: &str = "/etc/app/limits.txt";

#[test]
fn a_target_in_place_keeps_its_inode_through_a_change_and_a_way_back() {
    let (world, server) = world("in_place: true", "! grep -q bad root/etc/app/limits.txt");
    let file = world.target(FILE);
    fs::write(&file, "somebody else's, and longer").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let before = inode(&file);
    deploy(&world, "one");
    let output = once(&world, &server);
    assert_eq!(code(&output), 0, "{}", text(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), "one");
    deploy(&world, "a bad one");
    let output = once(&world, &server);
    assert_eq!(code(&output), 1, "{}", text(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), "one");
    assert_eq!((inode(&file), metadata(&file).2), (before, 0o640));
    nothing_left(&world, "/etc/app");
}

#[test]
fn a_target_in_place_that_is_half_written_is_finished_at_the_next_start() {
    if !works("strace", &["-f", "-o", "/dev/null", "true"]) {
        return skip("strace is not installed, or may not trace here");
    }
    for (next, expected) in [("good", "good"), ("bad", "one, which is long")] {
        let (world, server) = world("in_place: true", "! grep -q bad root/etc/app/limits.txt");
        let file = world.target(FILE);
        fs::write(&file, "zero").unwrap();
        let before = inode(&file);
        deploy(&world, "one, which is long");
        assert_eq!(code(&once(&world, &server)), 0);
        deploy(&world, next);
        server.advance(2);
        std::thread::park_timeout(std::time::Duration::from_millis(1_200));
        let inner = world.command(&["once"]);
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-q", "-o", "/dev/null", "-P"])
            .arg(&file)
            .args(["-e", "inject=ftruncate:signal=KILL:when=1"])
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(world.path(""));
        for (name, value) in inner.get_envs() {
            strace.env(name, value.unwrap());
        }
        let killed = strace.output().unwrap();
        assert!(!killed.status.success(), "{}", text(&killed));
        // The new bytes over the old ones, not yet cut.
        let torn = fs::read_to_string(&file).unwrap();
        let rest = &"one, which is long"[next.len()..];
        assert_eq!(torn, format!("{next}{rest}"));
        let output = once(&world, &server);
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            expected,
            "{}",
            text(&output)
        );
        assert_eq!(inode(&file), before);
        nothing_left(&world, "/etc/app");
        // The first file was somebody else's; half of our own is nobody's.
        let found = world.output(&["status", "--output", "json"]);
        assert!(
            !text(&found).contains("somebody else wrote it"),
            "{}",
            text(&found)
        );
        assert!(
            !text(&output).contains("replaces something"),
            "{}",
            text(&output)
        );
    }
}

#[test]
fn a_file_that_is_a_mount_of_its_own_names_in_place_and_works_with_it() {
    if !works("unshare", &["--mount", "true"]) {
        return skip("mount namespaces cannot be made here");
    }
    let (world, server) = world("mode: 0644", "true");
    deploy(&world, "one");
    let file = world.target(FILE);
    fs::write(&file, "").unwrap();
    let source = world.write("source", "mounted, and this is long");
    let mounted = || {
        server.advance(2);
        std::thread::park_timeout(std::time::Duration::from_millis(1_200));
        let inner = world.command(&["once"]);
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "sh",
                "-c",
                "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"",
            ])
            .args([&source, &file])
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(world.path(""));
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap());
        }
        command.output().unwrap()
    };
    let refused = mounted();
    assert_ne!(code(&refused), 0, "{}", text(&refused));
    assert!(
        text(&refused).contains("declare the target `in_place: true`"),
        "{}",
        text(&refused)
    );
    assert_eq!(world.read("source").unwrap(), "mounted, and this is long");
    declare(&world, &server, "in_place: true", "true");
    let written = mounted();
    assert_eq!(code(&written), 0, "{}", text(&written));
    assert_eq!(world.read("source").unwrap(), "one");
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "",
        "what lies below the mount is not touched"
    );
}

#[test]
fn a_link_names_follow_and_with_it_the_file_behind_it_is_kept_right() {
    let (world, server) = world("mode: 0644", "! grep -q bad root/srv/shared.txt");
    deploy(&world, "one");
    fs::create_dir(world.target("/srv")).unwrap();
    let (link, file) = (world.target(FILE), world.target("/srv/shared.txt"));
    // Absolute: below the root it begins at the root.
    std::os::unix::fs::symlink("/srv/shared.txt", &link).unwrap();
    let refused = once(&world, &server);
    assert_ne!(code(&refused), 0, "{}", text(&refused));
    assert!(
        text(&refused).contains("declare the target `symlink: follow`"),
        "{}",
        text(&refused)
    );
    declare(
        &world,
        &server,
        "symlink: follow, mode: 0640, validate_command: [grep, -q, one, \\\"{staged}\\\"]"
            .replace('\\', "")
            .as_str(),
        "! grep -q bad root/srv/shared.txt",
    );
    let made = once(&world, &server);
    assert_eq!(code(&made), 0, "{}", text(&made));
    assert_eq!(fs::read_to_string(&file).unwrap(), "one");
    assert_eq!(metadata(&file).2, 0o640);
    deploy(&world, "a bad one");
    let back = once(&world, &server);
    assert_eq!(code(&back), 1, "{}", text(&back));
    assert_eq!(fs::read_to_string(&file).unwrap(), "one");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    nothing_left(&world, "/srv");
    nothing_left(&world, "/etc/app");
}

#[test]
fn as_root_a_way_through_somebody_elses_directory_is_refused_until_it_is_declared() {
    if !geteuid().is_root() {
        return skip("not root: no way is judged");
    }
    let (world, server) = world("mode: 0644", "true");
    deploy(&world, "one");
    // etc is somebody's, etc/app is root's: he could put a link in its place.
    std::os::unix::fs::chown(world.target("/etc"), Some(12_345), None).unwrap();
    let refused = once(&world, &server);
    assert_ne!(code(&refused), 0, "{}", text(&refused));
    let said = text(&refused);
    assert!(
        said.contains("12345") && said.contains("`unsafe_path: true`"),
        "{said}"
    );
    assert!(!world.target(FILE).exists());
    nothing_left(&world, "/etc/app");
    declare(&world, &server, "unsafe_path: true", "true");
    let made = once(&world, &server);
    assert_eq!(code(&made), 0, "{}", text(&made));
    assert_eq!(fs::read_to_string(world.target(FILE)).unwrap(), "one");
    // His own directories all the way are no danger to anybody else.
    declare(&world, &server, "mode: 0600", "true");
    std::os::unix::fs::chown(world.target("/etc/app"), Some(12_345), None).unwrap();
    let owned = once(&world, &server);
    assert_eq!(code(&owned), 0, "{}", text(&owned));
    assert_eq!(metadata(&world.target(FILE)).2, 0o600);
}

#[test]
fn directories_are_made_where_the_target_asks_for_them_with_owner_and_mode() {
    let owner = match geteuid().is_root() {
        true => "owner: 12345, group: 54321, ",
        false => "",
    };
    let (world, server) = world("mode: 0644", "true");
    deploy(&world, "one");
    fs::remove_dir_all(world.target("/etc")).unwrap();
    let refused = once(&world, &server);
    assert_ne!(code(&refused), 0, "{}", text(&refused));
    assert!(
        text(&refused).contains("`parents: {}`"),
        "{}",
        text(&refused)
    );
    assert!(!world.target("/etc").exists());
    let head = world.read("appconfigd.yaml").unwrap();
    let parents = format!("parents: {{{owner}mode: 0750}}");
    world.write("appconfigd.yaml", &head.replace("mode: 0644", &parents));
    let planned = world.output(&["plan"]);
    assert!(
        text(&planned).contains("would be made"),
        "{}",
        text(&planned)
    );
    assert!(!world.target("/etc").exists(), "a plan makes nothing");
    let made = once(&world, &server);
    assert_eq!(code(&made), 0, "{}", text(&made));
    assert_eq!(fs::read_to_string(world.target(FILE)).unwrap(), "one");
    for folder in ["/etc", "/etc/app"] {
        let (uid, gid, mode) = metadata(&world.target(folder));
        assert_eq!(mode, 0o750);
        if geteuid().is_root() {
            assert_eq!((uid, gid), (12_345, 54_321));
        }
        nothing_left(&world, folder);
    }
    // A lost tmpfs: everything comes back.
    fs::remove_dir_all(world.target("/etc")).unwrap();
    let again = world.output(&["once"]);
    assert_eq!(code(&again), 0, "{}", text(&again));
    assert_eq!(fs::read_to_string(world.target(FILE)).unwrap(), "one");
}
