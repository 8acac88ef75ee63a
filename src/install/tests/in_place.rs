//! Writing over files: the inode stays, and every prefix of the steps ends whole.

use proptest::prelude::*;

use super::*;

fn in_place() -> Site {
    Site {
        kind: TargetKind::InPlace,
        ..Site::default()
    }
}

pub(super) fn placement(place: &Place, name: &str, bytes: &str, wanted: &Wanted) -> Placement {
    let target = place.target(name);
    let found = place.installer.look(&target).unwrap();
    let metadata = place.installer.metadata(&target, wanted, &found).unwrap();
    let staged = place
        .installer
        .stage_at(&target, &in_place(), bytes.as_bytes(), &metadata);
    Placement {
        site: in_place(),
        staged: staged.unwrap(),
        kept: match found {
            Found::Absent => Kept::Absent,
            Found::File { .. } | Found::Directory { .. } => Kept::Name(place.installer.kept_name()),
        },
        digest: Digest::of(bytes.as_bytes()),
        metadata,
        target,
    }
}

fn commit(place: &Place, placements: &[Placement]) {
    place.installer.keep(placements).unwrap();
    place.installer.swap(placements).unwrap();
}

fn text(place: &Place, name: &str) -> String {
    fs::read_to_string(place.path(name)).unwrap()
}

fn back(place: &Place, placements: &[Placement]) -> Vec<WentBack> {
    let went = place.installer.put_back(placements).into_iter();
    went.map(Result::unwrap).collect()
}

/// What `write_over` leaves when it dies after this many bytes.
fn write_half(place: &Place, name: &str, bytes: &str, written: usize) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().write(true).open(place.path(name));
    let written = written.min(bytes.len());
    file.unwrap()
        .write_all_at(&bytes.as_bytes()[..written], 0)
        .unwrap();
}

#[test]
fn the_inode_stays_on_the_way_there_and_back_and_gets_its_metadata() {
    let place = Place::new();
    for (old, new) in [("old", "a longer one"), ("a longer one", "new")] {
        place.write("a", old, 0o640);
        let before = fs::metadata(place.path("a")).unwrap();
        let wanted = Wanted {
            mode: Some(0o604),
            ..Wanted::default()
        };
        let placements = [placement(&place, "a", new, &wanted)];
        commit(&place, &placements);
        assert_eq!(
            (text(&place, "a").as_str(), mode(&place.path("a"))),
            (new, 0o604)
        );
        assert_eq!(place.installer.foreign(&placements).unwrap(), []);
        assert_eq!(back(&place, &placements), [WentBack::Restored]);
        let after = fs::metadata(place.path("a")).unwrap();
        assert_eq!(
            (text(&place, "a").as_str(), mode(&place.path("a"))),
            (old, 0o640)
        );
        assert_eq!(after.ino(), before.ino());
        assert_eq!(after.modified().unwrap(), before.modified().unwrap());
        place.installer.release(&placements);
        assert_eq!(place.names(), ["a"]);
    }
}

#[test]
fn equal_bytes_touch_nothing() {
    let place = Place::new();
    place.write("a", "same", 0o640);
    let before = fs::metadata(place.path("a")).unwrap();
    let placements = [placement(&place, "a", "same", &Wanted::default())];
    commit(&place, &placements);
    back(&place, &placements);
    place.installer.release(&placements);
    let after = fs::metadata(place.path("a")).unwrap();
    let times = |found: &fs::Metadata| (found.ctime(), found.ctime_nsec(), found.ino());
    assert_eq!(times(&after), times(&before));
}

#[test]
fn a_missing_file_is_made_whole_and_removed_again() {
    let place = Place::new();
    let placements = [placement(&place, "a", "new", &Wanted::default())];
    commit(&place, &placements);
    assert_eq!(text(&place, "a"), "new");
    // Carried out again after a crash: now it is there.
    let again = [Placement {
        kept: Kept::Absent,
        ..placement(&place, "a", "newer", &Wanted::default())
    }];
    commit(&place, &again);
    assert_eq!(text(&place, "a"), "newer");
    assert_eq!(back(&place, &again), [WentBack::Restored]);
    place.installer.release(&again);
    assert_eq!(place.names(), Vec::<String>::new());
}

#[test]
fn a_kept_copy_that_is_lost_with_its_directory_is_not_taken_for_a_file_that_was_not_written() {
    let place = Place::new();
    place.write("a", "old", 0o644);
    let placements = [placement(&place, "a", "newer", &Wanted::default())];
    // Nothing was kept, so nothing was written.
    assert_eq!(back(&place, &placements), [WentBack::Restored]);
    place.installer.keep(&placements).unwrap();
    write_half(&place, "a", "newer", 2);
    // A container's own layer, beside a mounted file.
    fs::remove_dir_all(place.path(".appconfigd")).unwrap();
    assert_eq!(back(&place, &placements), [WentBack::Gone]);
}

#[test]
fn what_somebody_else_wrote_is_told_from_our_own_half() {
    let place = Place::new();
    place.write("a", "old and long", 0o644);
    let placements = [placement(&place, "a", "NEW!", &Wanted::default())];
    place.installer.keep(&placements).unwrap();
    for written in 0..=4 {
        write_half(&place, "a", "NEW!", written);
        assert_eq!(place.installer.foreign(&placements).unwrap(), []);
    }
    fs::write(place.path("a"), "edited").unwrap();
    let foreign = place.installer.foreign(&placements).unwrap();
    assert_eq!(foreign[0].bytes.as_ref(), b"edited");
}

#[test]
fn a_row_of_before_there_were_kinds_is_a_rename() {
    let place = Place::new();
    let mut row = serde_json::to_value(placement(&place, "a", "x", &Wanted::default())).unwrap();
    row.as_object_mut().unwrap().remove("site");
    let read: Placement = serde_json::from_value(row).unwrap();
    assert_eq!(read.site, Site::default());
    assert_eq!(read.site.kind, TargetKind::Rename);
}

#[derive(Clone, Debug)]
struct Steps {
    old: Option<String>,
    new: String,
    kept: bool,
    written: usize,
    went_back: Option<usize>,
    forward: bool,
}

fn steps() -> impl Strategy<Value = Steps> {
    let half = prop::option::of(0..40usize);
    (
        "[a-c]{0,30}",
        prop::option::of("[a-c]{0,30}"),
        any::<bool>(),
        0..40usize,
        half,
        any::<bool>(),
    )
        .prop_map(|(new, old, kept, written, went_back, forward)| Steps {
            old,
            new,
            kept,
            written,
            went_back,
            forward,
        })
}

fn check(place: &Place, steps: &Steps) {
    if let Some(old) = &steps.old {
        place.write("a", old, 0o640);
    }
    let inode = || fs::metadata(place.path("a")).ok().map(|found| found.ino());
    let before = inode();
    let wanted = Wanted {
        mode: Some(0o600),
        ..Wanted::default()
    };
    let placements = [placement(place, "a", &steps.new, &wanted)];
    let installer = &place.installer;
    if steps.kept {
        installer.keep(&placements).unwrap();
        match &steps.old {
            Some(_) => write_half(place, "a", &steps.new, steps.written),
            None if steps.written > 20 => installer.swap(&placements).unwrap(),
            None => {}
        }
        if let (Some(old), Some(half), false) = (&steps.old, steps.went_back, steps.forward) {
            installer.swap(&placements).unwrap();
            write_half(place, "a", old, half);
        }
    }
    if steps.forward {
        let again = [Placement {
            kept: placements[0].kept.clone(),
            ..placement(place, "a", &steps.new, &wanted)
        }];
        commit(place, &again);
        installer.release(&again);
        installer.release(&placements);
        assert_eq!(
            (text(place, "a"), mode(&place.path("a"))),
            (steps.new.clone(), 0o600)
        );
    } else {
        assert_eq!(installer.foreign(&placements).unwrap(), []);
        for _ in 0..2 {
            assert_eq!(back(place, &placements), [WentBack::Restored]);
        }
        installer.release(&placements);
        assert_eq!(fs::read_to_string(place.path("a")).ok(), steps.old);
        if steps.old.is_some() {
            assert_eq!(mode(&place.path("a")), 0o640);
        }
    }
    if before.is_some() {
        assert_eq!(inode(), before);
    }
    assert!(place.names().iter().all(|name| name == "a"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_crash_a_file_written_in_place_is_whole_and_the_same_inode(steps in steps()) {
        check(&Place::tmpfs(), &steps);
    }
}
