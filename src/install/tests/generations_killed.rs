//! SIGKILL at every call with which a directory target comes, goes back or is released, then either way of recovery.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::generations::{declared, of, set};
use super::*;

const DIRECTORY: &str = "APPCONFIGD_TEST_DIRECTORY";
/// Set: the transaction ends well; not set: it goes back.
const GOOD: &str = "APPCONFIGD_TEST_GOOD";

fn target(directory: &Path) -> Target {
    let path = TargetPath::new(&format!("{}/d/", directory.display())).unwrap();
    declared(&path, set(true, 1, &["a", "sub/b"]))
}

/// The archive of a version, and the metadata of the directory.
fn archive(installer: &Installer, target: &Target, version: &str) -> (Bytes, Metadata) {
    let bytes = Bytes::copy_from_slice(version.as_bytes());
    let files = ["a", "sub/b"].map(|name| (name.to_owned(), bytes.clone()));
    let set = target.file_set().unwrap();
    installer.archive(target, set, files.into()).unwrap()
}

fn placement(installer: &Installer, target: &Target, version: &str) -> Placement {
    let (archive, metadata) = archive(installer, target, version);
    let found = installer.look(&target.path).unwrap();
    let staged = installer.stage(&target.path, &archive, &metadata).unwrap();
    Placement {
        target: target.path.clone(),
        site: installer.site(&target.path).unwrap(),
        kept: match found {
            Found::Absent => Kept::Absent,
            Found::File { .. } => Kept::Name(installer.kept_name()),
            Found::Directory { .. } => Kept::Exchange(staged.clone()),
        },
        staged,
        digest: Digest::of(&archive),
        metadata,
    }
}

/// The process that is killed. As a test of its own it does nothing.
#[test]
fn come_and_go() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let target = target(&directory);
    let installer = of(&target);
    let placements = [placement(&installer, &target, "new")];
    // Stands for the ledger.
    let intent = directory.join("intent");
    fs::write(&intent, serde_json::to_vec(&placements).unwrap()).unwrap();
    installer.keep(&placements).unwrap();
    installer.swap(&placements).unwrap();
    if std::env::var_os(GOOD).is_none() {
        // From here on there is one way of recovery only.
        fs::write(directory.join("turned"), "").unwrap();
        for went in installer.put_back(&placements) {
            went.unwrap();
        }
    }
    fs::remove_file(intent).unwrap();
    installer.release(&placements);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Nothing,
    Generations,
    Directory,
}

fn at_every_call(before: Before) {
    let strace = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status();
    if !strace.is_ok_and(|status| status.success()) {
        return skipped("strace does not work here");
    }
    let mut killed = 0;
    // Each by itself: one that comes often would hide another. Not every machine has all of them.
    let calls = [
        "mkdirat",
        "symlinkat",
        "?renameat",
        "renameat2",
        "linkat",
        "unlinkat",
        "fsync",
    ];
    for call in calls {
        for good in [true, false] {
            for when in 1..30 {
                let first = run(before, call, when, good, when % 2 == 0);
                let second = run(before, call, when, good, when % 2 != 0);
                assert_eq!(first, second, "{call} {when}");
                if !first {
                    break;
                }
                killed += 1;
            }
        }
    }
    assert!(killed >= 30, "killed at {killed} points only");
}

#[test]
fn a_first_version_is_whole_or_nothing_after_a_kill_at_any_call() {
    at_every_call(Before::Nothing);
}

#[test]
fn a_version_or_the_one_before_is_whole_after_a_kill_at_any_call() {
    at_every_call(Before::Generations);
}

#[test]
fn a_directory_is_taken_over_or_untouched_after_a_kill_at_any_call() {
    at_every_call(Before::Directory);
}

/// False: the call did not come that often, and nothing was killed.
fn run(before: Before, call: &str, when: usize, good: bool, forward: bool) -> bool {
    let case = format!("{before:?} {call} {when}, good: {good}, forward: {forward}");
    let place = Place::tmpfs();
    let target = target(place.directory.path());
    let installer = of(&target);
    match before {
        Before::Nothing => {}
        Before::Generations => {
            for version in ["older", "old"] {
                let placements = [placement(&installer, &target, version)];
                installer.keep(&placements).unwrap();
                installer.swap(&placements).unwrap();
                installer.release(&placements);
            }
        }
        Before::Directory => {
            place.write("d/a", "old", 0o640);
            place.write("d/sub/b", "old", 0o640);
        }
    }
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("inject={call}:signal=KILL:when={when}"))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "install::tests::generations_killed::come_and_go"])
        .env(DIRECTORY, place.directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if good {
        strace.env(GOOD, "");
    }
    let status = strace.status().unwrap();
    let killed = status.signal() == Some(9) || status.code() == Some(128 + 9);
    assert!(killed || status.success(), "{case}: {status}");
    let reads = || {
        let text = |name: &str| fs::read_to_string(place.path(name)).ok();
        let (a, b) = (text("d/a"), text("d/sub/b"));
        assert_eq!(a, b, "{case}: two versions");
        a
    };
    let old = (before != Before::Nothing).then(|| "old".to_owned());
    let stands = reads();
    assert!(
        stands == old || stands.as_deref() == Some("new"),
        "{case}: {stands:?}"
    );
    let intent = fs::read(place.path("intent")).ok();
    let intent = intent.map(|intent| serde_json::from_slice::<[Placement; 1]>(&intent).unwrap());
    let mut expected = stands;
    let turned = fs::remove_file(place.path("turned")).is_ok();
    if let Some(placements) = intent {
        if forward && !turned {
            // As recovery does: what is kept stays, the new generation is staged again.
            let (archive, metadata) = archive(&installer, &target, "new");
            let again = [Placement {
                staged: installer.stage(&target.path, &archive, &metadata).unwrap(),
                ..placements[0].clone()
            }];
            installer.discard(placements[0].lies(), &placements[0].staged);
            installer.keep(&again).unwrap();
            installer.swap(&again).unwrap();
            installer.release(&again);
            expected = Some("new".to_owned());
        } else {
            assert_eq!(installer.foreign(&placements).unwrap(), [], "{case}");
            for went in installer.put_back(&placements) {
                assert_eq!(went.unwrap(), WentBack::Restored, "{case}");
            }
            installer.release(&placements);
            expected = old;
        }
        fs::remove_file(place.path("intent")).unwrap();
    }
    installer.sweep(&BTreeSet::from([target.path.clone()]), &[]);
    assert_eq!(reads(), expected, "{case}");
    let names = place.names();
    let is_new = expected.as_deref() == Some("new");
    let texts: BTreeSet<String> = names
        .iter()
        .filter(|name| name.starts_with(".d.appconfigd."))
        .map(|name| fs::read_to_string(place.path(name).join("a")).unwrap())
        .collect();
    let wanted: &[&str] = match (before, is_new) {
        (Before::Nothing, true) => &["new"],
        (Before::Nothing | Before::Directory, false) => &[],
        (Before::Generations | Before::Directory, true) => &["new", "old"],
        (Before::Generations, false) => &["old", "older"],
    };
    let wanted: BTreeSet<String> = wanted.iter().map(|text| (*text).to_owned()).collect();
    assert_eq!(texts, wanted, "{case}: {names:?}");
    let link = usize::from(expected.is_some());
    assert_eq!(names.len(), texts.len() + link, "{case}: {names:?}");
    killed
}
