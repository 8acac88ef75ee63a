//! What a poll brought.

use std::fmt;

use bytes::Bytes;

use super::Digest;

/// One configuration as the service sent it. `Debug` never shows the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Configuration {
    bytes: Bytes,
    content_type: Option<String>,
    label: Option<String>,
    digest: Digest,
}

impl Configuration {
    /// `bytes` should own its buffer: a slice of a network buffer would keep that buffer alive. An empty label counts as none.
    pub fn new(bytes: Bytes, content_type: Option<String>, label: Option<String>) -> Configuration {
        let digest = Digest::of(&bytes);
        Configuration {
            bytes,
            content_type,
            label: label.filter(|label| !label.is_empty()),
            digest,
        }
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The `Content-Type` as it came, parameters included.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The `Version-Label` of a hosted configuration version.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration")
            .field("bytes", &format_args!("{} bytes", self.bytes.len()))
            .field("content_type", &self.content_type)
            .field("label", &self.label)
            .field("digest", &self.digest)
            .finish()
    }
}
