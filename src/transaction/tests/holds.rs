//! An operator's orders: holds, releases, rollbacks.

use super::super::{Event, Holdable, Order, Outcome, Scope, Step};
use super::world::{World, id, no, path, perhaps, profile, service, target};
use crate::settings::OnFailure;

/// `/t` is made from `p`, `/u` from `p` and `q` is alone at `/v`; all tell `web`.
fn world() -> World {
    let mut first = profile("p");
    first.validate.max_size = Some(100);
    let mut world = World::of(
        vec![first, profile("q")],
        vec![
            target("/t", &["p"], &["web"]),
            target("/u", &["p"], &["web"]),
            target("/v", &["q"], &["web"]),
        ],
        vec![service("web", OnFailure::Rollback)],
    );
    for version in ["one", "two"] {
        world.deliver("p", version);
        world.deliver("q", version);
    }
    world
}

fn order(world: &mut World, order: Order) -> Result<(), String> {
    let before = world.said.len();
    world.event(Event::Order(7, order));
    world.run();
    let said = world.said.iter().skip(before);
    let mut results = said.filter_map(|said| match said {
        Outcome::Ordered { result, .. } => Some(result.clone()),
        _ => None,
    });
    let result = results.next().expect("an order is answered");
    assert!(results.next().is_none(), "an order is answered once");
    result
}

fn p() -> Holdable {
    Holdable::Profile("p".into())
}

fn t() -> Holdable {
    Holdable::Target(path("/t"))
}

fn hold(what: Holdable) -> Order {
    let seconds = None;
    Order::Hold { what, seconds }
}

fn rollback(force: bool) -> Order {
    Order::Rollback {
        profile: "p".into(),
        version: None,
        force,
    }
}

#[test]
fn a_held_profile_keeps_its_version_against_newer_ones_and_drift_until_it_is_released() {
    let mut world = world();
    assert_eq!(order(&mut world, hold(p())), Ok(()));
    world.deliver("p", "three");
    assert_eq!(world.reads("/t"), "two");
    assert_eq!(world.ledger.received[&id("p")].size, 5);
    std::fs::write(world.file("/t"), "drifted").unwrap();
    world.event(Event::Wake(Scope::All));
    world.run();
    assert_eq!(world.reads("/t"), "two", "drift is restored");
    world.restart();
    world.settle();
    assert_eq!(world.reads("/t"), "two", "the hold is in the ledger");
    let release = Order::Release { what: p() };
    assert_eq!(order(&mut world, release.clone()), Ok(()));
    assert_eq!(world.reads("/t"), "three");
    assert!(order(&mut world, release).is_err(), "it is held no more");
}

#[test]
fn a_held_path_is_not_written_and_the_other_targets_go_on() {
    let mut world = world();
    assert_eq!(order(&mut world, hold(t())), Ok(()));
    std::fs::write(world.file("/t"), "by hand").unwrap();
    world.deliver("p", "three");
    world.event(Event::Wake(Scope::All));
    world.run();
    assert_eq!(world.reads("/t"), "by hand");
    assert_eq!(world.reads("/u"), "three");
    world.restart();
    world.settle();
    assert_eq!(world.reads("/t"), "by hand");
    assert_eq!(order(&mut world, Order::Release { what: t() }), Ok(()));
    assert_eq!(world.reads("/t"), "three");
    let kept = world.ledger.found_files.last().unwrap();
    assert_eq!((&kept.target, kept.size), (&path("/t"), 7));
}

#[test]
fn a_hold_of_a_path_takes_the_way_back_of_a_service_that_has_not_answered() {
    let mut world = world();
    world.says("web", Step::Notify, &[perhaps(), no()]);
    world.deliver("p", "three");
    assert_eq!(world.ledger.intents.len(), 1, "it stands");
    assert_eq!(order(&mut world, hold(t())), Ok(()));
    assert!(world.ledger.intents.is_empty());
    world.wait();
    assert_eq!(world.reads("/t"), "three", "a late no writes nothing");
}

#[test]
fn a_hold_with_a_time_ends_by_itself_also_when_the_clock_is_set_back() {
    for restarts in [false, true] {
        let mut world = world();
        let seconds = Some(7_200);
        let hold = Order::Hold { what: p(), seconds };
        assert_eq!(order(&mut world, hold), Ok(()));
        world.deliver("p", "three");
        assert_eq!(world.reads("/t"), "two");
        world.now.wall -= jiff::SignedDuration::from_hours(50);
        if restarts {
            world.restart();
            world.run();
        }
        let before = world.now.steady;
        assert!(world.wait());
        let waited = world.now.steady.saturating_sub(before).as_secs();
        assert!((7_100..=7_200).contains(&waited), "{waited}");
        assert_eq!(world.reads("/t"), "three");
        assert!(world.ledger.held_profiles.is_empty());
    }
}

#[test]
fn a_hold_that_cannot_be_recorded_is_refused() {
    let mut world = world();
    world.full = 1;
    assert!(order(&mut world, hold(p())).is_err());
    world.deliver("p", "three");
    assert_eq!(world.reads("/t"), "three");
}

#[test]
fn a_rollback_installs_the_version_before_and_holds_it() {
    let mut world = world();
    assert_eq!(order(&mut world, rollback(false)), Ok(()));
    assert_eq!(world.reads("/t"), "one");
    assert_eq!(world.reads("/u"), "one");
    assert_eq!(world.reads("/v"), "two", "of others nothing changes");
    world.deliver("p", "three");
    assert_eq!(world.reads("/t"), "one");
    world.hold_promises();
    assert_eq!(order(&mut world, Order::Release { what: p() }), Ok(()));
    assert_eq!(world.reads("/t"), "three");
    world.hold_promises();
}

#[test]
fn a_rollback_that_fails_puts_back_what_was_there_and_does_not_hold() {
    let mut world = world();
    world.says("web", Step::Probe, &[no()]);
    let failed = order(&mut world, rollback(false)).unwrap_err();
    assert!(failed.contains("went back"), "{failed}");
    assert_eq!(world.reads("/t"), "two");
    assert!(world.ledger.held_profiles.is_empty());
    world.hold_promises();
    let condemned = order(&mut world, rollback(false)).unwrap_err();
    assert!(condemned.contains("no version before"), "{condemned}");
    world.deliver("p", "three");
    assert_eq!(world.reads("/t"), "three");
}

#[test]
fn a_rollback_that_a_service_turns_down_late_is_held_no_more() {
    let mut world = world();
    world.says("web", Step::Notify, &[perhaps(), no()]);
    assert_eq!(order(&mut world, rollback(false)), Ok(()));
    assert_eq!(world.ledger.held_profiles.len(), 1);
    world.settle();
    assert_eq!(world.reads("/t"), "two");
    assert!(world.ledger.held_profiles.is_empty());
}

#[test]
fn a_rollback_that_a_service_turns_down_late_leaves_the_hold_that_was_there_before() {
    let mut world = world();
    assert_eq!(order(&mut world, hold(p())), Ok(()));
    let before = world.ledger.held_profiles[&id("p")].clone();
    world.says("web", Step::Notify, &[perhaps(), no()]);
    assert_eq!(order(&mut world, rollback(false)), Ok(()));
    assert_ne!(world.ledger.held_profiles[&id("p")], before);
    world.restart();
    world.settle();
    assert_eq!(world.reads("/t"), "two");
    assert_eq!(world.ledger.held_profiles[&id("p")], before);
    world.deliver("p", "three");
    assert_eq!(world.reads("/t"), "two", "it is held as before");
}

#[test]
fn a_version_that_validation_refuses_today_needs_force() {
    let mut world = world();
    world.deliver("p", &"x".repeat(90));
    let mut settings = world.settings.clone();
    let mut narrow = profile("p");
    narrow.validate.max_size = Some(2);
    settings
        .profiles
        .insert("p".into(), std::sync::Arc::new(narrow));
    world.settings = settings;
    world.restart();
    world.settle();
    let refused = order(&mut world, rollback(false)).unwrap_err();
    assert!(refused.contains("--force"), "{refused}");
    assert_eq!(world.reads("/t").len(), 90);
    assert!(world.ledger.held_profiles.is_empty());
    assert_eq!(order(&mut world, rollback(true)), Ok(()));
    assert_eq!(world.reads("/t"), "two");
}

#[test]
fn a_death_anywhere_in_a_rollback_ends_with_the_version_held_or_as_before() {
    for step in [
        "plan", "stage", "baseline", "commit", "swap", "notify", "probe", "release",
    ] {
        for share in 0..4 {
            let mut world = world();
            world.event(Event::Order(7, rollback(false)));
            world.run_to(step);
            world.die_during_next(share);
            world.settle();
            let held = world.ledger.held_profiles.contains_key(&id("p"));
            let expected = if held { "one" } else { "two" };
            assert_eq!(world.reads("/t"), expected, "{step} {share}");
            assert_eq!(world.reads("/u"), expected, "{step} {share}");
            assert!(held || world.ledger.intents.is_empty());
            world.hold_promises();
        }
    }
}

#[test]
fn a_rollback_that_changes_no_file_is_held_as_well() {
    let mut world = World::new(&["p"], Vec::new(), Vec::new());
    for version in ["one", "three"] {
        world.deliver("p", version);
    }
    assert_eq!(order(&mut world, rollback(false)), Ok(()));
    assert_eq!(world.ledger.accepted[&id("p")].size, 3);
    assert_eq!(world.ledger.held_profiles[&id("p")].version.size, 3);
    world.deliver("p", "newest");
    assert_eq!(world.ledger.accepted[&id("p")].size, 3);
    world.hold_promises();
}

#[test]
fn a_retry_lifts_the_quarantine_and_tries_at_once() {
    let mut world = world();
    world.says("web", Step::Probe, &[no()]);
    world.deliver("p", "three");
    assert_eq!(world.reads("/t"), "two");
    assert_eq!(world.ledger.quarantine.len(), 1);
    let profiles = Some([p_name()].into());
    assert_eq!(order(&mut world, Order::Retry { profiles }), Ok(()));
    assert_eq!(world.reads("/t"), "three");
    assert!(world.ledger.quarantine.is_empty());
    world.hold_promises();
}

#[test]
fn a_retry_does_not_wait_for_the_pause_of_a_service() {
    let mut world = world();
    world.says("web", Step::Notify, &[perhaps(), perhaps()]);
    world.deliver("p", "three");
    let told = world.count("notify");
    let profiles = None;
    assert_eq!(order(&mut world, Order::Retry { profiles }), Ok(()));
    assert_eq!(world.count("notify"), told + 1);
    world.settle();
    world.hold_promises();
}

fn p_name() -> crate::settings::ProfileName {
    "p".into()
}
