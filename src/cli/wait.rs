//! `wait`: until what was received is installed and services know of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::screen::{err, unknown};
use super::start::{Place, runtime, silent};
use super::{Exit, Globals};
use crate::clock::Clock;
use crate::daemon::control::{Client, ControlError};
use crate::daemon::standing::Standing;
use crate::settings::{ProfileName, parse_duration};
use crate::words::escape;

/// Between two looks, at first; it doubles.
const SHORT: Duration = Duration::from_millis(50);
/// Between two looks, at most.
const LONG: Duration = Duration::from_secs(1);

/// Waits until profiles are installed as received last, their files stand, and services have been told
#[derive(clap::Args, Debug)]
#[command(after_help = MORE)]
pub struct Arguments {
    /// Only these, and what depends on them [default: all]
    #[arg(value_name = "PROFILE")]
    profiles: Vec<String>,
    /// How long to wait at most, for a daemon that has yet to be started too
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
}

const MORE: &str = "\
It polls nothing: `appconfigd refresh` does. What only an operator changes is not waited for: a version that is refused, \
quarantined or held, a service that has been given up.

Exit: 0 all is in place, 1 something was turned down or is not done in time, 3 no daemon is running, 66 no such profile, \
75 a required profile could not be reached in time.";

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        match runtime().and_then(|runtime| runtime.block_on(self.wait(globals))) {
            Ok(exit) | Err(exit) => exit,
        }
    }

    async fn wait(self, globals: &Globals) -> Result<Exit, Exit> {
        let clock = Clock::system();
        let until = clock.now().steady.saturating_add(self.timeout);
        let socket = Place::of(globals).socket();
        let mut pause = SHORT;
        loop {
            let left = until.saturating_sub(clock.now().steady);
            match self.look(&socket).await {
                Ok(Standing::Settled) => return Ok(Exit::Done),
                Ok(Standing::Stuck(reason)) => {
                    err!("error: {}", escape(&reason, &[]));
                    return Ok(Exit::Failed);
                }
                Ok(Standing::OnItsWay {
                    reason,
                    unreachable,
                }) if left.is_zero() => {
                    err!("error: not in time: {}", escape(&reason, &[]));
                    return Ok(match unreachable {
                        true => Exit::Unreachable,
                        false => Exit::Failed,
                    });
                }
                Ok(Standing::OnItsWay { .. }) => {}
                Err(error @ (ControlError::NoDaemon(_) | ControlError::Silent(_))) => {
                    // It may yet be started, but not with settings that are wrong.
                    Place::of(globals).settings()?;
                    if left.is_zero() {
                        return Err(silent(&error));
                    }
                }
                Err(ControlError::Unknown) => return Err(self.missing(&socket).await),
                Err(error) => return Err(silent(&error)),
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = pause.saturating_mul(2).min(LONG);
        }
    }

    async fn look(&self, socket: &Path) -> Result<Standing, ControlError> {
        let names = self.profiles.iter();
        let names: BTreeSet<ProfileName> =
            names.map(|name| ProfileName::from(name.as_str())).collect();
        let client = Client::connect(socket).await?;
        client.standing((!names.is_empty()).then_some(&names)).await
    }

    /// The first that the daemon does not have.
    async fn missing(&self, socket: &Path) -> Exit {
        let status = match Client::connect(socket).await {
            Ok(client) => client.status().await.ok(),
            Err(_) => None,
        };
        let has = |name: &&String| {
            let name = ProfileName::from(name.as_str());
            let profiles = status.as_ref().map(|status| &status.profiles);
            profiles.is_some_and(|profiles| profiles.contains_key(&name))
        };
        let mut names = self.profiles.iter();
        match names.find(|name| !has(name)) {
            Some(name) => unknown("profile", name),
            None => silent(&ControlError::Unknown),
        }
    }
}
