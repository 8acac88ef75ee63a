//! Readers that look at every target all the time while a thousand versions flip.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use appconfigd::protocol::Digest;
use serde_json::json;

use crate::world::{Server, World, wait_for};

const PROFILES: usize = 10;
const TARGETS_OF_EACH: usize = 8;
/// Put in place, and of those with `bad` in them taken back again.
const VERSIONS: usize = 12;
const FLIPS: usize = 1_000;

/// Length and digest of the rest, and the rest: longer and shorter from one version to the next.
fn version(number: usize, words: &str) -> String {
    let body = format!("{number} {words}\n").repeat(1 + number * 7_919 % 3_000);
    format!("{} {}\n{body}", body.len(), Digest::of(body.as_bytes()))
}

/// The version's number; a panic where it is not whole.
fn whole(path: &Path) -> usize {
    let mut file = File::open(path).unwrap();
    assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o640, "{path:?}");
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    let told = text.split_once('\n').and_then(|(head, body)| {
        let (length, digest) = head.split_once(' ')?;
        let same =
            length.parse() == Ok(body.len()) && digest == Digest::of(body.as_bytes()).to_string();
        same.then(|| body.split(' ').next()?.parse().ok())?
    });
    told.unwrap_or_else(|| panic!("{path:?} is torn: {} bytes", text.len()))
}

fn paths(profile: usize) -> impl Iterator<Item = String> {
    // Several targets of a directory, and several directories of a profile.
    (0..TARGETS_OF_EACH).map(move |target| format!("/etc/d{}/p{profile}-{target}.txt", target % 3))
}

/// The readers end whatever becomes of the test.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn readers_of_every_target_see_whole_versions_only_while_a_thousand_flip() {
    let world = World::new();
    let mut lines = "profiles:\n".to_owned();
    let mut targets = "targets:\n".to_owned();
    let mut services = "services:\n".to_owned();
    for profile in 0..PROFILES {
        writeln!(lines, "  p{profile}:").unwrap();
        for path in paths(profile) {
            writeln!(
                targets,
                "  {path}: {{from: p{profile}, mode: 0640, notify: s{profile}}}"
            )
            .unwrap();
        }
        let first = paths(profile).next().unwrap();
        writeln!(
            services,
            "  s{profile}: {{check: [sh, -c, \"! grep -q bad root{first}\"], command: [\"true\"]}}"
        )
        .unwrap();
    }
    let deploy = |number: usize, words: &str| {
        for profile in 0..PROFILES {
            let file = format!("shop/prod/p{profile}.txt");
            world.deploy(&file, version(number, words));
        }
    };
    deploy(0, "good");
    let server = Server::start(&world);
    world.settings(&server, &(lines + &targets + &services));
    let daemon = world.run();
    let files: Vec<PathBuf> = (0..PROFILES)
        .flat_map(paths)
        .map(|path| world.target(&path))
        .collect();
    wait_for("the first version is there", || {
        files.iter().all(|file| file.exists()).then_some(())
    });
    let done = AtomicBool::new(false);
    let stands = |number| files.iter().all(|file| whole(file) == number);
    let mut flips = 0;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut rounds = 0;
                    while !done.load(Ordering::Relaxed) {
                        files.iter().for_each(|file| {
                            whole(file);
                        });
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        let ends = Done(&done);
        let mut good = 0;
        for number in 1..=VERSIONS {
            if number % 4 == 0 {
                deploy(number, "bad");
                wait_for("the bad version has gone back everywhere", || {
                    let status = world.status()?;
                    let profiles = status["profiles"].as_object()?;
                    let digest = |profile: usize| {
                        let file = world.path(&format!("store/shop/prod/p{profile}.txt"));
                        Digest::of(&fs::read(file).unwrap()).to_string()
                    };
                    let all = (0..PROFILES).all(|profile| {
                        let profile_status = &profiles[&format!("p{profile}")];
                        profile_status["state"] == "quarantined"
                            && profile_status["received"]["digest"] == digest(profile)
                    });
                    all.then_some(())
                });
                // The verdict is recorded before the files go back.
                wait_for("what was there is there again", || {
                    stands(good).then_some(())
                });
                flips += 2 * files.len();
            } else {
                deploy(number, "good");
                wait_for("the version stands", || stands(number).then_some(()));
                flips += files.len();
                good = number;
            }
        }
        drop(ends);
        for reader in readers {
            let rounds = reader.join().unwrap();
            assert!(rounds > VERSIONS, "{rounds} rounds over all targets");
        }
    });
    assert!(flips >= FLIPS, "{flips}");
    world.wait_for_status("/targets/~1etc~1d0~1p0-0.txt/state", &json!("in_sync"));
    assert_eq!(daemon.stop(), Some(0));
}
