//! What belongs to a process (mounts, umask, user): each test calls itself in a child that has it.

use std::process::Command;

use super::*;

const INSIDE: &str = "APPCONFIGD_TEST_INSIDE";

fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the named test of this binary again, behind a command that ends in the binary's path. False: the command cannot be had here.
fn again(test: &str, before: &[&str]) -> bool {
    let (program, arguments) = before.split_first().unwrap();
    let can = Command::new(program).args(arguments).arg("true").output();
    if !can.is_ok_and(|output| output.status.success()) {
        skipped(&format!(
            "{test}: `{}` does not work here",
            before.join(" ")
        ));
        return false;
    }
    // A copy that other users may run too.
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = directory.path().join("tests");
    // Not by ourselves: a child that another test forks meanwhile would hold it open for writing, and it could not be run.
    let copied = Command::new("cp")
        .args([&std::env::current_exe().unwrap(), &binary])
        .status();
    assert!(copied.unwrap().success());
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(program)
        .args(arguments)
        .arg(&binary)
        .args([
            "--exact",
            &format!("install::tests::other_process::{test}"),
            "--nocapture",
        ])
        .env(INSIDE, "1")
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    if text.contains("SKIPPED") {
        skipped(&text);
    }
    true
}

fn mount(arguments: &[&str]) {
    assert!(
        Command::new("mount")
            .args(arguments)
            .status()
            .unwrap()
            .success(),
        "mount {arguments:?}"
    );
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

const NAMESPACE: &[&str] = &["unshare", "--mount"];

#[test]
fn a_read_only_bind_mount_is_named_with_the_next_step() {
    if !inside() {
        again(
            "a_read_only_bind_mount_is_named_with_the_next_step",
            NAMESPACE,
        );
        return;
    }
    let place = Place::new();
    place.write("d/a", "old", 0o644);
    let directory = place.path("d");
    let placements = [place.placement("d/a", "new", &Wanted::default())];
    place.installer.keep(&placements).unwrap();
    place.installer.swap(&placements).unwrap();
    mount(&["--bind", utf8(&directory), utf8(&directory)]);
    mount(&["-o", "remount,bind,ro", utf8(&directory)]);
    let error = place_error(&place, "d/a");
    let text = error.to_string();
    assert!(
        text.contains("d/a`") && text.contains("read-only"),
        "{text}"
    );
    assert_eq!(error.errno(), Some(rustix::io::Errno::ROFS.raw_os_error()));
    // Going back fails now and works later.
    assert!(place.installer.put_back(&placements)[0].is_err());
    mount(&["-o", "remount,bind,rw", utf8(&directory)]);
    assert_eq!(
        place.installer.put_back(&placements)[0].clone().unwrap(),
        WentBack::Restored
    );
    assert_eq!(fs::read_to_string(place.path("d/a")).unwrap(), "old");
    Command::new("umount").arg(&directory).status().unwrap();
}

fn place_error(place: &Place, name: &str) -> InstallError {
    super::place(
        &place.installer,
        &place.target(name),
        "newer",
        &Wanted::default(),
    )
    .unwrap_err()
}

#[test]
fn a_file_that_is_a_mount_of_its_own_is_refused_and_left_whole() {
    if !inside() {
        again(
            "a_file_that_is_a_mount_of_its_own_is_refused_and_left_whole",
            NAMESPACE,
        );
        return;
    }
    let place = Place::new();
    place.write("a", "old", 0o644);
    place.write("source", "mounted", 0o644);
    // Mounted between staging and the commit.
    let placements = [place.placement("a", "new", &Wanted::default())];
    let absent = [Placement {
        kept: Kept::Absent,
        ..placements[0].clone()
    }];
    mount(&[
        "--bind",
        utf8(&place.path("source")),
        utf8(&place.path("a")),
    ]);
    for error in [
        place_error(&place, "a"),
        place.installer.keep(&placements).unwrap_err().error,
        place.installer.swap(&absent).unwrap_err().error,
    ] {
        assert!(matches!(error, InstallError::Mounted { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains("declare the target `in_place: true`"),
            "{error}"
        );
    }
    assert_eq!(
        place.installer.put_back(&placements)[0].clone().unwrap(),
        WentBack::Restored
    );
    place.installer.release(&placements);
    assert_eq!(fs::read_to_string(place.path("a")).unwrap(), "mounted");
    Command::new("umount")
        .arg(place.path("a"))
        .status()
        .unwrap();
    assert_eq!(place.names(), ["a", "source"]);
}

#[test]
fn a_full_disk_leaves_the_old_version_and_nothing_else() {
    if !inside() {
        again(
            "a_full_disk_leaves_the_old_version_and_nothing_else",
            NAMESPACE,
        );
        return;
    }
    let place = Place::new();
    mount(&[
        "-t",
        "tmpfs",
        "-o",
        "size=128k,nr_inodes=5",
        "none",
        utf8(place.directory.path()),
    ]);
    let target = place.write("a", "old", 0o644);
    let metadata = Metadata {
        uid: 0,
        gid: 0,
        mode: 0o644,
        attributes: crate::install::Attributes::default(),
    };
    let error = place
        .installer
        .stage(&target, &vec![b'x'; 1 << 20], &metadata)
        .unwrap_err();
    assert!(error.is(rustix::io::Errno::NOSPC), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("write the new version of") && text.contains("make room"),
        "{text}"
    );
    assert_eq!(place.names(), ["a"]);
    // Inodes: the root, `a`, two more; `.appconfigd` takes the last, and the file in it finds none.
    fs::write(place.path("b"), "").unwrap();
    fs::write(place.path("c"), "").unwrap();
    let error = place.installer.stage(&target, b"x", &metadata).unwrap_err();
    assert!(error.is(rustix::io::Errno::NOSPC), "{error:?}");
    assert_eq!(fs::read_to_string(place.path("a")).unwrap(), "old");
    assert_eq!(place.names(), ["a", "b", "c"]);
    // Room for the directory and the new file, but on tmpfs a second name needs an inode too: there is no way back, so no commit.
    fs::remove_file(place.path("b")).unwrap();
    let placements = [place.placement("a", "new", &Wanted::default())];
    assert!(
        place
            .installer
            .keep(&placements)
            .unwrap_err()
            .error
            .is(rustix::io::Errno::NOSPC)
    );
    assert_eq!(
        place.installer.put_back(&placements)[0].clone().unwrap(),
        WentBack::Restored
    );
    place.installer.release(&placements);
    assert_eq!(place.names(), ["a", "c"]);
    assert_eq!(fs::read_to_string(place.path("a")).unwrap(), "old");
    fs::remove_file(place.path("c")).unwrap();
    install(&place.installer, &target, "new", &Wanted::default()).unwrap();
    assert_eq!(place.names(), ["a"]);
    assert_eq!(fs::read_to_string(place.path("a")).unwrap(), "new");
    Command::new("umount")
        .arg(place.directory.path())
        .status()
        .unwrap();
}

#[test]
fn an_overlay_works_like_any_other_file_system() {
    if !inside() {
        again("an_overlay_works_like_any_other_file_system", NAMESPACE);
        return;
    }
    let place = Place::new();
    mount(&["-t", "tmpfs", "none", utf8(place.directory.path())]);
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(place.path(name)).unwrap();
    }
    place.write("lower/a", "old", 0o640);
    let layers = ["lowerdir", "upperdir", "workdir"]
        .map(|layer| format!("{layer}={}", utf8(&place.path(&layer.replace("dir", "")))));
    let overlay = Command::new("mount")
        .args([
            "-t",
            "overlay",
            "overlay",
            "-o",
            &layers.join(","),
            utf8(&place.path("merged")),
        ])
        .status();
    if !overlay.unwrap().success() {
        return skipped("no overlayfs");
    }
    let placements = [
        place.placement("merged/a", "new", &Wanted::default()),
        place.placement("merged/b", "new", &Wanted::default()),
    ];
    place.installer.keep(&placements).unwrap();
    place.installer.swap(&placements).unwrap();
    assert_eq!(fs::read_to_string(place.path("merged/a")).unwrap(), "new");
    for went in place.installer.put_back(&placements) {
        assert_eq!(went.unwrap(), WentBack::Restored);
    }
    place.installer.release(&placements);
    assert_eq!(names(&place.path("merged")), ["a"]);
    assert_eq!(fs::read_to_string(place.path("merged/a")).unwrap(), "old");
    assert_eq!(mode(&place.path("merged/a")), 0o640);
    Command::new("umount")
        .arg(place.path("merged"))
        .status()
        .unwrap();
    Command::new("umount")
        .arg(place.directory.path())
        .status()
        .unwrap();
}

#[test]
fn modes_are_exact_whatever_the_umask() {
    if !inside() {
        for umask in [
            "umask 077; exec \"$@\"",
            "umask 000; exec \"$@\"",
            "umask 0777; exec \"$@\"",
        ] {
            assert!(again(
                "modes_are_exact_whatever_the_umask",
                &["sh", "-c", umask, "sh"]
            ));
        }
        return;
    }
    let directory = PathBuf::from(format!("/dev/shm/appconfigd-umask-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let installer = Installer::new(None);
    let target = TargetPath::new(utf8(&directory.join("a"))).unwrap();
    let wanted = Wanted {
        mode: Some(0o664),
        ..Wanted::default()
    };
    let placement = place(&installer, &target, "x", &wanted).unwrap();
    let own = mode(&directory.join(".appconfigd"));
    installer.swap(&[placement]).unwrap();
    let file = mode(&directory.join("a"));
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!((own, file), (0o700, 0o664));
}

#[test]
fn without_privileges_our_own_files_work_and_a_refused_owner_is_an_error() {
    if !inside() {
        let nobody = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ];
        again(
            "without_privileges_our_own_files_work_and_a_refused_owner_is_an_error",
            &nobody,
        );
        return;
    }
    let place = Place::new();
    let target = place.target("a");
    install(&place.installer, &target, "one", &Wanted::default()).unwrap();
    install(
        &place.installer,
        &target,
        "two",
        &Wanted {
            mode: Some(0o4755),
            ..Wanted::default()
        },
    )
    .unwrap();
    assert_eq!(fs::read_to_string(place.path("a")).unwrap(), "two");
    // Writing takes set-id bits away from those without capabilities.
    assert_eq!(mode(&place.path("a")), 0o4755);
    for wanted in [
        Wanted {
            owner: Some(Principal::Id(0)),
            ..Wanted::default()
        },
        Wanted {
            group: Some(Principal::Id(0)),
            ..Wanted::default()
        },
    ] {
        let error = super::place(&place.installer, &target, "three", &wanted).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("set owner and group of") && text.contains("/a`"),
            "{text}"
        );
        assert_eq!(error.errno(), Some(1));
    }
    assert_eq!(place.names(), ["a"]);
}

#[test]
fn a_file_that_cannot_be_synced_is_thrown_away() {
    if !inside() {
        let failing = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "inject=fsync:error=EIO",
        ];
        again("a_file_that_cannot_be_synced_is_thrown_away", &failing);
        return;
    }
    let place = Place::new();
    place.write("a", "old", 0o644);
    let error = place_error(&place, "a");
    let text = error.to_string();
    assert!(
        text.contains("sync the new version of") && text.contains("disk errors"),
        "{text}"
    );
    assert_eq!(error.errno(), Some(5));
    assert_eq!(place.names(), ["a"]);
    assert_eq!(fs::read_to_string(place.path("a")).unwrap(), "old");
}

#[test]
fn a_file_that_is_a_mount_of_its_own_is_written_in_place_and_goes_back() {
    if !inside() {
        again(
            "a_file_that_is_a_mount_of_its_own_is_written_in_place_and_goes_back",
            NAMESPACE,
        );
        return;
    }
    let place = Place::new();
    place.write("a", "", 0o644);
    let source = Place::tmpfs();
    source.write("source", "mounted", 0o640);
    let (from, to) = (source.path("source"), place.path("a"));
    mount(&["--bind", utf8(&from), utf8(&to)]);
    let placements = [super::in_place::placement(
        &place,
        "a",
        "new",
        &Wanted::default(),
    )];
    place.installer.keep(&placements).unwrap();
    place.installer.swap(&placements).unwrap();
    assert_eq!(fs::read_to_string(&from).unwrap(), "new");
    assert_eq!(
        place.installer.put_back(&placements)[0].clone().unwrap(),
        WentBack::Restored
    );
    place.installer.release(&placements);
    assert_eq!(fs::read_to_string(&from).unwrap(), "mounted");
    assert_eq!(mode(&from), 0o640);
    // Read-only: said before anything is staged.
    mount(&["-o", "remount,bind,ro", utf8(&to)]);
    let metadata = placements[0].metadata.clone();
    let error = place
        .installer
        .stage_at(&place.target("a"), &placements[0].site, b"x", &metadata)
        .unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    Command::new("umount").arg(&to).status().unwrap();
    assert_eq!(place.names(), ["a"]);
}
