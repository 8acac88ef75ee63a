//! The session machine, by script and by generated sequences.

mod any;
mod pace;
mod saved;
mod token;

use std::time::Duration;

use jiff::Timestamp;

use super::session::{Action, Event, Session};
use crate::clock::Now;
use crate::ledger::{Poll, SavedSession, SavedToken};
use crate::source::{FaultKind, Token};

const START: i64 = 1_800_000_000;
const MINUTE: Duration = Duration::from_secs(60);

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
    Token::new(text).expect("a token")
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
        Action::Get(token) => token.reveal().to_string(),
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
