//! What a plan holds, with real files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::planning::Planner;
use super::super::{Component, Outcome, Pacing, Plan, Scope};
use super::world::{World, id, path, profile, service, target};
use crate::install::{Kept, Metadata, Placement, Site};
use crate::ledger::Installed;
use crate::settings::{OnDrift, OnFailure, Watch};

/// A plan of this scope, nothing being forced or barred.
fn plan(world: &World, scope: &Scope) -> Plan {
    Planner {
        component: &world.component,
        state: world.machine.state(),
        content: &world.content,
        installer: &world.installer,
        bodies: &world.bodies,
        scope,
        forced: &BTreeMap::new(),
        barred: &BTreeMap::new(),
        resumed: &BTreeMap::new(),
        turned_down: &BTreeMap::new(),
        pins: &BTreeMap::new(),
        pacing: &Pacing::Ignored,
        urgent: &Default::default(),
        now: world.now.wall,
    }
    .plan()
}

fn changed(plan: &Plan) -> BTreeSet<&str> {
    plan.changes
        .iter()
        .map(|change| change.target.as_str())
        .collect()
}

/// `/a` from p, `/ab` merged from p and q, `/b` from q, `/c` from r.
fn merged() -> World {
    let targets = vec![
        target("/a.json", &["p"], &["web"]),
        target("/ab.json", &["p", "q"], &["web"]),
        target("/b.json", &["q"], &["web"]),
        target("/c.json", &["r"], &["web"]),
    ];
    let web = service("web", OnFailure::Rollback);
    let mut world = World::new(&["p", "q", "r"], targets, vec![web]);
    for name in ["p", "q", "r"] {
        world.receive_quietly(name, r#"{"n": 1}"#);
    }
    world.event(super::super::Event::Wake(Scope::All));
    world.run();
    world
}

#[test]
fn only_the_profiles_that_feed_a_failing_target_drop_out() {
    let mut world = merged();
    world.receive_quietly("p", "[no object]");
    world.receive_quietly("q", r#"{"n": 2}"#);
    world.receive_quietly("r", r#"{"n": 2}"#);
    let plan = plan(&world, &Scope::All);
    assert_eq!(changed(&plan), BTreeSet::from(["/c.json"]));
    assert_eq!(plan.accepts.keys().cloned().collect::<Vec<_>>(), [id("r")]);
    assert!(plan.refused.contains_key(&id("p")));
    assert!(plan.refused[&id("q")].reason.contains("`/ab.json`"));
    assert!(plan.waiting.is_empty(), "all count with what is accepted");
}

#[test]
fn a_target_whose_required_profile_has_nothing_waits_and_its_other_profiles_go_on_elsewhere() {
    let targets = vec![
        target("/a.json", &["p"], &["web"]),
        target("/ab.json", &["p", "q"], &["web"]),
    ];
    let web = service("web", OnFailure::Rollback);
    let mut world = World::new(&["p", "q"], targets, vec![web]);
    world.deliver("p", r#"{"n": 1}"#);
    assert_eq!(world.reads("/ab.json"), "");
    assert!(world.machine.waiting()[&path("/ab.json")].contains("`q`"));
    assert!(world.reads("/a.json").contains("1"));
    world.deliver("q", r#"{"m": 1}"#);
    assert!(world.reads("/ab.json").contains("m"));
    assert!(world.machine.waiting().is_empty());
    world.hold_promises();
}

#[test]
fn an_optional_profile_is_waited_for_by_nobody() {
    let mut optional = profile("q");
    optional.required = false;
    let targets = vec![target("/ab.json", &["p", "q"], &["web"])];
    let web = service("web", OnFailure::Rollback);
    let mut world = World::of(vec![profile("p"), optional], targets, vec![web]);
    world.deliver("p", r#"{"n": 1}"#);
    assert!(world.reads("/ab.json").contains("n"));
    world.deliver("q", r#"{"m": 1}"#);
    assert!(world.reads("/ab.json").contains("m"));
    world.hold_promises();
}

#[test]
fn with_a_new_version_come_all_of_its_targets_and_their_new_versions() {
    let mut world = merged();
    world.receive_quietly("p", r#"{"n": 2}"#);
    world.receive_quietly("q", r#"{"m": 2}"#);
    world.receive_quietly("r", r#"{"n": 2}"#);
    let plan = plan(&world, &Scope::profile(id("p")));
    // q is new as well, and `/ab.json` shows it: so must `/b.json`. Nothing ties r to them.
    assert_eq!(
        changed(&plan),
        BTreeSet::from(["/a.json", "/ab.json", "/b.json"])
    );
    let accepts: Vec<_> = plan.accepts.keys().cloned().collect();
    assert_eq!(accepts, [id("p"), id("q")]);
}

#[test]
fn a_file_that_is_not_ours_goes_to_history_before_it_is_replaced() {
    let mut world = merged();
    std::fs::remove_file(world.file("/c.json")).unwrap();
    std::fs::copy(world.file("/ab.json"), world.file("/other")).unwrap();
    let foreign = std::fs::OpenOptions::new()
        .append(true)
        .open(world.file("/other"));
    std::io::Write::write_all(&mut foreign.unwrap(), b"mine").unwrap();
    rustix::fs::rename(world.file("/other"), world.file("/c.json")).unwrap();
    let plan = plan(&world, &Scope::All);
    let change = &plan.changes[0];
    assert_eq!(changed(&plan), BTreeSet::from(["/c.json"]));
    assert!(change.foreign.as_ref().unwrap().bytes.ends_with(b"mine"));
    assert!(
        !format!("{plan:?}").contains("mine"),
        "bytes are never shown"
    );
    world.event(super::super::Event::Wake(Scope::All));
    world.run();
    assert_eq!(world.ledger.found_files.len(), 1);
    world.hold_promises();
}

#[test]
fn what_an_interrupted_transaction_changed_is_a_change_even_if_it_is_right() {
    let world = merged();
    let begun = Placement {
        target: path("/c.json"),
        site: Site::default(),
        staged: "new".to_owned(),
        kept: Kept::Absent,
        digest: world.disk(&path("/c.json")).unwrap(),
        metadata: Metadata {
            uid: 0,
            gid: 0,
            mode: 0o644,
            attributes: crate::install::Attributes::default(),
        },
    };
    let forced = BTreeMap::from([(path("/c.json"), begun)]);
    let plan = Planner {
        component: &world.component,
        state: world.machine.state(),
        content: &world.content,
        installer: &world.installer,
        bodies: &world.bodies,
        scope: &Scope::nothing(),
        forced: &forced,
        barred: &BTreeMap::new(),
        resumed: &BTreeMap::new(),
        turned_down: &BTreeMap::new(),
        pins: &BTreeMap::new(),
        pacing: &Pacing::Ignored,
        urgent: &Default::default(),
        now: world.now.wall,
    }
    .plan();
    assert_eq!(changed(&plan), BTreeSet::from(["/c.json"]));
    assert!(plan.changes[0].foreign.is_none());
}

#[test]
fn a_barred_target_holds_back_its_profiles_and_nothing_else() {
    let mut world = merged();
    for name in ["p", "q", "r"] {
        world.receive_quietly(name, r#"{"n": 2}"#);
    }
    let barred = BTreeMap::from([(path("/a.json"), "no space".to_owned())]);
    let plan = Planner {
        component: &world.component,
        state: world.machine.state(),
        content: &world.content,
        installer: &world.installer,
        bodies: &world.bodies,
        scope: &Scope::All,
        forced: &BTreeMap::new(),
        barred: &barred,
        resumed: &BTreeMap::new(),
        turned_down: &BTreeMap::new(),
        pins: &BTreeMap::new(),
        pacing: &Pacing::Ignored,
        urgent: &Default::default(),
        now: world.now.wall,
    }
    .plan();
    assert!(plan.delayed[&id("p")].contains("no space"));
    assert_eq!(plan.delayed.len(), 1);
    let accepts: Vec<_> = plan.accepts.keys().cloned().collect();
    assert_eq!(accepts, [id("q"), id("r")]);
    assert!(plan.hindered.is_empty(), "its next time is set already");
    assert!(plan.waiting.contains_key(&path("/a.json")));
}

#[test]
fn right_bytes_that_the_ledger_does_not_know_are_taken_over_and_told() {
    let mut world = merged();
    let known: Installed = world.ledger.installed[&path("/c.json")].clone();
    let forget = crate::ledger::Change::Installed {
        target: path("/c.json"),
        installed: None,
    };
    world.ledger.apply(&forget);
    world.machine.apply(&[forget]);
    let plan = plan(&world, &Scope::All);
    assert!(plan.changes.is_empty());
    assert_eq!(plan.adopted[&path("/c.json")].digest, known.digest);
    world.event(super::super::Event::Wake(Scope::All));
    world.run();
    world.hold_promises();
}

#[test]
fn a_condemned_outcome_is_known_also_when_half_of_it_lies_there_already() {
    let mut world = merged();
    world.says("web", super::super::Step::Notify, &[super::world::no()]);
    world.receive_quietly("p", r#"{"n": 2}"#);
    world.receive_quietly("r", r#"{"n": 2}"#);
    world.event(super::super::Event::Wake(Scope::All));
    world.run();
    assert_eq!(world.ledger.quarantine.len(), 1);
    // Together they failed; with another p this r is another outcome, and may stand.
    world.deliver("p", r#"{"n": 3}"#);
    assert!(world.reads("/c.json").contains("2"));
    // With the old p again it would be the condemned one.
    let swaps = world.count("swap");
    world.deliver("p", r#"{"n": 2}"#);
    assert_eq!(world.count("swap"), swaps);
    assert!(world.reads("/a.json").contains("3"));
    world.hold_promises();
}

/// One installed target under this setting.
fn drifting(on_drift: OnDrift) -> World {
    drifting_with(on_drift, None)
}

fn drifting_with(on_drift: OnDrift, mode: Option<u32>) -> World {
    let mut file = target("/a.json", &["p"], &["web"]);
    file.mode = mode;
    file.on_drift = on_drift;
    let web = service("web", OnFailure::Rollback);
    let mut world = World::new(&["p"], vec![file], vec![web]);
    world.deliver("p", r#"{"n": 1}"#);
    world
}

fn only_this() -> Scope {
    Scope::Some {
        profiles: BTreeSet::new(),
        targets: BTreeSet::from([path("/a.json")]),
    }
}

#[test]
fn drift_is_put_back_reported_or_ignored_as_the_settings_say() {
    for (on_drift, changed_is_left, missing_is_left) in [
        (OnDrift::Restore, false, false),
        (OnDrift::Report, true, false),
        (OnDrift::Ignore, true, true),
    ] {
        let mut world = drifting(on_drift);
        let file = world.directory.path().join("a.json");
        std::fs::write(&file, "by hand").unwrap();
        let changed_plan = plan(&world, &only_this());
        assert_eq!(changed_plan.changes.is_empty(), changed_is_left);
        assert_eq!(changed_plan.drifted[&path("/a.json")].left, changed_is_left);
        std::fs::remove_file(&file).unwrap();
        let missing_plan = plan(&world, &only_this());
        assert_eq!(missing_plan.changes.is_empty(), missing_is_left);
        // At start nothing may be missing, or a tmpfs would stay empty.
        assert_eq!(changed(&plan(&world, &Scope::All)).len(), 1);
        // A new version goes over everything, and keeps what it finds.
        std::fs::write(&file, "by hand").unwrap();
        world.receive_quietly("p", r#"{"n": 2}"#);
        let newer = plan(&world, &only_this());
        assert!(newer.changes[0].foreign.is_some());
        assert!(!newer.drifted[&path("/a.json")].left);
    }
}

#[test]
fn a_declared_mode_is_repaired_and_another_is_that_of_the_file_unless_the_bytes_have_gone_too() {
    use std::os::unix::fs::PermissionsExt;
    for (on_drift, declared, repairs, adopts) in [
        (OnDrift::Restore, Some(0o644), 1, 0),
        (OnDrift::Report, Some(0o644), 0, 0),
        (OnDrift::Ignore, Some(0o644), 0, 0),
        (OnDrift::Restore, None, 0, 1),
        (OnDrift::Report, None, 0, 1),
    ] {
        let mut world = drifting_with(on_drift, declared);
        let file = world.directory.path().join("a.json");
        let found = || std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&file, found()).unwrap();
        let repaired = plan(&world, &only_this());
        let counts = (repaired.repairs.len(), repaired.adopted.len());
        assert_eq!(counts, (repairs, adopts), "{on_drift:?} {declared:?}");
        assert!(repaired.changes.is_empty());
        // Nobody's mode but the one that was installed is put back with the bytes.
        std::fs::write(&file, "by hand").unwrap();
        let plan_of_both = plan(&world, &only_this());
        let put_back = plan_of_both.changes.iter().map(|one| one.metadata.mode);
        assert!(put_back.into_iter().all(|mode| mode == 0o644));
        std::fs::remove_file(&file).unwrap();
        let missing = plan(&world, &Scope::All);
        assert_eq!(missing.changes[0].metadata.mode, 0o644);
        // A new version keeps the mode of the file that is there.
        std::fs::write(&file, "by hand").unwrap();
        std::fs::set_permissions(&file, found()).unwrap();
        world.receive_quietly("p", r#"{"n": 2}"#);
        let newer = plan(&world, &only_this()).changes[0].metadata.mode;
        assert_eq!(newer, declared.unwrap_or(0o600));
    }
}

#[test]
fn under_report_what_nobody_declared_may_change_too_and_nothing_is_repaired() {
    use std::os::unix::fs::PermissionsExt;
    let world = drifting_with(OnDrift::Report, Some(0o644));
    let file = world.directory.path().join("a.json");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&file, "user.note", b"theirs", flags).unwrap();
    let plan = plan(&world, &only_this());
    assert!(plan.repairs.is_empty() && plan.changes.is_empty());
    assert!(plan.drifted[&path("/a.json")].left);
}

#[test]
fn drift_that_is_left_alone_is_said_once_and_again_when_it_is_another() {
    let mut world = drifting(OnDrift::Report);
    let file = world.directory.path().join("a.json");
    let told = world.told.clone();
    world.said.clear();
    for (text, times) in [("one", 1), ("one", 1), ("two", 2)] {
        std::fs::write(&file, text).unwrap();
        world.event(super::super::Event::Wake(only_this()));
        world.run();
        let drifted = |outcome: &&Outcome| matches!(outcome, Outcome::Drifted { .. });
        assert_eq!(world.said.iter().filter(drifted).count(), times);
    }
    assert_eq!(world.told, told);
}

#[test]
fn a_target_that_could_not_be_put_back_is_tried_at_once_when_it_has_changed() {
    let mut world = drifting(OnDrift::Restore);
    let file = world.directory.path().join("a.json");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("elsewhere", &file).unwrap();
    world.event(super::super::Event::Wake(only_this()));
    world.run();
    assert!(world.machine.waiting()[&path("/a.json")].contains("symbolic link"));
    std::fs::remove_file(&file).unwrap();
    world.event(super::super::Event::Wake(only_this()));
    world.run();
    assert_eq!(world.reads("/a.json"), "", "its pause is not over");
    let now = world.now;
    world
        .machine
        .try_again(&BTreeSet::from([path("/a.json")]), now);
    world.event(super::super::Event::Tick);
    world.run();
    assert_eq!(world.reads("/a.json"), r#"{"n": 1}"#);
    assert!(world.machine.waiting().is_empty());
}

#[test]
fn work_is_the_same_only_while_every_declaration_is() {
    let world = World::new(
        &["p"],
        vec![target("/t", &["p"], &["web"])],
        vec![service("web", OnFailure::Rollback)],
    );
    let work = &*world.component;
    let watch = Watch {
        name: "w".into(),
        paths: Vec::new(),
        notify: vec!["web".into()],
    };
    let other = |change: &dyn Fn(&mut Component)| {
        let mut other = work.clone();
        change(&mut other);
        !work.is_same_work(&other)
    };
    assert!(!other(&|other| other.intents = [7].into()));
    assert!(other(&|other| other.profiles.clear()));
    assert!(other(&|other| other.targets.clear()));
    assert!(other(&|other| other.services.clear()));
    assert!(other(&|other| {
        other.watches.insert("w".into(), Arc::new(watch.clone()));
    }));
}
