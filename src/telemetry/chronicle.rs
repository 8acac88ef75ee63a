//! The latest events, kept for those who ask, and told to those who listen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// So many are kept, and so many may a listener be behind.
const KEPT: usize = 256;

/// An event as it was logged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    /// From 1; grows by 1 with every event.
    pub number: u64,
    /// The line that a log in text has, without its end.
    pub text: String,
    /// The object that a log in JSON has.
    pub event: serde_json::Value,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Chronicle(Arc<Inner>);

struct Inner {
    latest: Mutex<VecDeque<Arc<Told>>>,
    listeners: broadcast::Sender<Arc<Told>>,
}

/// That of this process.
pub fn chronicle() -> &'static Chronicle {
    static CHRONICLE: OnceLock<Chronicle> = OnceLock::new();
    CHRONICLE.get_or_init(Chronicle::new)
}

impl Chronicle {
    pub(super) fn new() -> Chronicle {
        Chronicle(Arc::new(Inner {
            latest: Mutex::default(),
            listeners: broadcast::Sender::new(KEPT),
        }))
    }

    pub(super) fn tell(&self, text: String, event: serde_json::Value) {
        let mut latest = self.0.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let number = latest
            .back()
            .map_or(1, |last| last.number.saturating_add(1));
        let told = Arc::new(Told {
            number,
            text,
            event,
        });
        if latest.len() >= KEPT {
            latest.pop_front();
        }
        latest.push_back(Arc::clone(&told));
        // An error means that nobody listens.
        let _ = self.0.listeners.send(told);
    }

    /// The latest, oldest first, and a listener that hears everything after them.
    pub fn listen(&self) -> (Vec<Arc<Told>>, broadcast::Receiver<Arc<Told>>) {
        let latest = self.0.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let listener = self.0.listeners.subscribe();
        (latest.iter().cloned().collect(), listener)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_and_a_listener_hears_what_follows_without_a_gap() {
        let chronicle = Chronicle::new();
        for number in 0..KEPT + 3 {
            chronicle.tell(number.to_string(), serde_json::Value::Null);
        }
        let (latest, mut listener) = chronicle.listen();
        assert_eq!(latest.len(), KEPT);
        assert_eq!(latest[0].text, "3");
        chronicle.tell("next".to_owned(), serde_json::Value::Null);
        let heard = listener.try_recv().unwrap();
        assert_eq!(heard.text, "next");
        assert_eq!(heard.number, latest[KEPT - 1].number + 1);
    }
}
