//! What the settings say of the child of `exec`.

use crate::child::Definition;
use crate::settings::{OnFailure, Settings};

/// The child of these settings. `None` where there is none, or nobody says what its command is.
pub fn definition(settings: &Settings) -> Option<Definition> {
    let (service, child) = settings.child()?;
    let environment = child.environment.as_ref();
    Some(Definition {
        command: child.command.clone()?,
        environment: environment.map(|path| settings.rooted(path.as_str())),
        goes_back: service.on_failure == OnFailure::Rollback,
        rules: child.clone(),
    })
}
