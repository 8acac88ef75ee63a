//! One transaction of so many targets: staged, intent in the ledger, kept, swapped, released, closed in the ledger. Beside
//! it a loop with the same writes, syncs and renames. In memory and on disk: `/dev/shm` and `$TMPDIR`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use appconfigd::install::{Found, Installer, Kept, Placement, Wanted};
use appconfigd::ledger::{Before, Change, Direction, Installed, Intent, Ledger};
use appconfigd::protocol::Digest;
use appconfigd::settings::TargetPath;
use divan::Bencher;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::settings;

const TARGETS: [usize; 3] = [1, 100, 1_000];
const BYTES: usize = 1_024;

fn memory() -> PathBuf {
    PathBuf::from("/dev/shm")
}

#[divan::bench(args = TARGETS, sample_size = 1, sample_count = 10)]
fn in_memory(bencher: Bencher<'_, '_>, targets: usize) {
    bench(bencher, &memory(), targets);
}

#[divan::bench(args = TARGETS, sample_size = 1, sample_count = 10)]
fn on_disk(bencher: Bencher<'_, '_>, targets: usize) {
    bench(bencher, &std::env::temp_dir(), targets);
}

#[divan::bench(args = TARGETS, sample_size = 1, sample_count = 10)]
fn bare_in_memory(bencher: Bencher<'_, '_>, targets: usize) {
    bare(bencher, &memory(), targets);
}

#[divan::bench(args = TARGETS, sample_size = 1, sample_count = 10)]
fn bare_on_disk(bencher: Bencher<'_, '_>, targets: usize) {
    bare(bencher, &std::env::temp_dir(), targets);
}

fn bench(bencher: Bencher<'_, '_>, place: &Path, targets: usize) {
    let mut agent = Agent::new(place, targets);
    bencher.bench_local(|| agent.transaction());
}

struct Agent {
    _directory: TempDir,
    installer: Installer,
    ledger: Ledger,
    runtime: Runtime,
    targets: Vec<TargetPath>,
    version: u64,
}

impl Agent {
    fn new(place: &Path, targets: usize) -> Agent {
        let directory = tempfile::tempdir_in(place).unwrap();
        fs::create_dir_all(directory.path().join("root/etc/many")).unwrap();
        let targets: Vec<TargetPath> = (0..targets)
            .map(|number| TargetPath::new(&format!("/etc/many/{number}")).unwrap())
            .collect();
        let lines: String = targets
            .iter()
            .map(|target| format!("  {}: {{from: limits}}\n", target.as_str()))
            .collect();
        let lines = format!("profiles: {{limits: }}\ntargets:\n{lines}");
        let settings = settings(directory.path(), &lines);
        let state = directory.path().join("state");
        fs::create_dir(&state).unwrap();
        Agent {
            installer: Installer::of(&settings),
            ledger: Ledger::open(&state).unwrap().ledger,
            runtime: Builder::new_current_thread().build().unwrap(),
            _directory: directory,
            targets,
            version: 0,
        }
    }

    fn commit(&self, changes: Vec<Change>) {
        self.runtime.block_on(self.ledger.commit(changes)).unwrap();
    }

    fn transaction(&mut self) {
        self.version += 1;
        let body = format!("{:>BYTES$}", self.version);
        let digest = Digest::of(body.as_bytes());
        let first = self.version == 1;
        let stage = |target: &TargetPath| {
            let wanted = Wanted::default();
            let metadata = self
                .installer
                .metadata(target, &wanted, &Found::Absent)
                .unwrap();
            let site = self.installer.site(target).unwrap();
            let staged = self
                .installer
                .stage_at(target, &site, body.as_bytes(), &metadata);
            Placement {
                target: target.clone(),
                site,
                staged: staged.unwrap(),
                kept: match first {
                    true => Kept::Absent,
                    false => Kept::Name(self.installer.kept_name()),
                },
                digest,
                metadata,
            }
        };
        let placements: Vec<Placement> = self.targets.iter().map(stage).collect();
        self.commit(vec![Change::Intent(Intent {
            id: self.version,
            direction: Direction::Forward,
            attempts: 1,
            opened_at: Timestamp::UNIX_EPOCH,
            profiles: BTreeMap::new(),
            placements: placements.clone(),
            services: BTreeMap::new(),
            before: Before::default(),
            holds: BTreeMap::new(),
        })]);
        self.installer.keep(&placements).unwrap();
        self.installer.swap(&placements).unwrap();
        let installed = |placement: &Placement| Change::Installed {
            target: placement.target.clone(),
            installed: Some(Installed {
                digest,
                metadata: placement.metadata.clone(),
                since: Timestamp::UNIX_EPOCH,
                parts: BTreeMap::new(),
            }),
        };
        let mut changes: Vec<Change> = placements.iter().map(installed).collect();
        changes.push(Change::IntentClosed { id: self.version });
        self.commit(changes);
        self.installer.release(&placements);
    }
}

fn bare(bencher: Bencher<'_, '_>, place: &Path, targets: usize) {
    let directory = tempfile::tempdir_in(place).unwrap();
    let staged = directory.path().join(".staged");
    fs::create_dir(&staged).unwrap();
    let body = vec![b'x'; BYTES];
    bencher.bench_local(|| {
        for number in 0..targets {
            let name = number.to_string();
            let mut file = File::create(staged.join(&name)).unwrap();
            file.write_all(&body).unwrap();
            file.sync_all().unwrap();
            fs::rename(staged.join(&name), directory.path().join(&name)).unwrap();
        }
        File::open(directory.path()).unwrap().sync_all().unwrap();
    });
}
