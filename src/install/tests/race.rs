//! Readers during swaps, and many threads in one directory.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn readers_see_only_whole_versions_during_a_thousand_swaps() {
    let place = Place::tmpfs();
    let version =
        |number: u32| format!("{:08}\n", number % 10).repeat(500 + (number % 10) as usize * 100);
    let whole: Vec<String> = (0..10).map(version).collect();
    let target = place.write("a", &whole[0], 0o600);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut reads = 0u64;
                    while !done.load(Ordering::Relaxed) {
                        let file = fs::File::open(place.path("a")).unwrap();
                        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
                        let text = std::io::read_to_string(file).unwrap();
                        assert!(whole.contains(&text), "torn: {} bytes", text.len());
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        for number in 0..1000 {
            let placements = [place.placement("a", &version(number), &Wanted::default())];
            place.installer.keep(&placements).unwrap();
            place.installer.swap(&placements).unwrap();
            if number % 3 == 0 {
                place.installer.put_back(&placements)[0].as_ref().unwrap();
            }
            place.installer.release(&placements);
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
    assert_eq!(target.file_name(), "a");
    assert_eq!(place.names(), ["a"]);
}

#[test]
fn threads_may_stage_and_discard_in_one_directory_at_once() {
    let place = Place::tmpfs();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let place = &place;
            scope.spawn(move || {
                for round in 0..300 {
                    let name = format!("f{thread}");
                    if round % 2 == 0 {
                        let placement = place.placement(&name, "staged", &Wanted::default());
                        place
                            .installer
                            .discard(&placement.target, &placement.staged);
                    } else {
                        install(
                            &place.installer,
                            &place.target(&name),
                            &format!("{round}"),
                            &Wanted::default(),
                        )
                        .unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(place.names(), ["f0", "f1", "f2", "f3"]);
    for name in place.names() {
        assert_eq!(fs::read_to_string(place.path(&name)).unwrap(), "299");
    }
}
