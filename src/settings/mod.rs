//! The settings file: as written → merged with its drop-ins → valid. Past this door nobody meets a default.
//!
//! Reading in order: [`read`] loads the texts ([`Texts`]); `node` makes a tree of YAML with the place of
//! every node; `written` gives the tree its types, with every field optional; `merged` unites the main file with
//! its drop-ins; the rest ([`profile`], [`target`], [`service`], [`origin`]) fills in what was left out and
//! resolves names. No step stops at the first mistake: all go into one list of findings, which becomes [`Problems`].

mod duration;
mod entries;
mod environment;
mod field;
mod file_set;
mod finding;
mod keyword;
mod merged;
mod metrics;
mod node;
mod objection;
mod origin;
mod path;
mod places;
mod problem;
mod profile;
mod quantity;
mod recipe;
pub mod reference;
mod secret;
mod service;
mod suggestion;
mod target;
mod text;
mod valid;
mod watch;
mod written;
mod yaml;

pub use duration::{parse_duration, show as show_duration};
pub use origin::is_loopback;
pub use places::Places;
pub use problem::{Problem, Problems, Severity};
pub use text::Texts;
pub use valid::*;

use std::path::{Path, PathBuf};

use finding::Findings;
use merged::Merged;

/// Settings that hold, and what their author may want to know nevertheless.
#[derive(Debug)]
pub struct Read {
    pub settings: Settings,
    /// In the order of the files and lines.
    pub warnings: Vec<Problem>,
    pub places: Places,
}

/// What comes from outside the settings and has a say in what they mean.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// `--root`: wins over the settings' own.
    pub root: Option<PathBuf>,
    /// `AWS_ENDPOINT_URL_APPCONFIGDATA`: on a loopback address intervals may be as short as 1 s.
    pub endpoint_url: Option<String>,
    /// Where a daemon with these settings would run without an alternate root, or was told to run with one; absolute.
    pub runtime: Option<PathBuf>,
}

/// Reads a settings file and its drop-ins, and looks whether the files that they name are there.
///
/// Nothing else of this host is looked at. Every mistake is found in one run. Paths in messages are shown as `file` is
/// given, relative or absolute.
pub fn read(file: &Path, circumstances: &Circumstances) -> Result<Read, Problems> {
    let (texts, mut findings) = Texts::load(file)?;
    let base = text::absolute(file);
    let understood =
        Merged::of(&texts, &mut findings).validate(&base, circumstances, &mut findings);
    understood
        .named
        .iter()
        .for_each(|path| path.look(&mut findings));
    findings.conclude(texts, understood)
}

/// As [`read`], but of texts that are in memory: `base` is the absolute path where the main file would lie; files that
/// the settings name are not looked at.
pub fn interpret(
    texts: Texts,
    base: &Path,
    circumstances: &Circumstances,
) -> Result<Read, Problems> {
    let mut findings = Findings::default();
    let understood = Merged::of(&texts, &mut findings).validate(base, circumstances, &mut findings);
    findings.conclude(texts, understood)
}

#[cfg(test)]
mod tests;
