//! When newer versions wait, and what never does.

use std::time::Duration;

use super::super::{Event, Holdable, LeftOut, Order, Scope, Step};
use super::world::{World, id, no, path, perhaps, service, target};
use crate::ledger::Change;
use crate::settings::{OnFailure, Pace, Service, Settle};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn paced(name: &str, pace: Pace) -> Service {
    Service {
        pace,
        ..service(name, OnFailure::Rollback)
    }
}

fn every(interval: u64) -> Pace {
    Pace {
        min_interval: Some(seconds(interval)),
        ..Pace::default()
    }
}

/// `/t` is made from `p` and tells `web`, which is told at most every five minutes.
fn small() -> World {
    let mut world = World::new(
        &["p"],
        vec![target("/t", &["p"], &["web"])],
        vec![paced("web", every(300))],
    );
    world.deliver("p", "one");
    world
}

fn waits(world: &World, profile: &str) -> Option<String> {
    match world.machine.left_out().get(&id(profile)) {
        Some(LeftOut::Delayed(reason)) => Some(reason.clone()),
        _ => None,
    }
}

#[test]
fn a_first_version_waits_for_nothing_and_the_next_for_the_least_interval() {
    let mut world = small();
    assert_eq!(world.reads("/t"), "one");
    world.advance(seconds(10));
    for text in ["two", "three", "four"] {
        world.deliver("p", text);
    }
    assert_eq!(world.reads("/t"), "one");
    let reason = waits(&world, "p").unwrap();
    assert!(
        reason.contains("`min_interval` of service `web`"),
        "{reason}"
    );
    let began = world.now.steady;
    assert!(world.wait());
    assert_eq!(world.now.steady - began, seconds(290));
    assert_eq!(world.reads("/t"), "four");
    assert_eq!((world.count("notify"), world.count("swap")), (2, 2));
    assert_eq!(waits(&world, "p"), None);
    assert!(world.ledger.waits.is_empty());
    assert!(!world.wait(), "nothing is left to do");
    world.hold_promises();
}

#[test]
fn the_interval_outlives_the_process_and_a_time_in_the_future_counts_as_passed() {
    let mut world = small();
    world.advance(seconds(100));
    world.restart();
    world.deliver("p", "two");
    assert_eq!(world.reads("/t"), "one");
    world.restart();
    world.run();
    assert_eq!(world.reads("/t"), "one");
    let began = world.now.steady;
    assert!(world.wait());
    assert_eq!(
        (world.reads("/t"), world.now.steady - began),
        ("two".to_owned(), seconds(200))
    );
    let at = world.now.wall + jiff::SignedDuration::from_secs(1_000);
    let change = Change::Notified {
        service: "web".into(),
        at,
    };
    world.ledger.apply(&change);
    world.restart();
    world.deliver("p", "three");
    assert_eq!(world.reads("/t"), "three");
    world.hold_promises();
}

#[test]
fn many_versions_settle_into_one_notification_with_the_newest() {
    let settle = Settle {
        quiet: seconds(10),
        at_most: seconds(25),
    };
    let pace = Pace {
        settle: Some(settle),
        ..Pace::default()
    };
    let mut world = World::new(
        &["p"],
        vec![target("/t", &["p"], &["web"])],
        vec![paced("web", pace)],
    );
    world.deliver("p", "one");
    // Every eight seconds another: the second's wait ends at its bound.
    for text in ["two", "three", "four"] {
        world.deliver("p", text);
        assert_eq!(world.reads("/t"), "one", "{text}");
        world.advance(seconds(8));
        world.event(Event::Tick);
        world.run();
    }
    assert_eq!(world.reads("/t"), "one");
    assert!(world.wait());
    assert_eq!(
        (world.reads("/t"), world.count("notify")),
        ("four".to_owned(), 2)
    );
    world.deliver("p", "five");
    let began = world.now.steady;
    assert!(world.wait());
    assert_eq!(
        (world.reads("/t"), world.now.steady - began),
        ("five".to_owned(), seconds(10))
    );
    world.hold_promises();
}

#[test]
fn since_when_something_waits_outlives_the_process() {
    let pace = Pace {
        splay: Some(seconds(100_000)),
        ..Pace::default()
    };
    let mut world = World::new(
        &["p"],
        vec![target("/t", &["p"], &["web"])],
        vec![paced("web", pace)],
    );
    world.deliver("p", "one");
    world.deliver("p", "two");
    let due = world.machine.next_tick().unwrap();
    assert!(
        due > world.now.steady + seconds(1_000),
        "this host's share is long enough for a test"
    );
    world.advance(seconds(500));
    world.restart();
    world.deliver("p", "three");
    let again = world.machine.next_tick().unwrap();
    assert!(again.abs_diff(due) < seconds(1), "{due:?} {again:?}");
    world.wait();
    assert_eq!(world.reads("/t"), "three");
}

#[test]
fn the_longest_wait_counts_and_nobody_else_waits() {
    let mut world = World::new(
        &["p", "q"],
        vec![
            target("/a", &["p"], &["web"]),
            target("/b", &["p"], &["slow", "app"]),
            target("/c", &["q"], &["app"]),
        ],
        vec![
            paced("web", every(100)),
            paced("slow", every(1_000)),
            service("app", OnFailure::Rollback),
        ],
    );
    for name in ["p", "q"] {
        world.receive_quietly(name, "one");
    }
    world.event(Event::Wake(Scope::All));
    world.run();
    world.advance(seconds(1));
    for name in ["p", "q"] {
        world.receive_quietly(name, "two");
    }
    world.event(Event::Wake(Scope::All));
    world.run();
    assert_eq!(
        ["/a", "/b", "/c"].map(|path| world.reads(path)),
        ["one", "one", "two"]
    );
    let began = world.now.steady;
    while world.reads("/a") == "one" {
        assert!(world.wait());
        assert_eq!(
            world.reads("/a"),
            world.reads("/b"),
            "a version is put in place whole"
        );
    }
    assert_eq!(world.now.steady - began, seconds(999));
    world.hold_promises();
}

#[test]
fn a_version_that_goes_away_while_it_waits_is_nobodys_news() {
    let mut world = small();
    world.deliver("p", "two");
    world.deliver("p", "one");
    assert!(world.ledger.waits.is_empty());
    world.settle();
    assert_eq!(
        (world.reads("/t"), world.count("notify")),
        ("one".to_owned(), 1)
    );
    world.hold_promises();
}

#[test]
fn what_is_refused_is_refused_at_once() {
    let mut first = super::world::profile("p");
    first.validate.max_size = Some(5);
    let mut world = World::of(
        vec![first],
        vec![target("/t", &["p"], &["web"])],
        vec![paced("web", every(300))],
    );
    world.deliver("p", "one");
    world.deliver("p", "too long");
    assert!(world.refusal("p").is_some());
    assert!(world.ledger.waits.is_empty());
}

#[test]
fn an_operators_orders_wait_for_nothing() {
    let rollback = Order::Rollback {
        profile: "p".into(),
        version: None,
        force: false,
    };
    let release = Order::Release {
        what: Holdable::Profile("p".into()),
    };
    let mut world = small();
    world.advance(seconds(300));
    world.deliver("p", "two");
    world.event(Event::Order(1, rollback));
    world.run();
    assert_eq!(world.reads("/t"), "one");
    world.event(Event::Order(2, release));
    world.run();
    assert_eq!(world.reads("/t"), "two");
    world.deliver("p", "three");
    assert_eq!(world.reads("/t"), "two");
    world.event(Event::Order(3, Order::Retry { profiles: None }));
    world.run();
    assert_eq!(world.reads("/t"), "three");
    // And no longer than that.
    world.deliver("p", "four");
    assert_eq!(world.reads("/t"), "three");
    world.settle();
    assert_eq!(world.reads("/t"), "four");
    world.hold_promises();
}

#[test]
fn a_way_back_drift_and_what_was_interrupted_wait_for_nothing() {
    let mut world = small();
    world.advance(seconds(300));
    world.says("web", Step::Probe, &[no()]);
    world.deliver("p", "two");
    assert_eq!(
        (world.reads("/t"), world.count("notify back")),
        ("one".to_owned(), 1)
    );
    std::fs::remove_file(world.file("/t")).unwrap();
    world.event(Event::Wake(Scope::All));
    world.run();
    assert_eq!(world.reads("/t"), "one");
    world.settle();
    world.advance(seconds(300));
    world.receive("p", "three");
    world.run_to("notify");
    world.restart();
    world.run();
    assert_eq!(world.reads("/t"), "three");
    assert!(world.machine.pending().is_empty());
    world.hold_promises();
}

#[test]
fn a_change_during_a_notification_is_exactly_one_more_with_the_newest() {
    let mut world = World::new(
        &["p"],
        vec![target("/t", &["p"], &["web"])],
        vec![service("web", OnFailure::Rollback)],
    );
    world.deliver("p", "one");
    world.receive("p", "two");
    world.run_to("notify");
    for text in ["three", "four", "five"] {
        world.receive("p", text);
    }
    world.run();
    assert_eq!(
        (world.reads("/t"), world.count("notify")),
        ("five".to_owned(), 3)
    );
    world.hold_promises();
}

#[test]
fn a_thousand_targets_that_change_at_once_are_one_notification() {
    let names: Vec<String> = (0..1_000).map(|number| format!("p{number}")).collect();
    let targets = names.iter().map(|name| {
        let path = format!("/{name}");
        target(&path, &[name.as_str()], &["web"])
    });
    let profiles: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(&profiles, targets.collect(), vec![paced("web", every(300))]);
    for text in ["one", "two"] {
        for name in &names {
            world.receive_quietly(name, text);
        }
        world.event(Event::Wake(Scope::All));
        world.run();
        world.wait();
    }
    assert!(
        names
            .iter()
            .all(|name| world.reads(&format!("/{name}")) == "two")
    );
    assert_eq!((world.count("notify"), world.count("swap")), (2, 2));
    let plans = world.count("plan");
    assert!(plans <= 6, "{plans} plans");
}

#[test]
fn pauses_between_attempts_outlive_the_process() {
    let mut world = World::new(
        &["p"],
        vec![target("/t", &["p"], &["web"])],
        vec![service("web", OnFailure::Rollback)],
    );
    world.says("web", Step::Notify, &vec![perhaps(); 7]);
    world.deliver("p", "one");
    for _ in 0..5 {
        world.wait();
    }
    let due = world.machine.next_tick().unwrap();
    let told = world.count("notify");
    assert!(due - world.now.steady >= seconds(32), "the sixth pause");
    world.advance(seconds(1));
    world.restart();
    world.run();
    assert_eq!(
        world.count("notify"),
        told,
        "a restart is no reason to try again"
    );
    assert_eq!(world.machine.next_tick(), Some(due));
    world.wait();
    assert!(
        world.machine.next_tick().unwrap() - world.now.steady >= seconds(64),
        "pauses go on growing"
    );
    world.settle();
    assert!(world.machine.pending().is_empty());
    assert!(world.ledger.retries.is_empty());
    // A clock that was wrong is no reason to wait.
    world.says("web", Step::Notify, &vec![perhaps(); 7]);
    world.deliver("p", "two");
    world.now.wall -= jiff::SignedDuration::from_hours(1);
    world.restart();
    let told = world.count("notify");
    world.run();
    assert_eq!(world.count("notify"), told + 1);
}

#[test]
fn another_definition_of_a_service_is_tried_at_once() {
    let mut world = World::new(
        &["p"],
        vec![target("/t", &["p"], &["web"])],
        vec![service("web", OnFailure::Rollback)],
    );
    world.says("web", Step::Notify, &[perhaps(), perhaps(), perhaps()]);
    world.deliver("p", "one");
    world.wait();
    world.wait();
    let mut mended = service("web", OnFailure::Rollback);
    mended.timeout = seconds(7);
    world.settings.services.insert("web".into(), mended.into());
    world.restart();
    world.run();
    assert!(world.machine.pending().is_empty());
    world.hold_promises();
}

#[test]
fn after_its_time_a_notification_is_given_up_until_somebody_says_so_or_something_newer_comes() {
    let mut web = service("web", OnFailure::Rollback);
    web.give_up_after = Some(seconds(60));
    let mut world = World::new(&["p"], vec![target("/t", &["p"], &["web"])], vec![web]);
    world.says("web", Step::Notify, &vec![perhaps(); 30]);
    world.deliver("p", "one");
    let began = world.now.steady;
    while world.wait() {}
    assert_eq!(
        world.now.steady - began,
        seconds(60),
        "the last attempt is made when the time is up"
    );
    let told = world.count("notify");
    let record = world.ledger.services[&"web".into()].clone();
    assert_eq!(record.condition, crate::ledger::ServiceCondition::Failed);
    assert!(
        record
            .last_result
            .starts_with("given up after 1m: who knows"),
        "{}",
        record.last_result
    );
    world.restart();
    world.advance(seconds(100_000));
    world.settle();
    assert_eq!(world.count("notify"), told, "a restart changes nothing");
    assert!(world.machine.pending().contains(&"web".into()));
    world.event(Event::Order(1, Order::Retry { profiles: None }));
    world.run();
    assert_eq!(world.count("notify"), told + 1);
    assert!(world.wait(), "it begins anew");
    while world.wait() {}
    let told = world.count("notify");
    world.deliver("p", "two");
    assert_eq!(world.count("notify"), told + 1);
    world.forget_script();
    world.settle();
    assert!(world.machine.pending().is_empty());
    assert_eq!(world.reads("/t"), "two");
    assert!(world.ledger.retries.is_empty() && world.disk(&path("/t")).is_some());
    world.hold_promises();
}
