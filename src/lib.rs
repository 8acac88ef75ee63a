//! Keeps configuration files right on Linux machines.
//!
//! The modules in reading order, top to bottom; an arrow of imports points down only.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::string_slice,
        reason = "unit tests write files and read clocks; the library is also linted without them"
    )
)]

pub mod cli;
pub mod daemon;

pub mod transaction;
pub mod poll;
pub mod server;

pub mod source;
pub mod content;
pub mod install;
pub mod service;
pub mod ledger;
pub mod child;

pub mod settings;
pub mod protocol;
pub mod process;
pub mod watch;
pub mod backoff;
pub mod clock;
pub mod telemetry;
pub mod tls;
pub mod words;
