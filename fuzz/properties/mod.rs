//! What is held against hostile bytes: one file a target, each with a `hold(bytes)` that panics when it does not hold.
//!
//! The programs in `fuzz_targets` call them under libFuzzer, `tests/fuzz.rs` with the corpora and mutations of them.

pub mod answers;
pub mod control;
pub mod drop_ins;
pub mod ledger;
pub mod server;
pub mod settings;
pub mod templates;
pub mod tokens;

mod exchange;
mod parts;
mod reading;

use std::time::{Duration, Instant};

/// Longer than anything may take on a busy machine, and shorter than the patience of whoever waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Does it, and holds that it came to an end in time.
fn in_time<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = act();
    let taken = begun.elapsed();
    assert!(taken < PATIENCE, "{what} took {taken:?}");
    done
}

/// Nothing that a terminal obeys; `kept` may occur.
fn is_plain(text: &str, kept: &[char]) -> bool {
    let obeyed = |character: char| character.is_control() && !kept.contains(&character);
    !text.chars().any(obeyed)
}
