//! `once`: one poll of everything, the whole transaction, and out.

use std::time::Duration;

use super::start::{directories, exit_of, refused, with_settings};
use super::status::print;
use super::{Exit, Globals};
use crate::clock::Clock;
use crate::daemon::Daemon;
use crate::settings::{Settings, parse_duration};

/// Polls every profile that is due once, installs and notifies, and ends
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// How long a source that cannot be reached is asked again
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        with_settings(globals, async |settings| {
            Box::pin(self.once(settings, globals)).await
        })
    }

    async fn once(self, settings: Settings, globals: &Globals) -> Exit {
        let directories = directories(globals, &settings);
        let started = Daemon::start_once(settings, &directories.state, Clock::system()).await;
        let daemon = match started {
            Ok(daemon) => daemon,
            Err(error) => return refused(&error, &directories.state),
        };
        let post = daemon.post();
        let views = post.settle(None, self.timeout, true).await;
        let status = post.status_of(views).await;
        daemon.stop().await;
        print(&status);
        exit_of(
            status.is_settled(),
            status.is_refused(),
            status.is_unreachable(),
        )
    }
}
