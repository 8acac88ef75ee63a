//! Ways that somebody without privileges could bend. As root only: who else could give files away?

use std::os::unix::fs::{lchown, symlink};

use super::*;
use crate::install::directory::Directory;
use crate::install::link::follow;
use crate::install::site::Spot;

const SOMEBODY: u32 = 12_345;

fn root_only() -> bool {
    if !is_root() {
        skipped("not root: no way is judged");
    }
    is_root()
}

fn give(place: &Place, name: &str) {
    lchown(place.path(name), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
}

fn open(place: &Place, root: Option<&Path>, name: &str) -> Result<Directory, InstallError> {
    let target = match root {
        None => place.target(name),
        Some(_) => TargetPath::new(name).unwrap(),
    };
    let spot = |unsafe_path| Spot {
        path: &target,
        unsafe_path,
    };
    Directory::open(root, spot(true)).unwrap();
    Directory::open(root, spot(false))
}

fn is_unsafe<T>(result: Result<T, InstallError>) -> bool {
    match result {
        Ok(_) => false,
        Err(error @ InstallError::UnsafePath { .. }) => {
            let text = error.to_string();
            assert!(text.contains("`unsafe_path: true`") && text.contains("12345"));
            true
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_way_from_what_is_somebodys_to_what_is_not_his_is_refused() {
    if !root_only() {
        return;
    }
    let place = Place::new();
    fs::create_dir_all(place.path("his/own")).unwrap();
    fs::create_dir_all(place.path("his/ours/deep")).unwrap();
    fs::create_dir_all(place.path("etc")).unwrap();
    for name in ["his", "his/own"] {
        give(&place, name);
    }
    // Links are steps as well, his and ours.
    for (to, link) in [
        ("../etc", "his/to-etc"),
        ("own", "his/to-own"),
        ("etc", "turned"),
    ] {
        symlink(to, place.path(link)).unwrap();
        give(&place, link);
    }
    symlink(place.path("etc"), place.path("his/absolute")).unwrap();
    give(&place, "his/absolute");
    symlink("his/own/..", place.path("ours-to-his")).unwrap();
    for (name, expected) in [
        ("etc/x", false),
        ("his/x", false),
        ("his/own/x", false),
        ("his/to-own/x", false),
        ("ours-to-his/x", false),
        ("his/ours/x", true),
        ("his/ours/deep/x", true),
        ("his/to-etc/x", true),
        ("his/absolute/x", true),
        ("turned/x", true),
    ] {
        assert_eq!(is_unsafe(open(&place, None, name)), expected, "{name}");
        let root = place.path("");
        let below = format!("/{name}");
        if name != "his/absolute/x" {
            assert_eq!(
                is_unsafe(open(&place, Some(&root), &below)),
                expected,
                "{name}"
            );
        }
    }
}

#[test]
fn below_a_root_the_way_is_the_one_that_the_kernel_goes() {
    if !root_only() {
        return;
    }
    let place = Place::new();
    let root = place.path("root");
    fs::create_dir_all(root.join("srv/etc")).unwrap();
    symlink("/srv", root.join("absolute")).unwrap();
    symlink("../../../../srv/./etc/..", root.join("up")).unwrap();
    for name in ["/absolute/etc/x", "/up/etc/x", "/x"] {
        assert!(!is_unsafe(open(&place, Some(&root), name)), "{name}");
    }
    symlink("round", root.join("round")).unwrap();
    assert!(super::super::walk::walk(Some(&root), "/round").is_err());
}

#[test]
fn a_link_that_is_followed_is_a_step_too() {
    if !root_only() {
        return;
    }
    let place = Place::new();
    place.write("his/file", "x", 0o600);
    place.write("etc/shadow", "x", 0o600);
    for (to, link) in [("his/file", "harmless"), ("etc/shadow", "harmful")] {
        symlink(to, place.path(link)).unwrap();
        give(&place, link);
    }
    give(&place, "his");
    let ends = |name: &str, unsafe_path| follow(None, &place.target(name), unsafe_path);
    assert!(ends("harmless", false).unwrap().is_some());
    assert!(is_unsafe(ends("harmful", false)));
    assert!(ends("harmful", true).unwrap().is_some());
}
