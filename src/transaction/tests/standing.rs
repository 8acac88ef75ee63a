//! Transactions that are closed while a service has not answered yet.

use super::super::Step;
use super::world::{World, id, no, path, perhaps, service, target};
use crate::ledger::Direction;
use crate::service::Verdict;
use crate::settings::{OnFailure, ServiceName};

fn small() -> World {
    let mut world = World::new(
        &["p", "q"],
        vec![
            target("/t", &["p"], &["web"]),
            target("/u", &["q"], &["web"]),
        ],
        vec![service("web", OnFailure::Rollback)],
    );
    world.deliver("p", "one");
    world.deliver("q", "one");
    world
}

#[test]
fn a_service_that_does_not_answer_closes_the_transaction_and_keeps_the_way_back() {
    let mut world = small();
    world.says("web", Step::Notify, &[perhaps()]);
    world.deliver("p", "two");
    assert_eq!(world.reads("/t"), "two");
    let standing = world.ledger.intents.values().next().unwrap();
    assert_eq!(standing.direction, Direction::Standing);
    world.hold_promises();
    world.settle();
    assert!(world.ledger.intents.is_empty());
    assert_eq!(world.reads("/t"), "two");
    world.hold_promises();
}

#[test]
fn a_late_no_brings_the_files_back_and_condemns_them() {
    let mut world = small();
    world.says("web", Step::Notify, &[perhaps(), perhaps(), no()]);
    world.deliver("p", "two");
    world.settle();
    assert_eq!(world.reads("/t"), "one");
    assert_eq!(world.ledger.quarantine.len(), 1);
    assert_eq!(world.ledger.accepted[&id("p")].size, 3);
    world.hold_promises();
}

#[test]
fn a_late_no_after_a_restart_brings_the_files_back() {
    let mut world = small();
    world.says("web", Step::Notify, &[perhaps()]);
    world.deliver("p", "two");
    world.restart();
    world.says("web", Step::Notify, &[no()]);
    world.settle();
    assert_eq!(world.reads("/t"), "one");
    world.hold_promises();
}

#[test]
fn a_newer_transaction_over_the_same_files_takes_the_place_of_the_standing_one() {
    let mut world = small();
    world.says("web", Step::Notify, &[perhaps()]);
    world.deliver("p", "two");
    world.deliver("p", "three");
    assert!(world.ledger.intents.is_empty());
    assert_eq!(world.reads("/t"), "three");
    world.hold_promises();
}

#[test]
fn a_transaction_over_other_files_that_tells_the_service_lets_the_standing_one_go() {
    let mut world = small();
    world.says("web", Step::Notify, &[perhaps()]);
    world.deliver("p", "two");
    world.deliver("q", "two");
    assert!(world.ledger.intents.is_empty());
    world.hold_promises();
}

#[test]
fn a_late_no_takes_back_the_files_that_no_newer_version_has_replaced() {
    let mut world = World::new(
        &["p", "q"],
        vec![
            target("/t", &["p"], &["web", "app"]),
            target("/u", &["q"], &["app"]),
        ],
        vec![
            service("web", OnFailure::Rollback),
            service("app", OnFailure::Rollback),
        ],
    );
    world.deliver("p", "one");
    world.deliver("q", "one");
    // One transaction over both, which stands for `web`; then a newer one over what only `app` reads.
    world.says("web", Step::Notify, &[perhaps(), no()]);
    world.receive_quietly("q", "two");
    world.deliver("p", "two");
    world.deliver("q", "three");
    let rest = world.ledger.intents.values().next().unwrap();
    assert_eq!(rest.direction, Direction::Standing);
    let placed: Vec<_> = rest.placements.iter().map(|one| &one.target).collect();
    assert_eq!(placed, [&path("/t")]);
    world.settle();
    assert_eq!(world.reads("/t"), "one");
    assert_eq!(world.reads("/u"), "three");
    assert!(world.machine.pending().is_empty());
    assert_eq!(world.ledger.accepted[&id("p")].size, 3);
    world.hold_promises();
}

#[test]
fn a_newer_version_that_changes_one_of_two_files_takes_the_place_of_all_that_its_profile_made() {
    let mut world = World::new(
        &["p", "q"],
        vec![
            target("/t", &["p"], &["web"]),
            target("/u", &["p", "q"], &["web"]),
        ],
        vec![service("web", OnFailure::Rollback)],
    );
    world.receive_quietly("q", r#"{"q": 1}"#);
    world.deliver("p", r#"{"p": 1}"#);
    world.says("web", Step::Notify, &vec![perhaps(); 2]);
    world.deliver("p", r#"{"p": 2}"#);
    // The bytes of `/u` stay the same: `q` says the same as `p` and wins.
    world.deliver("q", r#"{"p": 2, "q": 1}"#);
    let placed = |world: &World| -> Vec<String> {
        let intents = world.ledger.intents.values();
        let placed = intents.flat_map(|intent| intent.placements.clone());
        placed.map(|one| one.target.to_string()).collect()
    };
    assert_eq!(placed(&world), ["/t", "/u"]);
    world.says("web", Step::Notify, &[perhaps()]);
    world.deliver("p", r#"{"p": 2 }"#);
    assert_eq!(placed(&world), ["/t"]);
    world.hold_promises();
}

#[test]
fn a_service_that_left_the_settings_is_waited_for_no_more() {
    let mut world = small();
    world.says("web", Step::Notify, &[perhaps()]);
    world.deliver("p", "two");
    for name in ["/t", "/u"] {
        let from = if name == "/t" { "p" } else { "q" };
        let with = target(name, &[from], &["other"]);
        world.settings.targets.insert(path(name), with.into());
    }
    world.settings.services.clear();
    let other = service("other", OnFailure::Rollback);
    world.settings.services.insert("other".into(), other.into());
    world.restart();
    world.settle();
    assert!(world.ledger.intents.is_empty());
    world.hold_promises();
}

#[test]
fn a_service_that_keeps_files_holds_no_way_back() {
    let mut world = World::new(
        &["p"],
        vec![target("/t", &["p"], &["web", "app"])],
        vec![
            service("web", OnFailure::Rollback),
            service("app", OnFailure::Keep),
        ],
    );
    world.deliver("p", "one");
    world.says("app", Step::Notify, &vec![no(); 5]);
    world.says("web", Step::Notify, &[perhaps()]);
    world.deliver("p", "two");
    while world.machine.pending().contains(&"web".into()) {
        assert!(world.wait());
    }
    assert!(world.ledger.intents.is_empty());
    assert!(world.machine.pending().contains(&"app".into()));
    world.hold_promises();
    world.settle();
    assert!(world.machine.pending().is_empty());
    world.hold_promises();
}

#[test]
fn two_that_stand_go_back_one_after_the_other_newest_first() {
    let mut world = World::new(
        &["p"],
        vec![
            target("/t", &["p"], &["web"]),
            target("/u", &["p"], &["web"]),
        ],
        vec![service("web", OnFailure::Rollback)],
    );
    world.deliver("p", "one");
    world.says("web", Step::Notify, &[perhaps()]);
    world.deliver("p", "two");
    world.advance(std::time::Duration::from_millis(1));
    world.says("web", Step::Notify, &[perhaps(), no(), no()]);
    world.deliver("p", "three");
    world.settle();
    // The newer one took the place of the older one: there is one way back.
    assert_eq!(world.reads("/t"), "two");
    world.hold_promises();
}

#[test]
fn what_does_not_run_is_settled_without_a_word() {
    let mut world = small();
    let stopped = Verdict::NotRunning("inactive".to_owned());
    world.says("web", Step::Notify, &[stopped]);
    world.deliver("p", "two");
    assert!(world.ledger.intents.is_empty());
    assert!(world.machine.pending().is_empty());
    assert_eq!(world.count("probe"), 2, "what does not run is not probed");
    world.hold_promises();
}

#[test]
fn files_count_as_put_in_place_when_they_are_there() {
    let mut world = small();
    world.receive("p", "two web:notify:no");
    world.run_to("swap");
    world.advance(std::time::Duration::from_secs(3));
    let swapped = world.now.wall;
    world.run_to("put back");
    world.advance(std::time::Duration::from_secs(3));
    let back = world.now.wall;
    world.run();
    let since = |step| {
        let asked = world.asked_about.iter().rev();
        asked
            .filter(|(one, _)| *one == step)
            .map(|(_, since)| *since)
            .next()
            .unwrap()
    };
    assert_eq!(since(Step::Notify), swapped);
    assert_eq!(since(Step::NotifyBack), back);
}

#[test]
fn restoring_a_file_of_a_standing_transaction_leaves_it_its_way_back() {
    let mut world = World::new(
        &["p"],
        vec![
            target("/t", &["p"], &["web"]),
            target("/u", &["p"], &["web"]),
        ],
        vec![service("web", OnFailure::Rollback)],
    );
    world.deliver("p", "one");
    world.says("web", Step::Notify, &[perhaps()]);
    world.deliver("p", "two web:notify:no");
    std::fs::remove_file(world.file("/t")).unwrap();
    world.restart();
    world.settle();
    assert_eq!(world.reads("/t"), "one");
    assert_eq!(world.reads("/u"), "one");
    world.hold_promises();
}

#[test]
fn a_newer_transaction_that_goes_back_leaves_the_standing_one_its_way_back() {
    let mut world = small();
    world.says("web", Step::Notify, &[perhaps()]);
    world.deliver("p", "two web:notify:no");
    world.deliver("p", "three web:check:no");
    world.hold_promises();
    world.settle();
    assert_eq!(world.reads("/t"), "one");
    assert_eq!(world.ledger.quarantine.len(), 2);
    world.hold_promises();
}

#[test]
fn a_late_no_is_told_to_those_who_had_acknowledged_until_they_know() {
    let mut world = World::new(
        &["p"],
        vec![target("/t", &["p"], &["web", "app"])],
        vec![
            service("web", OnFailure::Rollback),
            service("app", OnFailure::Rollback),
        ],
    );
    world.says("web", Step::Notify, &[perhaps(), no()]);
    world.says("app", Step::NotifyBack, &[perhaps()]);
    world.deliver("p", "one");
    assert_eq!(world.machine.pending(), [ServiceName::from("web")].into());
    // `web` says no at last, and `app`, which knows of the file, cannot be asked while it goes.
    assert!(world.wait());
    assert_eq!(world.disk(&path("/t")), None);
    assert!(world.machine.pending().contains(&ServiceName::from("app")));
    world.settle();
    assert!(world.machine.pending().is_empty());
    world.hold_promises();
}

#[test]
fn a_late_no_is_told_to_those_who_learnt_of_the_files_by_a_later_transaction() {
    let mut world = World::new(
        &["p", "q"],
        vec![
            target("/t", &["p"], &["web", "app"]),
            target("/u", &["q"], &["app"]),
        ],
        vec![
            service("web", OnFailure::Rollback),
            service("app", OnFailure::Keep),
        ],
    );
    world.says("web", Step::Notify, &[perhaps(), no()]);
    world.says("app", Step::Check, &[perhaps()]);
    world.deliver("p", "one");
    world.deliver("q", "one");
    assert_eq!(world.machine.pending(), [ServiceName::from("web")].into());
    world.settle();
    assert_eq!(world.disk(&path("/t")), None);
    world.hold_promises();
}
