//! Faults on demand: which one meets a call. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::names::ProfileId;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 429 ThrottlingException; the call is not carried out.
    Throttle,
    /// 500 InternalServerException; the call is not carried out.
    InternalError,
    /// The connection is cut; the call is not carried out.
    DropBefore,
    /// The call is carried out, then the connection is cut without an answer.
    DropAfter,
    /// The call is carried out `delay_ms` later; not at all if the client has gone by then.
    Delay,
    /// The first `bytes` of the body under the whole body's Content-Length, then the connection is cut.
    /// Meets good answers that have a body, no others.
    Truncate,
}

/// Which calls a fault meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Start,
    Get,
    #[default]
    Any,
}

/// One line of `PUT /_local/faults`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: Kind,
    #[serde(default)]
    pub operation: Operation,
    /// `APP/ENV/PROFILE`; absent: all, calls with an unknown token among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Calls that are still to be met; absent: until the list is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meeting {
    pub delay: Duration,
    pub outcome: Outcome,
}

/// What happens to one call after its delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    #[default]
    Answered,
    Throttled,
    Failed,
    DroppedBefore,
    DroppedAfter,
    /// To be asked for again with [`Faults::truncate`] when the answer is known.
    Truncated,
}

/// The list in force.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn replace(&mut self, faults: Vec<Fault>) {
        self.0 = faults;
        self.0.retain(|fault| fault.count != Some(0));
    }

    pub fn left(&self) -> &[Fault] {
        &self.0
    }

    /// Every `delay` that meets the call adds up; of the others the first in the list decides.
    pub fn meet(&mut self, operation: Operation, profile: Option<&ProfileId>) -> Meeting {
        let mut meeting = Meeting::default();
        let mut decided = false;
        for fault in &mut self.0 {
            if !fault.meets(operation, profile) {
                continue;
            }
            if fault.kind == Kind::Delay {
                let delay = Duration::from_millis(fault.delay_ms.unwrap_or_default());
                meeting.delay = meeting.delay.saturating_add(delay);
                fault.use_up();
            } else if !decided {
                decided = true;
                meeting.outcome = fault.outcome();
                if meeting.outcome != Outcome::Truncated {
                    fault.use_up();
                }
            }
        }
        self.0.retain(|fault| fault.count != Some(0));
        meeting
    }

    /// How many of a body's bytes are sent: fewer than there are. `None`: all, the fault has been used up meanwhile.
    pub fn truncate(
        &mut self,
        operation: Operation,
        profile: Option<&ProfileId>,
        length: usize,
    ) -> Option<usize> {
        let fault = self
            .0
            .iter_mut()
            .find(|fault| fault.kind == Kind::Truncate && fault.meets(operation, profile))?;
        fault.use_up();
        let sent = fault
            .bytes
            .unwrap_or_default()
            .min(length.saturating_sub(1));
        self.0.retain(|fault| fault.count != Some(0));
        Some(sent)
    }
}

impl Fault {
    fn meets(&self, operation: Operation, profile: Option<&ProfileId>) -> bool {
        let operation_fits = self.operation == Operation::Any || self.operation == operation;
        let profile_fits = match (&self.profile, profile) {
            (None, _) => true,
            (Some(wanted), Some(profile)) => *wanted == profile.to_string(),
            (Some(_), None) => false,
        };
        operation_fits && profile_fits && self.count != Some(0)
    }

    fn use_up(&mut self) {
        if let Some(count) = &mut self.count {
            *count = count.saturating_sub(1);
        }
    }

    fn outcome(&self) -> Outcome {
        match self.kind {
            Kind::Throttle => Outcome::Throttled,
            Kind::InternalError => Outcome::Failed,
            Kind::DropBefore => Outcome::DroppedBefore,
            Kind::DropAfter => Outcome::DroppedAfter,
            Kind::Delay => Outcome::Answered,
            Kind::Truncate => Outcome::Truncated,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn faults(list: &str) -> Faults {
        let mut faults = Faults::default();
        faults.replace(serde_json::from_str(list).unwrap());
        faults
    }

    fn profile(name: &str) -> ProfileId {
        ProfileId {
            application: "a".into(),
            environment: "e".into(),
            profile: name.into(),
        }
    }

    #[test]
    fn a_fault_with_a_count_meets_that_many_calls() {
        let mut faults = faults(r#"[{"kind": "throttle", "count": 2}]"#);
        let outcomes = [(); 3].map(|()| faults.meet(Operation::Get, None).outcome);
        assert_eq!(
            outcomes,
            [Outcome::Throttled, Outcome::Throttled, Outcome::Answered]
        );
        assert!(faults.left().is_empty());
    }

    #[test]
    fn a_fault_without_a_count_stays() {
        let mut faults = faults(r#"[{"kind": "drop_after", "operation": "get"}]"#);
        for _ in 0..10 {
            assert_eq!(
                faults.meet(Operation::Get, None).outcome,
                Outcome::DroppedAfter
            );
            assert_eq!(
                faults.meet(Operation::Start, None).outcome,
                Outcome::Answered
            );
        }
    }

    #[test]
    fn a_fault_of_one_profile_meets_no_other() {
        let mut faults = faults(r#"[{"kind": "internal_error", "profile": "a/e/p"}]"#);
        assert_eq!(
            faults.meet(Operation::Get, Some(&profile("p"))).outcome,
            Outcome::Failed
        );
        assert_eq!(
            faults.meet(Operation::Get, Some(&profile("q"))).outcome,
            Outcome::Answered
        );
        assert_eq!(faults.meet(Operation::Get, None).outcome, Outcome::Answered);
    }

    #[test]
    fn delays_add_up_and_the_first_other_fault_decides() {
        let mut faults = faults(
            r#"[{"kind": "delay", "delay_ms": 100}, {"kind": "throttle"}, {"kind": "drop_before", "count": 1}, {"kind": "delay", "delay_ms": 50}]"#,
        );
        let meeting = faults.meet(Operation::Get, None);
        assert_eq!(
            meeting,
            Meeting {
                delay: Duration::from_millis(150),
                outcome: Outcome::Throttled
            }
        );
        assert_eq!(faults.left().len(), 4);
    }

    #[test]
    fn a_truncation_waits_for_an_answer_that_has_a_body() {
        let mut faults = faults(r#"[{"kind": "truncate", "bytes": 100, "count": 1}]"#);
        assert_eq!(
            faults.meet(Operation::Get, None).outcome,
            Outcome::Truncated
        );
        assert_eq!(faults.left().len(), 1);
        assert_eq!(faults.truncate(Operation::Get, None, 50), Some(49));
        assert_eq!(faults.truncate(Operation::Get, None, 50), None);
    }

    #[test]
    fn an_unknown_kind_or_member_is_an_error() {
        assert!(serde_json::from_str::<Fault>(r#"{"kind": "explode"}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"kind": "delay", "delay": 5}"#).is_err());
    }

    proptest! {
        #[test]
        fn as_many_calls_are_met_as_the_counts_say(counts in proptest::collection::vec(0_u64..5, 0..6)) {
            let mut faults = Faults::default();
            let fault = |count| Fault {
                kind: Kind::Throttle, operation: Operation::Any, profile: None, count: Some(count), delay_ms: None, bytes: None,
            };
            faults.replace(counts.iter().copied().map(fault).collect());
            let met = (0..40).filter(|_| faults.meet(Operation::Start, None).outcome == Outcome::Throttled).count();
            prop_assert_eq!(met as u64, counts.iter().sum::<u64>());
            prop_assert!(faults.left().is_empty());
        }
    }
}
