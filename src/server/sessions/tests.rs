use proptest::prelude::*;

use super::*;
use crate::server::token::Token;

const MINUTE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Now {
    let wall = Timestamp::from_second(1_800_000_000 + i64::try_from(seconds).unwrap()).unwrap();
    Now {
        wall,
        steady: Duration::from_secs(seconds),
    }
}

fn token() -> TokenKey {
    Token::random().unwrap().key()
}

fn version(revision: u64) -> (u64, Digest) {
    (revision, Digest::of(&revision.to_be_bytes()))
}

fn profile() -> ProfileId {
    ProfileId {
        application: "a".into(),
        environment: "e".into(),
        profile: "p".into(),
    }
}

fn started(reuse: TokenReuse) -> (Sessions, TokenKey) {
    let mut sessions = Sessions::new(reuse);
    let initial = token();
    sessions.start(profile(), MINUTE, initial, at(1_000));
    (sessions, initial)
}

#[test]
fn the_first_poll_may_come_at_once_and_brings_the_configuration() {
    let (mut sessions, initial) = started(TokenReuse::Reject);
    let polled = sessions.poll(initial, token(), version(1), at(1_000));
    assert_eq!(
        polled,
        Ok(Polled {
            changed: true,
            interval: MINUTE
        })
    );
}

#[test]
fn an_unchanged_configuration_is_not_delivered_again() {
    let (mut sessions, first) = started(TokenReuse::Reject);
    let (second, third) = (token(), token());
    sessions.poll(first, second, version(1), at(1_000)).unwrap();
    assert!(
        !sessions
            .poll(second, third, version(1), at(1_060))
            .unwrap()
            .changed
    );
    assert!(
        sessions
            .poll(third, token(), version(2), at(1_120))
            .unwrap()
            .changed
    );
}

#[test]
fn a_used_up_token_is_corrupted() {
    let (mut sessions, first) = started(TokenReuse::Reject);
    sessions
        .poll(first, token(), version(1), at(1_000))
        .unwrap();
    assert_eq!(
        sessions.poll(first, token(), version(1), at(1_100)),
        Err(Problem::Corrupted)
    );
    assert_eq!(sessions.profile_of(first), Some(&profile()));
}

#[test]
fn a_token_may_be_used_again_where_that_is_accepted_and_brings_the_same_again() {
    let (mut sessions, first) = started(TokenReuse::Accept);
    sessions
        .poll(first, token(), version(1), at(1_000))
        .unwrap();
    assert!(
        sessions
            .poll(first, token(), version(1), at(1_001))
            .unwrap()
            .changed
    );
}

#[test]
fn an_early_poll_does_not_spend_the_token() {
    let (mut sessions, first) = started(TokenReuse::Reject);
    let second = token();
    sessions.poll(first, second, version(1), at(1_000)).unwrap();
    let early = sessions.poll(second, token(), version(1), at(1_059));
    assert_eq!(early, Err(Problem::PollIntervalNotSatisfied));
    assert!(
        sessions
            .poll(second, token(), version(1), at(1_060))
            .is_ok()
    );
}

#[test]
fn a_token_lives_24_hours_and_then_is_expired_for_a_week() {
    let (mut sessions, first) = started(TokenReuse::Reject);
    let day = 24 * 60 * 60;
    assert_eq!(sessions.examine(first, at(1_000 + day)), Ok(()));
    assert_eq!(
        sessions.examine(first, at(1_000 + day + 1)),
        Err(Problem::Expired)
    );
    sessions.sweep(at(1_000 + 7 * day));
    assert_eq!(
        sessions.examine(first, at(1_000 + 7 * day)),
        Err(Problem::Expired)
    );
    sessions.sweep(at(1_001 + 8 * day));
    assert_eq!(sessions.examine(first, at(1_000)), Err(Problem::Corrupted));
    assert!(sessions.by_token.is_empty());
}

#[test]
fn an_unknown_token_is_corrupted() {
    let (mut sessions, _) = started(TokenReuse::Reject);
    assert_eq!(
        sessions.poll(token(), token(), version(1), at(1_000)),
        Err(Problem::Corrupted)
    );
}

#[test]
fn used_up_tokens_take_no_memory() {
    let (mut sessions, mut current) = started(TokenReuse::Reject);
    for minute in 0..100 {
        let next = token();
        sessions
            .poll(current, next, version(1), at(1_000 + 60 * minute))
            .unwrap();
        current = next;
    }
    assert_eq!(sessions.by_token.len(), USED_UP_KEPT + 1);
}

#[derive(Clone, Debug)]
enum Step {
    Poll,
    PollUsedUp,
    Wait(u64),
    Deploy,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Poll),
        1 => Just(Step::PollUsedUp),
        2 => (0_u64..120).prop_map(Step::Wait),
        1 => Just(Step::Deploy),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn every_session_gets_every_change_once_and_never_sooner_than_the_interval(steps in steps()) {
        let (mut sessions, mut current) = started(TokenReuse::Reject);
        let (mut now, mut revision) = (1_000, 1);
        let (mut held, mut last_poll, mut used_up) = (None, None, None);
        for step in steps {
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::Deploy => revision += 1,
                Step::PollUsedUp => if let Some(used_up) = used_up {
                    prop_assert_eq!(sessions.poll(used_up, token(), version(revision), at(now)), Err(Problem::Corrupted));
                },
                Step::Poll => {
                    let next = token();
                    let early = last_poll.is_some_and(|last| now < last + 60);
                    match sessions.poll(current, next, version(revision), at(now)) {
                        Ok(polled) => {
                            prop_assert!(!early);
                            prop_assert_eq!(polled.changed, held != Some(revision));
                            held = Some(revision);
                            last_poll = Some(now);
                            used_up = Some(current);
                            current = next;
                        }
                        Err(problem) => {
                            prop_assert_eq!(problem, Problem::PollIntervalNotSatisfied);
                            prop_assert!(early);
                        }
                    }
                }
            }
        }
    }
}
