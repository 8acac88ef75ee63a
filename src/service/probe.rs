//! Probes: is the service well, several times in a row, in time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Verdict;
use super::command::{self, Asked};
use super::http::{self, Http};
use crate::process::Ended;
use crate::settings::{Probe, ProbeAsk};

/// Why one try did not succeed.
#[derive(Debug)]
pub enum Failure {
    Failed(String),
    /// The question could not be asked, which says nothing of the service.
    NotAsked(String),
}

/// Of one HTTP try, so that one connection that hangs does not use up the whole time.
const HTTP_TRY: Duration = Duration::from_secs(5);

/// One try, ended at the limit.
pub async fn once(
    ask: &ProbeAsk,
    http: &Http,
    asked: &Asked<'_>,
    limit: Duration,
) -> Result<(), Failure> {
    match ask {
        ProbeAsk::Http(url) => http.get(url, limit.min(HTTP_TRY)).await.map_err(|failure| {
            let text = format!("`{}` {failure}", http::shown(url));
            match failure {
                http::Failure::Ours(_) => Failure::NotAsked(text),
                _ => Failure::Failed(text),
            }
        }),
        ProbeAsk::Command(command) => match asked.run(command, limit).await {
            Ok(run) if run.ended == Ended::Exited(0) => Ok(()),
            Ok(run) => {
                let text = command::failure(command, &run, limit);
                Err(match run.ended {
                    Ended::Exited(status)
                        if asked.surroundings.could_not_start(status, &run.output) =>
                    {
                        Failure::NotAsked(text)
                    }
                    _ => Failure::Failed(text),
                })
            }
            Err(error) => Err(Failure::NotAsked(command::not_started(&error))),
        },
    }
}

/// Tries, at least once, until enough successes came in a row or the time is up. `limit`: of one run of a command.
pub async fn whole(probe: &Probe, http: &Http, asked: &Asked<'_>, limit: Duration) -> Verdict {
    let end = Instant::now() + probe.within;
    let mut in_a_row = 0;
    let mut last = None;
    let mut tried = false;
    sleep(probe.delay.min(probe.within)).await;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match once(&probe.ask, http, asked, left.min(limit)).await {
            Ok(()) => {
                in_a_row += 1;
                if in_a_row >= probe.successes {
                    return Verdict::Accepted;
                }
            }
            // A try that the end has cut short says less than the one before it.
            Err(Failure::Failed(_)) if tried && Instant::now() >= end => {}
            Err(Failure::Failed(text)) => {
                in_a_row = 0;
                last = Some(text);
            }
            Err(Failure::NotAsked(text)) => return Verdict::Undecided(text),
        }
        tried = true;
        if Instant::now() + probe.interval >= end {
            return Verdict::Rejected(too_late(probe, in_a_row, last));
        }
        sleep(probe.interval).await;
    }
}

fn too_late(probe: &Probe, in_a_row: u32, last: Option<String>) -> String {
    let wanted = match probe.successes {
        1 => String::new(),
        successes => format!(" {successes} times in a row"),
    };
    let seen = last.unwrap_or_else(|| match &probe.ask {
        ProbeAsk::Http(url) => format!("`{}` succeeded {in_a_row} times", http::shown(url)),
        ProbeAsk::Command(command) => {
            format!(
                "`{}` succeeded {in_a_row} times",
                crate::process::Shown(command)
            )
        }
    });
    format!(
        "probe did not succeed{wanted} within {:?}: {seen}",
        probe.within
    )
}

impl Failure {
    pub fn into_text(self) -> String {
        match self {
            Failure::Failed(text) | Failure::NotAsked(text) => text,
        }
    }
}
