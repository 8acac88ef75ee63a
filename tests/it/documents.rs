//! What the repository says must hold on every machine: links lead somewhere, settings in documents pass `check`, every
//! key and command has its place in the documents, and no path of a developer's machine is left.
//!
//! The first line of a code block says what it is. ` ```yaml settings` is a settings file, or a part of one that stands
//! alone; `files=a,b/` after it are files and directories that it names. ` ```sh` is run by the tests in `quickstart.rs`
//! and so is ` ```sh daemon`; `sh aws` needs an account, `sh machine` changes or presumes the reader's machine. docs/testing.md
//! says what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::quickstart::FOLLOWED;
use crate::sources::{files_below, root};
use crate::world::World;

/// How the tables of docs/settings.md are made.
#[path = "../../packaging/documents/reference.rs"]
mod reference;

/// How docs/status.svg is made.
#[path = "../../packaging/documents/picture.rs"]
mod picture;

#[test]
fn every_relative_link_in_a_document_leads_to_a_file_and_a_heading() {
    let documents = documents();
    assert!(
        documents.len() >= 5,
        "the documents are not where this test looks for them: {documents:?}"
    );
    let problems: Vec<String> = documents
        .iter()
        .flat_map(|document| dead_links(document))
        .collect();
    assert!(problems.is_empty(), "dead links:\n{}", problems.join("\n"));
}

#[test]
fn settings_in_documents_pass_check() {
    let mut checked = 0;
    let mut problems = Vec::new();
    for document in documents() {
        let name = document.strip_prefix(root()).unwrap().display().to_string();
        for block in blocks(&std::fs::read_to_string(&document).unwrap()) {
            let Some(options) = block.info.strip_prefix("yaml settings") else {
                // What is deployed on the pages of `migrate` is YAML too, and looked at there.
                if block.info.starts_with("yaml") && !block.info.contains(" deployed=") {
                    problems.push(format!("{name}:{}: nobody looks at this", block.line));
                }
                continue;
            };
            let world = World::new();
            world.write("appconfigd.yaml", &block.text);
            for file in options.trim().trim_start_matches("files=").split(',') {
                match file.strip_suffix('/') {
                    Some(directory) => std::fs::create_dir_all(world.path(directory)).unwrap(),
                    None if file.is_empty() => {}
                    None => drop(world.write(file, "{}")),
                }
            }
            let output = world.output(&["check"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // What the documents show has a way to say no.
            if output.status.code() != Some(0) || said.contains("cannot say no") {
                problems.push(format!("{name}:{}:\n{said}", block.line));
            }
            checked += 1;
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(checked >= 8, "only {checked} settings in all documents");
}

#[test]
fn every_command_is_run_and_every_output_is_held_or_says_why_not() {
    let mut problems = Vec::new();
    for document in documents() {
        let name = document.strip_prefix(root()).unwrap().display().to_string();
        let blocks = blocks(&std::fs::read_to_string(&document).unwrap());
        problems.extend(unheld(&name, &blocks));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let planted = [
        ("docs/a.md", "sh machine|text"),
        ("docs/a.md", "sh"),
        ("docs/a.md", ""),
        ("README.md", "sh|text|text"),
        ("README.md", "sh machine|text log"),
        ("README.md", "sh served=x|text aws"),
        ("README.md", "sh runs"),
        ("README.md", "text said"),
    ];
    for (page, infos) in planted {
        let page_text: String = infos
            .split('|')
            .map(|info| format!("```{info}\n```\n"))
            .collect();
        let found = unheld(page, &self::blocks(&page_text));
        assert_eq!(found.len(), 1, "{page} {infos}: {found:?}");
    }
}

/// Blocks of shell and of its output that no test looks at, and that do not say why.
fn unheld(page: &str, blocks: &[Block]) -> Vec<String> {
    let followed = FOLLOWED.contains(&page);
    let mut problems = Vec::new();
    let mut before = "";
    for block in blocks {
        let info = block.info.as_str();
        let runs = ["sh", "sh daemon", "sh server"].contains(&before)
            || ["sh served=", "sh if="]
                .iter()
                .any(|kind| before.starts_with(kind));
        let right = match info.split_once(' ').unwrap_or((info, "")) {
            ("", _) => false,
            ("sh", "aws" | "machine") => true,
            ("sh", "" | "daemon" | "server") => followed,
            ("sh", option) => {
                followed
                    && ["served=", "if="]
                        .iter()
                        .any(|kind| option.starts_with(kind))
            }
            ("text", "") => followed && runs,
            ("text", "log") => followed && runs,
            ("text", "aws") => before == "sh aws",
            // By `operating.rs`.
            ("text", "doctor") => page == "docs/commands.md" && before == "sh aws",
            // By `scripts/test`, not by the program.
            ("text", "machine") => page == "docs/testing.md",
            ("text", "measured") => page == "docs/performance.md",
            // Nobody prints it.
            ("text", "drawing" | "file") => true,
            ("text", option) if option.starts_with("said") => page == "docs/troubleshooting.md",
            ("text", option) if option.starts_with("old") => page.starts_with("docs/migrate/"),
            ("text", _) => false,
            _ => true,
        };
        if !right {
            problems.push(format!("{page}:{}: nobody looks at `{info}`", block.line));
        }
        // An output is that of one command.
        before = info;
    }
    problems
}

#[test]
fn every_key_of_the_settings_has_its_line_in_the_reference() {
    let files = files_below(&root().join("src/settings/written"));
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap());
    let written: String = texts.collect();
    let page = std::fs::read_to_string(root().join("docs/settings.md")).unwrap();
    let keys = keys(&written);
    assert!(
        keys.len() > 40,
        "the keys are not where this test looks: {keys:?}"
    );
    let missing: Vec<&String> = keys
        .iter()
        .filter(|key| !page.contains(&format!("| `{key}` |")))
        .collect();
    assert!(
        missing.is_empty(),
        "no line in docs/settings.md: {missing:?}"
    );
    let rows = page.lines().filter_map(|line| {
        let (key, _) = line.strip_prefix("| `")?.split_once("` |")?;
        Some(key.to_owned())
    });
    let gone: Vec<String> = rows.filter(|key| !keys.contains(key)).collect();
    assert!(
        gone.is_empty(),
        "no such keys, but in docs/settings.md: {gone:?}"
    );
}

#[test]
fn the_tables_of_keys_are_those_of_the_declarations_that_the_program_reads_by() {
    let page = std::fs::read_to_string(root().join("docs/settings.md")).unwrap();
    let made = reference::filled(&page).unwrap();
    let stale = made
        .lines()
        .zip(page.lines())
        .find(|(made, page)| made != page);
    assert!(
        made == page,
        "docs/settings.md is stale, run `cargo run --example documents -- --pages`: {stale:?}"
    );
    let error = |page: &str| reference::filled(page).unwrap_err();
    assert!(error("").contains("no place for `aws` of a settings file"));
    assert!(error("<!-- keys of a prove -->").contains("no mapping is called a prove"));
    assert!(error("<!-- keys of a probe: widhin -->").contains("a probe has no key `widhin`"));
    assert!(error("<!-- keys of a probe -->").contains("no `<!-- end of keys -->`"));
}

#[test]
fn the_picture_of_the_status_is_made_of_the_screens_that_are_held_against_the_program() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let screens =
        ["in-sync", "quarantined"].map(|name| read(&format!("tests/it/screens/{name}.seen")));
    let made = picture::of(&screens.each_ref().map(String::as_str));
    assert!(
        made == read("docs/status.svg"),
        "docs/status.svg is stale, run `cargo run --example documents -- --pages`"
    );
    for state in [
        "well\">healthy",
        "bad\">quarantined",
        "wary\">degraded",
        "well\">in sync",
    ] {
        assert!(
            made.contains(&format!("<tspan class=\"{state}</tspan>")),
            "{state}"
        );
    }
}

#[test]
fn every_page_is_reached_from_the_readme_and_every_page_of_docs_at_once() {
    let reached = |from: PathBuf| -> BTreeSet<PathBuf> {
        let text = std::fs::read_to_string(&from).unwrap();
        let mut pages = BTreeSet::new();
        for (_, line) in prose(&text) {
            for link in links(&line) {
                let page = from.parent().unwrap().join(link.split('#').next().unwrap());
                if let Ok(page) = page.canonicalize()
                    && page.extension().is_some_and(|extension| extension == "md")
                {
                    pages.insert(page);
                }
            }
        }
        pages
    };
    let readme = root().canonicalize().unwrap().join("README.md");
    let docs = readme.with_file_name("docs");
    let at_once = reached(readme.clone());
    let mut all = BTreeSet::from([readme.clone()]);
    let mut open = vec![readme];
    while let Some(page) = open.pop() {
        let new: Vec<PathBuf> = reached(page).difference(&all).cloned().collect();
        all.extend(new.iter().cloned());
        open.extend(new);
    }
    let pages = documents()
        .into_iter()
        .map(|page| page.canonicalize().unwrap());
    let (mut lost, mut not_at_once) = (Vec::new(), Vec::new());
    for page in pages {
        if !all.contains(&page) {
            lost.push(page.clone());
        }
        if page.parent() == Some(docs.as_path()) && !at_once.contains(&page) {
            not_at_once.push(page);
        }
    }
    assert!(lost.is_empty(), "nobody finds {lost:?}");
    assert!(
        not_at_once.is_empty(),
        "README.md does not link {not_at_once:?}"
    );
}

#[test]
fn what_other_programs_call_it_leads_to_a_key_or_says_why_not() {
    let page = |name: &str| std::fs::read_to_string(root().join("docs").join(name)).unwrap();
    let (services, settings) = (page("services.md"), page("settings.md"));
    let (_, tables) = services
        .split_once("\n## Other programs, option by option\n")
        .expect("the tables");
    let problems = wrong_rows(tables, &settings);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let programs = tables.lines().filter(|line| line.starts_with("### "));
    assert_eq!(programs.count(), 6, "the programs of the tables");
    let planted = "| option | here |\n|---|---|\n| `a` | [`mode`](settings.md#targets) |\n| `b` | [`moed`](settings.md#targets) |\n\
                   | `c` | [`mode`](settings.md#watches) |\n| `d` | no |\n| `e` | `mode` |\n";
    let found = wrong_rows(planted, &settings);
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn every_command_has_its_section_on_the_page_of_commands() {
    let help = World::new().output(&["--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|command| !command.is_empty() && *command != "help")
        .collect();
    assert!(commands.len() >= 8, "{commands:?}");
    let page = |name: &str| std::fs::read_to_string(root().join("docs").join(name)).unwrap();
    let (page, operations) = (page("commands.md"), page("operations.md"));
    for command in commands {
        let heading = format!("\n## {command}\n");
        let (_, rest) = page
            .split_once(&heading)
            .unwrap_or_else(|| panic!("no `## {command}` in docs/commands.md"));
        let (section, _) = rest.split_once("\n## ").unwrap_or((rest, ""));
        let printed = blocks(section);
        assert!(
            printed.iter().any(|block| block.info.starts_with("text")),
            "docs/commands.md does not say what `{command}` prints"
        );
        assert!(
            operations.contains(&format!("](commands.md#{command})")),
            "docs/operations.md does not say what `{command}` is for"
        );
    }
}

#[test]
fn the_page_about_tests_lists_the_files_that_there_are() {
    let page = std::fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let (_, list) = page.split_once("\nFiles of `tests/it/`").expect("the list");
    let (list, _) = list.split_once("\n## ").unwrap();
    let rows = list.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("| `")?.split_once('`')?;
        Some(name.to_owned())
    });
    let listed: BTreeSet<String> = rows.collect();
    let support = [
        "double", "main", "mount", "portrait", "skip", "sources", "stand", "world",
    ];
    let entries = std::fs::read_dir(root().join("tests/it")).unwrap();
    let names = entries.map(|entry| entry.unwrap().path().with_extension(""));
    let names = names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    let there: BTreeSet<String> = names
        .filter(|name| !support.contains(&name.as_str()))
        .collect();
    assert_eq!(listed, there, "left: docs/testing.md, right: tests/it");
}

#[test]
fn no_file_names_a_path_of_the_machine_it_was_written_on() {
    let mut problems = Vec::new();
    for file in files_below(root()) {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        problems.extend(
            machine_paths(&text)
                .into_iter()
                .map(|(line, path)| format!("{name}:{line}: {path}")),
        );
    }
    assert!(
        problems.is_empty(),
        "paths of a machine:\n{}",
        problems.join("\n")
    );
}

#[test]
fn the_document_checks_see_what_they_are_there_for() {
    let (work, home, aside) = (
        ["/wo", "rk/"].concat(),
        ["/ro", "ot/"].concat(),
        ["../sha", "red"].concat(),
    );
    assert_eq!(
        machine_paths(&format!("a\nsee `{work}x`")),
        [(2, work.clone())]
    );
    assert_eq!(machine_paths(&format!("HOME={home}")), [(1, home.clone())]);
    assert_eq!(
        machine_paths(&format!("[x]({aside}/design.md)")),
        [(1, aside)]
    );
    let below = format!(
        "net{work}x src{home}mod.rs {{directory}}{home}etc ${{TMP}}{home} ./examples{home}"
    );
    assert_eq!(
        machine_paths(&below),
        [],
        "a folder of that name elsewhere is nobody's home"
    );

    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.md");
    std::fs::write(directory.path().join("other.md"), "# Über `a.b` and C-d!\n").unwrap();
    std::fs::write(
        &page,
        "# Top\n[a](other.md) [b](other.md#über-ab-and-c-d) [c](#top) [d](https://example.com/x) ![e](mailto:a@b)\n\
         ```sh\n[f](gone-but-code.md)\n```\n`[g](gone-but-code.md)` [h](gone.md) [i](other.md#gone) [j](#gone)\n[k]: gone-too.md\n",
    )
    .unwrap();
    let found = dead_links(&page);
    let expected = [
        "6: `gone.md`",
        "6: `other.md#gone`",
        "6: `#gone`",
        "7: `gone-too.md`",
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.ends_with(expected), "{found} is not {expected}");
    }
}

/// A fenced code block of a document.
pub(crate) struct Block {
    /// What stands behind the fence: `sh`, `yaml settings`.
    pub(crate) info: String,
    /// With its last newline.
    pub(crate) text: String,
    /// Of the fence, from 1.
    pub(crate) line: usize,
}

/// The code blocks of a document, in order.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                open = Some(Block {
                    info: info.trim().to_owned(),
                    text: String::new(),
                    line: index + 1,
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

fn documents() -> Vec<PathBuf> {
    let files = files_below(root()).into_iter();
    files
        .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// Rows of tables `| option | here |` that name a key which the settings do not have in the section that they lead to, or
/// that neither lead anywhere nor say why not.
fn wrong_rows(tables: &str, settings: &str) -> Vec<String> {
    let rows = tables
        .lines()
        .filter(|line| line.starts_with("| ") && *line != "| option | here |");
    let cells = rows.filter_map(|row| Some((row, row.strip_suffix(" |")?.rsplit_once(" | ")?.1)));
    let wrong = |here: &str| {
        let reason = (here.starts_with("no") || here.starts_with("always"))
            && [": ", "; "].iter().any(|mark| here.contains(mark));
        if links(here).is_empty() && !reason {
            return Some("leads nowhere and gives no reason".to_owned());
        }
        let labelled = here.split("[`").skip(1).filter_map(|rest| {
            let (label, rest) = rest.split_once('`')?;
            Some((
                label,
                rest.strip_prefix("](settings.md#")?.split_once(')')?.0,
            ))
        });
        labelled
            .filter(|(label, _)| label.starts_with(|c: char| c.is_ascii_lowercase()))
            .find(|(key, anchor)| {
                let row = settings.contains(&format!("\n| `{key}` |"));
                !row || !section(settings, anchor).contains(&format!("`{key}`"))
            })
            .map(|(key, anchor)| format!("no key `{key}` at settings.md#{anchor}"))
    };
    cells
        .filter_map(|(row, here)| Some(format!("{row}\n  {}", wrong(here)?)))
        .collect()
}

/// The text below a heading, up to the next one.
fn section(text: &str, anchor: &str) -> String {
    let mut within = false;
    let mut section = String::new();
    for line in text.lines() {
        if line.starts_with('#') {
            within = anchors(line).contains_key(anchor);
        } else if within {
            section.push_str(line);
            section.push('\n');
        }
    }
    section
}

/// The keys of `written!(…, "…" { key: Type, … });`, each once.
fn keys(source: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for declaration in source.split("written!(").skip(1) {
        let body = declaration.split("\n}").next().unwrap();
        let lines = body.lines().map(str::trim);
        let fields = lines.filter(|line| !line.starts_with("///") && !line.contains('{'));
        let fields = fields.filter_map(|field| field.split_once(": "));
        keys.extend(fields.map(|(key, _)| key.to_owned()));
    }
    keys
}

/// `FILE:LINE: LINK` for every relative link that leads nowhere.
fn dead_links(document: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(document).unwrap();
    let mut dead = Vec::new();
    for (number, line) in prose(&text) {
        for link in links(&line) {
            let relative = !link.contains("://") && !link.starts_with("mailto:");
            if relative && !leads_somewhere(document, link) {
                let name = document.strip_prefix(root()).unwrap_or(document);
                dead.push(format!("{}:{number}: `{link}`", name.display()));
            }
        }
    }
    dead
}

fn leads_somewhere(document: &Path, link: &str) -> bool {
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let file = if path.is_empty() {
        document.to_owned()
    } else {
        document.parent().unwrap().join(path)
    };
    if heading.is_empty() || file.extension().is_none_or(|extension| extension != "md") {
        return file.exists();
    }
    std::fs::read_to_string(&file).is_ok_and(|text| anchors(&text).contains_key(heading))
}

/// The targets of `[…](target)`, of images, and of `[…]: target`.
fn links(line: &str) -> Vec<&str> {
    let mut links: Vec<&str> = line
        .match_indices("](")
        .filter_map(|(at, _)| line[at + 2..].split([')', ' ']).next())
        .filter(|link| !link.is_empty())
        .collect();
    if line.starts_with('[') && !line.starts_with("[^") {
        links.extend(
            line.split_once("]: ")
                .and_then(|(_, rest)| rest.split_whitespace().next()),
        );
    }
    links
}

/// The lines that are not in a code block, with their numbers; code spans are left out.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let outside: String = line.split('`').step_by(2).collect();
            lines.push((index + 1, outside));
        }
    }
    lines
}

/// The anchors that forges give to headings: lower case, without punctuation, spaces as hyphens.
fn anchors(text: &str) -> BTreeMap<String, usize> {
    let mut anchors = BTreeMap::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if !fenced && title.len() < line.len() && title.starts_with(' ') {
            let anchor: String = title
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect();
            *anchors.entry(anchor).or_insert(0) += 1;
        }
    }
    anchors
}

/// Paths of somebody's machine in a text, with their lines. They are put together here so that this file has none.
fn machine_paths(text: &str) -> Vec<(usize, String)> {
    let absolute = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat()];
    let anywhere = [["../sha", "red"].concat()];
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for path in &absolute {
            let begins = |at: usize| {
                let before = line[..at].chars().next_back().unwrap_or(' ');
                !before.is_alphanumeric()
                    && !matches!(before, '_' | '-' | '.' | '/' | '}' | '{' | ')' | '*' | '~')
            };
            if line.match_indices(path.as_str()).any(|(at, _)| begins(at)) {
                found.push((index + 1, path.clone()));
            }
        }
        found.extend(
            anywhere
                .iter()
                .filter(|path| line.contains(path.as_str()))
                .map(|path| (index + 1, path.clone())),
        );
    }
    found
}
