//! What is found while reading, before it is known how it is shown.

use super::Read;
use super::merged::Understood;
use super::places::Places;
use super::problem::{Problem, Problems, Severity};
use super::text::Texts;

/// A piece of one line of one of the texts. Counted in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which of the [`Texts`].
    pub text: usize,
    /// From 1.
    pub line: usize,
    /// From 0.
    pub start: usize,
    /// Exclusive; at least `start`. A piece that goes on on the next line ends with `usize::MAX`.
    pub end: usize,
}

/// Something at its place.
#[derive(Clone, Debug)]
pub struct Spot<T> {
    pub at: Place,
    pub value: T,
}

#[derive(Debug)]
pub struct Finding {
    pub at: Place,
    pub severity: Severity,
    pub message: String,
    pub help: Option<String>,
    /// Another place that has to do with it, and what it is.
    pub also: Option<(Place, String)>,
}

impl Finding {
    pub fn help(&mut self, help: impl Into<String>) -> &mut Finding {
        self.help = Some(help.into());
        self
    }

    pub fn maybe_help(&mut self, help: Option<String>) -> &mut Finding {
        self.help = help.or(self.help.take());
        self
    }

    pub fn also(&mut self, at: Place, label: &str) -> &mut Finding {
        self.also = Some((at, label.to_owned()));
        self
    }
}

/// All that was found, in the order of finding.
#[derive(Debug, Default)]
pub struct Findings {
    earlier: Vec<Finding>,
    /// Apart, so that its help can be added without looking for it.
    newest: Option<Finding>,
}

impl Findings {
    pub fn error(&mut self, at: Place, message: impl Into<String>) -> &mut Finding {
        self.add(at, Severity::Error, message.into())
    }

    pub fn warning(&mut self, at: Place, message: impl Into<String>) -> &mut Finding {
        self.add(at, Severity::Warning, message.into())
    }

    pub fn has_errors(&self) -> bool {
        let mut all = self.earlier.iter().chain(&self.newest);
        all.any(|finding| finding.severity == Severity::Error)
    }

    /// The settings with the warnings, if there are settings and no error; otherwise all problems in the order of
    /// their places.
    pub fn conclude(self, texts: Texts, understood: Understood) -> Result<Read, Problems> {
        let failed = self.has_errors();
        let mut list = self.earlier;
        list.extend(self.newest);
        list.sort_by_key(|finding| finding.at);
        let problems = list
            .into_iter()
            .map(|finding| Problem::of(finding, &texts))
            .collect();
        let Understood {
            settings,
            targets,
            services,
            metrics,
            ..
        } = understood;
        match settings {
            Some(settings) if !failed => {
                let places = Places::new(texts, targets, services, metrics);
                Ok(Read {
                    settings,
                    warnings: problems,
                    places,
                })
            }
            _ => Err(Problems::wrong(problems)),
        }
    }

    fn add(&mut self, at: Place, severity: Severity, message: String) -> &mut Finding {
        self.earlier.extend(self.newest.take());
        self.newest.insert(Finding {
            at,
            severity,
            message,
            help: None,
            also: None,
        })
    }
}
