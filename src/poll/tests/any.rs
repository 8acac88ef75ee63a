//! Any sequence of reactions of a service, held against the promises.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

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
                    Some(token.reveal().to_string())
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
