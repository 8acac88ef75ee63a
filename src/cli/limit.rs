//! A time limit among the arguments.

use std::time::Duration;

use crate::settings::parse_duration;

/// A duration that has some length. Else, in words, what to write.
pub(super) fn limit(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("that is no time at all: write `30s` or `2m`".into()),
        limit => Ok(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_a_unit_and_is_not_zero() {
        assert_eq!(limit("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(limit("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "0s", "-3s", "30", "soon"] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }
}
