//! How applications, environments and profiles are named in the directory.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What a file name cannot hold, and `%` itself.
const NOT_IN_A_FILE_NAME: &AsciiSet = &CONTROLS.add(b'/').add(b'%');

/// The sidecar of `PROFILE.ext` is `PROFILE.ext.meta.yaml`.
const SIDECAR_SUFFIX: &str = ".meta.yaml";

/// What editors and copying programs leave beside the files that they write.
const LEFTOVER_SUFFIXES: [&str; 8] = ["~", ".swp", ".swo", ".swx", ".tmp", ".bak", ".orig", ".rej"];

/// One configuration profile of one environment of one application, by names as they are (not percent-encoded).
///
/// Shown as `APPLICATION/ENVIRONMENT/PROFILE` with each name encoded, so that every profile has one such text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileId {
    pub application: String,
    pub environment: String,
    pub profile: String,
}

impl fmt::Display for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (application, environment) = (encoded(&self.application), encoded(&self.environment));
        write!(f, "{application}/{environment}/{}", encoded(&self.profile))
    }
}

/// The name that a folder stands for; `None`: the folder stands for nothing.
pub fn of_folder(file_name: &str) -> Option<String> {
    (!file_name.starts_with('.'))
        .then(|| decoded(file_name))
        .flatten()
}

/// The profile that a file is the configuration of; `None`: a sidecar, a hidden file, or an editor's leftover.
pub fn of_file(file_name: &str) -> Option<String> {
    let ignored = file_name.starts_with('.')
        || file_name.ends_with(SIDECAR_SUFFIX)
        || LEFTOVER_SUFFIXES.iter().any(|suffix| file_name.ends_with(suffix))
        || (file_name.starts_with('#') && file_name.ends_with('#'))
        // Vim asks with this name whether it may create files
        || file_name == "4913";
    if ignored {
        return None;
    }
    decoded(
        file_name
            .rsplit_once('.')
            .map_or(file_name, |(stem, _)| stem),
    )
}

/// The file that a sidecar belongs to; `None`: not a sidecar.
pub fn described_by(file_name: &str) -> Option<&str> {
    file_name.strip_suffix(SIDECAR_SUFFIX)
}

/// The name of the sidecar of a file.
pub fn sidecar_of(file_name: &str) -> String {
    format!("{file_name}{SIDECAR_SUFFIX}")
}

/// The MIME type of a file without a sidecar.
pub fn content_type_of(file_name: &str) -> &'static str {
    match file_name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("json") => "application/json",
        Some("yaml" | "yml") => "application/x-yaml",
        Some("toml") => "application/toml",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    }
}

/// A name as a file name: `.` and `..` too, and a leading dot, which would hide it.
pub fn encoded(name: &str) -> String {
    let encoded = utf8_percent_encode(name, NOT_IN_A_FILE_NAME).to_string();
    match encoded.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => encoded,
    }
}

fn decoded(file_name: &str) -> Option<String> {
    let name = percent_decode_str(file_name).decode_utf8().ok()?;
    (!name.is_empty()).then(|| name.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_extension_is_not_part_of_the_profiles_name() {
        assert_eq!(of_file("limits.json").as_deref(), Some("limits"));
        assert_eq!(of_file("a.b.yaml").as_deref(), Some("a.b"));
        assert_eq!(of_file("plain").as_deref(), Some("plain"));
        assert_eq!(of_file("v1%2E2.json").as_deref(), Some("v1.2"));
        assert_eq!(
            of_file("team%2Flimits.json").as_deref(),
            Some("team/limits")
        );
    }

    #[test]
    fn leftovers_of_editors_are_no_profiles() {
        let names = [
            "",
            ".limits.json.swp",
            ".json",
            "limits.json~",
            "limits.json.swp",
            "4913",
            "#limits.json#",
            "limits.tmp",
        ];
        for name in names {
            assert_eq!(of_file(name), None, "{name}");
        }
        assert_eq!(of_file("limits.json.meta.yaml"), None);
        assert_eq!(described_by("limits.json.meta.yaml"), Some("limits.json"));
    }

    #[test]
    fn the_content_type_follows_the_extension() {
        let types =
            ["a.json", "a.yaml", "a.yml", "a.toml", "a.txt", "a.bin", "a"].map(content_type_of);
        let octets = "application/octet-stream";
        let yaml = "application/x-yaml";
        assert_eq!(
            types,
            [
                "application/json",
                yaml,
                yaml,
                "application/toml",
                "text/plain",
                octets,
                octets
            ]
        );
    }

    proptest! {
        #[test]
        fn every_name_survives_being_a_file_name(name in "\\PC{1,20}") {
            let file_name = encoded(&name);
            prop_assert!(!file_name.contains('/') && !file_name.starts_with('.'));
            prop_assert_eq!(of_folder(&file_name), Some(name.clone()));
            let file_name = format!("{file_name}.conf");
            if !file_name.starts_with('#') {
                prop_assert_eq!(of_file(&file_name), Some(name));
            }
        }

        #[test]
        fn no_file_name_panics(name in ".*") {
            let _ = (of_file(&name), of_folder(&name), content_type_of(&name));
        }
    }
}
