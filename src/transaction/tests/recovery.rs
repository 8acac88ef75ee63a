//! The process dies, and comes back.

use std::sync::Arc;

use super::super::{Event, Step};
use super::world::{World, id, no, path, perhaps, profile, service, target};
use crate::ledger::Direction;
use crate::settings::OnFailure;

fn two_files() -> World {
    let mut world = World::new(
        &["p"],
        vec![
            target("/t", &["p"], &["web"]),
            target("/u", &["p"], &["web"]),
        ],
        vec![service("web", OnFailure::Rollback)],
    );
    world.deliver("p", "one");
    world
}

const WAY: [&str; 9] = [
    "plan", "stage", "baseline", "commit", "swap", "check", "notify", "probe", "release",
];

#[test]
fn a_death_anywhere_on_the_way_forwards_ends_in_the_new_version_and_a_service_that_knows_it() {
    for step in WAY {
        for share in 0..6 {
            let mut world = two_files();
            world.receive("p", "two");
            world.run_to(step);
            world.die_during_next(share);
            world.settle();
            assert_eq!(world.reads("/t"), "two", "{step} {share}");
            assert_eq!(world.reads("/u"), "two", "{step} {share}");
            world.hold_promises();
        }
    }
}

#[test]
fn a_death_after_the_swap_does_not_make_a_failing_probe_look_as_if_it_had_failed_before() {
    for step in ["check", "notify", "probe"] {
        let mut world = two_files();
        world.receive("p", "two web:probe:no");
        world.run_to(step);
        world.die_during_next(0);
        world.settle();
        assert_eq!(world.reads("/t"), "one", "{step}");
        assert_eq!(world.ledger.quarantine.len(), 1, "{step}");
        world.hold_promises();
    }
}

#[test]
fn a_death_anywhere_on_the_way_back_ends_in_the_old_version_and_a_service_that_knows_it() {
    for step in ["commit", "put back", "notify back", "probe back", "release"] {
        for share in 0..4 {
            let mut world = two_files();
            world.receive("p", "two web:probe:no");
            world.run_to("probe");
            assert!(world.step());
            world.run_to(step);
            world.die_during_next(share);
            world.settle();
            assert_eq!(world.reads("/t"), "one", "{step} {share}");
            assert_eq!(world.reads("/u"), "one", "{step} {share}");
            assert_eq!(world.ledger.quarantine.len(), 1, "{step} {share}");
            world.hold_promises();
        }
    }
}

#[test]
fn the_fourth_attempt_goes_back_and_is_quarantined() {
    let mut world = two_files();
    world.receive("p", "two");
    for _ in 0..3 {
        world.run_to("notify");
        world.die_during_next(1);
    }
    world.settle();
    assert_eq!(world.reads("/t"), "one");
    assert_eq!(world.ledger.quarantine.len(), 1);
    assert_eq!(world.ledger.quarantine[0].reason, "interrupted three times");
    world.hold_promises();
}

#[test]
fn another_outcome_starts_to_count_anew() {
    let mut world = two_files();
    world.receive("p", "two");
    for _ in 0..2 {
        world.run_to("notify");
        world.die_during_next(1);
    }
    world.receive_quietly("p", "three");
    for _ in 0..2 {
        world.run_to("notify");
        world.die_during_next(1);
    }
    world.settle();
    assert_eq!(world.reads("/t"), "three");
    assert!(world.ledger.quarantine.is_empty());
    world.hold_promises();
}

#[test]
fn a_ledger_that_is_full_is_no_interruption() {
    let mut world = two_files();
    world.receive("p", "two");
    world.run_to("check");
    world.die_during_next(0);
    // Attempt 2 is counted; then the ledger has no room for the intent, many times.
    for _ in 0..6 {
        world.run_to("baseline");
        world.full = 1;
        world.run();
        let due = world.machine.next_tick().unwrap();
        world.advance(due - world.now.steady);
        world.event(Event::Tick);
    }
    world.settle();
    assert_eq!(world.reads("/t"), "two");
    assert!(world.ledger.quarantine.is_empty());
    world.hold_promises();
}

#[test]
fn a_stop_of_our_own_before_the_swap_is_no_interruption() {
    let mut world = two_files();
    world.receive("p", "two");
    world.run_to("check");
    world.die_during_next(0);
    for step in [
        "plan", "stage", "baseline", "plan", "stage", "baseline", "commit",
    ] {
        world.run_to(step);
        world.event(Event::Stop);
        world.run();
        assert!(world.machine.is_idle());
        world.restart();
    }
    let intent = world.ledger.intents.values().next();
    assert!(
        intent.is_none_or(|intent| intent.attempts == 1),
        "{intent:?}"
    );
    world.settle();
    assert_eq!(world.reads("/t"), "two");
    world.hold_promises();
}

#[test]
fn a_newer_version_that_is_refused_leaves_the_interrupted_transaction_with_its_own() {
    let mut world = two_files();
    world.receive("p", "two");
    world.run_to("check");
    world.die_during_next(0);
    let mut fussy = target("/t", &["p"], &["web"]);
    fussy.validate_command = Some(crate::settings::Command::Shell("true".to_owned()));
    world.settings.targets.insert(path("/t"), fussy.into());
    world.restart();
    world.receive_quietly("p", "three staged:no");
    world.settle();
    assert_eq!(world.reads("/t"), "two");
    assert_eq!(world.ledger.accepted[&id("p")].size, 3);
    assert!(world.refusal("p").is_some());
    world.hold_promises();
}

#[test]
fn a_target_that_can_no_longer_be_made_goes_back_in_the_same_pass() {
    let mut world = two_files();
    world.receive("p", "two");
    world.run_to("check");
    assert_eq!(world.reads("/u"), "two");
    world.settings.targets.remove(&path("/u"));
    world.die_during_next(0);
    world.settle();
    assert_eq!(world.reads("/t"), "two");
    assert_eq!(
        world.reads("/u"),
        "one",
        "it left the settings before it was told of"
    );
    assert!(world.ledger.intents.is_empty());
    world.hold_promises();
}

#[test]
fn all_targets_gone_from_the_settings_go_back_and_nothing_is_left_open() {
    let mut world = World::new(
        &["p", "q"],
        vec![
            target("/t", &["p"], &["web"]),
            target("/u", &["q"], &["web"]),
        ],
        vec![service("web", OnFailure::Rollback)],
    );
    world.deliver("q", "one");
    world.receive("p", "one");
    world.run_to("check");
    world.settings.targets.remove(&path("/t"));
    world.settings.profiles.remove(&"p".into());
    world.says("web", Step::Notify, &[perhaps()]);
    world.die_during_next(0);
    world.run();
    assert_eq!(world.reads("/t"), "");
    world.settle();
    assert!(world.ledger.intents.is_empty());
    assert!(!world.ledger.installed.contains_key(&path("/t")));
    world.hold_promises();
}

#[test]
fn files_that_a_reboot_took_are_made_from_what_was_accepted() {
    let mut world = two_files();
    world.receive("p", "two web:notify:no");
    world.run_to("put back");
    std::fs::remove_file(world.file("/t")).unwrap();
    std::fs::remove_file(world.file("/u")).unwrap();
    std::fs::remove_dir_all(world.file("/.appconfigd")).unwrap();
    world.restart();
    world.settle();
    assert_eq!(world.reads("/t"), "one");
    assert_eq!(world.reads("/u"), "one");
    world.hold_promises();
}

#[test]
fn services_are_not_told_to_read_files_that_a_reboot_took() {
    let mut world = two_files();
    world.receive("p", "two web:notify:no");
    world.run_to("put back");
    std::fs::remove_file(world.file("/t")).unwrap();
    std::fs::remove_dir_all(world.file("/.appconfigd")).unwrap();
    world.restart();
    let told = world.count("notify back");
    world.settle();
    assert_eq!(world.count("notify back"), told, "the file is made first");
    assert_eq!(world.reads("/t"), "one");
    world.hold_promises();
}

#[test]
fn a_version_that_comes_during_a_transaction_is_planned_after_it_and_is_the_newest() {
    for step in WAY {
        let mut world = two_files();
        world.receive("p", "two");
        world.run_to(step);
        world.receive("p", "three");
        world.receive("p", "four");
        world.settle();
        assert_eq!(world.reads("/t"), "four", "{step}");
        assert!(
            !world
                .ledger
                .intents
                .values()
                .any(|one| one.direction == Direction::Forward)
        );
        world.hold_promises();
    }
}

#[test]
fn a_version_that_is_invalid_by_the_settings_of_the_next_start_goes_back() {
    let mut world = two_files();
    world.receive("p", "longer than it may be by then");
    world.run_to("check");
    assert_ne!(world.reads("/t"), "one");
    let mut stricter = profile("p");
    stricter.validate.max_size = Some(5);
    world
        .settings
        .profiles
        .insert("p".into(), Arc::new(stricter));
    world.restart();
    world.settle();
    assert_eq!(world.reads("/t"), "one");
    assert_eq!(world.reads("/u"), "one");
    assert!(world.refusal("p").is_some());
    world.hold_promises();
}

#[test]
fn a_way_back_whose_turn_was_not_recorded_is_condemned_by_its_end() {
    let mut world = two_files();
    world.says("web", Step::Probe, &[no()]);
    world.receive("p", "two");
    world.run_to("probe");
    world.full = 1;
    world.run();
    assert_eq!(world.full, 0);
    assert_eq!(world.reads("/t"), "one");
    assert_eq!(world.ledger.quarantine.len(), 1);
    world.hold_promises();
}
