//! A thread for what comes from the network, so that whoever answers there takes no time from anything else.
//!
//! The HTTP client reads interim answers (1xx) for as long as they come, in one go: a peer that sends nothing else would
//! keep a thread of the tasks busy, and with it queues, control socket and watchdog.

use std::future::Future;
use std::io;
use std::sync::{Arc, mpsc};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// Runs exchanges with a peer. Its thread ends with the last clone.
#[derive(Clone, Debug)]
pub(super) struct Network {
    runtime: Handle,
    _open: Arc<oneshot::Sender<()>>,
}

impl Network {
    pub(super) fn start() -> io::Result<Network> {
        let (open, closed) = oneshot::channel::<()>();
        let (begun, beginning) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("network".to_owned());
        // The runtime is made where it is used: one that is dropped among tasks, because there is no thread for it, panics.
        thread.spawn(move || {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => {
                    // An error: whoever waits has gone.
                    let _ = begun.send(Err(error));
                    return;
                }
            };
            let _ = begun.send(Ok(runtime.handle().clone()));
            // An error: the last clone is gone.
            let _ = runtime.block_on(closed);
            // A look-up of a name may be under way, and ends when it likes.
            runtime.shutdown_background();
        })?;
        let died = |_| io::Error::other("the thread for the network has died");
        Ok(Network {
            runtime: beginning.recv().map_err(died)??,
            _open: Arc::new(open),
        })
    }

    /// `None` where the work has panicked. Whoever stops waiting stops the work.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let running = self.runtime.spawn(work);
        let _guard = AbortOnDrop(running.abort_handle());
        running.await.ok()
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        // Whoever stops waiting is heard after one turn of a busy connection, not after dozens; other connections and
        // timers after eight, because to look for them is a call to the kernel.
        .global_queue_interval(1)
        .event_interval(8)
        .enable_all()
        .build()
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn work_runs_elsewhere_and_ends_when_nobody_waits_for_it() {
        let network = Network::start().unwrap();
        let here = std::thread::current().id();
        let there = network.run(async { std::thread::current().id() }).await;
        assert_ne!(there.unwrap(), here);
        let (kept, dropped) = oneshot::channel::<()>();
        let endless = network.run(async move {
            let _kept = kept;
            pending::<()>().await;
        });
        tokio::select! {
            biased;
            _ = endless => panic!("it never ends"),
            () = tokio::task::yield_now() => {}
        }
        assert!(dropped.await.is_err());
        assert_eq!(network.run(async { panic!("planted") }).await, None::<()>);
    }

    #[tokio::test]
    async fn work_that_never_pauses_takes_no_time_from_whoever_waits_for_it() {
        let network = Network::start().unwrap();
        let enough = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&enough);
        // Gives up, so that a failure is not a test that hangs.
        let busy = network.run(async move {
            let since = Instant::now();
            while !heard.load(Ordering::Relaxed) && since.elapsed() < Duration::from_secs(30) {
                std::thread::yield_now();
            }
        });
        let others = async {
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = busy => panic!("nobody else had a turn"),
            () = others => enough.store(true, Ordering::Relaxed),
        }
    }
}
