use super::super::{Event, Step};
use super::world::{World, no, path, perhaps, service, target};
use crate::settings::OnFailure;

/// One profile, one target, one service.
fn small() -> World {
    World::new(
        &["p"],
        vec![target("/t", &["p"], &["web"])],
        vec![service("web", OnFailure::Rollback)],
    )
}

#[test]
fn a_good_change_goes_all_the_way_in_order() {
    let mut world = small();
    world.event(Event::Tick);
    world.run();
    world.log.clear();
    world.deliver("p", "one");
    let order = "plan stage baseline commit swap check notify probe commit release";
    assert_eq!(world.log.join(" "), order);
    assert_eq!(world.reads("/t"), "one");
    world.hold_promises();
    assert!(!world.wait(), "nothing is left to do");
}

#[test]
fn a_notification_that_is_refused_brings_the_files_back() {
    let mut world = small();
    world.deliver("p", "one");
    world.deliver("p", "two web:notify:no");
    assert_eq!(world.reads("/t"), "one");
    assert_eq!(world.ledger.quarantine.len(), 1);
    world.settle();
    world.hold_promises();
}
