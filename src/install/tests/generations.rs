//! Directory targets: one link, generations beside it, and every prefix of the steps ends whole.

use std::os::unix::fs::symlink;

use super::super::archive;
use super::super::tree::Tree;
use super::*;
use crate::settings::{FileSet, Render, SetFile};

pub(super) fn set(adopt: bool, keep_previous: u32, names: &[&str]) -> FileSet {
    let file = || SetFile {
        from: vec!["p".into()],
        render: Render::Verbatim,
        owner: None,
        group: None,
        mode: None,
        sensitive: false,
    };
    FileSet {
        files: names
            .iter()
            .map(|name| ((*name).to_owned(), file()))
            .collect(),
        adopt,
        keep_previous,
    }
}

pub(super) fn declared(path: &TargetPath, set: FileSet) -> Target {
    Target {
        path: path.clone(),
        from: vec!["p".into()],
        render: Render::Files(set),
        owner: None,
        group: None,
        mode: None,
        in_place: false,
        symlink: Symlink::Refuse,
        unsafe_path: true,
        parents: None,
        validate_command: None,
        notify: Vec::new(),
        on_drift: Default::default(),
        sensitive: false,
    }
}

pub(super) fn of(target: &Target) -> Installer {
    Installer {
        root: None,
        targets: Arc::new([(target.path.clone(), Arc::new(target.clone()))].into()),
        leftovers: Arc::default(),
    }
}

/// A directory target `d/` in a place.
struct Declared {
    place: Place,
    installer: Installer,
    target: Target,
}

impl Declared {
    fn new(adopt: bool, keep_previous: u32, names: &[&str]) -> Declared {
        Declared::at(Place::new(), adopt, keep_previous, names)
    }

    fn at(place: Place, adopt: bool, keep_previous: u32, names: &[&str]) -> Declared {
        let target = declared(&place.target("d/"), set(adopt, keep_previous, names));
        Declared {
            installer: of(&target),
            place,
            target,
        }
    }

    fn archive(&self, files: &[(&str, &str)]) -> (Bytes, Metadata) {
        let bytes = |(name, text): &(&str, &str)| {
            ((*name).to_owned(), Bytes::copy_from_slice(text.as_bytes()))
        };
        let files = files.iter().map(bytes).collect();
        let set = self.target.file_set().unwrap();
        self.installer.archive(&self.target, set, files).unwrap()
    }

    fn look(&self) -> Result<Found, InstallError> {
        self.installer.look(&self.target.path)
    }

    fn placement(&self, files: &[(&str, &str)]) -> Result<Placement, InstallError> {
        let (archive, metadata) = self.archive(files);
        let found = self.look()?;
        let staged = self
            .installer
            .stage(&self.target.path, &archive, &metadata)?;
        Ok(Placement {
            target: self.target.path.clone(),
            site: self.installer.site(&self.target.path).unwrap(),
            kept: match found {
                Found::Absent => Kept::Absent,
                Found::File { .. } => Kept::Name(self.installer.kept_name()),
                Found::Directory { .. } => Kept::Exchange(staged.clone()),
            },
            staged,
            digest: Digest::of(&archive),
            metadata,
        })
    }

    fn commit(&self, files: &[(&str, &str)]) -> [Placement; 1] {
        let placements = [self.placement(files).unwrap()];
        self.installer.keep(&placements).unwrap();
        self.installer.swap(&placements).unwrap();
        placements
    }

    fn install(&self, files: &[(&str, &str)]) {
        let placements = self.commit(files);
        self.installer.release(&placements);
    }

    fn back(&self, placements: &[Placement]) -> WentBack {
        let went = self.installer.put_back(placements).pop().unwrap();
        went.unwrap()
    }

    fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.place.path("d").join(name)).ok()
    }

    fn names(&self) -> Vec<String> {
        self.place.names()
    }

    fn link(&self) -> Option<String> {
        let text = fs::read_link(self.place.path("d")).ok()?;
        Some(text.to_str().unwrap().to_owned())
    }
}

#[test]
fn the_archive_is_what_tar_writes_and_reads_back_the_same() {
    let place = Place::new();
    let long = "x".repeat(150);
    for (name, text) in [("d/a", "hello"), ("d/sub/b", ""), ("d/sub.c", "x")] {
        place.write(name, text, 0o640);
    }
    place.write(&format!("d/{long}"), &"y".repeat(1_000), 0o4755);
    symlink("a", place.path("d/l")).unwrap();
    symlink(format!("{long}{long}"), place.path("d/long")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.path("d/p"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    if is_root() {
        std::os::unix::fs::chown(place.path("d/a"), Some(3_000_000), None).unwrap();
    }
    let found = Installer::new(None)
        .read(&place.target("d/"))
        .unwrap()
        .unwrap();
    assert_eq!(found.bytes.len() % archive::BLOCK, 0);
    let tree = Tree::unpack(&found.bytes).unwrap();
    assert_eq!(tree.pack(), found.bytes);
    assert_eq!(tree.file(Path::new("a")).unwrap().as_ref(), b"hello");
    for cut in [0, 1, 511, 512, 700, found.bytes.len() - 1_024] {
        assert!(Tree::unpack(&found.bytes.slice(..cut)).is_none(), "{cut}");
    }
    let tar = std::process::Command::new("tar")
        .args([
            "--format=gnu",
            "--blocking-factor=1",
            "--sort=name",
            "--mtime=@0",
        ])
        .args(["--numeric-owner", "-C"])
        .arg(place.path("d"))
        .args(["-c", "."])
        .output();
    match tar {
        Ok(tar) if tar.status.success() => assert!(tar.stdout == found.bytes),
        _ => skipped("there is no GNU tar"),
    }
}

#[test]
fn a_generation_has_what_was_declared_and_the_link_is_relative() {
    let declared = Declared::new(false, 1, &["a", "sub/deep/b"]);
    let files = [("a", "one"), ("sub/deep/b", "two")];
    declared.install(&files);
    assert_eq!(declared.link().as_deref(), Some(".d.appconfigd.1"));
    assert_eq!(declared.text("sub/deep/b").as_deref(), Some("two"));
    assert_eq!(mode(&declared.place.path(".d.appconfigd.1")), 0o755);
    assert_eq!(mode(&declared.place.path("d/sub/deep")), 0o755);
    assert_eq!(mode(&declared.place.path("d/a")), 0o644);
    assert_eq!(declared.names(), [".d.appconfigd.1", "d"]);
    let digest = Digest::of(&declared.archive(&files).0);
    let Found::File { digest: found, .. } = declared.look().unwrap() else {
        panic!("no link");
    };
    assert_eq!(found, digest);
}

#[test]
fn as_many_previous_generations_stay_as_asked() {
    for keep in [0, 1, 3] {
        let declared = Declared::new(false, keep, &["a"]);
        for version in 1..=6 {
            declared.install(&[("a", &version.to_string())]);
        }
        let kept = (6 - keep..=6).map(|number| format!(".d.appconfigd.{number}"));
        let names: Vec<String> = kept.chain(["d".to_owned()]).collect();
        assert_eq!(declared.names(), names);
        assert_eq!(declared.text("a").as_deref(), Some("6"));
    }
}

#[test]
fn what_stood_until_a_newer_version_came_is_a_previous_generation() {
    let declared = Declared::new(false, 1, &["a"]);
    declared.install(&[("a", "1")]);
    // Nobody has acknowledged it yet when the next one comes.
    let standing = declared.commit(&[("a", "2")]);
    let newer = declared.commit(&[("a", "3")]);
    declared.installer.release(&newer);
    declared.installer.release(&standing);
    assert_eq!(
        declared.names(),
        [".d.appconfigd.2", ".d.appconfigd.3", "d"]
    );
}

#[test]
fn a_version_goes_back_to_the_generation_before_and_leaves_nothing_of_itself() {
    for keep in [0, 1] {
        let declared = Declared::new(false, keep, &["a"]);
        declared.install(&[("a", "one")]);
        let placements = declared.commit(&[("a", "two")]);
        assert_eq!(declared.text("a").as_deref(), Some("two"));
        for _ in 0..2 {
            assert_eq!(declared.back(&placements), WentBack::Restored);
            assert_eq!(declared.text("a").as_deref(), Some("one"));
        }
        declared.installer.release(&placements);
        assert_eq!(declared.names(), [".d.appconfigd.1", "d"]);
    }
}

#[test]
fn a_first_version_goes_back_to_nothing() {
    let declared = Declared::new(false, 1, &["a"]);
    let placements = declared.commit(&[("a", "one")]);
    assert_eq!(declared.back(&placements), WentBack::Restored);
    declared.installer.release(&placements);
    assert_eq!(declared.names(), Vec::<String>::new());
}

#[test]
fn a_link_of_somebody_else_is_kept_as_it_is_and_comes_back() {
    let declared = Declared::new(false, 1, &["a"]);
    fs::create_dir(declared.place.path("elsewhere")).unwrap();
    declared.place.write("elsewhere/a", "theirs", 0o644);
    symlink("elsewhere", declared.place.path("d")).unwrap();
    let before = fs::symlink_metadata(declared.place.path("d"))
        .unwrap()
        .ino();
    let placements = declared.commit(&[("a", "ours")]);
    assert_eq!(declared.text("a").as_deref(), Some("ours"));
    assert_eq!(declared.back(&placements), WentBack::Restored);
    assert_eq!(declared.link().as_deref(), Some("elsewhere"));
    let after = fs::symlink_metadata(declared.place.path("d"))
        .unwrap()
        .ino();
    assert_eq!(after, before);
    declared.installer.release(&placements);
    assert_eq!(declared.names(), ["d", "elsewhere"]);
}

#[test]
fn a_real_directory_is_refused_by_a_message_that_names_the_way() {
    let declared = Declared::new(false, 1, &["a"]);
    declared.place.write("d/a", "theirs", 0o644);
    let error = declared.look().unwrap_err();
    assert!(error.to_string().contains("`adopt: true`"), "{error}");
    assert_eq!(declared.text("a").as_deref(), Some("theirs"));
    // Put there by hand between plan and swap.
    fs::remove_dir_all(declared.place.path("d")).unwrap();
    let placements = [declared.placement(&[("a", "ours")]).unwrap()];
    declared.place.write("d/a", "theirs", 0o644);
    declared.installer.keep(&placements).unwrap();
    let error = declared.installer.swap(&placements).unwrap_err().error;
    assert!(error.to_string().contains("`adopt: true`"), "{error}");
    assert_eq!(declared.text("a").as_deref(), Some("theirs"));
}

#[test]
fn a_file_in_its_place_is_named() {
    let declared = Declared::new(true, 1, &["a"]);
    declared.place.write("d", "a file", 0o644);
    let error = declared.look().unwrap_err().to_string();
    assert!(error.contains("it is a regular file"), "{error}");
}

#[test]
fn a_directory_is_taken_over_and_is_the_previous_generation_then() {
    let declared = Declared::new(true, 1, &["a"]);
    declared.place.write("d/theirs", "theirs", 0o644);
    let inode = fs::metadata(declared.place.path("d")).unwrap().ino();
    declared.install(&[("a", "ours")]);
    assert_eq!(declared.text("a").as_deref(), Some("ours"));
    assert_eq!(
        declared.names(),
        [".d.appconfigd.1", ".d.appconfigd.2", "d"]
    );
    let previous = declared.place.path(".d.appconfigd.1");
    assert_eq!(fs::metadata(&previous).unwrap().ino(), inode);
    assert_eq!(
        fs::read_to_string(previous.join("theirs")).unwrap(),
        "theirs"
    );
    declared.install(&[("a", "newer")]);
    assert_eq!(
        declared.names(),
        [".d.appconfigd.2", ".d.appconfigd.3", "d"]
    );
}

#[test]
fn a_directory_that_was_taken_over_comes_back_whole() {
    let declared = Declared::new(true, 0, &["a"]);
    declared.place.write("d/theirs", "theirs", 0o644);
    let inode = fs::metadata(declared.place.path("d")).unwrap().ino();
    let placements = declared.commit(&[("a", "ours")]);
    let staged = declared
        .place
        .path(".appconfigd")
        .join(&placements[0].staged);
    assert!(
        fs::symlink_metadata(staged).unwrap().is_dir(),
        "the staged name is the directory now"
    );
    for _ in 0..2 {
        assert_eq!(declared.back(&placements), WentBack::Restored);
        assert_eq!(
            fs::symlink_metadata(declared.place.path("d"))
                .unwrap()
                .ino(),
            inode
        );
    }
    declared.installer.release(&placements);
    assert_eq!(declared.names(), ["d"]);
    assert_eq!(declared.text("theirs").as_deref(), Some("theirs"));
}

#[test]
fn what_is_not_ours_is_found_before_going_back_replaces_it() {
    let declared = Declared::new(false, 1, &["a"]);
    declared.install(&[("a", "one")]);
    let placements = declared.commit(&[("a", "two")]);
    assert_eq!(declared.installer.foreign(&placements).unwrap(), []);
    fs::write(declared.place.path("d/a"), "edited").unwrap();
    let foreign = declared.installer.foreign(&placements).unwrap();
    let tree = Tree::unpack(&foreign[0].bytes).unwrap();
    assert_eq!(tree.file(Path::new("a")).unwrap().as_ref(), b"edited");
    declared.back(&placements);
    assert_eq!(declared.installer.foreign(&placements).unwrap(), []);
}

#[test]
fn every_change_inside_a_generation_is_another_digest() {
    let declared = Declared::new(false, 1, &["a", "sub/b"]);
    declared.install(&[("a", "one"), ("sub/b", "two")]);
    let right = declared.look().unwrap();
    let path = |name: &str| declared.place.path("d").join(name);
    type Change<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let changes: [Change<'_>; 8] = [
        ("bytes", Box::new(|| fs::write(path("a"), "One").unwrap())),
        (
            "mode",
            Box::new(|| {
                fs::set_permissions(path("sub/b"), PermissionsExt::from_mode(0o600)).unwrap()
            }),
        ),
        (
            "mode of a directory",
            Box::new(|| {
                fs::set_permissions(path("sub"), PermissionsExt::from_mode(0o700)).unwrap()
            }),
        ),
        (
            "mode of the whole",
            Box::new(|| fs::set_permissions(path("."), PermissionsExt::from_mode(0o700)).unwrap()),
        ),
        (
            "one more",
            Box::new(|| fs::write(path("sub/c"), "").unwrap()),
        ),
        ("one less", Box::new(|| fs::remove_file(path("a")).unwrap())),
        ("a link", Box::new(|| symlink("x", path("l")).unwrap())),
        (
            "another link",
            Box::new(|| {
                fs::remove_file(declared.place.path("d")).unwrap();
                symlink("/etc", declared.place.path("d")).unwrap();
            }),
        ),
    ];
    for (what, change) in changes {
        change();
        assert_ne!(declared.look().unwrap(), right, "{what}");
        declared.install(&[("a", "one"), ("sub/b", "two")]);
        assert_eq!(declared.look().unwrap(), right, "{what}");
    }
}

#[test]
fn acl_and_attributes_go_along_to_what_has_the_same_path() {
    let declared = Declared::new(false, 1, &["a", "sub/b"]);
    declared.install(&[("a", "one"), ("sub/b", "two")]);
    let list = acl(6, (1, 4), 4, 4, 0);
    if set_xattr(
        &declared.place.path(".d.appconfigd.1/sub/b"),
        "user.mark",
        b"x",
    )
    .is_err()
    {
        return skipped("no extended attributes here");
    }
    let acls = set_xattr(
        &declared.place.path(".d.appconfigd.1/a"),
        "system.posix_acl_access",
        &list,
    );
    declared.install(&[("a", "ONE"), ("sub/b", "TWO")]);
    let new = declared.place.path(".d.appconfigd.2");
    assert_eq!(xattr(&new.join("sub/b"), "user.mark").unwrap(), b"x");
    if acls.is_ok() {
        assert!(xattr(&new.join("a"), "system.posix_acl_access").is_some());
    }
}

#[test]
fn what_nobody_needs_is_swept_and_what_is_needed_stays() {
    let declared = Declared::new(false, 1, &["a"]);
    declared.install(&[("a", "one")]);
    declared.install(&[("a", "two")]);
    let live = declared.commit(&[("a", "three")]);
    // A crash while the next one was staged, and one while an old one was removed.
    declared.placement(&[("a", "four")]).unwrap();
    for name in ["tree", "gone"] {
        let name = format!(".appconfigd/{name}-{:032x}/sub/deep", 7);
        declared.place.write(&format!("{name}/x"), "", 0o400);
    }
    let targets = BTreeSet::from([declared.target.path.clone()]);
    declared.installer.sweep(&targets, &live);
    let generations = |numbers: &[u32]| -> Vec<String> {
        numbers
            .iter()
            .map(|number| format!(".d.appconfigd.{number}"))
            .collect()
    };
    let beside: Vec<String> = declared
        .names()
        .into_iter()
        .filter(|name| name.starts_with(".d."))
        .collect();
    // The one before the kept one stays too: the kept one is needed, and not counted.
    assert_eq!(beside, generations(&[1, 2, 3]));
    assert_eq!(names(&declared.place.path(".appconfigd")).len(), 1);
    assert_eq!(declared.back(&live), WentBack::Restored);
    assert_eq!(declared.text("a").as_deref(), Some("two"));
    declared.installer.sweep(&targets, &[]);
    assert_eq!(
        declared.names(),
        [".d.appconfigd.1", ".d.appconfigd.2", "d"]
    );
}

#[test]
fn a_first_generation_that_was_only_staged_goes_with_its_link() {
    let declared = Declared::new(false, 1, &["a"]);
    declared.placement(&[("a", "one")]).unwrap();
    let targets = BTreeSet::from([declared.target.path.clone()]);
    declared.installer.sweep(&targets, &[]);
    assert_eq!(declared.names(), Vec::<String>::new());
}

#[test]
fn a_directory_that_was_taken_over_by_an_interrupted_attempt_is_never_swept() {
    let declared = Declared::new(true, 1, &["a"]);
    declared.place.write("d/theirs", "theirs", 0o644);
    let placements = declared.commit(&[("a", "ours")]);
    // As a transaction that is taken up again does with what it had staged before.
    declared
        .installer
        .discard(placements[0].lies(), &placements[0].staged);
    declared
        .installer
        .sweep(&BTreeSet::from([declared.target.path.clone()]), &placements);
    assert_eq!(declared.back(&placements), WentBack::Restored);
    assert_eq!(declared.text("theirs").as_deref(), Some("theirs"));
}

#[test]
fn a_directory_that_was_taken_over_becomes_a_generation_also_after_a_crash() {
    let declared = Declared::new(true, 1, &["a"]);
    declared.place.write("d/theirs", "theirs", 0o644);
    // Another one beside it must not get it.
    let other = declared.place.target("other/");
    declared.commit(&[("a", "ours")]);
    let targets = BTreeSet::from([declared.target.path.clone(), other]);
    declared.installer.sweep(&targets, &[]);
    assert_eq!(
        declared.names(),
        [".d.appconfigd.1", ".d.appconfigd.2", "d"]
    );
    let theirs = declared.place.path(".d.appconfigd.1/theirs");
    assert_eq!(fs::read_to_string(theirs).unwrap(), "theirs");
}

#[test]
fn what_is_tidied_again_takes_no_generation_that_came_later() {
    let declared = Declared::new(true, 1, &["a"]);
    declared.place.write("d/theirs", "theirs", 0o644);
    let [first] = declared.commit(&[("a", "ours")]);
    // Interrupted, and carried out again.
    let again = [Placement {
        kept: first.kept.clone(),
        ..declared.placement(&[("a", "ours")]).unwrap()
    }];
    declared.installer.discard(first.lies(), &first.staged);
    declared.installer.swap(&again).unwrap();
    for _ in 0..2 {
        declared.installer.release(&again);
        declared.installer.discard(first.lies(), &first.staged);
    }
    assert!(declared.installer.tidy());
    let previous = declared.place.path(".d.appconfigd.2/theirs");
    assert_eq!(fs::read_to_string(previous).unwrap(), "theirs");
    assert_eq!(
        declared.names(),
        [".d.appconfigd.2", ".d.appconfigd.3", "d"]
    );
}

/// What is there before the transaction.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Nothing,
    Generation,
    Link,
    Directory,
}

/// How far an attempt comes: 0 staged, 1 kept, 2 swapped.
fn attempt(
    declared: &Declared,
    kept: Option<&Kept>,
    version: &str,
    steps: usize,
) -> [Placement; 1] {
    let mut placement = declared.placement(&[("a", version)]).unwrap();
    if let Some(kept) = kept {
        placement.kept = kept.clone();
    }
    let placements = [placement];
    if steps > 0 {
        declared.installer.keep(&placements).unwrap();
    }
    if steps > 1 {
        declared.installer.swap(&placements).unwrap();
    }
    placements
}

#[test]
fn interrupted_attempts_end_whole_forwards_and_backwards() {
    for before in [
        Before::Nothing,
        Before::Generation,
        Before::Link,
        Before::Directory,
    ] {
        for (first, second, forward) in (0..3).flat_map(|first| {
            (0..3).flat_map(move |second| [true, false].map(|forward| (first, second, forward)))
        }) {
            let case = format!("{before:?}, {first}, {second}, forward: {forward}");
            let declared = Declared::at(Place::tmpfs(), true, 1, &["a"]);
            match before {
                Before::Nothing => {}
                Before::Generation => declared.install(&[("a", "old")]),
                Before::Link => symlink("elsewhere", declared.place.path("d")).unwrap(),
                Before::Directory => drop(declared.place.write("d/a", "old", 0o644)),
            }
            let stood = |declared: &Declared| (declared.link(), declared.text("a"));
            let was = stood(&declared);
            let one = attempt(&declared, None, "one", first);
            let kept = one[0].kept.clone();
            let two = declared.placement(&[("a", "two")]).unwrap();
            let two = [Placement {
                kept: kept.clone(),
                ..two
            }];
            // As the second attempt begins with.
            declared.installer.discard(one[0].lies(), &one[0].staged);
            if second > 0 {
                declared.installer.keep(&two).unwrap();
            }
            if second > 1 {
                declared.installer.swap(&two).unwrap();
            }
            if forward {
                let three = declared.placement(&[("a", "three")]).unwrap();
                let three = [Placement { kept, ..three }];
                declared.installer.discard(two[0].lies(), &two[0].staged);
                for _ in 0..2 {
                    declared.installer.keep(&three).unwrap();
                    declared.installer.swap(&three).unwrap();
                }
                declared.installer.release(&three);
                assert_eq!(declared.text("a").as_deref(), Some("three"), "{case}");
                assert!(declared.link().is_some(), "{case}");
            } else {
                for _ in 0..2 {
                    assert_eq!(
                        declared.back(&two),
                        if was == (None, None)
                            || declared.place.path("d").symlink_metadata().is_ok()
                        {
                            WentBack::Restored
                        } else {
                            WentBack::Gone
                        },
                        "{case}"
                    );
                }
                declared.installer.release(&two);
                assert_eq!(stood(&declared), was, "{case}");
            }
            declared
                .installer
                .sweep(&BTreeSet::from([declared.target.path.clone()]), &[]);
            assert!(
                !declared.names().contains(&".appconfigd".to_owned()),
                "{case}: {:?}",
                declared.names()
            );
            if before == Before::Directory && forward {
                let there = names(declared.place.directory.path());
                let old = there.iter().find(|name| {
                    fs::read_to_string(declared.place.path(name).join("a"))
                        .is_ok_and(|text| text == "old")
                });
                assert!(old.is_some(), "{case}: the directory is gone: {there:?}");
            }
        }
    }
}

#[test]
fn after_the_loss_of_a_tmpfs_there_is_nothing_to_put_back() {
    for before in [Before::Generation, Before::Directory] {
        let declared = Declared::new(true, 1, &["a"]);
        match before {
            Before::Generation => declared.install(&[("a", "old")]),
            _ => drop(declared.place.write("d/a", "old", 0o644)),
        }
        let placements = declared.commit(&[("a", "new")]);
        for name in declared.names() {
            let path = declared.place.path(&name);
            fs::remove_file(&path)
                .or_else(|_| fs::remove_dir_all(&path))
                .unwrap();
        }
        assert_eq!(declared.back(&placements), WentBack::Gone, "{before:?}");
        declared.installer.release(&placements);
        assert_eq!(declared.names(), Vec::<String>::new());
    }
}

#[test]
fn a_reader_that_resolves_the_link_once_sees_one_generation() {
    let declared = Declared::at(Place::tmpfs(), false, 1, &["a", "b"]);
    declared.install(&[("a", "0"), ("b", "0")]);
    let path = declared.place.path("d");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let read = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
                // Between reading the link and opening what it leads to, two more flips may pass.
                let Ok(directory) = rustix::fs::open(&path, flags, rustix::fs::Mode::empty())
                else {
                    continue;
                };
                let text = |name: &str| {
                    let flags = rustix::fs::OFlags::CLOEXEC;
                    let file =
                        rustix::fs::openat(&directory, name, flags, rustix::fs::Mode::empty());
                    file.ok()
                        .map(|file| std::io::read_to_string(fs::File::from(file)).unwrap())
                };
                // A slow reader may find its generation gone after two more flips, never mixed.
                if let (Some(a), Some(b)) = (text("a"), text("b")) {
                    assert_eq!(a, b, "two generations");
                    seen.insert(a);
                }
            }
            seen
        });
        for version in 1..=1_000 {
            let text = version.to_string();
            declared.install(&[("a", &text), ("b", &text)]);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        read.join().unwrap()
    });
    assert!(seen.len() > 1, "the reader has seen {seen:?}");
}
