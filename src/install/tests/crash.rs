//! Every prefix of the steps, then either way of recovery: each target is one complete version, and nothing else is left.

use proptest::prelude::*;

use super::*;

/// A target before and after the transaction.
#[derive(Clone, Debug)]
struct Planned {
    directory: usize,
    old: Option<(u8, u32)>,
    new: (u8, u32),
}

/// How far things went before the crash.
#[derive(Clone, Debug)]
struct Crash {
    kept: usize,
    swapped: usize,
    went_back: usize,
}

fn planned() -> impl Strategy<Value = Planned> {
    let mode = || prop::sample::select(vec![0o600, 0o640, 0o644, 0o755]);
    (
        0..3usize,
        prop::option::of((0..3u8, mode())),
        (0..3u8, mode()),
    )
        .prop_map(|(directory, old, new)| Planned {
            directory,
            old,
            new,
        })
}

fn crash() -> impl Strategy<Value = Crash> {
    (0..=6usize, 0..=6usize, 0..=6usize).prop_map(|(kept, swapped, went_back)| Crash {
        kept,
        swapped,
        went_back,
    })
}

fn name(index: usize, planned: &Planned) -> String {
    format!("d{}/f{index}", planned.directory)
}

fn content(version: u8) -> String {
    format!("version {version}\n").repeat(100)
}

/// All of a directory tree: path, bytes and mode of files.
fn tree(place: &Place, files: &[Planned]) -> Vec<Option<(String, u32)>> {
    files
        .iter()
        .enumerate()
        .map(|(index, file)| {
            let path = place.path(&name(index, file));
            fs::read_to_string(&path)
                .ok()
                .map(|text| (text, mode(&path)))
        })
        .collect()
}

fn no_strays(place: &Place, files: &[Planned], there: &[Option<(String, u32)>]) {
    for directory in 0..3 {
        let expected = files
            .iter()
            .enumerate()
            .filter(|(index, file)| file.directory == directory && there[*index].is_some())
            .count();
        let names = names(&place.path(&format!("d{directory}")));
        assert_eq!(names.len(), expected, "{names:?}");
    }
}

fn check(place: Place, files: &[Planned], crash: &Crash, forward: bool) {
    for directory in 0..3 {
        fs::create_dir(place.path(&format!("d{directory}"))).unwrap();
    }
    for (index, file) in files.iter().enumerate() {
        if let Some((version, mode)) = file.old {
            place.write(&name(index, file), &content(version), mode);
        }
    }
    let before = tree(&place, files);
    let placements: Vec<_> = files
        .iter()
        .enumerate()
        .map(|(index, file)| {
            let wanted = Wanted {
                mode: Some(file.new.1),
                ..Wanted::default()
            };
            place.placement(&name(index, file), &content(file.new.0), &wanted)
        })
        .collect();
    let upto = |count: usize| &placements[..count.min(placements.len())];
    // As far as it went: nothing is swapped before everything is kept, nothing goes back before the decision.
    place.installer.keep(upto(crash.kept)).unwrap();
    if crash.kept >= placements.len() {
        place.installer.swap(upto(crash.swapped)).unwrap();
    }
    if !forward {
        place.installer.put_back(upto(crash.went_back));
    }
    if forward {
        place.installer.keep(&placements).unwrap();
        place.installer.swap(&placements).unwrap();
        place.installer.release(&placements);
        let after: Vec<_> = files
            .iter()
            .map(|file| Some((content(file.new.0), file.new.1)))
            .collect();
        assert_eq!(tree(&place, files), after);
        no_strays(&place, files, &after);
    } else {
        assert_eq!(place.installer.foreign(&placements).unwrap(), []);
        for went in place.installer.put_back(&placements) {
            assert_eq!(went.unwrap(), WentBack::Restored);
        }
        place.installer.release(&placements);
        assert_eq!(tree(&place, files), before);
        no_strays(&place, files, &before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_crash_every_target_is_whole_and_nothing_is_left(
        files in prop::collection::vec(planned(), 1..6), crash in crash(), forward in any::<bool>()
    ) {
        check(Place::tmpfs(), &files, &crash, forward);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn so_it_is_on_a_disk(
        files in prop::collection::vec(planned(), 1..4), crash in crash(), forward in any::<bool>()
    ) {
        check(Place::new(), &files, &crash, forward);
    }
}

#[test]
fn a_crash_after_the_kept_name_replaced_the_target_but_before_the_rest_is_finished_by_another_call()
{
    let place = Place::tmpfs();
    place.write("a", "old", 0o644);
    let placements = [place.placement("a", "new", &Wanted::default())];
    place.installer.keep(&placements).unwrap();
    place.installer.swap(&placements).unwrap();
    let Kept::Name(kept) = &placements[0].kept else {
        panic!("absent")
    };
    fs::rename(place.path(".appconfigd").join(kept), place.path("a")).unwrap();
    // Two names of one inode, as if the rename had found it so.
    fs::hard_link(place.path("a"), place.path(".appconfigd").join(kept)).unwrap();
    assert_eq!(
        place.installer.put_back(&placements)[0].clone().unwrap(),
        WentBack::Restored
    );
    place.installer.release(&placements);
    assert_eq!(fs::read_to_string(place.path("a")).unwrap(), "old");
    assert_eq!(place.names(), ["a"]);
}
