//! Lengths of time as people say them: one number, one unit.

use jiff::Timestamp;

const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];

/// How long ago that was: `42 s`, `5 min`, `3 h`, `12 d`. What lies in the future was just now: clocks are set.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    span(now.as_second().saturating_sub(then.as_second()))
}

/// When that will be: `in 42 s`; `now` where it has come.
pub fn until(then: Timestamp, now: Timestamp) -> String {
    match then.as_second().saturating_sub(now.as_second()) {
        seconds if seconds > 0 => format!("in {}", span(seconds)),
        _ => "now".to_owned(),
    }
}

fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    // A unit is too coarse before there are two of it.
    let unit = UNITS.iter().find(|(length, _)| seconds >= 2 * length);
    let (length, name) = unit.copied().unwrap_or((1, "s"));
    format!("{} {name}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn a_length_of_time_is_one_number_and_one_unit() {
        for (seconds, said) in [
            (-5, "0 s"),
            (0, "0 s"),
            (1, "1 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (7_200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 d"),
            (400 * 86_400, "400 d"),
        ] {
            assert_eq!(age(at(0), at(seconds)), said);
        }
        assert_eq!(until(at(61), at(0)), "in 61 s");
        assert_eq!(until(at(0), at(0)), "now");
        assert_eq!(until(at(0), at(5)), "now");
    }
}
