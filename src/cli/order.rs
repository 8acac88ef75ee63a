//! What the operator's commands have in common: an order to the daemon, and how the command ends.

use std::time::Duration;

use super::screen::{err, unknown};
use super::start::{Place, exit_of, runtime, silent};
use super::status::print;
use super::{Exit, Globals};
use crate::daemon::control::Client;
use crate::daemon::status::Status;
use crate::settings::{ProfileName, TargetPath};
use crate::transaction::{Holdable, Order};

/// How a command ends whose order was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// As `once` does: 0 only where all is installed as offered.
    AsOnce,
    /// 0.
    Done,
}

/// Has the daemon carry out the order that is made from how it stands, prints the status, and ends.
pub fn give(
    globals: &Globals,
    limit: Duration,
    ends: Ends,
    order: impl FnOnce(&Status) -> Result<Order, Exit>,
) -> Exit {
    let given = |client: Client| async move {
        // The daemon's profiles count: the file may have been edited since.
        let status = client.status().await.map_err(|error| silent(&error))?;
        let order = order(&status)?;
        let words = order.words();
        let obeyed = client.order(order, limit).await;
        obeyed
            .map(|obeyed| (words, obeyed))
            .map_err(|error| silent(&error))
    };
    let done = runtime().and_then(|runtime| {
        runtime.block_on(async { given(Place::of(globals).daemon().await?).await })
    });
    let (words, obeyed) = match done {
        Ok(obeyed) => obeyed,
        Err(exit) => return exit,
    };
    let refreshed = obeyed.refreshed;
    let exit = exit_of(refreshed.settled, refreshed.refused, refreshed.unreachable);
    print(&refreshed.status());
    if let Some(problem) = obeyed.problem {
        err!("error: `{words}` was not carried out: {problem}");
        return Exit::Failed;
    }
    match ends {
        Ends::AsOnce => exit,
        Ends::Done => Exit::Done,
    }
}

/// A profile that the daemon has.
pub fn profile(name: &str, status: &Status) -> Result<ProfileName, Exit> {
    let name = ProfileName::from(name);
    if status.profiles.contains_key(&name) {
        return Ok(name);
    }
    Err(unknown("profile", name.as_str()))
}

/// A profile or target that the daemon has.
pub fn holdable(name: &str, status: &Status) -> Result<Holdable, Exit> {
    let profile = ProfileName::from(name);
    if status.profiles.contains_key(&profile) {
        return Ok(Holdable::Profile(profile));
    }
    if let Some(path) = TargetPath::meant(name, |path| status.targets.contains_key(path)) {
        return Ok(Holdable::Target(path));
    }
    Err(unknown("profile or target", name))
}
