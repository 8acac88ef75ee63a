//! Profiles: defaults filled in, intervals within bounds.

use std::time::Duration;

use super::field::{Field, Given};
use super::finding::{Findings, Spot};
use super::origin::{self, Pace};
use super::path::{Directories, NamedKind, NamedPath};
use super::valid::{AssumeRole, Profile, SourceSettings, Validate};
use super::written;

pub struct ProfileReader<'a> {
    defaults: Option<&'a written::Defaults>,
    pace: &'a Pace,
    /// There are no roles to assume.
    local: bool,
    directories: &'a Directories,
}

impl<'a> ProfileReader<'a> {
    pub fn new(
        defaults: Option<&'a written::Defaults>,
        pace: &'a Pace,
        local: bool,
        directories: &'a Directories,
    ) -> ProfileReader<'a> {
        ProfileReader {
            defaults,
            pace,
            local,
            directories,
        }
    }

    /// A bad default is one finding, however many profiles use it.
    pub fn check_defaults(&self, findings: &mut Findings) {
        let interval = self
            .defaults
            .and_then(|defaults| defaults.poll_interval.given());
        if let Some(given) = interval {
            self.pace.check(given.at, given.value, findings);
        }
    }

    /// `None` after a finding.
    pub fn read(
        &self,
        name: &Spot<String>,
        written: &written::Profile,
        source: &Option<SourceSettings>,
        named: &mut Vec<NamedPath>,
        findings: &mut Findings,
    ) -> Option<Profile> {
        let default = self.defaults.map(|defaults| &defaults.application);
        let application = identifier(name, &written.application, default, "application", findings);
        let default = self.defaults.map(|defaults| &defaults.environment);
        let environment = identifier(name, &written.environment, default, "environment", findings);
        let configuration_profile = match &written.configuration_profile {
            Field::Absent => Some(name.value.clone()),
            field => field.value().cloned(),
        };
        let poll_interval = self.interval(&written.poll_interval, findings);
        let validate = match &written.validate {
            Field::Absent => Some(Validate::default()),
            Field::Broken => None,
            Field::Given(given) => self.validate(&given.value, named, findings),
        };
        let assume_role = self.assume_role(&written.assume_role, source, findings);
        Some(Profile {
            name: name.value.as_str().into(),
            application: application?,
            environment: environment?,
            configuration_profile: configuration_profile?,
            poll_interval: poll_interval?,
            required: flag(&written.required, true)?,
            sensitive: flag(&written.sensitive, false)?,
            validate: validate?,
            assume_role: assume_role?,
        })
    }

    fn interval(&self, field: &Field<Duration>, findings: &mut Findings) -> Option<Duration> {
        match field {
            Field::Given(given) => self.pace.check(given.at, given.value, findings),
            Field::Broken => None,
            Field::Absent => {
                let default = self
                    .defaults
                    .and_then(|defaults| defaults.poll_interval.value());
                Some(default.copied().unwrap_or(self.pace.default))
            }
        }
    }

    fn assume_role(
        &self,
        field: &Field<written::AssumeRole>,
        source: &Option<SourceSettings>,
        findings: &mut Findings,
    ) -> Option<Option<AssumeRole>> {
        match field {
            Field::Broken => None,
            Field::Absent => Some(match source {
                Some(SourceSettings::Aws(aws)) => aws.assume_role.clone(),
                Some(SourceSettings::Local { .. }) | None => None,
            }),
            Field::Given(given) if self.local => {
                findings
                    .error(given.key, "`assume_role` has no meaning beside `local`")
                    .help("remove it: the local server asks for no credentials");
                None
            }
            Field::Given(given) => origin::assume_role(given, findings).map(Some),
        }
    }

    fn validate(
        &self,
        written: &written::Validate,
        named: &mut Vec<NamedPath>,
        findings: &mut Findings,
    ) -> Option<Validate> {
        let schema = match &written.schema {
            Field::Absent => Some(None),
            Field::Broken => None,
            Field::Given(given) => self.schema(given, written, named, findings).map(Some),
        };
        if let Some(given) = written.max_size.given()
            && given.value.0 == 0
        {
            findings
                .error(given.at, "a `max_size` of 0 turns every configuration down")
                .help("write the size of the largest that is right, such as `1MiB`");
            return None;
        }
        Some(Validate {
            format: written.format.value().copied(),
            schema: schema?,
            max_size: written.max_size.value().map(|size| size.0),
            max_shrink: written.max_shrink.value().map(|share| share.0),
        })
    }

    fn schema(
        &self,
        given: &Given<String>,
        written: &written::Validate,
        named: &mut Vec<NamedPath>,
        findings: &mut Findings,
    ) -> Option<std::path::PathBuf> {
        if !cfg!(feature = "schema") {
            findings
                .error(
                    given.key,
                    "this program was built without the feature `schema`",
                )
                .help("remove the line, or build with `cargo build --features schema`");
            return None;
        }
        if let Some(format) = written.format.given()
            && format.value == super::valid::Format::Text
        {
            findings
                .error(
                    given.key,
                    "a text has no parts that a schema could describe",
                )
                .also(format.at, "the format is text")
                .help("remove one of the two");
            return None;
        }
        let path = self.directories.name("the schema", NamedKind::File, given);
        let resolved = path.path.clone();
        named.push(path);
        Some(resolved)
    }
}

/// The profile's own, else the default; both missing is a finding.
fn identifier(
    name: &Spot<String>,
    own: &Field<String>,
    default: Option<&Field<String>>,
    key: &str,
    findings: &mut Findings,
) -> Option<String> {
    match (own, default) {
        (Field::Absent, None | Some(Field::Absent)) => {
            findings
                .error(
                    name.at,
                    format!("the profile `{}` has no `{key}`", name.value),
                )
                .help("give it here, or once for all profiles under `defaults:`");
            None
        }
        (Field::Absent, Some(default)) => default.value().cloned(),
        (own, _) => own.value().cloned(),
    }
}

fn flag(field: &Field<bool>, default: bool) -> Option<bool> {
    match field {
        Field::Absent => Some(default),
        field => field.value().copied(),
    }
}
