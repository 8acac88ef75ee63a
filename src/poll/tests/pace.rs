//! When the next call may be made.

use super::*;

#[test]
fn a_session_is_started_once_and_its_first_call_is_immediate() {
    let mut session = settled();
    assert_eq!(session.earliest(), steady(60));
    assert_eq!(sent(session.begin(at(60), 0.0)), "two");
    session.on(answered("three", false), at(60), 0.0);
    assert_eq!(sent(session.begin(at(120), 0.0)), "three");
}

#[test]
fn nothing_is_sent_before_its_time() {
    let mut session = settled();
    assert!(matches!(session.begin(at(59), 0.0), Action::Rest));
    assert_eq!(session.earliest(), steady(60));
}

#[test]
fn backoff_grows_to_five_minutes() {
    let mut session = settled();
    let mut pauses = Vec::new();
    for round in 1..12 {
        session.begin(at(round * 1000), 0.0);
        let lost = Event::Failed {
            kind: FaultKind::Lost,
            sent: false,
        };
        session.on(lost, at(round * 1000), 1.0);
        pauses.push((session.earliest() - steady(round * 1000)).as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
}

#[test]
fn too_early_waits_for_the_rest_of_the_interval_with_the_same_token() {
    let mut session = settled();
    assert_eq!(sent(session.begin(at(60), 0.0)), "two");
    session.on(failed(FaultKind::Lost), at(60), 1.0);
    assert_eq!(sent(session.begin(at(61), 0.0)), "two");
    session.on(failed(FaultKind::TooEarly), at(61), 1.0);
    // The lost call at 60 may have been processed: the interval runs from there.
    assert_eq!(session.earliest(), steady(120));
    assert!(session.saved().0.expect("the token stays").sent);
    assert_eq!(sent(session.begin(at(120), 0.0)), "two");
}

#[test]
fn too_early_answers_wait_longer_each_time_but_no_longer_than_the_interval() {
    let mut session = settled();
    let mut now = 60;
    for _ in 0..20 {
        assert_eq!(sent(session.begin(at(now), 0.0)), "two");
        session.on(failed(FaultKind::TooEarly), at(now), 1.0);
        let pause = (session.earliest() - steady(now)).as_secs();
        assert!((1..=60).contains(&pause), "{pause}");
        now += pause;
    }
}

#[test]
fn what_the_operator_has_to_repair_is_asked_again_at_the_interval_with_the_same_token() {
    for kind in [FaultKind::NotFound, FaultKind::Operator] {
        let mut session = settled();
        for round in 1..10 {
            assert_eq!(sent(session.begin(at(round * 60), 0.0)), "two");
            session.on(failed(kind), at(round * 60), 0.0);
            assert_eq!(session.earliest(), steady(round * 60 + 60));
        }
        assert!(!session.saved().0.expect("the session stays").sent);
    }
}

#[test]
fn what_never_reached_the_service_is_tried_again_within_minutes() {
    let hours = Duration::from_secs(6 * 3600);
    let mut session = Session::new(hours, None, None, at(0));
    session.begin(at(0), 0.0);
    let unsent = Event::Failed {
        kind: FaultKind::Operator,
        sent: false,
    };
    session.on(unsent, at(0), 0.0);
    assert_eq!(session.earliest(), steady(300));
}

#[test]
fn the_answered_interval_counts_but_not_below_the_bound() {
    for (asked, interval, kept) in [
        (60, 90, 90),
        (60, 20, 20),
        (60, 1, 15),
        (2, 1, 2),
        (0, 1, 15),
        (60, 1_000_000, 86_400),
    ] {
        let mut session = Session::new(Duration::from_secs(asked), None, None, at(0));
        session.begin(at(0), 0.0);
        session.on(Event::Started(token("one")), at(0), 0.0);
        let interval = Duration::from_secs(interval);
        session.on(
            Event::Answered {
                token: token("two"),
                interval,
                delivered: true,
            },
            at(0),
            0.0,
        );
        assert_eq!(session.interval(), Duration::from_secs(kept));
        assert_eq!(session.earliest(), steady(kept));
    }
}
