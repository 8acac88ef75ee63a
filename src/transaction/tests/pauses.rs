//! What is tried again, and when.

use std::time::Duration;

use super::super::{Outcome, Step};
use super::world::{World, path, perhaps, service, target};
use crate::settings::OnFailure;

fn small() -> World {
    World::new(
        &["p"],
        vec![target("/t", &["p"], &["web"])],
        vec![service("web", OnFailure::Rollback)],
    )
}

#[test]
fn a_target_that_cannot_be_written_is_tried_again_with_growing_pauses() {
    let mut world = small();
    world.unwritable.insert(path("/t"));
    world.deliver("p", "one");
    let mut times = vec![world.now.steady];
    for _ in 0..12 {
        assert!(world.wait());
        times.push(world.now.steady);
    }
    let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[0] <= Duration::from_secs(2), "{pauses:?}");
    assert!(pauses[11] >= Duration::from_secs(150), "{pauses:?}");
    assert!(pauses[11] <= Duration::from_secs(300), "{pauses:?}");
    world.forget_script();
    world.settle();
    assert_eq!(world.reads("/t"), "one");
    world.hold_promises();
}

#[test]
fn targets_that_failed_together_are_tried_again_together() {
    let targets = ["/a", "/b", "/c"].map(|path| target(path, &["p"], &["web"]));
    let mut world = World::new(
        &["p"],
        targets.to_vec(),
        vec![service("web", OnFailure::Rollback)],
    );
    world.panics.extend(["swap", "swap", "swap"]);
    world.deliver("p", "one");
    assert!(world.wait());
    assert!(world.wait());
    let pauses: Vec<Duration> = world
        .said
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Delayed { retry_in, .. } => Some(*retry_in),
            _ => None,
        })
        .collect();
    let rounds: Vec<&[Duration]> = pauses.chunks(3).collect();
    assert_eq!(
        rounds.len(),
        3,
        "each pause is followed by a try: {pauses:?}"
    );
    for round in rounds {
        assert!(round.iter().all(|pause| *pause == round[0]), "{pauses:?}");
    }
    world.settle();
    assert_eq!(world.reads("/a"), "one");
    world.hold_promises();
}

#[test]
fn a_target_that_cannot_be_swapped_holds_back_what_its_profiles_feed_and_nothing_else() {
    let mut world = World::new(
        &["p", "q"],
        vec![
            target("/a", &["p"], &["web"]),
            target("/b", &["p"], &["web"]),
            target("/c", &["q"], &["web"]),
        ],
        vec![service("web", OnFailure::Rollback)],
    );
    // At `/b`, when `/a` is renamed already.
    world.swap_breaks.extend([1]);
    world.receive_quietly("p", "one");
    world.deliver("q", "one");
    assert_eq!(world.reads("/c"), "one");
    assert_eq!(
        [world.disk(&path("/a")), world.disk(&path("/b"))],
        [None; 2]
    );
    let delayed = world.said.iter().filter_map(|outcome| match outcome {
        Outcome::Delayed { target, .. } => Some(target.clone()),
        _ => None,
    });
    assert_eq!(delayed.collect::<Vec<_>>(), [path("/b")]);
    world.settle();
    assert_eq!([world.reads("/a"), world.reads("/b")], ["one"; 2]);
    world.hold_promises();
}

#[test]
fn what_the_host_does_not_let_us_look_at_is_looked_at_again() {
    let mut world = small();
    std::fs::create_dir(world.file("/t")).unwrap();
    world.deliver("p", "one");
    assert!(world.machine.waiting().contains_key(&path("/t")));
    std::fs::remove_dir(world.file("/t")).unwrap();
    world.settle();
    assert_eq!(world.reads("/t"), "one");
    world.hold_promises();
}

#[test]
fn metadata_that_cannot_be_repaired_is_tried_again_until_it_can_and_then_no_more() {
    use std::os::unix::fs::PermissionsExt;
    let mut plain = target("/t", &["p"], &["web"]);
    plain.mode = Some(0o640);
    let mut world = World::new(
        &["p"],
        vec![plain],
        vec![service("web", OnFailure::Rollback)],
    );
    world.deliver("p", "one");
    let mode = |world: &World| {
        std::fs::metadata(world.file("/t"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    std::fs::set_permissions(world.file("/t"), std::fs::Permissions::from_mode(0o600)).unwrap();
    world.unwritable.insert(path("/t"));
    let told = world.count("notify");
    world.restart();
    world.run();
    assert_eq!(mode(&world), 0o600);
    world.forget_script();
    world.settle();
    assert_eq!(mode(&world), 0o640);
    assert_eq!(world.count("notify"), told, "metadata alone is no news");
    world.hold_promises();
}

#[test]
fn a_step_that_panics_after_the_swap_brings_the_files_back_and_is_tried_after_a_pause() {
    for step in ["swap", "check", "notify", "probe"] {
        let mut world = small();
        world.deliver("p", "one");
        world.panics.push(step);
        world.deliver("p", "two");
        assert_eq!(world.reads("/t"), "one", "{step}");
        assert!(world.ledger.quarantine.is_empty(), "{step}");
        assert_eq!(world.count("swap"), 2, "{step}: not at once");
        world.settle();
        assert_eq!(world.reads("/t"), "two", "{step}");
        world.hold_promises();
    }
}

#[test]
fn a_step_that_panics_before_the_swap_changes_nothing_and_is_tried_after_a_pause() {
    for step in ["plan", "stage", "baseline", "commit"] {
        let mut world = small();
        world.deliver("p", "one");
        world.panics.push(step);
        world.deliver("p", "two");
        assert_eq!(world.reads("/t"), "one", "{step}");
        assert!(world.machine.trouble().is_some(), "{step}");
        world.settle();
        assert_eq!(world.reads("/t"), "two", "{step}");
        assert!(world.machine.trouble().is_none(), "{step}");
        world.hold_promises();
    }
}

#[test]
fn nothing_is_due_while_the_whole_queue_rests() {
    let mut world = World::new(
        &["p", "q"],
        vec![
            target("/t", &["p"], &["web"]),
            target("/u", &["q"], &["web"]),
        ],
        vec![service("web", OnFailure::Rollback)],
    );
    world.unwritable.insert(path("/t"));
    world.deliver("p", "one");
    // The pause of the target ends long before that of the queue.
    for _ in 0..6 {
        world.full = 1;
        world.receive("q", "one");
        world.wait();
    }
    world.forget_script();
    world.settle();
    assert_eq!(
        (world.reads("/t"), world.reads("/u")),
        ("one".to_owned(), "one".to_owned())
    );
    world.hold_promises();
}

#[test]
fn a_service_that_is_not_told_is_told_again_with_growing_pauses() {
    let mut world = small();
    world.says("web", Step::Notify, &vec![perhaps(); 9]);
    world.deliver("p", "one");
    assert_eq!(world.reads("/t"), "one");
    let began = world.now.steady;
    world.settle();
    assert_eq!(world.count("notify"), 10);
    assert!(world.now.steady - began > Duration::from_secs(400));
    world.hold_promises();
}
