//! `run`: keeps a daemon going until it is told to end; signals, READY, watchdog, control requests, reload.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::settings::Settings;

use super::control::{self, Request};
use super::status::{Health, Status};
use super::{Daemon, Post, Replaced, StartError, Systemd};

/// Reads the settings again, for a reload: the settings, or all problems as text.
pub type Reread = Box<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// How often the status line is renewed at most.
const STATUS_PAUSE: Duration = Duration::from_secs(1);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// Told to.
    Stopped,
    /// Not ready within `ready_timeout`, and somebody waited for READY.
    NotReady,
}

/// Runs until SIGTERM or SIGINT. SIGHUP reloads, as a control request does.
///
/// # Errors
/// The control socket cannot be made, or signals cannot be caught.
pub async fn supervise(
    daemon: Daemon,
    socket: PathBuf,
    systemd: Systemd,
    reread: Reread,
) -> std::io::Result<RunEnd> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (requests, mut inbox) = mpsc::channel(16);
    let control = control::Server::start(&socket, requests)?;
    let news = daemon.news();
    let ready_timeout = daemon.settings().ready_timeout;
    systemd.extend(ready_timeout);
    let mut post = daemon.post();
    // Only a reload and the end need the daemon itself; everything else asks its queues.
    let daemon = Arc::new(Mutex::new(daemon));
    let (reloaded, mut reloads) = mpsc::channel::<Post>(1);
    let mut ready = false;
    let late = tokio::time::sleep(ready_timeout);
    tokio::pin!(late);
    let mut late_seen = false;
    let mut watchdog = systemd.watchdog_period().map(tokio::time::interval);
    let end = loop {
        tokio::select! {
            _ = terminate.recv() => break RunEnd::Stopped,
            _ = interrupt.recv() => break RunEnd::Stopped,
            _ = hangup.recv() => {
                let (daemon, reread) = (Arc::clone(&daemon), &reread);
                let outcome = reload(daemon, reread, systemd, reloaded.clone()).await;
                log_reload(&outcome);
            }
            Some(request) = inbox.recv() => match request {
                Request::Status(reply) => {
                    let post = post.clone();
                    tokio::spawn(async move {
                        // An error means that the client has gone.
                        let _ = reply.send(post.status().await);
                    });
                }
                Request::Refresh { profiles, limit, reply } => {
                    let post = post.clone();
                    tokio::spawn(async move {
                        let views = post.settle(profiles, limit, false).await;
                        let _ = reply.send(post.status_of(views).await);
                    });
                }
                Request::Reload(reply) => {
                    let outcome = reload(Arc::clone(&daemon), &reread, systemd, reloaded.clone()).await;
                    log_reload(&outcome);
                    answer_reload(reply, outcome);
                }
            },
            Some(new) = reloads.recv() => post = new,
            () = news.notified() => {
                if !ready && post.files_stand().await {
                    ready = true;
                    daemon.lock().await.say_ready();
                    systemd.ready();
                    tracing::info!("ready");
                }
                systemd.status(&line(&post.status().await));
                // Between two looks there is a pause, so that a storm of news does not become a storm of looks.
                if ready {
                    let news = Arc::clone(&news);
                    tokio::time::sleep(STATUS_PAUSE.min(Duration::from_millis(200))).await;
                    drop(news);
                }
            }
            () = &mut late, if !ready && !late_seen => {
                late_seen = true;
                let seconds = ready_timeout.as_secs();
                tracing::error!(seconds, "not ready within ready_timeout");
                if systemd.is_asked() {
                    break RunEnd::NotReady;
                }
            }
            _ = tick(&mut watchdog), if watchdog.is_some() => {
                // A sign of life of every queue, not of a timer.
                if post.is_alive().await {
                    systemd.alive();
                }
            }
        }
    };
    systemd.stopping();
    control.stop().await;
    match Arc::try_unwrap(daemon) {
        Ok(daemon) => daemon.into_inner().stop().await,
        Err(_) => tracing::error!("a reload was still running at the end"),
    }
    Ok(end)
}

async fn tick(watchdog: &mut Option<tokio::time::Interval>) {
    match watchdog {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// What a reload came to: the problems as text where it was refused.
type Reloaded = Result<Replaced, String>;

async fn reload(
    daemon: Arc<Mutex<Daemon>>,
    reread: &Reread,
    systemd: Systemd,
    reloaded: mpsc::Sender<Post>,
) -> Reloaded {
    systemd.reloading();
    let outcome = match reread() {
        Err(problems) => Err(problems),
        Ok(settings) => {
            let mut daemon = daemon.lock().await;
            let replaced = daemon.replace(settings).await;
            // There is room for one, and the loop takes it before the next reload.
            let _ = reloaded.try_send(daemon.post());
            replaced.map_err(|error| problems_of(&error))
        }
    };
    systemd.ready();
    outcome
}

/// The text that `reload` prints when settings that read well cannot be used.
pub fn problems_of(error: &StartError) -> String {
    match error {
        StartError::Content(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            lines.join("\n")
        }
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            text
        }
    }
}

fn log_reload(outcome: &Reloaded) {
    match outcome {
        Ok(Replaced {
            unchanged,
            replaced,
            started,
        }) => {
            tracing::info!(unchanged, replaced, started, "settings reloaded");
        }
        Err(problems) => {
            tracing::error!(problems, "settings not reloaded: nothing has changed");
        }
    }
}

fn answer_reload(reply: oneshot::Sender<Result<(), String>>, outcome: Reloaded) {
    let _ = reply.send(outcome.map(|_| ()));
}

/// One line for `systemctl status`.
fn line(status: &Status) -> String {
    let state = match status.state {
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Failed => "failed",
    };
    let troubles = status
        .profiles
        .iter()
        .filter_map(|(name, profile)| Some(format!("{name}: {}", profile.reason.as_deref()?)));
    let counts = format!(
        "{state}: {} profiles, {} targets, {} services",
        status.profiles.len(),
        status.targets.len(),
        status.services.len()
    );
    match troubles.into_iter().next() {
        Some(first) => format!("{counts}; {first}"),
        None => counts,
    }
}
