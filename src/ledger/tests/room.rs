//! A disk without room.

use std::process::Command;

use super::*;

/// A small file system of its own, gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, and loudly, where mounting is not allowed.
    fn new(size: &str) -> Option<SmallDisk> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(directory.path())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(SmallDisk(directory));
        }
        eprintln!("SKIPPED: cannot mount a tmpfs, so no full disk was tried");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
}

#[test]
fn a_full_disk_is_an_error_that_passes_when_there_is_room() {
    let Some(disk) = SmallDisk::new("2M") else {
        return;
    };
    let state = disk.0.path().join("state");
    let ledger = open(&state);
    wait(ledger.commit(vec![received("a", "one", 1)])).unwrap();
    let filler = disk.0.path().join("filler");
    fill(&filler);
    let large = "x".repeat(200_000);
    let error = wait(ledger.commit(vec![received("a", &large, 2)])).unwrap_err();
    assert!(matches!(error, LedgerError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("free space"), "{error}");
    let before = wait(ledger.load()).unwrap();
    assert_eq!(before.received[&identity("a")].digest, Digest::of(b"one"));
    assert_eq!(Ledger::read(&state).unwrap(), Some(before));

    std::fs::remove_file(filler).unwrap();
    wait(ledger.commit(vec![received("a", &large, 2)])).unwrap();
    drop(ledger);
    let ledger = open(&state);
    assert_eq!(
        wait(ledger.load()).unwrap().received[&identity("a")].size,
        200_000
    );
}

#[test]
fn a_start_on_a_full_disk_fails_and_moves_nothing_aside() {
    let Some(disk) = SmallDisk::new("1M") else {
        return;
    };
    let state = disk.0.path().join("state");
    let ledger = open(&state);
    wait(ledger.commit(vec![received("a", "one", 1)])).unwrap();
    drop(ledger);
    let filler = disk.0.path().join("filler");
    fill(&filler);
    if let Ok(opened) = Ledger::open(&state) {
        assert_eq!(opened.moved_aside, None);
    }
    std::fs::remove_file(filler).unwrap();
    assert_eq!(wait(open(&state).load()).unwrap().received.len(), 1);

    let filler = disk.0.path().join("filler");
    fill(&filler);
    let fresh = disk.0.path().join("fresh");
    let error = Ledger::open(&fresh).unwrap_err();
    assert!(
        matches!(error, LedgerError::Full { .. } | LedgerError::Io { .. }),
        "{error:?}"
    );
    std::fs::remove_file(filler).unwrap();
    open(&fresh);
}
