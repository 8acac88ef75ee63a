//! Where targets and services stand in the files, for problems that show only on the host.

use std::collections::BTreeMap;

use super::finding::{Finding, Place};
use super::problem::{Problem, Severity};
use super::text::Texts;
use super::valid::{ServiceName, TargetPath};

/// The texts with the places of their targets and services.
#[derive(Debug)]
pub struct Places {
    texts: Texts,
    targets: BTreeMap<TargetPath, Place>,
    services: BTreeMap<ServiceName, Place>,
    metrics: Option<Place>,
}

impl Places {
    pub(super) fn new(
        texts: Texts,
        targets: BTreeMap<TargetPath, Place>,
        services: BTreeMap<ServiceName, Place>,
        metrics: Option<Place>,
    ) -> Places {
        Places {
            texts,
            targets,
            services,
            metrics,
        }
    }

    /// A problem of a target, shown where the target stands.
    pub fn of_target(
        &self,
        path: &TargetPath,
        severity: Severity,
        message: String,
        help: &str,
    ) -> Problem {
        self.problem(self.targets.get(path), severity, message, help)
    }

    /// A problem of a service, shown where the service stands.
    pub fn of_service(
        &self,
        name: &ServiceName,
        severity: Severity,
        message: String,
        help: &str,
    ) -> Problem {
        self.problem(self.services.get(name), severity, message, help)
    }

    /// A warning about `metrics`.
    pub fn of_metrics(&self, message: String, help: &str) -> Problem {
        self.problem(self.metrics.as_ref(), Severity::Warning, message, help)
    }

    fn problem(
        &self,
        at: Option<&Place>,
        severity: Severity,
        message: String,
        help: &str,
    ) -> Problem {
        let start = Place {
            line: 1,
            ..Place::default()
        };
        let at = at.copied().unwrap_or(start);
        let help = Some(help.to_owned());
        Problem::of(
            Finding {
                at,
                severity,
                message,
                help,
                also: None,
            },
            &self.texts,
        )
    }
}
