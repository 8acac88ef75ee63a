//! The parts that a version goes through, each beside its floor. `cargo bench`; docs/performance.md has the whole program.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark gives up by panicking, writes files and reads clocks as it likes"
)]

mod content;
mod poll;
mod transaction;

use std::path::Path;

use appconfigd::settings::{Circumstances, Settings, read};

fn main() {
    divan::main();
}

/// The settings with these lines, in a file of this directory.
fn settings(directory: &Path, lines: &str) -> Settings {
    let file = directory.join("appconfigd.yaml");
    let text = format!("defaults: {{application: shop, environment: prod}}\n{lines}");
    std::fs::write(&file, text).unwrap();
    let circumstances = Circumstances {
        root: Some(directory.join("root")),
        ..Circumstances::default()
    };
    read(&file, &circumstances).unwrap().settings
}
