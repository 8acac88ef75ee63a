//! The integration tests: one binary, the real program, ports chosen by the kernel.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "a test says no by panicking; these lints exempt test functions, but not the functions that tests share"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests write files, start processes and measure time around the program; the program itself may not"
)]

mod aws_examples;
mod check;
mod children;
mod clocks;
mod command_line;
mod crash;
mod credentials;
mod directory_targets;
mod disks;
mod directories;
mod documents;
mod double;
mod drift;
mod drift_kinds;
mod exec;
mod faults;
mod fetch;
mod fetch_from_serve;
mod hostile;
mod idle;
mod isolation;
mod lacks;
mod layers;
mod metrics;
mod migrate;
mod mount;
mod notifications;
mod once;
mod operating;
mod operator;
mod paces;
mod panics;
mod plan;
mod portrait;
mod programs;
mod quickstart;
mod readers;
mod reboots;
mod reload;
mod renewals;
mod run;
mod screens;
mod sequences;
mod server;
mod skip;
mod source;
mod sources;
mod stand;
mod status;
mod storage;
mod systemd;
mod systemd_unit;
mod targets;
mod troubleshooting;
mod units;
mod unseen;
mod watches;
mod world;
