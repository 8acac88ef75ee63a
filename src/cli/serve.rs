//! `serve`: the embedded AppConfig Data server alone.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::screen::err;
use super::start::{logs, runtime};
use super::{Exit, Globals};
use crate::clock::Clock;
use crate::protocol::GREATEST_POLL_INTERVAL;
use crate::server::{Options, Server, ServerError, TokenReuse};
use crate::settings::parse_duration;
use crate::words::with_causes;

/// Serves a directory as AWS AppConfig Data, for laptops, tests and demos
#[derive(clap::Args, Debug)]
#[command(after_help = MORE)]
pub struct Arguments {
    /// Where the configurations are
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
    /// Address and port; port 0 is any free one, and is printed
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", value_parser = address)]
    listen: SocketAddr,
    /// Offer `/_local/clock`, `/_local/faults`, `/_local/calls` and `/_local/sessions`
    #[arg(long)]
    controls: bool,
    /// Listen on an address that other machines can reach
    #[arg(long)]
    allow_remote: bool,
    /// What becomes of a token that has been used
    #[arg(long, value_enum, default_value = "reject")]
    token_reuse: Reuse,
    /// Least RequiredMinimumPollIntervalInSeconds that is taken, for example `1s` or `2m`
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = interval)]
    minimum_interval: Duration,
}

const MORE: &str = "\
The configuration of a profile is the file DIR/APPLICATION/ENVIRONMENT/PROFILE.ext. Its content type follows from the \
extension, or stands with a version label in PROFILE.ext.meta.yaml (`content_type`, `version_label`). A change of either \
file is a deployment and is seen at once. Signatures are neither needed nor verified.";

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Reuse {
    Reject,
    Accept,
}

impl Arguments {
    pub fn run(self, globals: &Globals) -> Exit {
        logs(globals);
        let options = Options {
            directory: self.directory,
            listen: self.listen,
            controls: self.controls,
            allow_remote: self.allow_remote,
            token_reuse: match self.token_reuse {
                Reuse::Reject => TokenReuse::Reject,
                Reuse::Accept => TokenReuse::Accept,
            },
            minimum_interval: self.minimum_interval,
        };
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(exit) => return exit,
        };
        runtime.block_on(serve(options))
    }
}

async fn serve(options: Options) -> Exit {
    // Before the address is printed: whoever reads it may send a signal
    let stopped = match stop_signal() {
        Ok(stopped) => stopped,
        Err(error) => return failed("cannot listen for signals", &error),
    };
    let server = match Server::start(options, Clock::system()).await {
        Ok(server) => server,
        Err(error) => return refused(&error),
    };
    if let Err(error) = say(&format!("listening on {}", server.endpoint())) {
        return failed("cannot print the address", &error);
    }
    stopped.await;
    server.stop().await;
    Exit::Done
}

fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn refused(error: &ServerError) -> Exit {
    let exit = match error {
        ServerError::NotLoopback(_) | ServerError::MinimumInterval(_) => Exit::Usage,
        ServerError::NoDirectory(_) => Exit::NoInput,
        ServerError::Directory { .. } => Exit::Settings,
        ServerError::Listen { .. } => Exit::Failed,
    };
    err!("error: {}", with_causes(error));
    exit
}

fn failed(attempt: &str, error: &io::Error) -> Exit {
    err!("error: {attempt}: {error}");
    Exit::Failed
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let address = text
        .parse()
        .map_err(|_| "expected a number, not a name, and a port: `127.0.0.1:8080`");
    Ok(address?)
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if interval.is_zero() || interval > GREATEST_POLL_INTERVAL {
        return Err("the service's intervals are from `1s` to `24h`".to_owned());
    }
    Ok(interval)
}
