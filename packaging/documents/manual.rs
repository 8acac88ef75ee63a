//! The manual pages: of the program from its command line and the page of commands, of the settings from their page.

use std::error::Error;

use clap::Command;
use clap_mangen::Man;

use crate::roff;

/// appconfigd(8).
pub fn program(commands: &str, architecture: &str) -> Result<String, Box<dyn Error>> {
    let mut command = appconfigd::cli::command().disable_help_subcommand(true);
    command.build();
    let man = Man::new(command.clone())
        .section("8")
        .manual("System Manager's Manual");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    let mut page = String::from_utf8(page)?;
    page.push_str(".SH COMMANDS\n");
    for command in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        page.push_str(&section(command, commands)?);
    }
    let mut options = Vec::new();
    man.render_options_section(&mut options)?;
    page.push_str(&String::from_utf8(options)?);
    page.push_str(".SH EXIT STATUS\n");
    page.push_str(&roff::of(&part(commands, "## Exit codes"), 0));
    page.push_str(".SH FILES\n");
    page.push_str(&roff::of(&part(architecture, "## On disk"), 0));
    page.push_str(
        ".SH SEE ALSO\n.BR appconfigd.yaml (5),\n.BR systemctl (1),\n.BR systemd.exec (5)\n",
    );
    Ok(page)
}

/// appconfigd.yaml(5).
pub fn settings(page: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let (_, text) = page.split_once('\n').unwrap_or_default();
    // The list of the page's own sections is for readers with a mouse.
    let lines: Vec<&str> = text.lines().collect();
    let contents =
        |line: &&str| line.starts_with("- [The file]") || line.starts_with("  [targets]");
    let text: Vec<&str> = lines.into_iter().filter(|line| !contents(line)).collect();
    format!(
        ".TH appconfigd.yaml 5 \"\" \"appconfigd {version}\" \"File Formats Manual\"\n.SH NAME\nappconfigd.yaml \\- settings of appconfigd\n.SH DESCRIPTION\n{}.SH SEE ALSO\n.BR appconfigd (8)\n",
        roff::of(&text.join("\n"), 1)
    )
}

/// A command: how it is called, what its page says, its own options.
fn section(command: &Command, pages: &str) -> Result<String, Box<dyn Error>> {
    let name = command.get_name();
    let man = Man::new(command.clone());
    let mut synopsis = Vec::new();
    man.render_synopsis_section(&mut synopsis)?;
    let synopsis = String::from_utf8(synopsis)?;
    let synopsis: Vec<&str> = synopsis
        .lines()
        .filter(|line| {
            !line.starts_with(".SH") && !line.starts_with(".ie") && !line.starts_with(".el")
        })
        .collect();
    let mut text = format!(".SS {}\n{}\n", roff::escaped(name), synopsis.join("\n"));
    text.push_str(".PP\n");
    text.push_str(&roff::of(&part(pages, &format!("## {name}")), 2));
    let own = command
        .get_arguments()
        .filter(|argument| !argument.is_global_set() && !argument.is_hide_set());
    for argument in own {
        let id = argument.get_id().as_str();
        if id == "help" || id == "version" {
            continue;
        }
        let value = argument.get_value_names().and_then(|names| names.first());
        let value = value.filter(|_| argument.get_action().takes_values());
        let shown = match (argument.get_long(), value) {
            (Some(long), Some(value)) => format!("--{long} {value}"),
            (Some(long), None) => format!("--{long}"),
            (None, Some(value)) => value.to_string(),
            (None, None) => continue,
        };
        let help = argument.get_help().map(ToString::to_string);
        text.push_str(&format!(
            ".TP\n\\fB{}\\fR\n{}\n",
            roff::escaped(&shown),
            roff::escaped(&help.unwrap_or_default())
        ));
    }
    Ok(text)
}

/// What stands below a heading, up to the next of its kind.
fn part(page: &str, heading: &str) -> String {
    let lines = page.lines().skip_while(|line| *line != heading).skip(1);
    let lines: Vec<&str> = lines.take_while(|line| !line.starts_with("## ")).collect();
    lines.join("\n")
}
