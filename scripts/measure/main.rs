//! Measures a built `appconfigd` against its budgets and prints one table; started by `scripts/bench`, which says how.
//! What each figure means is in docs/performance.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    clippy::disallowed_methods,
    reason = "a tool beside the program: it gives up by panicking, writes files and reads clocks as it likes"
)]

mod bare;
mod change;
mod double;
mod process;
mod start;
mod steady;
mod table;
mod world;

use std::path::PathBuf;

use table::Row;

/// What is measured, and how thoroughly.
pub struct Plan {
    pub program: PathBuf,
    /// Where worlds are made: its file system is what is measured.
    pub directory: PathBuf,
    pub quick: bool,
}

impl Plan {
    /// One number for a thorough run, one for a quick one.
    pub fn pick<T>(&self, thorough: T, quick: T) -> T {
        if self.quick { quick } else { thorough }
    }
}

type Measure = fn(&Plan) -> Vec<Row>;

const MEASURES: [(&str, Measure); 7] = [
    ("size", table::size),
    ("poll", steady::polls),
    ("idle", steady::idle),
    ("start", start::first),
    ("together", start::together),
    ("change", change::notified),
    ("memory", steady::memory),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, socket] = &arguments[..]
        && flag == "--stamp"
    {
        return change::stamp(socket);
    }
    let mut plan = Plan {
        program: PathBuf::new(),
        directory: std::env::temp_dir(),
        quick: false,
    };
    let mut only = Vec::new();
    let mut given = arguments.into_iter();
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--quick" => plan.quick = true,
            "--program" => plan.program = given.next().expect("--program FILE").into(),
            "--directory" => plan.directory = given.next().expect("--directory DIR").into(),
            name if MEASURES.iter().any(|(known, _)| *known == name) => only.push(argument),
            other => {
                let known: Vec<_> = MEASURES.iter().map(|(name, _)| *name).collect();
                eprintln!("`{other}` is no measure; there are: {}", known.join(", "));
                std::process::exit(2);
            }
        }
    }
    let mut rows = Vec::new();
    for (name, measure) in MEASURES {
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            eprintln!("measuring: {name}");
            let new = measure(&plan);
            eprint!("{}", table::print(&new));
            rows.extend(new);
        }
    }
    print!("{}", table::print(&rows));
}
