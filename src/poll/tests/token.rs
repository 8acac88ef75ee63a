//! Which token is sent, how often, and when a session is renewed.

use super::*;

#[test]
fn a_token_whose_answer_was_lost_is_sent_once_more_and_then_the_session_is_renewed() {
    for kind in [FaultKind::Lost, FaultKind::Throttled] {
        let mut session = settled();
        assert_eq!(sent(session.begin(at(60), 0.0)), "two");
        assert!(matches!(
            session.on(failed(kind), at(61), 1.0),
            Action::Rest
        ));
        assert!(session.earliest() > steady(61));
        assert_eq!(sent(session.begin(at(90), 0.0)), "two");
        assert!(matches!(
            session.on(failed(kind), at(91), 1.0),
            Action::Rest
        ));
        assert!(matches!(session.begin(at(120), 0.0), Action::Start));
    }
}

#[test]
fn a_token_that_never_left_is_not_spent() {
    let mut session = settled();
    for round in 1..50 {
        assert_eq!(sent(session.begin(at(round * 1000), 0.0)), "two");
        let refused = Event::Failed {
            kind: FaultKind::Lost,
            sent: false,
        };
        session.on(refused, at(round * 1000), 1.0);
        assert!(!session.saved().0.expect("a session").sent);
        assert!(session.earliest() <= steady(round * 1000 + 300));
    }
}

#[test]
fn a_refused_token_makes_a_new_session_at_once() {
    let mut session = settled();
    session.begin(at(60), 0.0);
    assert!(matches!(
        session.on(failed(FaultKind::TokenRefused), at(60), 0.0),
        Action::Start
    ));
    assert_eq!(
        sent(session.on(Event::Started(token("new")), at(60), 0.0)),
        "new"
    );
    assert!(
        !session.is_living(),
        "what a new session delivers was not deployed again"
    );
}

#[test]
fn sessions_that_are_refused_again_and_again_are_started_ever_more_rarely() {
    let mut session = settled();
    let (mut now, mut starts) = (60, 0);
    while now < 7200 {
        let mut action = session.begin(at(now), 0.5);
        loop {
            action = match action {
                Action::Rest => break,
                Action::Start => {
                    starts += 1;
                    session.on(Event::Started(token("new")), at(now), 0.5)
                }
                Action::Get(_) => session.on(failed(FaultKind::TokenRefused), at(now), 0.5),
            };
        }
        now += (session.earliest() - steady(now)).as_secs().max(1);
    }
    assert!((5..30).contains(&starts), "{starts}");
}

#[test]
fn a_session_that_never_gets_a_second_answer_is_not_started_each_interval() {
    let mut session = settled();
    let (mut now, mut starts) = (60, 0);
    while now < 7200 {
        let mut action = session.begin(at(now), 0.5);
        let mut fresh = false;
        loop {
            action = match action {
                Action::Rest => break,
                Action::Start => {
                    (starts, fresh) = (starts + 1, true);
                    session.on(Event::Started(token("new")), at(now), 0.5)
                }
                Action::Get(_) if fresh => session.on(answered("next", true), at(now), 0.5),
                Action::Get(_) => session.on(failed(FaultKind::TokenRefused), at(now), 0.5),
            };
        }
        now += session
            .earliest()
            .saturating_sub(steady(now))
            .as_secs()
            .max(1);
    }
    assert!((5..40).contains(&starts), "{starts}");
}

#[test]
fn a_token_older_than_a_day_is_not_sent() {
    for (age, sends) in [(86_400 - 61, true), (86_400 - 60, false), (86_400, false)] {
        let mut session = settled();
        match session.begin(at(age), 0.0) {
            Action::Get(_) => assert!(sends),
            Action::Start => assert!(!sends),
            Action::Rest => panic!("due"),
        }
    }
}

#[test]
fn a_call_that_was_cut_off_counts_as_sent() {
    let mut session = settled();
    assert_eq!(sent(session.begin(at(60), 0.0)), "two");
    assert!(session.saved().0.expect("a session").sent);
    assert!(session.earliest() > steady(60));
    assert_eq!(sent(session.begin(at(70), 0.0)), "two");
    assert!(session.saved().0.is_none(), "no third time");
    assert!(matches!(session.begin(at(80), 0.0), Action::Start));
    assert!(matches!(session.begin(at(90), 0.0), Action::Start));
}
