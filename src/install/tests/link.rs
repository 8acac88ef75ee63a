//! Links at a target's path that are followed.

use std::os::unix::fs::symlink;

use super::*;
use crate::install::link::follow;

fn ends(place: &Place, name: &str) -> Result<Option<PathBuf>, InstallError> {
    let end = follow(None, &place.target(name), false)?;
    Ok(end.map(|end| PathBuf::from(end.as_str())))
}

#[test]
fn a_chain_of_links_ends_at_the_file_or_where_it_would_be() {
    let place = Place::new();
    let real = fs::canonicalize(place.directory.path()).unwrap();
    place.write("d/e/file", "x", 0o644);
    symlink("d/e", place.path("way")).unwrap();
    symlink("two", place.path("one")).unwrap();
    symlink(place.path("way/../e/file"), place.path("two")).unwrap();
    symlink("way/missing", place.path("dangling")).unwrap();
    assert_eq!(ends(&place, "d/e/file").unwrap(), None);
    assert_eq!(ends(&place, "nothing").unwrap(), None);
    assert_eq!(ends(&place, "one").unwrap(), Some(real.join("d/e/file")));
    assert_eq!(
        ends(&place, "dangling").unwrap(),
        Some(real.join("d/e/missing"))
    );
}

#[test]
fn a_link_that_leads_nowhere_useful_is_an_error_that_says_so() {
    let place = Place::new();
    symlink("b", place.path("a")).unwrap();
    symlink("a", place.path("b")).unwrap();
    symlink("no/such/directory", place.path("c")).unwrap();
    symlink("..", place.path("d")).unwrap();
    symlink("/proc/sys/kernel/hostname", place.path("e")).unwrap();
    for (name, words) in [
        ("a", "round in a circle"),
        ("c", "create it"),
        ("d", "a directory"),
        ("e", "cannot be a target"),
    ] {
        let error = ends(&place, name).unwrap_err();
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
}

#[test]
fn below_a_root_no_link_leads_out_of_it() {
    let place = Place::new();
    let root = place.path("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::create_dir_all(root.join("srv")).unwrap();
    symlink("/srv/file", root.join("etc/absolute")).unwrap();
    symlink("../../../../srv/file", root.join("etc/relative")).unwrap();
    for name in ["/etc/absolute", "/etc/relative"] {
        let end = follow(Some(&root), &TargetPath::new(name).unwrap(), false).unwrap();
        assert_eq!(end.unwrap().as_str(), "/srv/file");
    }
}

#[test]
fn a_transaction_goes_back_where_it_began_although_the_link_leads_elsewhere_by_now() {
    let place = Place::new();
    place.write("first/file", "old", 0o640);
    place.write("second/file", "other", 0o640);
    symlink("first/file", place.path("link")).unwrap();
    let target = place.target("link");
    let site = Site {
        leads_to: follow(None, &target, false).unwrap(),
        ..Site::default()
    };
    let found = place.installer.look_at(&target, &site).unwrap();
    let Found::File { metadata, .. } = found else {
        panic!("it is there");
    };
    let staged = place.installer.stage_at(&target, &site, b"new", &metadata);
    let placements = [Placement {
        target,
        site,
        staged: staged.unwrap(),
        kept: Kept::Name(place.installer.kept_name()),
        digest: Digest::of(b"new"),
        metadata,
    }];
    assert_eq!(names(&place.path("first")), [".appconfigd", "file"]);
    place.installer.keep(&placements).unwrap();
    place.installer.swap(&placements).unwrap();
    assert_eq!(fs::read_to_string(place.path("link")).unwrap(), "new");
    fs::remove_file(place.path("link")).unwrap();
    symlink("second/file", place.path("link")).unwrap();
    assert_eq!(place.installer.foreign(&placements).unwrap(), []);
    assert_eq!(
        place.installer.put_back(&placements)[0].clone().unwrap(),
        WentBack::Restored
    );
    place.installer.release(&placements);
    for (name, text) in [("first", "old"), ("second", "other")] {
        assert_eq!(names(&place.path(name)), ["file"]);
        let file = place.path(name).join("file");
        assert_eq!(fs::read_to_string(file).unwrap(), text);
    }
}
