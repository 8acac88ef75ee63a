//! `run`: keeps a daemon going until it is told to end; signals, READY, watchdog, control requests, reload.
//!
//! The loop itself never waits for a queue, a reload or a disk: whatever takes time is a task of its own, so that a
//! signal is heard at once and a queue that hangs costs the sign of life, nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Interval, MissedTickBehavior};

use crate::child::{Child, ending};
use crate::settings::Settings;
use crate::words::with_causes;

use super::control::{self, Request};
use super::forget::Forgotten;
use super::headline::line;
use super::metrics::{Exposition, Pulse};
use super::nap::Naps;
use super::signals::{Sent, Signals};
use super::standing::Standing;
use super::templates::Templates;
use super::{Daemon, Post, Replaced, StartError, Systemd};

/// Reads the settings again, for a reload: the settings, or all problems as text. Blocking.
pub type Reread = Arc<dyn Fn() -> Result<Settings, String> + Send + Sync>;

/// Between two looks for the status line: a storm of news must not become a storm of looks.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// What the service manager waits longer than our own limits: for a disk, or for a machine that is busy.
const MARGIN: Duration = Duration::from_secs(30);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// Told to.
    Stopped,
    /// Not ready within `ready_timeout`, and somebody waited for READY.
    NotReady,
    /// A reload died with the queues in its hands.
    Broken,
}

/// Runs until SIGTERM or SIGINT. SIGHUP reloads, as a control request does.
///
/// With a `child` it runs until that is not going to be started again, and all signals are the child's.
///
/// # Errors
/// The control socket cannot be made, or signals cannot be caught.
pub async fn supervise(
    daemon: Daemon,
    socket: PathBuf,
    systemd: Systemd,
    reread: Reread,
    child: Option<Child>,
) -> std::io::Result<RunEnd> {
    let (requests, inbox) = mpsc::channel(16);
    let mut metrics = Exposition::new(requests.clone(), daemon.counters());
    let begun = Signals::catch(child.is_none())
        .and_then(|signals| Ok((signals, control::Server::start(&socket, requests)?)));
    let (signals, control) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            daemon.stop().await;
            return Err(error);
        }
    };
    let stop_timeout = daemon.settings().stop_timeout;
    metrics.follow(daemon.settings());
    let mut supervisor = Supervisor {
        systemd: systemd.clone(),
        reread,
        post: daemon.post(),
        news: daemon.news(),
        daemon: Some(daemon),
        child,
        metrics,
        reload: None,
        templates: Templates::default(),
        askers: Vec::new(),
        asked_again: None,
        look: None,
        beat: None,
        ready: false,
    };
    // Its future is large, and so would be those of all callers
    let end = Box::pin(supervisor.watch(signals, inbox)).await;
    // A reload may have changed it; one that is under way comes first, then the queues.
    let stop_timeout = supervisor.stop_timeout().unwrap_or(stop_timeout);
    systemd.stopping(stop_timeout.saturating_mul(2).saturating_add(MARGIN));
    control.stop().await;
    supervisor.metrics.stop();
    supervisor.stop(stop_timeout).await;
    Ok(end)
}

/// Who wants to know what a reload came to.
type Asker = oneshot::Sender<Result<String, String>>;

/// What a reload came to: the problems as text where it was refused.
enum Reloaded {
    Settings(Result<Replaced, String>),
    /// Templates and schemas alone.
    Templates(Result<Option<Replaced>, String>),
}

struct Supervisor {
    systemd: Systemd,
    reread: Reread,
    post: Post,
    news: Arc<Notify>,
    /// A running reload has it.
    daemon: Option<Daemon>,
    /// Of `exec`.
    child: Option<Child>,
    metrics: Exposition,
    reload: Option<JoinHandle<(Daemon, Reloaded)>>,
    templates: Templates,
    askers: Vec<Asker>,
    /// Asked for while one was running, which may have read the old file: it is done once more.
    asked_again: Option<Vec<Asker>>,
    look: Option<JoinHandle<bool>>,
    beat: Option<JoinHandle<()>>,
    ready: bool,
}

impl Supervisor {
    async fn watch(&mut self, mut signals: Signals, mut inbox: mpsc::Receiver<Request>) -> RunEnd {
        let Some(ready_timeout) = self.daemon.as_ref().map(|it| it.settings().ready_timeout) else {
            return RunEnd::Broken;
        };
        // Who gives up first says why: that should be us, with what it takes to end.
        self.systemd.starting(ready_timeout.saturating_add(MARGIN));
        let news = Arc::clone(&self.news);
        let child = self.child.clone();
        let late = tokio::time::sleep(ready_timeout);
        tokio::pin!(late);
        let mut late_seen = false;
        let mut watchdog = self.systemd.watchdog_period().map(|period| {
            let mut interval = tokio::time::interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        if let Some(daemon) = &self.daemon {
            daemon.watch_templates(&mut self.templates);
        }
        let mut naps = Naps::new(self.post.clock().clone());
        loop {
            tokio::select! {
                sent = signals.next() => match sent {
                    Sent::Stop => return RunEnd::Stopped,
                    Sent::Reload => self.begin_reload(None),
                },
                () = ending(child.as_ref()) => return RunEnd::Stopped,
                Some(request) = inbox.recv() => self.request(request),
                reloaded = ended(&mut self.reload), if self.reload.is_some() => {
                    self.reload = None;
                    match reloaded {
                        Ok((daemon, outcome)) => self.reloaded(daemon, outcome),
                        Err(error) => {
                            tracing::error!(reason = %error, "a reload ended unexpectedly");
                            return RunEnd::Broken;
                        }
                    }
                }
                () = self.templates.changed(), if self.daemon.is_some() => self.begin_rendering(),
                () = news.notified(), if self.may_look() => self.begin_look(),
                stands = ended(&mut self.look), if self.look.is_some() => {
                    self.look = None;
                    // Where looking broke, the next news look again.
                    self.looked(stands.unwrap_or(false));
                }
                () = &mut late, if !self.ready && !late_seen => {
                    late_seen = true;
                    let seconds = ready_timeout.as_secs();
                    tracing::error!(event = "not_ready", seconds, "not ready within ready_timeout");
                    if self.systemd.is_asked() || self.child.is_some() {
                        return RunEnd::NotReady;
                    }
                }
                () = tick(&mut watchdog), if watchdog.is_some() => {
                    self.begin_beat();
                    naps.look().into_iter().for_each(|napped| self.wake(napped));
                }
                // A daemon that wakes for the watchdog does not wake for this.
                napped = naps.ended(), if watchdog.is_none() => self.wake(napped),
            }
        }
    }

    fn wake(&self, napped: Duration) {
        let seconds = napped.as_secs();
        tracing::info!(
            seconds,
            "the machine has slept: what came due meanwhile is done now"
        );
        let post = self.post.clone();
        // Whoever is asked looks at the clock again.
        tokio::spawn(async move { post.is_alive(true).await });
    }

    fn request(&mut self, request: Request) {
        let post = self.post.clone();
        match request {
            // An error means that the client has gone.
            Request::Status(reply) => {
                tokio::spawn(async move { reply.send(post.status().await) });
            }
            Request::Pulse(reply) => {
                let (ready, replacing) = (self.ready, self.reload.is_some());
                tokio::spawn(async move {
                    let alive = post.is_alive(replacing).await;
                    reply.send(Pulse { alive, ready })
                });
            }
            Request::Declared(reply) => {
                tokio::spawn(async move { reply.send(post.declared().await) });
            }
            Request::Standing { profiles, reply } => {
                tokio::spawn(async move {
                    let views = post.views().await;
                    let status = post.status_of(views.clone()).await;
                    reply.send(Standing::of(&views, status, profiles.as_ref()))
                });
            }
            Request::Refresh {
                profiles,
                limit,
                reply,
            } => {
                tokio::spawn(async move {
                    let views = post.settle(profiles, limit, false).await;
                    reply.send(post.status_of(views).await)
                });
            }
            Request::Order {
                order,
                limit,
                reply,
            } => {
                tokio::spawn(async move {
                    let obeyed = post.order(&order, limit).await;
                    let told = match obeyed {
                        Some(obeyed) => Some((obeyed, post.status().await)),
                        None => None,
                    };
                    reply.send(told)
                });
            }
            Request::Forget { name, reply } => match &self.daemon {
                Some(daemon) => {
                    let forgetting = daemon.forgetting(name);
                    tokio::spawn(async move { reply.send(forgetting.await) });
                }
                None => {
                    let problem = "the settings are being read again: ask once more".to_owned();
                    let _ = reply.send(Forgotten::Not { problem });
                }
            },
            Request::Reload(reply) => self.begin_reload(Some(reply)),
        }
    }

    fn begin_reload(&mut self, asker: Option<Asker>) {
        let Some(mut daemon) = self.daemon.take() else {
            self.asked_again.get_or_insert_default().extend(asker);
            return;
        };
        self.askers.extend(asker);
        // Before the first READY this would be one.
        if self.ready {
            self.systemd.reloading();
        }
        let reread = Arc::clone(&self.reread);
        self.reload = Some(tokio::spawn(async move {
            let read = tokio::task::spawn_blocking(move || reread()).await;
            let outcome = match read.unwrap_or_else(|error| Err(error.to_string())) {
                Err(problems) => Err(problems),
                Ok(settings) => match Box::pin(daemon.replace(settings)).await {
                    Ok(replaced) => Ok(replaced),
                    Err(error) => Err(problems_of(&error)),
                },
            };
            (daemon, Reloaded::Settings(outcome))
        }));
    }

    fn begin_rendering(&mut self) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        self.reload = Some(tokio::spawn(async move {
            let outcome = Box::pin(daemon.render_anew()).await;
            let outcome = outcome.map_err(|error| problems_of(&error));
            (daemon, Reloaded::Templates(outcome))
        }));
    }

    fn reloaded(&mut self, daemon: Daemon, outcome: Reloaded) {
        daemon.watch_templates(&mut self.templates);
        self.metrics.follow(daemon.settings());
        self.post = daemon.post();
        self.daemon = Some(daemon);
        self.news.notify_one();
        match outcome {
            Reloaded::Settings(outcome) => self.settings_reloaded(outcome),
            Reloaded::Templates(Ok(None)) => {}
            Reloaded::Templates(Ok(Some(replaced))) => super::report::rendered_anew(&replaced),
            Reloaded::Templates(Err(problems)) => tracing::error!(
                event = "not_reloaded",
                problems,
                "a template or schema has changed and cannot be used: nothing else has changed"
            ),
        }
        if let Some(askers) = self.asked_again.take() {
            self.askers = askers;
            self.begin_reload(None);
        }
    }

    fn settings_reloaded(&mut self, outcome: Result<Replaced, String>) {
        match &outcome {
            Ok(replaced) => super::report::reloaded(replaced),
            Err(problems) => {
                tracing::error!(
                    event = "not_reloaded",
                    problems,
                    "settings not reloaded: nothing has changed"
                );
            }
        }
        if self.ready {
            self.systemd.ready();
        }
        let outcome = outcome.map(|replaced| replaced.differences.to_string());
        for asker in self.askers.drain(..) {
            let _ = asker.send(outcome.clone());
        }
    }

    /// While queues are being replaced there is no whole picture.
    fn may_look(&self) -> bool {
        self.look.is_none() && self.daemon.is_some() && (!self.ready || self.systemd.is_asked())
    }

    fn begin_look(&mut self) {
        let (post, systemd, ready) = (self.post.clone(), self.systemd.clone(), self.ready);
        self.look = Some(tokio::spawn(async move {
            let stands = ready || post.files_stand().await;
            // READY comes before everything else that can be said.
            if systemd.is_asked() && (ready || !stands) {
                systemd.status(&line(&post.status().await));
            }
            if ready {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
            stands
        }));
    }

    fn looked(&mut self, stands: bool) {
        if self.ready || !stands {
            return;
        }
        // A reload has begun since: it is looked at again when that has ended.
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        self.ready = true;
        daemon.say_ready();
        self.systemd.ready();
        tracing::info!(event = "ready", "ready");
        self.news.notify_one();
    }

    /// A sign of life of every queue, not of a timer. Where one does not answer there is no next question either.
    fn begin_beat(&mut self) {
        if self.beat.as_ref().is_some_and(|beat| !beat.is_finished()) {
            return;
        }
        let (post, systemd) = (self.post.clone(), self.systemd.clone());
        let replacing = self.reload.is_some();
        self.beat = Some(tokio::spawn(async move {
            if post.is_alive(replacing).await {
                systemd.alive();
            }
        }));
    }

    fn stop_timeout(&self) -> Option<Duration> {
        Some(self.daemon.as_ref()?.settings().stop_timeout)
    }

    async fn stop(self, stop_timeout: Duration) {
        let daemon = match (self.daemon, self.reload) {
            (Some(daemon), _) => Some(daemon),
            (None, Some(reload)) => match tokio::time::timeout(stop_timeout, reload).await {
                Ok(Ok((daemon, _))) => Some(daemon),
                Ok(Err(_)) | Err(_) => None,
            },
            (None, None) => None,
        };
        match daemon {
            Some(daemon) => daemon.stop().await,
            None => tracing::warn!("a reload was still running: it is left to recovery"),
        }
    }
}

async fn ended<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

async fn tick(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// The text that `reload` prints when settings that read well cannot be used.
pub fn problems_of(error: &StartError) -> String {
    match error {
        StartError::Content(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            lines.join("\n")
        }
        other => with_causes(other),
    }
}
