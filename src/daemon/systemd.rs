//! The service manager's side of the conversation: READY, STATUS, RELOADING, STOPPING, watchdog.

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells the service manager, where there is one (`NOTIFY_SOCKET`).
#[derive(Clone, Copy, Debug)]
pub struct Systemd {
    asked: bool,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// `asked`: NOTIFY_SOCKET is set. `watchdog`: the time after which the manager gives us up.
    pub fn new(asked: bool, watchdog: Option<Duration>) -> Systemd {
        Systemd { asked, watchdog }
    }

    /// Somebody waits for READY.
    pub fn is_asked(&self) -> bool {
        self.asked
    }

    /// How often a sign of life is due: half of the manager's patience.
    pub fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog.map(|patience| patience / 2)
    }

    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// One line for `systemctl status`.
    pub fn status(&self, line: &str) {
        self.tell(&[NotifyState::Status(line)]);
    }

    pub fn reloading(&self) {
        // Newer managers want to know when the reload began; older ones ignore it.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// Start-up may take this much longer.
    pub fn extend(&self, more: Duration) {
        let microseconds = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
        self.tell(&[NotifyState::ExtendTimeoutUsec(microseconds)]);
    }

    fn tell(&self, state: &[NotifyState<'_>]) {
        if !self.asked {
            return;
        }
        if let Err(error) = sd_notify::notify(state) {
            tracing::warn!(reason = %error, "the service manager cannot be told");
        }
    }
}
