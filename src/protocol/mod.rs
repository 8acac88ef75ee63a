//! AppConfig Data's vocabulary, once, for client and server.

mod configuration;
mod digest;
mod identity;
pub mod wire;

pub use configuration::Configuration;
pub use digest::{Digest, Digesting, NotADigest};
pub use identity::Identity;

use std::time::Duration;

/// Least value of `RequiredMinimumPollIntervalInSeconds` (service model 2021-11-11).
pub const LEAST_POLL_INTERVAL: Duration = Duration::from_secs(15);
/// Greatest value of `RequiredMinimumPollIntervalInSeconds` (service model 2021-11-11).
pub const GREATEST_POLL_INTERVAL: Duration = Duration::from_secs(86_400);
/// What the service answers when no minimum was asked for (API reference, GetLatestConfiguration).
pub const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(60);
/// A token is valid for up to 24 hours (API reference).
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
