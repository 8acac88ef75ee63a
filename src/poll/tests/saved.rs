//! What outlives a restart, and what it costs to keep.

use super::*;

#[test]
fn a_steady_clock_that_went_back_renews_the_session() {
    let mut session = settled();
    session.on(failed(FaultKind::Operator), at(0), 0.0);
    let saved = session.saved();
    // Another boot: the steady clock is lower, the wall clock tells the age.
    let now = Now {
        steady: Duration::from_secs(5),
        ..at(100)
    };
    let mut session = Session::new(MINUTE, saved.0.clone(), saved.1, now);
    assert_eq!(sent(session.begin(now, 0.0)), "two");
    // The wall clock is before the time of issue: nobody knows the token's age.
    let now = Now {
        wall: Timestamp::from_second(START - 10).expect("a time"),
        ..now
    };
    let mut session = Session::new(MINUTE, saved.0.clone(), saved.1, now);
    assert!(matches!(session.begin(now, 0.0), Action::Start));
    let now = Now {
        wall: at(86_400 * 400).wall,
        ..now
    };
    let mut session = Session::new(MINUTE, saved.0, saved.1, now);
    assert!(matches!(session.begin(now, 0.0), Action::Start));
}

#[test]
fn a_restart_goes_on_where_the_session_was() {
    let (saved, poll) = settled().saved();
    let mut session = Session::new(MINUTE, saved, poll, at(20));
    assert_eq!(session.earliest(), steady(60));
    assert!(session.is_living());
    assert_eq!(sent(session.begin(at(60), 0.0)), "two");
}

#[test]
fn a_recorded_time_in_the_future_counts_as_passed() {
    let (saved, _) = settled().saved();
    for (last, next) in [(100, 160), (-100, 100_000)] {
        let time = |by| Timestamp::from_second(START + by).expect("a time");
        let poll = Some(Poll {
            last: time(last),
            next: time(next),
        });
        let session = Session::new(MINUTE, saved.clone(), poll, at(20));
        assert_eq!(session.earliest(), Duration::ZERO);
    }
}

#[test]
fn a_saved_session_without_an_answer_may_be_polled_at_once_and_is_not_living() {
    let saved = SavedSession {
        token: SavedToken("fresh".into()),
        issued_at: at(0).wall,
        sent: false,
        interval: MINUTE,
        fresh: true,
    };
    let poll = Some(Poll {
        last: at(0).wall,
        next: at(60).wall,
    });
    let mut session = Session::new(MINUTE, Some(saved), poll, at(10));
    assert!(!session.is_living());
    assert_eq!(sent(session.begin(at(10), 0.0)), "fresh");
}

#[test]
fn ten_thousand_sessions_cost_little() {
    assert!(
        std::mem::size_of::<Session>() <= 256,
        "{}",
        std::mem::size_of::<Session>()
    );
}
