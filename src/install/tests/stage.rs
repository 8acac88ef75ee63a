//! The new file before the swap: its metadata, its place, what is refused.

use std::os::unix::fs::symlink;

use super::*;

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

fn ours(mode: u32) -> Metadata {
    Metadata {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mode,
        attributes: crate::install::Attributes::default(),
    }
}

#[test]
fn a_staged_file_lies_in_a_closed_directory_that_goes_when_it_is_empty() {
    let place = Place::new();
    let target = place.target("a");
    let staged = place
        .installer
        .stage(&target, b"new", &ours(0o604))
        .unwrap();
    let path = place.installer.staged_path(&target, &staged);
    assert_eq!(
        (fs::read_to_string(&path).unwrap().as_str(), mode(&path)),
        ("new", 0o604)
    );
    assert_eq!(mode(&place.path(".appconfigd")), 0o700);
    let other = place
        .installer
        .stage(&target, b"other", &ours(0o600))
        .unwrap();
    assert_ne!(staged, other);
    place.installer.discard(&target, &staged);
    assert_eq!(names(&place.path(".appconfigd")), [other.as_str()]);
    place.installer.discard(&target, &other);
    place.installer.discard(&target, &other);
    assert!(place.names().is_empty());
}

#[test]
fn the_staging_directory_gets_its_exact_mode_back() {
    let place = Place::new();
    fs::create_dir(place.path(".appconfigd")).unwrap();
    fs::set_permissions(
        place.path(".appconfigd"),
        fs::Permissions::from_mode(0o2777),
    )
    .unwrap();
    place
        .installer
        .stage(&place.target("a"), b"", &ours(0o600))
        .unwrap();
    assert_eq!(mode(&place.path(".appconfigd")), 0o700);
}

#[test]
fn a_staging_name_that_is_not_a_directory_is_refused_and_not_followed() {
    for kind in ["a regular file", "a symbolic link"] {
        let place = Place::new();
        fs::create_dir(place.path("elsewhere")).unwrap();
        match kind {
            "a regular file" => fs::write(place.path(".appconfigd"), "mine").unwrap(),
            _ => symlink("elsewhere", place.path(".appconfigd")).unwrap(),
        }
        let error = place
            .installer
            .stage(&place.target("a"), b"x", &ours(0o600))
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(kind) && text.contains(".appconfigd`") && text.contains("remove it"),
            "{text}"
        );
        assert!(names(&place.path("elsewhere")).is_empty());
        place.installer.sweep(&[place.target("a")].into(), &[]);
        place.installer.discard(&place.target("a"), "x");
        assert!(place.names().contains(&".appconfigd".into()));
    }
}

#[test]
fn a_staging_directory_of_another_user_is_refused() {
    if !is_root() {
        return skipped("only root can make a directory of another user");
    }
    let place = Place::new();
    fs::create_dir(place.path(".appconfigd")).unwrap();
    std::os::unix::fs::chown(place.path(".appconfigd"), Some(12), None).unwrap();
    let error = place
        .installer
        .stage(&place.target("a"), b"x", &ours(0o600))
        .unwrap_err();
    assert!(error.to_string().contains("uid 12"), "{error}");
}

#[test]
fn owner_group_and_set_id_bits_are_set_before_the_file_is_seen() {
    if !is_root() {
        return skipped("only root can give files away");
    }
    for place in [Place::new(), Place::tmpfs()] {
        let wanted = Wanted {
            owner: Some(Principal::Id(1234)),
            group: Some(Principal::Id(4321)),
            mode: Some(0o6750),
            attributes: None,
            sensitive: false,
        };
        let placement = place.placement("a", "new", &wanted);
        let staged = fs::metadata(
            place
                .installer
                .staged_path(&placement.target, &placement.staged),
        )
        .unwrap();
        assert_eq!(
            (staged.uid(), staged.gid(), staged.mode() & 0o7777),
            (1234, 4321, 0o6750)
        );
        install(&place.installer, &placement.target, "newer", &wanted).unwrap();
        let there = fs::metadata(place.path("a")).unwrap();
        assert_eq!(
            (there.uid(), there.gid(), there.mode() & 0o7777),
            (1234, 4321, 0o6750)
        );
    }
}

#[test]
fn without_a_word_the_new_version_has_owner_and_mode_of_the_file_that_is_there() {
    let place = Place::new();
    let target = place.write("a", "old", 0o640);
    if is_root() {
        std::os::unix::fs::chown(place.path("a"), Some(5), Some(6)).unwrap();
    }
    let before = fs::metadata(place.path("a")).unwrap();
    install(&place.installer, &target, "new", &Wanted::default()).unwrap();
    let after = fs::metadata(place.path("a")).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!(
        (before.uid(), before.gid(), before.mode()),
        (after.uid(), after.gid(), after.mode())
    );
}

#[test]
fn a_default_acl_of_the_directory_opens_nothing() {
    for place in [Place::new(), Place::tmpfs()] {
        let open = acl(7, (1234, 7), 7, 7, 7);
        if let Err(errno) = set_xattr(place.directory.path(), DEFAULT, &open) {
            skipped(&format!(
                "no ACLs in {}: {errno}",
                place.directory.path().display()
            ));
            continue;
        }
        fs::write(place.path("control"), "").unwrap();
        assert!(
            xattr(&place.path("control"), ACCESS).is_some(),
            "the test must be able to fail"
        );
        let placement = place.placement(
            "a",
            "new",
            &Wanted {
                mode: Some(0o640),
                ..Wanted::default()
            },
        );
        let staged = place
            .installer
            .staged_path(&placement.target, &placement.staged);
        assert_eq!((xattr(&staged, ACCESS), mode(&staged)), (None, 0o640));
        assert_eq!(xattr(&place.path(".appconfigd"), ACCESS), None);
        assert_eq!(xattr(&place.path(".appconfigd"), DEFAULT), None);
        assert_eq!(mode(&place.path(".appconfigd")), 0o700);
        // Not even one that somebody gave to `.appconfigd/` itself.
        set_xattr(&place.path(".appconfigd"), DEFAULT, &open).unwrap();
        let wanted = Wanted {
            mode: Some(0o640),
            ..Wanted::default()
        };
        let placement = place.placement("b", "new", &wanted);
        let staged = place
            .installer
            .staged_path(&placement.target, &placement.staged);
        assert_eq!((xattr(&staged, ACCESS), mode(&staged)), (None, 0o640));
    }
}

#[test]
fn acl_attributes_and_label_come_along() {
    for place in [Place::new(), Place::tmpfs()] {
        let target = place.write("a", "old", 0o640);
        let long = vec![b'v'; 3000];
        let list = acl(6, (1234, 4), 4, 4, 0);
        if set_xattr(&place.path("a"), "user.note", b"kept").is_err()
            || set_xattr(&place.path("a"), ACCESS, &list).is_err()
        {
            skipped(&format!(
                "no attributes in {}",
                place.directory.path().display()
            ));
            continue;
        }
        set_xattr(&place.path("a"), "user.long", &long).unwrap();
        let label = b"system_u:object_r:etc_t:s0\0";
        let labelled = set_xattr(&place.path("a"), "security.selinux", label).is_ok();
        if !labelled {
            skipped("a security label needs root");
        }
        install(&place.installer, &target, "new", &Wanted::default()).unwrap();
        let a = place.path("a");
        assert_eq!(xattr(&a, "user.note").as_deref(), Some(&b"kept"[..]));
        assert_eq!(xattr(&a, "user.long"), Some(long));
        assert_eq!((xattr(&a, ACCESS), mode(&a)), (Some(list), 0o640));
        if labelled {
            assert_eq!(xattr(&a, "security.selinux").as_deref(), Some(&label[..]));
        }
        // A declared mode sets the mask of the list that came along.
        install(
            &place.installer,
            &target,
            "newer",
            &Wanted {
                mode: Some(0o660),
                ..Wanted::default()
            },
        )
        .unwrap();
        assert_eq!(
            (xattr(&a, ACCESS), mode(&a)),
            (Some(acl(6, (1234, 4), 4, 6, 0)), 0o660)
        );
    }
}

#[test]
fn a_capability_of_the_old_bytes_does_not_come_along() {
    let place = Place::new();
    let target = place.write("a", "old", 0o755);
    // VFS_CAP_REVISION_2, CAP_NET_BIND_SERVICE permitted.
    let capability = [0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    if set_xattr(&place.path("a"), "security.capability", &capability).is_err() {
        return skipped("a file capability needs root");
    }
    install(&place.installer, &target, "new", &Wanted::default()).unwrap();
    assert_eq!(xattr(&place.path("a"), "security.capability"), None);
}

#[test]
fn in_a_set_group_id_directory_the_group_is_still_the_one_that_was_asked_for() {
    if !is_root() {
        return skipped("only root can set the group of the directory");
    }
    let place = Place::new();
    std::os::unix::fs::chown(place.directory.path(), None, Some(77)).unwrap();
    fs::set_permissions(place.directory.path(), fs::Permissions::from_mode(0o2755)).unwrap();
    install(
        &place.installer,
        &place.target("a"),
        "new",
        &Wanted::default(),
    )
    .unwrap();
    let there = fs::metadata(place.path("a")).unwrap();
    assert_eq!(there.gid(), rustix::process::getegid().as_raw());
    let placement = place.placement("a", "newer", &Wanted::default());
    assert_eq!(mode(&place.path(".appconfigd")), 0o700);
    place
        .installer
        .discard(&placement.target, &placement.staged);
}

#[test]
fn an_immutable_file_is_refused_before_anything_is_staged() {
    let place = Place::new();
    let target = place.write("a", "old", 0o644);
    let Some(_guard) = Immutable::make(place.path("a")) else {
        return skipped("no chattr +i here");
    };
    let error = place
        .installer
        .stage(&target, b"new", &ours(0o644))
        .unwrap_err();
    assert!(error.to_string().contains("chattr"), "{error}");
    assert_eq!(place.names(), ["a"]);
}

/// Makes a file immutable until it is dropped.
pub(super) struct Immutable(PathBuf);

impl Immutable {
    pub(super) fn make(path: PathBuf) -> Option<Immutable> {
        chattr("+i", &path).then_some(Immutable(path))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        chattr("-i", &self.0);
    }
}

fn chattr(what: &str, path: &Path) -> bool {
    std::process::Command::new("chattr")
        .arg(what)
        .arg(path)
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn metadata_is_repaired_without_touching_bytes_or_inode() {
    let place = Place::new();
    let target = place.write("a", "old", 0o666);
    let before = fs::metadata(place.path("a")).unwrap();
    place
        .installer
        .repair_metadata(&target, &ours(0o600))
        .unwrap();
    let after = fs::metadata(place.path("a")).unwrap();
    assert_eq!((before.ino(), after.mode() & 0o7777), (after.ino(), 0o600));
    if is_root() {
        let theirs = Metadata {
            uid: 3,
            gid: 4,
            mode: 0o4711,
            attributes: crate::install::Attributes::default(),
        };
        place.installer.repair_metadata(&target, &theirs).unwrap();
        let Found::File { metadata, .. } = place.installer.look(&target).unwrap() else {
            panic!("absent")
        };
        assert_eq!(metadata, theirs);
    }
    let missing = place
        .installer
        .repair_metadata(&place.target("b"), &ours(0o600))
        .unwrap_err();
    assert_eq!(missing.errno(), Some(2));
}

#[test]
fn an_empty_configuration_is_a_complete_version_too() {
    let place = Place::new();
    install(&place.installer, &place.target("a"), "", &Wanted::default()).unwrap();
    assert_eq!(fs::read(place.path("a")).unwrap(), b"");
}
