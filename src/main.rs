//! The program: everything that can be wrong lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    appconfigd::cli::main(std::env::args_os()).into()
}
