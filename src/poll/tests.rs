//! The session machine, by script and by generated sequences.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::session::{Action, Event, Session};
use crate::clock::Now;
use crate::ledger::{Poll, SavedSession, SavedToken};
use crate::source::{FaultKind, Token};

const START: i64 = 1_800_000_000;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn at(seconds: u64) -> Now {
    Now {
        wall: Timestamp::from_second(START + seconds as i64).expect("a time"),
        steady: Duration::from_secs(1_000 + seconds),
    }
}

fn steady(seconds: u64) -> Duration {
    at(seconds).steady
}

fn token(text: &str) -> Token {
    Token::new(text.into()).expect("a token")
}

fn answered(text: &str, delivered: bool) -> Event {
    Event::Answered {
        token: token(text),
        interval: MINUTE,
        delivered,
    }
}

fn failed(kind: FaultKind) -> Event {
    Event::Failed { kind, sent: true }
}

fn sent(action: Action) -> String {
    match action {
        Action::Get(token) => token.reveal().to_owned(),
        Action::Start => panic!("a session was started"),
        Action::Rest => panic!("nothing was sent"),
    }
}

fn new() -> Session {
    Session::new(MINUTE, None, None, at(0))
}

/// A session whose first answer came at second 0 with token `two`, and which is due at 60.
fn settled() -> Session {
    let mut session = new();
    assert!(matches!(session.begin(at(0), 0.0), Action::Start));
    assert_eq!(
        sent(session.on(Event::Started(token("one")), at(0), 0.0)),
        "one"
    );
    assert!(matches!(
        session.on(answered("two", true), at(0), 0.0),
        Action::Rest
    ));
    session
}

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

#[test]
fn ten_thousand_sessions_cost_little() {
    assert!(
        std::mem::size_of::<Session>() <= 256,
        "{}",
        std::mem::size_of::<Session>()
    );
}

/// What the generated service does with one call.
#[derive(Clone, Copy, Debug)]
enum Reaction {
    Good {
        delivers: bool,
    },
    Fault(FaultKind, bool),
    /// The call's future is dropped.
    Cut,
    /// The process ends after the call and begins again.
    Restart,
}

fn reaction() -> impl Strategy<Value = Reaction> {
    use FaultKind::*;
    prop_oneof![
        4 => any::<bool>().prop_map(|delivers| Reaction::Good { delivers }),
        2 => any::<bool>().prop_map(|sent| Reaction::Fault(Lost, sent)),
        1 => Just(Reaction::Fault(Throttled, true)),
        1 => Just(Reaction::Fault(TooEarly, true)),
        1 => Just(Reaction::Fault(TokenRefused, true)),
        1 => Just(Reaction::Fault(NotFound, true)),
        1 => Just(Reaction::Fault(Operator, true)),
        1 => Just(Reaction::Cut),
        1 => Just(Reaction::Restart),
    ]
}

/// Plays a service and a clock against a session and holds what is promised.
struct World {
    session: Session,
    now: Now,
    serial: u32,
    /// Per token: when it was issued, and how often it was sent without an answer that proves it unspent.
    tokens: BTreeMap<String, (Duration, u32)>,
    starts: u32,
    gets: u32,
    answers: u32,
}

impl World {
    fn new() -> World {
        World {
            session: new(),
            now: at(0),
            serial: 0,
            tokens: BTreeMap::new(),
            starts: 0,
            gets: 0,
            answers: 0,
        }
    }

    fn issue(&mut self) -> Token {
        self.serial += 1;
        let text = format!("token-{}", self.serial);
        self.tokens.insert(text.clone(), (self.now.steady, 0));
        token(&text)
    }

    fn pass(&mut self, time: Duration) {
        self.now.steady += time;
        self.now.wall += time;
    }

    /// One tick at its earliest time, or `delay` later. Each call draws the next reaction; good ones when all are used.
    fn tick(&mut self, delay: Duration, random: f64, script: &mut impl Iterator<Item = Reaction>) {
        self.pass(self.session.earliest().saturating_sub(self.now.steady) + delay);
        let mut action = self.session.begin(self.now, random);
        assert!(!matches!(action, Action::Rest), "what is due makes a call");
        let mut calls = 0;
        loop {
            calls += 1;
            assert!(calls <= 4, "at most one start and two gets");
            let sent = match &action {
                Action::Rest => return,
                Action::Start => {
                    self.starts += 1;
                    None
                }
                Action::Get(token) => {
                    self.gets += 1;
                    Some(token.reveal().to_owned())
                }
            };
            if let Some(text) = &sent {
                let (issued, open) = self.tokens.get_mut(text).expect("a token of this service");
                assert!(self.now.steady - *issued < DAY, "older than a day");
                *open += 1;
                assert!(*open <= 2, "sent a third time");
            }
            let reaction = script.next().unwrap_or(Reaction::Good { delivers: false });
            let event = match (reaction, &sent) {
                (Reaction::Good { .. }, None) => Event::Started(self.issue()),
                (Reaction::Good { delivers }, Some(_)) => {
                    self.answers += 1;
                    let token = self.issue();
                    Event::Answered {
                        token,
                        interval: MINUTE,
                        delivered: delivers,
                    }
                }
                (Reaction::Fault(FaultKind::TooEarly | FaultKind::TokenRefused, _), None) => {
                    Event::Failed {
                        kind: FaultKind::Operator,
                        sent: true,
                    }
                }
                (Reaction::Fault(kind, arrived), _) => {
                    let unspent = match kind {
                        FaultKind::Lost => !arrived,
                        FaultKind::TooEarly | FaultKind::NotFound | FaultKind::Operator => true,
                        FaultKind::Throttled | FaultKind::TokenRefused => false,
                    };
                    if let (true, Some(text)) = (unspent, &sent) {
                        self.tokens.get_mut(text).expect("known").1 -= 1;
                    }
                    Event::Failed {
                        kind,
                        sent: arrived,
                    }
                }
                (Reaction::Cut, _) => return,
                (Reaction::Restart, _) => {
                    let (saved, poll) = self.session.saved();
                    self.session = Session::new(MINUTE, saved, poll, self.now);
                    return;
                }
            };
            let before = self.now.steady;
            action = self.session.on(event, self.now, random);
            if matches!(action, Action::Rest) {
                let pause = self.session.earliest().saturating_sub(before);
                assert!(pause >= Duration::from_millis(500), "a pause of {pause:?}");
                assert!(pause <= Duration::from_secs(600), "a pause of {pause:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_sequence_of_events_breaks_the_rules_and_good_answers_end_them(
        script in prop::collection::vec(reaction(), 0..60),
        delays in prop::collection::vec(prop_oneof![5 => 0u64..10, 1 => 0u64..100_000], 1..20),
        random in 0.0f64..1.0,
    ) {
        let mut world = World::new();
        let mut delays = delays.into_iter().cycle();
        let mut script = script.into_iter().peekable();
        while script.peek().is_some() {
            let delay = Duration::from_secs(delays.next().unwrap_or_default());
            world.tick(delay, random, &mut script);
        }
        // From here on every call is answered well: at most one session more, and one call an interval.
        let (starts, gets) = (world.starts, world.gets);
        for _ in 0..10 {
            world.tick(Duration::ZERO, random, &mut std::iter::empty());
        }
        prop_assert!(world.starts <= starts + 1);
        prop_assert_eq!(world.gets, gets + 10);
        prop_assert_eq!(world.session.interval(), MINUTE);
    }

    #[test]
    fn without_faults_there_is_one_start_and_one_call_an_interval(
        ticks in 1u32..200,
        restarts in prop::collection::vec(any::<bool>(), 1..5),
    ) {
        let mut world = World::new();
        let mut restarts = restarts.into_iter().cycle();
        for _ in 0..ticks {
            world.tick(Duration::ZERO, 0.5, &mut std::iter::empty());
            if restarts.next() == Some(true) {
                let (saved, poll) = world.session.saved();
                world.session = Session::new(MINUTE, saved, poll, world.now);
            }
        }
        prop_assert_eq!((world.starts, world.gets, world.answers), (1, ticks, ticks));
        prop_assert_eq!(world.now.steady, at(0).steady + MINUTE * (ticks - 1));
    }

    #[test]
    fn faults_cost_only_themselves(
        faults in prop::collection::vec(
            prop::sample::select(vec![FaultKind::TooEarly, FaultKind::NotFound, FaultKind::Operator]), 0..20),
    ) {
        let mut world = World::new();
        world.tick(Duration::ZERO, 0.5, &mut std::iter::empty());
        let count = faults.len() as u32;
        let mut script = faults.into_iter().map(|kind| Reaction::Fault(kind, true)).peekable();
        while script.peek().is_some() {
            world.tick(Duration::ZERO, 0.5, &mut script);
        }
        world.tick(Duration::ZERO, 0.5, &mut std::iter::empty());
        prop_assert_eq!((world.starts, world.gets), (1, count + 2));
    }
}
