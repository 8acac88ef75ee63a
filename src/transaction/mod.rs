//! Transactions: from changed profiles to files on disk and services that know of them, or back.
//!
//! `component` says what belongs to one queue, `planning` decides what would change, `machine` (pure) decides what happens
//! next (`drafting`, `opening`, `forward`, `closing`, `back`, `recovery`, `telling`; `orders` are the
//! operator's), `task` does it.

mod action;
mod back;
mod breaking;
mod closing;
mod hearing;
mod candidates;
mod component;
mod drafting;
mod drift;
mod forward;
mod holds;
mod machine;
mod making;
mod opening;
mod orders;
mod pace;
mod pauses;
mod phase;
mod plan;
mod planning;
mod recording;
mod recovery;
mod retries;
mod staged;
mod task;
mod stopping;
mod telling;
mod variables;
mod view;
mod watching;

#[cfg(test)]
mod tests;

pub use action::{Action, Event, Outcome, Step};
pub use component::Component;
pub use drift::Drift;
pub use machine::{LeftOut, Machine};
pub use orders::{Holdable, Order};
pub use pace::{Deferral, Host, Pacing};
pub use plan::{FileChange, Plan, Scope};
pub use planning::Planner;
pub use task::Hands;
