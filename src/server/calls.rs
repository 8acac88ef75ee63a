//! What was asked of the server, counted a profile.

use std::collections::BTreeMap;

use serde::Serialize;

use super::names::ProfileId;

/// The calls about one profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// StartConfigurationSession, whatever was answered.
    pub start: u64,
    /// GetLatestConfiguration, whatever was answered.
    pub get: u64,
    /// Configurations that were sent in full, lost ones among them.
    pub received: u64,
    /// Polls that came before the interval had passed.
    pub early: u64,
    /// Polls with a token that was used up or expired.
    pub rejected: u64,
}

/// All counts. A call whose token is unknown belongs to no profile and is not counted.
#[derive(Debug, Default, Serialize)]
pub struct Calls {
    profiles: BTreeMap<String, Counts>,
}

impl Calls {
    pub fn of(&mut self, profile: &ProfileId) -> &mut Counts {
        self.profiles.entry(profile.to_string()).or_default()
    }

    pub fn forget(&mut self) {
        self.profiles.clear();
    }
}
