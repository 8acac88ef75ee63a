//! Keep, swap, put back: each alone and again.

use super::stage::Immutable;
use super::*;

fn back(place: &Place, placements: &[Placement]) -> Vec<WentBack> {
    place
        .installer
        .put_back(placements)
        .into_iter()
        .map(|went| went.unwrap())
        .collect()
}

#[test]
fn the_way_back_restores_the_very_inode_and_removes_what_was_new() {
    for place in [Place::new(), Place::tmpfs()] {
        place.write("a", "old", 0o640);
        let inode = fs::metadata(place.path("a")).unwrap().ino();
        let placements = [
            place.placement(
                "a",
                "new",
                &Wanted {
                    mode: Some(0o600),
                    ..Wanted::default()
                },
            ),
            place.placement("b", "new", &Wanted::default()),
        ];
        place.installer.keep(&placements).unwrap();
        place.installer.swap(&placements).unwrap();
        assert_eq!(fs::read_to_string(place.path("a")).unwrap(), "new");
        assert_eq!(mode(&place.path("a")), 0o600);
        assert_eq!(fs::read_to_string(place.path("b")).unwrap(), "new");
        for _ in 0..2 {
            assert_eq!(
                back(&place, &placements),
                [WentBack::Restored, WentBack::Restored]
            );
        }
        place.installer.release(&placements);
        assert_eq!(fs::read_to_string(place.path("a")).unwrap(), "old");
        let there = fs::metadata(place.path("a")).unwrap();
        assert_eq!(
            (there.ino(), there.nlink(), mode(&place.path("a"))),
            (inode, 1, 0o640)
        );
        assert_eq!(place.names(), ["a"]);
    }
}

#[test]
fn going_back_before_the_swap_leaves_one_name_of_the_inode() {
    let place = Place::new();
    place.write("a", "old", 0o644);
    let placements = [place.placement("a", "new", &Wanted::default())];
    place.installer.keep(&placements).unwrap();
    assert_eq!(fs::metadata(place.path("a")).unwrap().nlink(), 2);
    assert_eq!(back(&place, &placements), [WentBack::Restored]);
    assert_eq!(fs::metadata(place.path("a")).unwrap().nlink(), 1);
    place.installer.release(&placements);
    assert_eq!(place.names(), ["a"]);
}

#[test]
fn a_missing_kept_name_leaves_the_target_alone() {
    let place = Place::new();
    place.write("a", "old", 0o644);
    let placements = [place.placement("a", "new", &Wanted::default())];
    fs::write(place.path("a"), "changed by hand").unwrap();
    assert_eq!(back(&place, &placements), [WentBack::Restored]);
    assert_eq!(
        fs::read_to_string(place.path("a")).unwrap(),
        "changed by hand"
    );
    assert_eq!(place.installer.foreign(&placements).unwrap(), []);
    fs::remove_file(place.path("a")).unwrap();
    assert_eq!(back(&place, &placements), [WentBack::Gone]);
}

#[test]
fn after_the_loss_of_a_tmpfs_the_target_is_gone_and_an_absent_one_is_right() {
    let place = Place::new();
    place.write("run/a", "old", 0o644);
    let placements = [
        place.placement("run/a", "new", &Wanted::default()),
        place.placement("run/b", "new", &Wanted::default()),
    ];
    place.installer.keep(&placements).unwrap();
    fs::remove_dir_all(place.path("run")).unwrap();
    assert_eq!(place.installer.foreign(&placements).unwrap(), []);
    assert_eq!(
        back(&place, &placements),
        [WentBack::Gone, WentBack::Restored]
    );
    place.installer.release(&placements);
}

#[test]
fn a_target_that_goes_before_it_is_kept_is_told_gone_on_the_way_back() {
    let place = Place::new();
    place.write("a", "old", 0o644);
    let placements = [place.placement("a", "new", &Wanted::default())];
    fs::remove_file(place.path("a")).unwrap();
    for _ in 0..2 {
        place.installer.keep(&placements).unwrap();
        assert!(!place.path("a").exists());
    }
    place.installer.swap(&placements).unwrap();
    place.installer.keep(&placements).unwrap();
    assert_eq!(place.installer.foreign(&placements).unwrap(), []);
    for _ in 0..2 {
        assert_eq!(back(&place, &placements), [WentBack::Gone]);
        assert!(place.names().iter().all(|name| name == ".appconfigd"));
    }
    place.installer.release(&placements);
    assert!(place.names().is_empty());
}

#[test]
fn kept_names_stay_when_the_commit_is_carried_out_again_with_other_bytes() {
    let place = Place::new();
    place.write("a", "old", 0o644);
    let first = place.placement("a", "first", &Wanted::default());
    place.installer.keep(std::slice::from_ref(&first)).unwrap();
    place.installer.swap(std::slice::from_ref(&first)).unwrap();
    let again = place.placement("a", "second", &Wanted::default());
    let again = [Placement {
        kept: first.kept.clone(),
        ..again
    }];
    place.installer.keep(&again).unwrap();
    place.installer.swap(&again).unwrap();
    assert_eq!(fs::read_to_string(place.path("a")).unwrap(), "second");
    assert_eq!(back(&place, &again), [WentBack::Restored]);
    assert_eq!(fs::read_to_string(place.path("a")).unwrap(), "old");
}

#[test]
fn a_staged_file_that_is_gone_counts_as_renamed_only_if_the_target_is_new() {
    let place = Place::new();
    place.write("a", "old", 0o644);
    let placements = [place.placement("a", "new", &Wanted::default())];
    place.installer.keep(&placements).unwrap();
    place.installer.swap(&placements).unwrap();
    place.installer.swap(&placements).unwrap();
    fs::write(place.path("a"), "other").unwrap();
    let error = place.installer.swap(&placements).unwrap_err().error;
    assert!(matches!(error, InstallError::StagedGone { .. }), "{error}");
    place.installer.release(&placements);
    fs::remove_file(place.path("a")).unwrap();
    assert!(place.installer.swap(&placements).is_err());
}

#[test]
fn what_somebody_else_wrote_after_the_swap_is_foreign() {
    let place = Place::new();
    for name in ["kept", "new", "byhand", "appeared", "link"] {
        if name != "appeared" {
            place.write(name, "old", 0o644);
        }
    }
    let placements: Vec<_> = ["kept", "new", "byhand", "appeared", "link"]
        .map(|name| place.placement(name, "new", &Wanted::default()))
        .into();
    place.installer.keep(&placements).unwrap();
    assert_eq!(place.installer.foreign(&placements).unwrap(), []);
    place.installer.swap(&placements[1..]).unwrap();
    assert_eq!(place.installer.foreign(&placements).unwrap(), []);
    fs::remove_file(place.path("byhand")).unwrap();
    place.write("byhand", "by hand", 0o604);
    fs::write(place.path("appeared"), "by hand too").unwrap();
    fs::remove_file(place.path("link")).unwrap();
    std::os::unix::fs::symlink("kept", place.path("link")).unwrap();
    let mut foreign = place.installer.foreign(&placements).unwrap();
    foreign.sort_by(|left, right| left.target.cmp(&right.target));
    let seen: Vec<_> = foreign
        .iter()
        .map(|file| (file.target.file_name(), &file.bytes[..]))
        .collect();
    assert_eq!(
        seen,
        [("appeared", &b"by hand too"[..]), ("byhand", b"by hand")]
    );
    assert_eq!(foreign[1].metadata.mode, 0o604);
    assert_eq!(back(&place, &placements), vec![WentBack::Restored; 5]);
    place.installer.release(&placements);
    assert_eq!(place.names(), ["byhand", "kept", "link", "new"]);
    assert_eq!(fs::read_to_string(place.path("link")).unwrap(), "old");
}

#[test]
fn one_failure_on_the_way_back_stays_where_it_is() {
    let place = Place::new();
    for name in ["a", "b", "x/c"] {
        place.write(name, "old", 0o644);
    }
    let placements: Vec<_> = ["a", "x/c", "b"]
        .map(|name| place.placement(name, "new", &Wanted::default()))
        .into();
    place.installer.keep(&placements).unwrap();
    place.installer.swap(&placements).unwrap();
    fs::remove_file(place.path("a")).unwrap();
    fs::create_dir(place.path("a")).unwrap();
    let went = place.installer.put_back(&placements);
    let text = went[0].as_ref().unwrap_err().to_string();
    assert!(text.contains("a directory"), "{text}");
    assert!(went[1].is_ok() && went[2].is_ok());
    assert_eq!(fs::read_to_string(place.path("x/c")).unwrap(), "old");
    fs::remove_dir(place.path("a")).unwrap();
    assert_eq!(back(&place, &placements), vec![WentBack::Restored; 3]);
    assert_eq!(fs::read_to_string(place.path("a")).unwrap(), "old");
}

#[test]
fn a_directory_that_took_the_targets_place_is_named_at_the_swap() {
    let place = Place::new();
    let placements = [place.placement("a", "new", &Wanted::default())];
    fs::create_dir(place.path("a")).unwrap();
    let error = place.installer.swap(&placements).unwrap_err().error;
    assert!(error.to_string().contains("a directory"), "{error}");
}

#[test]
fn where_links_are_refused_a_whole_copy_is_kept() {
    let place = Place::new();
    let target = place.write("a", "old", 0o640);
    let _ = set_xattr(&place.path("a"), "user.note", b"kept");
    let placements = [place.placement("a", "new", &Wanted::default())];
    // An immutable file can be neither linked nor renamed over.
    let Some(guard) = Immutable::make(place.path("a")) else {
        return skipped("no chattr +i here");
    };
    place.installer.keep(&placements).unwrap();
    place.installer.keep(&placements).unwrap();
    let Kept::Name(kept) = &placements[0].kept else {
        panic!("absent")
    };
    let kept = place.installer.staged_path(&target, kept);
    let (copy, original) = (
        fs::metadata(&kept).unwrap(),
        fs::metadata(place.path("a")).unwrap(),
    );
    assert_ne!(copy.ino(), original.ino());
    assert_eq!(fs::read_to_string(&kept).unwrap(), "old");
    assert_eq!(copy.mode(), original.mode());
    assert_eq!(copy.modified().unwrap(), original.modified().unwrap());
    assert_eq!(
        xattr(&kept, "user.note"),
        xattr(&place.path("a"), "user.note")
    );
    let error = place.installer.swap(&placements).unwrap_err().error;
    assert!(matches!(error, InstallError::Immutable { .. }), "{error}");
    assert_eq!(place.installer.foreign(&placements).unwrap(), []);
    assert_eq!(back(&place, &placements), [WentBack::Restored]);
    drop(guard);
    place.installer.release(&placements);
    assert_eq!(place.names(), ["a"]);
}

#[test]
fn the_sweep_takes_what_nobody_names_and_nothing_else() {
    let place = Place::new();
    place.write("a", "old", 0o644);
    place.write("outside", "stays", 0o644);
    let live = [place.placement("a", "new", &Wanted::default())];
    place.installer.keep(&live).unwrap();
    let own = place.path(".appconfigd");
    fs::write(own.join("stray"), "").unwrap();
    std::os::unix::fs::symlink("../outside", own.join("link")).unwrap();
    fs::create_dir(own.join("unknown")).unwrap();
    fs::write(own.join("unknown/inside"), "").unwrap();
    let targets: BTreeSet<_> = [
        place.target("a"),
        place.target("b"),
        place.target("no/where/x"),
    ]
    .into();
    place.installer.sweep(&targets, &live);
    let Kept::Name(kept) = &live[0].kept else {
        panic!("absent")
    };
    let mut expected = vec![live[0].staged.clone(), kept.clone(), "unknown".into()];
    expected.sort();
    assert_eq!(names(&own), expected);
    assert_eq!(names(&own.join("unknown")), ["inside"]);
    fs::remove_dir_all(own.join("unknown")).unwrap();
    place.installer.sweep(&targets, &[]);
    assert_eq!(place.names(), ["a", "outside"]);
}

#[test]
fn more_directories_than_are_held_open_are_all_swapped() {
    let place = Place::tmpfs();
    let files: Vec<String> = (0..150).map(|number| format!("d{number}/f")).collect();
    for file in &files {
        place.write(file, "old", 0o644);
    }
    let placements: Vec<_> = files
        .iter()
        .map(|file| place.placement(file, "new", &Wanted::default()))
        .collect();
    place.installer.keep(&placements).unwrap();
    place.installer.swap(&placements).unwrap();
    place.installer.release(&placements);
    for file in &files {
        assert_eq!(fs::read_to_string(place.path(file)).unwrap(), "new");
        assert_eq!(names(place.path(file).parent().unwrap()), ["f"]);
    }
}
