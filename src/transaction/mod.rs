//! Transactions: from changed profiles to files on disk and services that know of them, or back.
//!
//! `component` says what belongs to one queue, `planning` decides what would change, `machine` (pure) decides what happens
//! next (`forward`, `back`, `recovery`, `telling`), `task` does it.

mod back;
mod component;
mod forward;
mod machine;
mod plan;
mod planning;
mod recovery;
mod task;
mod telling;

pub use component::Component;
pub use machine::{Action, Event, LeftOut, Machine, Outcome, Step};
pub use plan::{FileChange, Plan, Scope};
pub use planning::{Bodies, Planner, one_line};
pub use task::Hands;
