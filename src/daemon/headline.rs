//! How everything stands, in one line.

use crate::words::count;

use super::status::{Status, word};

/// One line for `systemctl status`. A reason may quote a program: a line feed of its would begin a message of ours.
pub fn line(status: &Status) -> String {
    let state = word(&status.state);
    let mut troubles = status
        .profiles
        .iter()
        .filter_map(|(name, profile)| Some(format!("{name}: {}", profile.reason.as_deref()?)));
    let counts = format!(
        "{state}: {}, {}, {}",
        count(status.profiles.len(), "profile"),
        count(status.targets.len(), "target"),
        count(status.services.len(), "service")
    );
    let line = match troubles.next() {
        Some(first) => format!("{counts}; {first}"),
        None => counts,
    };
    line.replace(char::is_control, " ")
}
