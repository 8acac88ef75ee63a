//! The way forwards, and what turns it.

use std::collections::BTreeSet;

use super::super::action::{Answer, Baseline};
use super::super::{Event, LeftOut, Outcome, Scope, Step};
use super::world::{World, id, no, path, perhaps, profile, service, target};
use crate::ledger::ServiceCondition;
use crate::service::{Running, Verdict};
use crate::settings::{Command, OnFailure};

/// One profile, one target, one service.
fn small() -> World {
    World::new(
        &["p"],
        vec![target("/t", &["p"], &["web"])],
        vec![service("web", OnFailure::Rollback)],
    )
}

/// The same with a version in place.
fn with_one() -> World {
    let mut world = small();
    world.deliver("p", "one");
    world.log.clear();
    world.said.clear();
    world
}

fn two_services(other: OnFailure) -> World {
    let mut world = World::new(
        &["p"],
        vec![target("/t", &["p"], &["web", "app"])],
        vec![service("web", OnFailure::Rollback), service("app", other)],
    );
    world.deliver("p", "one");
    world.log.clear();
    world
}

fn condition(world: &World, name: &str) -> ServiceCondition {
    world.ledger.services[&name.into()].condition
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

#[test]
fn a_version_that_a_staged_check_turns_down_is_refused_and_nothing_is_swapped() {
    let mut fussy = target("/t", &["p"], &["web"]);
    fussy.validate_command = Some(Command::Shell("true".to_owned()));
    let other = target("/u", &["q"], &["web"]);
    let web = service("web", OnFailure::Rollback);
    let mut world = World::new(&["p", "q"], vec![fussy, other], vec![web]);
    world.deliver("p", "one");
    world.receive_quietly("q", "two");
    world.deliver("p", "two staged:no");
    assert_eq!(world.reads("/t"), "one");
    assert!(world.refusal("p").unwrap().reason.contains("`/t`"));
    assert!(world.ledger.quarantine.is_empty());
    world.event(Event::Wake(Scope::All));
    world.run();
    assert_eq!(world.reads("/u"), "two", "the rest goes on");
    assert!(!world.wait(), "a refusal is not tried again by itself");
    world.deliver("p", "three");
    assert_eq!(world.reads("/t"), "three");
    assert!(world.refusal("p").is_none());
    world.hold_promises();
}

#[test]
fn a_staged_check_that_cannot_tell_is_tried_again_later() {
    let mut fussy = target("/t", &["p"], &["web"]);
    fussy.validate_command = Some(Command::Shell("true".to_owned()));
    let mut world = World::new(
        &["p"],
        vec![fussy],
        vec![service("web", OnFailure::Rollback)],
    );
    world.staged_script.push_back(perhaps());
    world.deliver("p", "one");
    assert_eq!(world.count("swap"), 0);
    assert!(matches!(
        world.machine.left_out()[&id("p")],
        LeftOut::Delayed(_)
    ));
    assert!(world.refusal("p").is_none());
    world.settle();
    assert_eq!(world.reads("/t"), "one");
    assert!(world.machine.left_out().is_empty());
    world.hold_promises();
}

#[test]
fn a_program_that_is_missing_is_found_before_anything_is_swapped() {
    let mut world = with_one();
    let missing = Baseline {
        running: Running::Yes,
        missing: Some("`check`: no such program".to_owned()),
        probe: None,
    };
    world.baselines.insert("web".into(), missing);
    world.deliver("p", "two");
    assert_eq!(world.count("swap"), 0);
    assert_eq!(world.reads("/t"), "one");
    world.forget_script();
    world.settle();
    assert_eq!(world.reads("/t"), "two");
    world.hold_promises();
}

#[test]
fn without_a_recorded_intent_nothing_is_swapped() {
    let mut world = with_one();
    world.full = 3;
    world.deliver("p", "two");
    assert_eq!(world.count("swap"), 0);
    assert_eq!(world.reads("/t"), "one");
    assert!(world.machine.trouble().is_some());
    world.hold_promises();
    world.settle();
    assert_eq!(world.reads("/t"), "two");
    world.hold_promises();
}

#[test]
fn an_end_that_cannot_be_recorded_is_recorded_later_with_growing_pauses() {
    let mut world = with_one();
    world.receive("p", "two");
    world.run_to("probe");
    assert!(world.step());
    world.full = 8;
    let began = world.now.steady;
    world.settle();
    assert!((world.now.steady - began).as_secs() > 60);
    assert_eq!(world.count("notify"), 1, "nobody is told twice");
    assert_eq!(world.reads("/t"), "two");
    world.hold_promises();
}

#[test]
fn a_swap_that_fails_half_way_goes_back_whole() {
    for renamed in 0..3 {
        let targets = ["/a", "/b", "/c"].map(|path| target(path, &["p"], &["web"]));
        let web = service("web", OnFailure::Rollback);
        let mut world = World::new(&["p"], targets.to_vec(), vec![web]);
        world.deliver("p", "one");
        let told = world.count("notify") + world.count("notify back");
        world.swap_breaks.push_back(renamed);
        world.deliver("p", "two");
        for path in ["/a", "/b", "/c"] {
            assert_eq!(world.reads(path), "one", "{renamed}");
        }
        assert_eq!(told, world.count("notify") + world.count("notify back"));
        assert!(world.ledger.quarantine.is_empty());
        world.hold_promises();
        world.settle();
        assert_eq!(world.reads("/b"), "two");
        world.hold_promises();
    }
}

#[test]
fn a_check_that_says_no_brings_the_files_back_without_telling_anyone() {
    let mut world = with_one();
    world.says("web", Step::Check, &[no()]);
    world.deliver("p", "two");
    assert_eq!(world.reads("/t"), "one");
    assert_eq!(world.count("notify") + world.count("notify back"), 0);
    assert_eq!(world.ledger.quarantine.len(), 1);
    assert!(matches!(
        world.machine.left_out()[&id("p")],
        LeftOut::Quarantined(_)
    ));
    assert!(
        world.machine.pending().is_empty(),
        "it has what it had acknowledged"
    );
    assert!(!world.wait());
    world.hold_promises();
}

#[test]
fn a_check_that_cannot_tell_brings_the_files_back_and_is_tried_again() {
    let mut world = with_one();
    world.says("web", Step::Check, &[perhaps()]);
    world.deliver("p", "two");
    assert_eq!(world.reads("/t"), "one");
    assert!(world.ledger.quarantine.is_empty());
    world.hold_promises();
    world.settle();
    assert_eq!(world.reads("/t"), "two");
    world.hold_promises();
}

#[test]
fn a_probe_counts_unless_it_failed_before_the_change() {
    let baselines = [
        (Running::Yes, Some(Ok(())), "one"),
        (Running::Yes, Some(Err("was ill".to_owned())), "two"),
        (Running::No, None, "one"),
    ];
    for (running, probe, stands) in baselines {
        let mut world = with_one();
        let found = Baseline {
            running,
            missing: None,
            probe: probe.clone(),
        };
        world.baselines.insert("web".into(), found);
        world.says("web", Step::Probe, &[no()]);
        world.deliver("p", "two");
        assert_eq!(world.reads("/t"), stands, "{probe:?}");
        assert!(world.machine.pending().is_empty());
        world.hold_promises();
    }
}

#[test]
fn a_service_that_ran_and_ended_has_said_no_whatever_else_it_said() {
    for (step, verdict) in [
        (Step::Notify, Verdict::Accepted),
        (Step::Notify, perhaps()),
        (Step::Probe, Verdict::Accepted),
        (Step::Probe, no()),
    ] {
        let mut world = with_one();
        let ill = Baseline {
            running: Running::Yes,
            missing: None,
            probe: Some(Err("was ill".to_owned())),
        };
        world.baselines.insert("web".into(), ill);
        let ended = true;
        world.says_exactly("web", step, Answer { verdict, ended });
        world.deliver("p", "two");
        assert_eq!(world.reads("/t"), "one", "{step:?}");
        world.hold_promises();
    }
}

#[test]
fn one_no_of_two_services_brings_the_files_back_and_both_are_told() {
    let mut world = two_services(OnFailure::Rollback);
    world.says("app", Step::Notify, &[no()]);
    world.deliver("p", "two");
    assert_eq!(world.reads("/t"), "one");
    assert_eq!(world.ledger.quarantine.len(), 1);
    assert!(world.machine.pending().is_empty());
    world.hold_promises();
}

#[test]
fn a_service_that_keeps_its_files_never_brings_them_back() {
    for step in [Step::Check, Step::Notify, Step::Probe] {
        let mut world = two_services(OnFailure::Keep);
        world.says("app", step, &[no()]);
        world.deliver("p", "two");
        assert_eq!(world.reads("/t"), "two", "{step:?}");
        assert_eq!(condition(&world, "app"), ServiceCondition::Failed);
        assert_eq!(condition(&world, "web"), ServiceCondition::Acknowledged);
        assert!(world.ledger.quarantine.is_empty());
        assert!(world.ledger.intents.is_empty());
        world.hold_promises();
        world.settle();
        assert_eq!(condition(&world, "app"), ServiceCondition::Acknowledged);
        world.hold_promises();
    }
}

#[test]
fn going_back_that_fails_is_tried_until_it_works() {
    let mut world = with_one();
    world.back_breaks = 9;
    world.deliver("p", "two web:notify:no");
    assert!(
        world
            .said
            .iter()
            .any(|said| matches!(said, Outcome::BackFailed { .. }))
    );
    world.deliver("p", "three");
    assert_eq!(
        world.count("swap"),
        1,
        "nothing new while the old is not back"
    );
    world.settle();
    assert_eq!(world.reads("/t"), "three");
    world.hold_promises();
}

#[test]
fn a_service_that_is_not_told_of_the_way_back_stays_pending() {
    let mut world = with_one();
    world.says("web", Step::NotifyBack, &[perhaps()]);
    world.deliver("p", "two web:probe:no");
    assert_eq!(world.reads("/t"), "one");
    assert!(world.machine.pending().contains(&"web".into()));
    world.hold_promises();
    world.settle();
    assert!(world.machine.pending().is_empty());
    world.hold_promises();
}

#[test]
fn a_service_is_told_that_a_first_file_has_gone_again() {
    let mut world = small();
    world.says("web", Step::NotifyBack, &[perhaps(), perhaps()]);
    world.deliver("p", "one web:probe:no");
    assert_eq!(world.text(&path("/t")), None);
    assert!(world.machine.pending().contains(&"web".into()));
    let told = world.count("notify");
    world.settle();
    assert_eq!(world.count("notify"), told + 1);
    assert!(world.ledger.acknowledged.is_empty());
    world.hold_promises();
}

#[test]
fn a_condemned_outcome_stays_out_until_another_one_comes() {
    let mut world = with_one();
    world.deliver("p", "bad web:notify:no");
    let swaps = world.count("swap");
    world.event(Event::Wake(Scope::All));
    world.run();
    world.restart();
    world.settle();
    assert_eq!(world.count("swap"), swaps);
    world.deliver("p", "two");
    assert_eq!(world.reads("/t"), "two");
    world.deliver("p", "bad web:notify:no");
    assert_eq!(
        world.reads("/t"),
        "two",
        "going away and back does not lift it"
    );
    assert_eq!(world.count("swap"), swaps + 1);
    let lifted = crate::ledger::Change::QuarantineLifted { identity: id("p") };
    world.ledger.apply(&lifted);
    world.machine.apply(&[lifted]);
    world.event(Event::Wake(Scope::profile(id("p"))));
    world.run();
    assert_eq!(world.count("swap"), swaps + 2, "lifted, it is tried again");
    world.hold_promises();
}

#[test]
fn another_definition_of_the_service_is_another_outcome() {
    let mut world = with_one();
    world.says("web", Step::Notify, &[no()]);
    world.deliver("p", "two");
    assert_eq!(world.reads("/t"), "one");
    let mut other = service("web", OnFailure::Rollback);
    other.check = None;
    world.settings.services.insert("web".into(), other.into());
    world.restart();
    world.settle();
    assert_eq!(world.reads("/t"), "two");
    world.hold_promises();
}

#[test]
fn the_same_bytes_under_another_label_are_accepted_without_a_word_to_anyone() {
    let mut world = with_one();
    world.receive_as("p", "one", Some("v2"));
    world.event(Event::Wake(Scope::profile(id("p"))));
    world.run();
    assert_eq!(world.log.join(" "), "plan commit");
    assert_eq!(world.ledger.accepted[&id("p")].label.as_deref(), Some("v2"));
    world.hold_promises();
}

#[test]
fn an_event_that_does_not_fit_changes_nothing() {
    let mut world = with_one();
    for event in [
        Event::Committed(Ok(())),
        Event::Swapped(Err((Vec::new(), "?".to_owned()))),
        Event::Staged(Vec::new()),
        Event::PutBack(Vec::new()),
        Event::Answered(Default::default()),
        Event::Broke("?".to_owned()),
    ] {
        world.event(event);
        world.run();
    }
    assert!(world.log.is_empty());
    assert_eq!(world.said.len(), 6);
    assert!(world.machine.is_idle());
    world.hold_promises();
}

#[test]
fn a_stop_before_the_commit_gives_up_and_after_it_ends_what_was_begun() {
    for step in ["plan", "stage", "baseline"] {
        let mut world = with_one();
        world.receive("p", "two");
        world.run_to(step);
        world.event(Event::Stop);
        world.run();
        assert_eq!(world.reads("/t"), "one", "{step}");
        assert!(world.machine.is_idle() && world.machine.next_tick().is_none());
        world.hold_promises();
    }
    for step in ["commit", "swap", "check", "notify", "probe"] {
        let mut world = with_one();
        world.receive("p", "two");
        world.run_to(step);
        world.event(Event::Stop);
        world.run();
        assert_eq!(world.reads("/t"), "two", "{step}");
        assert!(world.machine.is_idle());
        world.hold_promises();
    }
}

#[test]
fn only_the_services_of_changed_files_are_asked() {
    let mut world = World::new(
        &["p", "q"],
        vec![
            target("/t", &["p"], &["web", "both"]),
            target("/u", &["q"], &["app", "both"]),
        ],
        vec![
            service("web", OnFailure::Rollback),
            service("app", OnFailure::Rollback),
            service("both", OnFailure::Rollback),
        ],
    );
    world.deliver("p", "one");
    world.deliver("q", "one");
    world.said.clear();
    world.deliver("p", "two");
    let told = world.said.iter().find_map(|said| match said {
        Outcome::Installed { services, .. } => Some(services.clone()),
        _ => None,
    });
    assert_eq!(told, Some(BTreeSet::from(["both".into(), "web".into()])));
    world.hold_promises();
}

#[test]
fn a_refusal_is_said_once_however_often_the_rest_is_planned_again() {
    let mut narrow = profile("p");
    narrow.validate.max_size = Some(3);
    let mut checked = target("/u", &["q"], &["web"]);
    checked.validate_command = Some(Command::Shell("true".to_owned()));
    let mut world = World::of(
        vec![narrow, profile("q"), profile("r")],
        vec![
            target("/t", &["p"], &["web"]),
            checked,
            target("/v", &["r"], &["web"]),
        ],
        vec![service("web", OnFailure::Rollback)],
    );
    for name in ["p", "q", "r"] {
        world.deliver(name, "one");
    }
    world.receive_quietly("p", "too long");
    world.receive_quietly("q", "two staged:no");
    world.receive_quietly("r", "two");
    world.event(Event::Wake(Scope::All));
    world.run();
    let refused = world.said.iter().filter_map(|said| match said {
        Outcome::Refused { profiles, .. } => Some(profiles.iter().cloned()),
        _ => None,
    });
    let refused: Vec<_> = refused.flatten().collect();
    assert_eq!(refused, [id("p"), id("q")]);
    assert_eq!(world.reads("/v"), "two");
}
