//! SIGKILL at every call of the commit that changes a name or syncs, then either way of recovery by another process.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::*;

const DIRECTORY: &str = "APPCONFIGD_TEST_DIRECTORY";
const OLD: &[(&str, &str)] = &[("a", "old a"), ("x/b", "old b")];
const NEW: &[(&str, &str)] = &[("a", "new a"), ("x/b", "new b"), ("x/c", "new c")];

/// The process that is killed. As a test of its own it does nothing.
#[test]
fn commit_and_go_back() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let installer = Installer::new(None);
    let placements: Vec<_> = NEW
        .iter()
        .map(|(name, bytes)| {
            let target = TargetPath::new(directory.join(name).to_str().unwrap()).unwrap();
            place(&installer, &target, bytes, &Wanted::default()).unwrap()
        })
        .collect();
    // Stands for the ledger's commit of the intent.
    fs::write(
        directory.join("intent"),
        serde_json::to_vec(&placements).unwrap(),
    )
    .unwrap();
    installer.keep(&placements).unwrap();
    installer.swap(&placements).unwrap();
    for went in installer.put_back(&placements) {
        went.unwrap();
    }
}

#[test]
fn after_a_kill_at_any_call_either_way_of_recovery_ends_whole() {
    let strace = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status();
    if !strace.is_ok_and(|status| status.success()) {
        return skipped("strace does not work here");
    }
    let mut killed = 0;
    // Other machines have `renameat2` and `unlinkat` too, but no `rename`.
    for call in ["linkat", "/^renameat", "unlinkat", "fsync"] {
        for when in 1..20 {
            let forward = when % 2 == 0;
            // Both ways at each point in turn: an odd and an even run of the same point.
            let first = run(call, when, forward);
            let second = run(call, when, !forward);
            assert_eq!(first, second, "{call} {when}");
            if !first {
                break;
            }
            killed += 1;
        }
    }
    assert!(killed >= 12, "killed at {killed} points only");
}

/// False: the call did not come that often, and nothing was killed.
fn run(call: &str, when: usize, forward: bool) -> bool {
    let place = Place::tmpfs();
    for (name, bytes) in OLD {
        place.write(name, bytes, 0o640);
    }
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("inject={call}:signal=KILL:when={when}"))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "install::tests::killed::commit_and_go_back"])
        .env(DIRECTORY, place.directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let killed = status.signal() == Some(9) || status.code() == Some(128 + 9);
    assert!(killed || status.success(), "{call} {when}: {status}");
    let installer = &place.installer;
    let targets: BTreeSet<_> = NEW.iter().map(|(name, _)| place.target(name)).collect();
    let intent = fs::read(place.path("intent"))
        .ok()
        .map(|intent| serde_json::from_slice::<Vec<Placement>>(&intent).unwrap());
    let mut expected = OLD;
    if let Some(placements) = intent {
        if forward {
            // As recovery does: the kept names stay, the new files are staged again.
            let again: Vec<_> = placements
                .iter()
                .zip(NEW)
                .map(|(placement, (_, bytes))| Placement {
                    staged: installer
                        .stage(&placement.target, bytes.as_bytes(), &placement.metadata)
                        .unwrap(),
                    ..placement.clone()
                })
                .collect();
            installer.keep(&again).unwrap();
            installer.swap(&again).unwrap();
            installer.release(&again);
            expected = NEW;
        } else {
            assert_eq!(installer.foreign(&placements).unwrap(), []);
            for went in installer.put_back(&placements) {
                assert_eq!(went.unwrap(), WentBack::Restored);
            }
            installer.release(&placements);
        }
        fs::remove_file(place.path("intent")).unwrap();
    }
    installer.sweep(&targets, &[]);
    for (name, bytes) in expected {
        assert_eq!(
            fs::read_to_string(place.path(name)).unwrap(),
            *bytes,
            "{call} {when}"
        );
    }
    for (name, _) in OLD {
        assert_eq!(mode(&place.path(name)), 0o640);
        assert_eq!(fs::metadata(place.path(name)).unwrap().nlink(), 1);
    }
    assert_eq!(place.names(), ["a", "x"], "{call} {when}");
    assert_eq!(
        names(&place.path("x")).len(),
        expected.len() - 1,
        "{call} {when}"
    );
    killed
}
