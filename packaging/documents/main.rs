//! Writes what packages carry beside the program: manual pages, completions, the list of third-party licences. All of
//! it from what the program and its documents say anyway. No part of the program.
//!
//! usage: cargo run --example documents -- DIRECTORY
//!        cargo run --example documents -- --pages      writes what is made of the committed documents, in its place
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a tool of the build: it writes files and says so"
)]

mod licences;
mod manual;
mod picture;
mod reference;
mod roff;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap_complete::{Shell, generate_to};

fn main() -> Result<(), Box<dyn Error>> {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err("usage: documents DIRECTORY|--pages".into());
    };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| {
        fs::read_to_string(repository.join(name)).map_err(|error| format!("{name}: {error}"))
    };
    let settings = reference::filled(&read("docs/settings.md")?)?;
    if directory == Path::new("--pages") {
        fs::write(repository.join("docs/settings.md"), settings)?;
        let screen = |name: &str| read(&format!("tests/it/screens/{name}.seen"));
        let screens = [screen("in-sync")?, screen("quarantined")?];
        let picture = picture::of(&screens.each_ref().map(String::as_str));
        fs::write(repository.join("docs/status.svg"), picture)?;
        return Ok(());
    }
    fs::create_dir_all(&directory)?;
    let write = |name: &str, text: &str| {
        println!("{name}");
        fs::write(directory.join(name), text)
    };
    write(
        "appconfigd.8",
        &manual::program(&read("docs/commands.md")?, &read("docs/architecture.md")?)?,
    )?;
    write("appconfigd.yaml.5", &manual::settings(&settings))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut command = appconfigd::cli::command();
        let made = generate_to(shell, &mut command, "appconfigd", &directory)?;
        println!("{}", made.file_name().unwrap_or_default().display());
    }
    write("THIRD-PARTY-LICENCES", &licences::list(repository)?)?;
    Ok(())
}
