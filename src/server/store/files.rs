//! One configuration on disk: its file and its sidecar.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use axum::http::HeaderValue;
use bytes::Bytes;
use serde::Deserialize;

use crate::protocol::{Digest, wire};
use crate::server::names;

/// A sidecar has two lines.
const GREATEST_SIDECAR: u64 = 64 * 1_024;

/// Why a file is not deployed.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    #[error("cannot read `{}`; it must be a file that this user may read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("`{}` is larger than {limit} bytes, the most that the service deploys", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("the sidecar `{}` is wrong: {problem}", path.display())]
    Sidecar { path: PathBuf, problem: String },
}

/// What a file and its sidecar look like from outside: any write or replacement changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    file: Stamp,
    sidecar: Option<Stamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    /// `None`: there is no file.
    pub fn at(path: &Path) -> Option<Look> {
        let file = Stamp::at(path)?;
        Some(Look {
            file,
            sidecar: sidecar_of(path).as_deref().and_then(Stamp::at),
        })
    }

    pub fn is_empty(&self) -> bool {
        self.file.size == 0
    }
}

impl Stamp {
    fn at(path: &Path) -> Option<Stamp> {
        std::fs::metadata(path)
            .ok()
            .filter(Metadata::is_file)
            .map(|metadata| Stamp {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            })
    }
}

/// A configuration as it would be deployed.
pub struct Content {
    pub bytes: Bytes,
    pub content_type: HeaderValue,
    pub label: Option<HeaderValue>,
    /// Of the bytes of both files.
    pub fingerprint: Digest,
}

impl Content {
    pub fn read(path: &Path, look: &Look) -> Result<Content, ContentError> {
        let bytes = read(path, wire::GREATEST_CONFIGURATION)?;
        let mut sidecar_bytes = Vec::new();
        let mut sidecar = Sidecar::default();
        if let Some(path) = sidecar_of(path).filter(|_| look.sidecar.is_some()) {
            sidecar_bytes = read(&path, GREATEST_SIDECAR)?;
            sidecar = Sidecar::parse(&sidecar_bytes)
                .map_err(|problem| ContentError::Sidecar { path, problem })?;
        }
        let file_name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let by_extension = HeaderValue::from_static(names::content_type_of(file_name));
        let mut both = Digest::of(&bytes).as_bytes().to_vec();
        both.push(u8::from(look.sidecar.is_some()));
        both.extend_from_slice(&sidecar_bytes);
        Ok(Content {
            bytes: Bytes::from(bytes),
            content_type: sidecar.content_type.unwrap_or(by_extension),
            label: sidecar.label,
            fingerprint: Digest::of(&both),
        })
    }
}

/// `PROFILE.ext.meta.yaml`, checked.
#[derive(Debug, Default)]
struct Sidecar {
    content_type: Option<HeaderValue>,
    label: Option<HeaderValue>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    content_type: Option<String>,
    version_label: Option<String>,
}

impl Sidecar {
    fn parse(bytes: &[u8]) -> Result<Sidecar, String> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Sidecar::default());
        }
        let written: Option<Written> =
            serde_yaml::from_slice(bytes).map_err(|error| error.to_string())?;
        let written = written.unwrap_or_default();
        if let Some(label) = &written.version_label {
            let length = label.chars().count();
            if length == 0
                || length > wire::LONGEST_LABEL
                || label.chars().all(|digit| digit.is_ascii_digit())
            {
                let longest = wire::LONGEST_LABEL;
                return Err(format!(
                    "`version_label` must have 1 to {longest} characters, not only digits"
                ));
            }
        }
        Ok(Sidecar {
            content_type: header("content_type", written.content_type)?,
            label: header("version_label", written.version_label)?,
        })
    }
}

fn header(key: &str, value: Option<String>) -> Result<Option<HeaderValue>, String> {
    let Some(value) = value else { return Ok(None) };
    let header = HeaderValue::from_str(&value)
        .ok()
        .filter(|_| !value.trim().is_empty());
    header
        .map(Some)
        .ok_or_else(|| format!("`{key}` must be visible ASCII characters, as in an HTTP header"))
}

fn sidecar_of(path: &Path) -> Option<PathBuf> {
    Some(path.with_file_name(names::sidecar_of(path.file_name()?.to_str()?)))
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ContentError> {
    let unreadable = |source| ContentError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(ContentError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// Never waits, even if somebody has put a pipe in the file's place meanwhile.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sidecar_gives_content_type_and_label() {
        let sidecar = Sidecar::parse(b"content_type: text/x-nginx\nversion_label: v1.2\n").unwrap();
        assert_eq!(sidecar.content_type.unwrap(), "text/x-nginx");
        assert_eq!(sidecar.label.unwrap(), "v1.2");
        assert!(Sidecar::parse(b"").unwrap().label.is_none());
        assert!(Sidecar::parse(b"# nothing yet\n").unwrap().label.is_none());
    }

    #[test]
    fn a_wrong_sidecar_is_refused() {
        let too_long = format!("version_label: {}", "x".repeat(65));
        let wrong = [
            "label: v1",
            "version_label: '12'",
            "version_label: ''",
            "content_type: \"a\\nb\"",
            "[1]",
            "{",
            &too_long,
        ];
        for text in wrong {
            assert!(Sidecar::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_sidecar_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Sidecar::parse(&bytes);
        }
    }
}
