//! The service manager's side of the conversation: READY, STATUS, RELOADING, STOPPING, watchdog.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::mpsc;

/// Tells the service manager, where there is one. Cheap to clone.
///
/// A manager that does not read is not waited for: once its queue is full, STATUS and the like are dropped, for the next
/// one says more; READY, RELOADING and STOPPING go out in their order as soon as there is room.
#[derive(Clone, Debug)]
pub struct Systemd {
    manager: Option<Manager>,
    watchdog: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Manager {
    socket: Arc<OsStr>,
    late: mpsc::UnboundedSender<String>,
    /// Of those: not sent yet.
    waiting: Arc<AtomicUsize>,
}

impl Systemd {
    /// `socket`: NOTIFY_SOCKET, where it is set. `watchdog`: the time after which the manager gives us up. Needs a Tokio
    /// runtime with IO.
    pub fn new(socket: Option<OsString>, watchdog: Option<Duration>) -> Systemd {
        Systemd {
            manager: socket.map(Manager::new),
            watchdog,
        }
    }

    /// Somebody waits for READY.
    pub fn is_asked(&self) -> bool {
        self.manager.is_some()
    }

    /// How often a sign of life is due: half of the manager's patience.
    pub fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog.map(|patience| patience / 2)
    }

    pub fn ready(&self) {
        self.insist(&[NotifyState::Ready]);
    }

    /// One line for `systemctl status`.
    pub fn status(&self, line: &str) {
        self.mention(&[NotifyState::Status(line)]);
    }

    pub fn reloading(&self) {
        // Newer managers want to know when the reload began; older ones ignore it.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.insist(&[NotifyState::Reloading, now]),
            Err(_) => self.insist(&[NotifyState::Reloading]),
        }
    }

    /// We end, and that may take so long whatever the unit says.
    pub fn stopping(&self, within: Duration) {
        let time = extension(within);
        self.insist(&[NotifyState::Stopping, NotifyState::Custom(&time)]);
    }

    pub fn alive(&self) {
        self.mention(&[NotifyState::Watchdog]);
    }

    /// Start-up may take so long from now on, whatever the unit says.
    pub fn starting(&self, within: Duration) {
        self.insist(&[NotifyState::Custom(&extension(within))]);
    }

    /// Now or never.
    fn mention(&self, states: &[NotifyState<'_>]) {
        if let Some(manager) = &self.manager {
            match manager.send(&message(states)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tracing::debug!("the service manager does not read: it is not told");
                }
                sent => complain(sent),
            }
        }
    }

    /// Now or later. In order as far as one caller goes: the supervisor's loop is the only one.
    fn insist(&self, states: &[NotifyState<'_>]) {
        if let Some(manager) = &self.manager {
            let message = message(states);
            if manager.waiting.load(Ordering::SeqCst) == 0 {
                match manager.send(&message) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    sent => return complain(sent),
                }
            }
            manager.waiting.fetch_add(1, Ordering::SeqCst);
            // An error means that the runtime is ending.
            let _ = manager.late.send(message);
        }
    }
}

impl Manager {
    fn new(socket: OsString) -> Manager {
        let (late, mut messages) = mpsc::unbounded_channel::<String>();
        let manager = Manager {
            socket: socket.into(),
            late,
            waiting: Arc::default(),
        };
        let (socket, waiting) = (Arc::clone(&manager.socket), Arc::clone(&manager.waiting));
        tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                complain(send_later(&socket, &message).await);
                waiting.fetch_sub(1, Ordering::SeqCst);
            }
        });
        manager
    }

    /// `WouldBlock` where the manager's queue is full.
    fn send(&self, message: &str) -> io::Result<()> {
        connected(&self.socket)?.send(message.as_bytes()).map(drop)
    }
}

async fn send_later(socket: &OsStr, message: &str) -> io::Result<()> {
    let connection = tokio::net::UnixDatagram::from_std(connected(socket)?)?;
    connection.send(message.as_bytes()).await.map(drop)
}

/// A path, or a name in the abstract space that begins with `@` (sd_notify(3)).
fn connected(socket: &OsStr) -> io::Result<UnixDatagram> {
    let connection = UnixDatagram::unbound()?;
    connection.set_nonblocking(true)?;
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => connection.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => connection.connect(socket)?,
    }
    Ok(connection)
}

/// sd-notify's own stops at 71 minutes.
fn extension(time: Duration) -> String {
    let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    format!("EXTEND_TIMEOUT_USEC={microseconds}")
}

fn message(states: &[NotifyState<'_>]) -> String {
    states.iter().map(|state| format!("{state}\n")).collect()
}

fn complain(sent: io::Result<()>) {
    if let Err(error) = sent {
        tracing::warn!(reason = %error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn heard(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let length = manager.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_manager_that_does_not_read_is_not_waited_for_and_hears_of_ready_in_the_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        manager.set_read_timeout(Some(LONG)).expect("a limit");
        let systemd = Systemd::new(Some(path.into_os_string()), None);
        let told = tokio::task::spawn_blocking(move || {
            // More than any queue holds.
            for _ in 0..10_000 {
                systemd.status("busy");
            }
            systemd.reloading();
            systemd.ready();
            systemd
        });
        let told = tokio::time::timeout(LONG, told).await;
        let _systemd = told.expect("nobody waits").expect("nothing panics");
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line| line != "READY=1\n") {
            let line = tokio::task::block_in_place(|| heard(&manager));
            lines.push(line);
        }
        let before = lines.iter().rev().nth(1).expect("a line before READY");
        assert!(
            before.starts_with("RELOADING=1\nMONOTONIC_USEC="),
            "{before}"
        );
        assert!(lines.len() < 10_000, "what found no room is dropped");
    }

    #[tokio::test]
    async fn a_name_in_the_abstract_space_is_reached() {
        let name = format!("appconfigd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("a socket");
        let systemd = Systemd::new(Some(format!("@{name}").into()), None);
        systemd.starting(Duration::from_secs(7200));
        assert_eq!(heard(&manager), "EXTEND_TIMEOUT_USEC=7200000000\n");
        systemd.stopping(Duration::from_secs(30));
        assert_eq!(
            heard(&manager),
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000\n"
        );
    }
}
