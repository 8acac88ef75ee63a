//! Failures that repeat: said in full once, then once an hour with how often, and how often when it is over.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tracing::Level;

use super::fields::Fields;

/// Between two lines about the same.
const REMINDER: Duration = Duration::from_secs(3600);
/// More failures than that are not told apart: they are all said.
const KNOWN: usize = 1024;
/// What a failure is about, and what tells one from another.
const ABOUT: [&str; 5] = ["profiles", "targets", "target_path", "services", "service"];
const WHY: [&str; 2] = ["reason", "result"];
/// Told again in any case: each has happened anew.
const ALWAYS: [&str; 4] = ["went_back", "going_back", "drifted", "refused"];

#[derive(Debug, Default)]
pub(super) struct Repeats(BTreeMap<String, Repeat>);

#[derive(Debug)]
struct Repeat {
    event: String,
    why: String,
    /// Since it was said last, and in all.
    unsaid: u64,
    count: u64,
    said: Duration,
}

impl Repeats {
    /// Whether this is to be said at its level; fields that sum up are added. `now`: the steady time.
    pub(super) fn judge(&mut self, level: Level, fields: &mut Fields, now: Duration) -> bool {
        let Some(event) = fields.event.clone() else {
            return true;
        };
        let about = joined(fields, &ABOUT);
        if level > Level::WARN {
            let over = self.0.remove(&about).filter(|repeat| repeat.count > 1);
            if let Some(repeat) = over {
                fields.set("after_failures", repeat.count.into());
            }
            return true;
        }
        if ALWAYS.contains(&event.as_str()) {
            return true;
        }
        let why = joined(fields, &WHY);
        let known = self.0.len();
        match self.0.get_mut(&about) {
            Some(repeat) if repeat.event == event && repeat.why == why => {
                repeat.count = repeat.count.saturating_add(1);
                repeat.unsaid = repeat.unsaid.saturating_add(1);
                if now.saturating_sub(repeat.said) < REMINDER {
                    return false;
                }
                fields.set("repeated", repeat.unsaid.into());
                repeat.unsaid = 0;
                repeat.said = now;
                true
            }
            None if known >= KNOWN => true,
            other => {
                let count = other.map_or(0, |repeat| repeat.count);
                let repeat = Repeat {
                    event,
                    why,
                    unsaid: 0,
                    count: count.saturating_add(1),
                    said: now,
                };
                self.0.insert(about, repeat);
                true
            }
        }
    }
}

fn joined(fields: &Fields, names: &[&str]) -> String {
    let named = fields.named.iter();
    let found = named.filter(|(name, _)| names.contains(name));
    let texts = found.map(|(name, value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    });
    texts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(event: &str, reason: &str) -> Fields {
        let mut fields = Fields::default();
        fields.set("event", event.into());
        fields.set("service", "app".into());
        fields.set("reason", reason.into());
        fields.set("retry_in_seconds", 3.into());
        fields
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_failure_is_said_once_and_once_an_hour_and_its_end_says_how_many_there_were() {
        let mut repeats = Repeats::default();
        let mut judge = |level, event, reason, at| {
            let mut fields = fields(event, reason);
            let said = repeats.judge(level, &mut fields, seconds(at));
            let sum = fields.named.iter().find_map(|(name, value)| {
                let sums = ["repeated", "after_failures"].contains(name);
                sums.then(|| format!("{name}={value}"))
            });
            (said, sum.unwrap_or_default())
        };
        let warn = Level::WARN;
        let nothing = String::new;
        assert_eq!(judge(warn, "service_failed", "no", 0), (true, nothing()));
        assert_eq!(judge(warn, "service_failed", "no", 1), (false, nothing()));
        assert_eq!(
            judge(warn, "service_failed", "no", 3_599),
            (false, nothing())
        );
        let reminder = "repeated=3".to_owned();
        assert_eq!(judge(warn, "service_failed", "no", 3_600), (true, reminder));
        assert_eq!(
            judge(warn, "service_failed", "other", 3_601),
            (true, nothing())
        );
        let over = "after_failures=5".to_owned();
        assert_eq!(
            judge(Level::INFO, "service_notified", "", 3_602),
            (true, over)
        );
        assert_eq!(
            judge(warn, "service_failed", "other", 3_603),
            (true, nothing())
        );
        for at in 0..3 {
            assert_eq!(
                judge(warn, "went_back", "no", 4_000 + at),
                (true, nothing())
            );
        }
    }

    #[test]
    fn memory_is_bounded_and_what_does_not_fit_is_said() {
        let mut repeats = Repeats::default();
        for number in 0..2 * KNOWN {
            let mut fields = fields("delayed", "no");
            fields.set("service", number.to_string().into());
            assert!(repeats.judge(Level::ERROR, &mut fields, seconds(1)));
        }
        assert_eq!(repeats.0.len(), KNOWN);
    }
}
