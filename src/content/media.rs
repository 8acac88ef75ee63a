//! In which format a configuration is written.

use crate::protocol::Configuration;
use crate::settings::{Format, Profile};

/// The profile's `validate.format`, else what the content type says, else `None`.
pub(super) fn of(profile: &Profile, configuration: &Configuration) -> Option<Format> {
    profile
        .validate
        .format
        .or_else(|| configuration.content_type().and_then(by_content_type))
}

/// How messages call a format.
pub(super) fn name(format: Format) -> &'static str {
    match format {
        Format::Json => "JSON",
        Format::Yaml => "YAML",
        Format::Toml => "TOML",
        Format::Text => "text",
    }
}

/// The format of a media type (RFC 9110, 8.3.1): case and parameters do not count, suffixes (RFC 6839) do.
fn by_content_type(content_type: &str) -> Option<Format> {
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let (kind, subtype) = essence.split_once('/')?;
    let suffix = subtype.rsplit_once('+').map(|(_, suffix)| suffix);
    match (kind, subtype, suffix) {
        (_, "json" | "x-json", _) | (_, _, Some("json")) => Some(Format::Json),
        (_, "yaml" | "x-yaml" | "vnd.yaml", _) | (_, _, Some("yaml")) => Some(Format::Yaml),
        (_, "toml" | "x-toml", _) | (_, _, Some("toml")) => Some(Format::Toml),
        ("text", _, _) => Some(Format::Text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_names_its_format_whatever_its_case_and_parameters() {
        for (content_type, format) in [
            ("application/json", Some(Format::Json)),
            ("Application/JSON; charset=utf-8", Some(Format::Json)),
            (" application/problem+json ;a=b", Some(Format::Json)),
            ("application/yaml", Some(Format::Yaml)),
            ("application/x-yaml", Some(Format::Yaml)),
            ("text/yaml", Some(Format::Yaml)),
            ("text/x-yaml;version=1", Some(Format::Yaml)),
            ("application/openapi+yaml", Some(Format::Yaml)),
            ("application/toml", Some(Format::Toml)),
            ("text/plain", Some(Format::Text)),
            ("text/css", Some(Format::Text)),
            ("application/octet-stream", None),
            ("json", None),
            ("", None),
        ] {
            assert_eq!(by_content_type(content_type), format, "{content_type:?}");
        }
    }
}
