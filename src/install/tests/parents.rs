//! Directories that are made on request.

use super::*;
use crate::install::parents::{make, sweep};
use crate::install::site::Spot;
use crate::settings::Parents;

fn made(place: &Place, name: &str, parents: &Parents) -> Result<(), InstallError> {
    let target = place.target(name);
    let spot = Spot {
        path: &target,
        unsafe_path: false,
    };
    make(None, spot, parents)
}

#[test]
fn what_is_missing_is_made_as_declared_and_what_is_there_is_left_alone() {
    let place = Place::new();
    fs::create_dir(place.path("there")).unwrap();
    fs::set_permissions(place.path("there"), fs::Permissions::from_mode(0o701)).unwrap();
    let (owner, group) = match is_root() {
        true => (Some(Principal::Id(12_345)), Some(Principal::Id(54_321))),
        false => (None, None),
    };
    let parents = Parents {
        owner,
        group,
        mode: Some(0o2750),
    };
    for _ in 0..2 {
        made(&place, "there/a/b/file", &parents).unwrap();
    }
    for name in ["there/a", "there/a/b"] {
        let found = fs::metadata(place.path(name)).unwrap();
        assert_eq!(found.permissions().mode() & 0o7777, 0o2750);
        if is_root() {
            assert_eq!((found.uid(), found.gid()), (12_345, 54_321));
        }
    }
    assert_eq!(mode(&place.path("there")), 0o701);
    assert_eq!(names(&place.path("there")), ["a"]);
    assert_eq!(names(&place.path("there/a")), ["b"]);
    assert!(names(&place.path("there/a/b")).is_empty());
}

#[test]
fn without_a_word_they_are_ours_and_others_may_look() {
    let place = Place::new();
    made(&place, "a/file", &Parents::default()).unwrap();
    assert_eq!(mode(&place.path("a")), 0o755);
}

#[test]
fn a_file_in_the_way_and_an_unknown_owner_are_errors_and_leave_nothing() {
    let place = Place::new();
    place.write("a", "x", 0o644);
    assert!(made(&place, "a/b/file", &Parents::default()).is_err());
    let parents = Parents {
        owner: Some(Principal::Name("nobody-of-this-name".to_owned())),
        ..Parents::default()
    };
    let error = made(&place, "d/file", &parents).unwrap_err();
    assert!(matches!(error, InstallError::NoUser { .. }), "{error}");
    assert_eq!(place.names(), ["a"]);
}

#[test]
fn what_a_crash_left_of_a_directory_is_swept_and_nothing_else() {
    let place = Place::new();
    let own = place.path(".appconfigd");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
    let (left, full) = (format!("dir-{:032x}", 1), format!("dir-{:032x}", 2));
    fs::create_dir(own.join(&left)).unwrap();
    fs::create_dir(own.join(&full)).unwrap();
    fs::write(own.join(&full).join("theirs"), "").unwrap();
    fs::create_dir(own.join("other")).unwrap();
    let target = place.target("a/b/file");
    let spot = Spot {
        path: &target,
        unsafe_path: true,
    };
    sweep(None, spot).unwrap();
    assert_eq!(names(&own), [full.clone(), "other".to_owned()]);
    fs::remove_dir_all(own.join(full)).unwrap();
    fs::remove_dir(own.join("other")).unwrap();
    fs::create_dir(own.join(left)).unwrap();
    sweep(None, spot).unwrap();
    assert!(place.names().is_empty(), "{:?}", place.names());
}
