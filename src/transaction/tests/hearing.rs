//! Of what services hear: parts of files, and starts.

use std::collections::BTreeMap;

use super::super::{Event, Scope, Step};
use super::world::{World, no, path, service, target};
use crate::service::Verdict;
use crate::settings::{OnFailure, OnStart, Parts, Service, WhenChanged};

fn parts(pointers: &[&str]) -> Parts {
    Parts::Pointers(pointers.iter().map(|one| (*one).to_owned()).collect())
}

fn when(name: &str, pointers: &[&str]) -> WhenChanged {
    let parts = parts(pointers);
    match name.starts_with('/') {
        true => WhenChanged {
            targets: BTreeMap::from([(path(name), parts)]),
            profiles: BTreeMap::new(),
        },
        false => WhenChanged {
            targets: BTreeMap::new(),
            profiles: BTreeMap::from([(name.into(), parts)]),
        },
    }
}

fn choosy(name: &str, when: WhenChanged) -> Service {
    let mut service = service(name, OnFailure::Rollback);
    service.conditions.when_changed = Some(when);
    service
}

/// `web` wants to hear of `/a` in `/t.json`.
fn small() -> World {
    let mut world = World::new(
        &["p"],
        vec![target("/t.json", &["p"], &["web"])],
        vec![choosy("web", when("/t.json", &["/a"]))],
    );
    world.deliver("p", r#"{"a": 1, "b": 1}"#);
    assert_eq!(world.count("notify"), 1);
    world
}

#[test]
fn a_change_elsewhere_swaps_the_file_checks_it_and_tells_nobody() {
    let mut world = small();
    world.deliver("p", r#"{"a": 1, "b": 2}"#);
    assert_eq!(world.reads("/t.json"), r#"{"a": 1, "b": 2}"#);
    assert_eq!((world.count("notify"), world.count("check")), (1, 2));
    assert!(world.machine.pending().is_empty());
    assert!(world.ledger.intents.is_empty());
    world.deliver("p", r#"{"a": 2, "b": 2}"#);
    assert_eq!(world.count("notify"), 2);
    world.deliver("p", "{\"a\": 2");
    assert_eq!(world.count("notify"), 3, "what does not parse counts whole");
    world.restart();
    world.settle();
    assert_eq!(world.count("notify"), 3);
}

#[test]
fn a_check_that_says_no_to_a_change_elsewhere_takes_it_back_and_tells_nobody() {
    let mut world = small();
    world.says("web", Step::Check, &[no()]);
    world.deliver("p", r#"{"a": 1, "b": 2}"#);
    assert_eq!(world.reads("/t.json"), r#"{"a": 1, "b": 1}"#);
    assert_eq!((world.count("notify"), world.count("notify back")), (1, 0));
    assert!(world.machine.pending().is_empty());
    assert_eq!(world.ledger.quarantine.len(), 1);
}

#[test]
fn a_death_in_the_middle_of_a_change_elsewhere_is_no_news_either() {
    for share in 0..5 {
        let mut world = small();
        world.receive("p", r#"{"a": 1, "b": 2}"#);
        world.run_to("swap");
        world.die_during_next(share);
        world.settle();
        assert_eq!(world.reads("/t.json"), r#"{"a": 1, "b": 2}"#, "{share}");
        assert_eq!(world.count("notify"), 1, "{share}");
        assert!(world.machine.pending().is_empty(), "{share}");
        // What comes before it is told is news.
        world.receive("p", r#"{"a": 3, "b": 2}"#);
        world.run_to("notify");
        world.restart();
        world.receive("p", r#"{"a": 3, "b": 4}"#);
        world.settle();
        assert_eq!(world.reads("/t.json"), r#"{"a": 3, "b": 4}"#, "{share}");
        assert_eq!(world.told.len(), 1);
        assert!(world.machine.pending().is_empty(), "{share}");
        assert!(world.count("notify") >= 2, "{share}");
    }
}

#[test]
fn parts_of_a_profile_count_in_whatever_is_made_from_it() {
    let mut world = World::new(
        &["p", "q"],
        vec![target("/t", &["p", "q"], &["web", "all"])],
        vec![
            choosy("web", when("p", &["/a"])),
            service("all", OnFailure::Rollback),
        ],
    );
    world.receive_quietly("p", r#"{"a": 1}"#);
    world.receive_quietly("q", r#"{"b": 1}"#);
    world.event(Event::Wake(Scope::All));
    world.run();
    let told = |world: &World, name: &str| world.ledger.notified[&name.into()];
    let before = (told(&world, "web"), told(&world, "all"));
    world.advance(std::time::Duration::from_secs(1));
    world.deliver("q", r#"{"b": 2}"#);
    assert_eq!(told(&world, "web"), before.0);
    assert_ne!(told(&world, "all"), before.1);
    world.deliver("p", r#"{"a": 2}"#);
    assert_ne!(told(&world, "web"), before.0);
    assert!(world.machine.pending().is_empty());
}

#[test]
fn a_target_that_is_not_named_is_no_news() {
    let mut first = choosy("web", when("/t.json", &[""]));
    first.check = None;
    let mut world = World::new(
        &["p", "q"],
        vec![
            target("/t.json", &["p"], &["web"]),
            target("/u", &["q"], &["web"]),
        ],
        vec![first],
    );
    world.deliver("q", "one");
    assert_eq!(
        (world.reads("/u"), world.count("notify")),
        ("one".to_owned(), 0)
    );
    assert!(world.machine.pending().is_empty());
    world.deliver("p", "{}");
    assert_eq!(world.count("notify"), 1);
    world.deliver("q", "two");
    assert_eq!(
        (world.reads("/u"), world.count("notify")),
        ("two".to_owned(), 1)
    );
    assert!(world.machine.pending().is_empty());
    // Once it is, what has changed since is told.
    let all = service("web", OnFailure::Rollback);
    world.settings.services.insert("web".into(), all.into());
    world.restart();
    world.settle();
    assert_eq!(world.count("notify"), 2);
    world.hold_promises();
}

#[test]
fn another_choice_of_parts_is_no_news_of_what_is_known() {
    let mut world = small();
    let other = choosy("web", when("/t.json", &["/b"]));
    world.settings.services.insert("web".into(), other.into());
    world.restart();
    world.settle();
    assert_eq!(world.count("notify"), 1);
    world.deliver("p", r#"{"a": 7, "b": 1}"#);
    assert_eq!(world.count("notify"), 1);
    world.deliver("p", r#"{"a": 7, "b": 2}"#);
    assert_eq!(world.count("notify"), 2);
    let all = service("web", OnFailure::Rollback);
    world.settings.services.insert("web".into(), all.into());
    world.restart();
    world.settle();
    assert_eq!(world.count("notify"), 2);
    world.hold_promises();
}

#[test]
fn a_change_elsewhere_does_not_wait_for_the_pace() {
    let mut web = choosy("web", when("/t.json", &["/a"]));
    web.pace.min_interval = Some(std::time::Duration::from_secs(300));
    let mut world = World::new(&["p"], vec![target("/t.json", &["p"], &["web"])], vec![web]);
    world.deliver("p", r#"{"a": 1, "b": 1}"#);
    world.deliver("p", r#"{"a": 1, "b": 2}"#);
    assert_eq!(world.reads("/t.json"), r#"{"a": 1, "b": 2}"#);
    world.deliver("p", r#"{"a": 2, "b": 2}"#);
    assert_eq!(world.reads("/t.json"), r#"{"a": 1, "b": 2}"#);
}

#[test]
fn a_start_is_told_once_to_who_wants_to_hear_of_it_and_survives_a_death() {
    let mut web = service("web", OnFailure::Rollback);
    web.conditions.on_start = OnStart::Always;
    let mut world = World::new(
        &["p"],
        vec![target("/t", &["p"], &["web", "app"])],
        vec![web, service("app", OnFailure::Rollback)],
    );
    world.machine.started();
    world.deliver("p", "one");
    assert_eq!(
        world.count("notify"),
        1,
        "the first version is the news of the start"
    );
    world.restart();
    world.machine.started();
    world.settle();
    assert_eq!(world.count("notify"), 2);
    let app = world.ledger.services[&"app".into()].since;
    world.advance(std::time::Duration::from_secs(1));
    world.restart();
    world.machine.started();
    world.event(Event::Tick);
    world.run_to("notify");
    // Not by a queue that is replaced; but what has begun is not forgotten.
    world.restart();
    world.settle();
    assert_eq!(world.count("notify"), 3);
    assert_eq!(
        world.ledger.services[&"app".into()].since,
        app,
        "the other one is not told"
    );
    world.restart();
    world.settle();
    assert_eq!(world.count("notify"), 3);
    world.says(
        "web",
        Step::Notify,
        &[Verdict::NotRunning("inactive".to_owned())],
    );
    world.restart();
    world.machine.started();
    world.settle();
    assert!(world.machine.pending().is_empty());
    world.hold_promises();
}
