//! `appconfigd serve`: its command line, the wire below every SDK, controls and faults.

mod calls;
mod command_line;
mod controls;
mod page;
mod served;
