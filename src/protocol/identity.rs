//! Whose state it is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Where a profile's state belongs: endpoint or local directory, region, role, application, environment and configuration
/// profile as one text. A changed identity uses none of the old state. Cheap to clone: a profile's is a key in a dozen maps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity(pub Arc<str>);
