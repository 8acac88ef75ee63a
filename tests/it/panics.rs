//! A panic anywhere in a queue, a step or a poll: the daemon as a library, under a clock that panics once.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use appconfigd::clock::Clock;
use appconfigd::daemon::Daemon;
use appconfigd::settings::{self, Circumstances};
use tokio::runtime::Builder;

use crate::world::{PATIENCE, World};

/// At each of so many readings of the clock after a new version has been deployed.
const READINGS: i64 = 48;
/// Far more than anybody reads.
const NEVER: i64 = i64::MAX / 2;

/// Panics when it is read for the time after so many others.
fn clock(left: &Arc<AtomicI64>) -> Clock {
    let (left, system) = (Arc::clone(left), Clock::system());
    Clock::of(move || {
        assert_ne!(left.fetch_sub(1, Ordering::SeqCst), 0, "planted");
        system.now()
    })
}

/// Arms the clock, deploys, and waits until the new version is there and told; whether the clock has panicked.
async fn survives(after: i64) -> bool {
    let world = World::new();
    world.deploy("shop/prod/limits.txt", "one");
    let file = world.write(
        "appconfigd.yaml",
        "local: {directory: store}\nroot: root\ndefaults: {application: shop, environment: prod, poll_interval: 1s}\nprofiles:\n  limits:\ntargets:\n  /limits.txt: {from: limits, notify: app}\nservices:\n  app: {command: {shell: cat root/limits.txt > told}}\n",
    );
    let settings = settings::read(&file, &Circumstances::default())
        .ok()
        .unwrap()
        .settings;
    let left = Arc::new(AtomicI64::new(NEVER));
    let state = world.path("state");
    let daemon = Daemon::start(settings, &state, clock(&left), true, None)
        .await
        .ok()
        .unwrap();
    let post = daemon.post();
    let told = |version: &str| {
        let told = fs::read_to_string(world.path("told")).unwrap_or_default();
        let file = fs::read_to_string(world.target("/limits.txt")).unwrap_or_default();
        told == version && file == version
    };
    let since = Instant::now();
    for version in ["one", "two"] {
        if version == "two" {
            world.deploy("shop/prod/limits.txt", version);
            left.store(after, Ordering::SeqCst);
        }
        while !told(version) {
            // As `refresh` does: a poll that died is made again at once. It reads the clock as well.
            let post = post.clone();
            let refreshing = async move { post.settle(None, Duration::from_secs(2), false).await };
            let _ = tokio::spawn(refreshing).await;
            assert!(
                since.elapsed() < 2 * PATIENCE,
                "never told of {version} after {after}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let panicked = left.load(Ordering::SeqCst) < 0;
    left.store(NEVER, Ordering::SeqCst);
    post.settle(None, Duration::from_secs(20), false).await;
    assert!(post.is_alive(false).await, "a queue is gone after {after}");
    assert!(post.status().await.is_settled(), "after {after}");
    daemon.stop().await;
    panicked
}

#[test]
fn after_a_panic_anywhere_the_newest_version_is_installed_and_told() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    let panicked = runtime.block_on(async {
        let cases: Vec<_> = (0..READINGS)
            .map(|after| tokio::spawn(survives(after)))
            .collect();
        let mut panicked = 0;
        for case in cases {
            panicked += usize::from(case.await.unwrap());
        }
        panicked
    });
    assert!(
        panicked > 30,
        "only {panicked} panics: more was to be tried"
    );
}
