//! What lies at a path, and what is refused there.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn a_target_that_is_not_there_is_absent() {
    let place = Place::new();
    assert_eq!(
        place.installer.look(&place.target("a")).unwrap(),
        Found::Absent
    );
    assert_eq!(place.installer.read(&place.target("a")).unwrap(), None);
}

#[test]
fn a_file_is_found_with_its_digest_and_metadata() {
    let place = Place::new();
    let target = place.write("a", "hello", 0o640);
    let Found::File { digest, metadata } = place.installer.look(&target).unwrap() else {
        panic!("absent")
    };
    assert_eq!((digest, metadata.mode), (Digest::of(b"hello"), 0o640));
    assert_eq!(metadata.uid, fs::metadata(place.path("a")).unwrap().uid());
    let read = place.installer.read(&target).unwrap().unwrap();
    assert!(!format!("{read:?}").contains("hello"));
    assert_eq!((&read.bytes[..], read.metadata), (&b"hello"[..], metadata));
}

#[test]
fn a_file_of_many_pieces_has_the_digest_of_all_of_them() {
    let place = Place::tmpfs();
    let bytes = "0123456789abcdef".repeat(40_000) + "x";
    let target = place.write("a", &bytes, 0o644);
    let Found::File { digest, .. } = place.installer.look(&target).unwrap() else {
        panic!("absent")
    };
    assert_eq!(digest, Digest::of(bytes.as_bytes()));
}

#[test]
fn what_is_not_a_regular_file_is_refused_by_name_with_the_next_step() {
    let place = Place::new();
    place.write("real", "x", 0o644);
    fs::create_dir(place.path("directory")).unwrap();
    symlink("real", place.path("link")).unwrap();
    let fifo = rustix::fs::Mode::from_raw_mode(0o600);
    let at = rustix::fs::CWD;
    rustix::fs::mkfifoat(at, place.path("fifo"), fifo).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    for (name, kind, next) in [
        ("directory", "a directory", "remove the directory"),
        (
            "link",
            "a symbolic link",
            "name the file that the link leads to",
        ),
        ("fifo", "a named pipe", "correct the target's path"),
        ("socket", "a socket", "correct the target's path"),
    ] {
        let target = place.target(name);
        let metadata = Metadata {
            uid: 0,
            gid: 0,
            mode: 0o644,
            attributes: crate::install::Attributes::default(),
        };
        let errors = [
            place.installer.look(&target).unwrap_err(),
            place.installer.read(&target).unwrap_err(),
            place
                .installer
                .stage(&target, b"new", &metadata)
                .unwrap_err(),
            place
                .installer
                .repair_metadata(&target, &metadata)
                .unwrap_err(),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(text.contains(place.path(name).to_str().unwrap()), "{text}");
            assert!(text.contains(kind) && text.contains(next), "{text}");
        }
    }
    assert_eq!(
        place.names(),
        ["directory", "fifo", "link", "real", "socket"]
    );
}

#[test]
fn a_device_is_refused() {
    let installer = Installer::new(None);
    let error = installer
        .look(&TargetPath::new("/dev/null").unwrap())
        .unwrap_err();
    assert!(error.to_string().contains("a device"), "{error}");
}

#[test]
fn a_missing_directory_is_an_error_that_says_so() {
    let place = Place::new();
    let target = place.target("no/where/a");
    for error in [
        place.installer.look(&target).unwrap_err(),
        place
            .installer
            .stage(
                &target,
                b"",
                &Metadata {
                    uid: 0,
                    gid: 0,
                    mode: 0,
                    attributes: crate::install::Attributes::default(),
                },
            )
            .unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            text.contains("no/where`, the directory of") && text.contains("create it"),
            "{text}"
        );
        assert!(
            !text.contains("No such file"),
            "the cause is in source(): {text}"
        );
        assert_eq!(error.errno(), Some(2));
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn a_file_where_the_directory_belongs_is_an_error() {
    let place = Place::new();
    place.write("a", "x", 0o644);
    let error = place.installer.look(&place.target("a/b")).unwrap_err();
    assert!(matches!(error, InstallError::NoDirectory { .. }), "{error}");
}

#[test]
fn a_name_of_255_bytes_is_installed_and_one_of_256_is_an_error() {
    let place = Place::new();
    let target = place.target(&"n".repeat(255));
    install(&place.installer, &target, "one", &Wanted::default()).unwrap();
    install(&place.installer, &target, "two", &Wanted::default()).unwrap();
    assert_eq!(fs::read_to_string(target.as_str()).unwrap(), "two");
    let error = place
        .installer
        .look(&place.target(&"n".repeat(256)))
        .unwrap_err();
    assert!(error.to_string().contains("shorten the name"), "{error}");
    assert_eq!(place.names().len(), 1);
}

#[test]
fn two_ways_to_one_directory_are_the_same_file() {
    let place = Place::new();
    fs::create_dir(place.path("real")).unwrap();
    symlink("real", place.path("alias")).unwrap();
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|name| place.target(name))
            .collect::<BTreeSet<_>>()
    };
    let same = place
        .installer
        .same_file(&set(&["real/a", "alias/b", "alias/a", "no/a"]));
    assert_eq!(
        same,
        Some((place.target("alias/a"), place.target("real/a")))
    );
    assert_eq!(
        place
            .installer
            .same_file(&set(&["real/a", "alias/b", "no/a", "a", "no/b"])),
        None
    );
}

#[test]
fn below_a_root_links_stay_inside_it() {
    let place = Place::new();
    fs::create_dir_all(place.path("root/srv/real")).unwrap();
    symlink("/srv/real", place.path("root/etc")).unwrap();
    symlink("../../../../../../..", place.path("root/up")).unwrap();
    let installer = Installer::new(Some(place.path("root")));
    let target = TargetPath::new("/etc/a.conf").unwrap();
    install(&installer, &target, "inside", &Wanted::default()).unwrap();
    assert_eq!(
        fs::read_to_string(place.path("root/srv/real/a.conf")).unwrap(),
        "inside"
    );
    let staged = installer.staged_path(&target, "new-1");
    let real = place.path("root/srv/real/.appconfigd/new-1");
    assert_eq!(
        staged,
        fs::canonicalize(place.path("root"))
            .unwrap()
            .join("srv/real/.appconfigd/new-1"),
        "{real:?}"
    );
    let up = TargetPath::new("/up/top").unwrap();
    install(&installer, &up, "still inside", &Wanted::default()).unwrap();
    assert_eq!(
        fs::read_to_string(place.path("root/top")).unwrap(),
        "still inside"
    );
    let same = [
        TargetPath::new("/etc/a").unwrap(),
        TargetPath::new("/srv/real/a").unwrap(),
    ];
    assert!(installer.same_file(&same.into()).is_some());
}

#[test]
fn outside_a_root_the_administrators_links_to_directories_count() {
    let place = Place::new();
    fs::create_dir(place.path("real")).unwrap();
    symlink("real", place.path("alias")).unwrap();
    install(
        &place.installer,
        &place.target("alias/a"),
        "x",
        &Wanted::default(),
    )
    .unwrap();
    assert_eq!(fs::read_to_string(place.path("real/a")).unwrap(), "x");
    assert_eq!(
        place.installer.staged_path(&place.target("a"), "s"),
        place.path(".appconfigd/s")
    );
}

#[test]
fn metadata_is_the_settings_word_else_the_files_else_ours() {
    let place = Place::new();
    let target = place.target("a");
    let found = Found::File {
        digest: Digest::of(b""),
        metadata: Metadata {
            uid: 7,
            gid: 8,
            mode: 0o2750,
            attributes: crate::install::Attributes::default(),
        },
    };
    let ask = |wanted: &Wanted, found: &Found| place.installer.metadata(&target, wanted, found);
    let nothing = Wanted::default();
    let us = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let new = ask(&nothing, &Found::Absent).unwrap();
    assert_eq!(
        new,
        Metadata {
            uid: us.0,
            gid: us.1,
            mode: 0o644,
            attributes: crate::install::Attributes::default(),
        }
    );
    let sensitive = Wanted {
        sensitive: true,
        ..Wanted::default()
    };
    assert_eq!(ask(&sensitive, &Found::Absent).unwrap().mode, 0o600);
    assert_eq!(
        ask(&sensitive, &found).unwrap(),
        Metadata {
            uid: 7,
            gid: 8,
            mode: 0o2750,
            attributes: crate::install::Attributes::default(),
        }
    );
    let said = Wanted {
        owner: Some(Principal::Name("root".into())),
        group: Some(Principal::Id(99)),
        mode: Some(0o604),
        attributes: None,
        sensitive: true,
    };
    assert_eq!(
        ask(&said, &found).unwrap(),
        Metadata {
            uid: 0,
            gid: 99,
            mode: 0o604,
            attributes: crate::install::Attributes::default(),
        }
    );
}

#[test]
fn an_unknown_user_or_group_is_named() {
    let place = Place::new();
    let nobody = || Some(Principal::Name("no-such-principal".into()));
    let user = Wanted {
        owner: nobody(),
        ..Wanted::default()
    };
    let group = Wanted {
        group: nobody(),
        ..Wanted::default()
    };
    for (wanted, word) in [(user, "user"), (group, "group")] {
        let error = place
            .installer
            .metadata(&place.target("a"), &wanted, &Found::Absent)
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("no {word} `no-such-principal`")),
            "{text}"
        );
    }
}
