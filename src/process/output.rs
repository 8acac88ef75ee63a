//! What a child writes: always read, so that it never waits for us, and only the end of it kept.

use std::collections::VecDeque;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tracing::debug;

use super::Occasion;
use crate::words;

/// Bytes of output that are kept.
const KEPT: usize = 4096;
/// Bytes of one line that are logged; the rest of a longer line is logged as further lines.
const LINE: usize = 1024;
/// Lines that are logged of one command: a flood must not wait for the log, nor fill it.
const LOGGED: usize = 200;
/// More than a pipe ever holds: what a child wrote before its end lies within it.
const PIPE: usize = 1 << 20;

/// The read end of a child's standard output and error.
pub struct Output {
    pipe: Receiver,
    kept: Kept,
}

struct Kept {
    occasion: Occasion,
    pid: i32,
    tail: VecDeque<u8>,
    line: Vec<u8>,
    logged: usize,
    closed: bool,
}

impl Output {
    /// `pid`: who writes.
    pub fn new(pipe: PipeReader, occasion: Occasion, pid: i32) -> io::Result<Output> {
        let pipe = Receiver::from_owned_fd(OwnedFd::from(pipe))?;
        let kept = Kept {
            occasion,
            pid,
            tail: VecDeque::new(),
            line: Vec::new(),
            logged: 0,
            closed: false,
        };
        Ok(Output { pipe, kept })
    }

    /// Reads until nobody holds the write end any more. May be dropped and called again.
    pub async fn drain(&mut self) {
        let mut buffer = [0; 4096];
        while !self.kept.closed {
            match self.pipe.read(&mut buffer).await {
                Ok(read) => self.kept.take(buffer.get(..read).unwrap_or_default()),
                Err(_) => self.kept.closed = true,
            }
        }
    }

    /// What is kept, after the rest of what the leader wrote has been read.
    ///
    /// Somebody whom the leader left behind may hold the write end for ever. It is not waited for, and goes on being
    /// read in the background, or its next line would end it by SIGPIPE.
    pub fn finish(mut self) -> String {
        let mut buffer = [0; 4096];
        let mut left = PIPE;
        while !self.kept.closed && left > 0 {
            // Past the runtime, which may not yet have heard of the last bytes.
            match rustix::io::read(&self.pipe, &mut buffer) {
                Ok(read) => {
                    self.kept.take(buffer.get(..read).unwrap_or_default());
                    left = left.saturating_sub(read);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let text = self.kept.text();
        match self.kept.closed {
            true => self.kept.log(),
            false => {
                tokio::spawn(async move { self.drain().await });
            }
        }
        text
    }
}

impl Kept {
    /// Takes what was read; nothing read is the end.
    fn take(&mut self, bytes: &[u8]) {
        self.closed = bytes.is_empty();
        let surplus = (self.tail.len() + bytes.len()).saturating_sub(KEPT);
        self.tail.drain(..surplus.min(self.tail.len()));
        let fits = bytes.len().saturating_sub(KEPT);
        self.tail.extend(bytes.get(fits..).unwrap_or_default());
        if self.logged < LOGGED && tracing::enabled!(tracing::Level::DEBUG) {
            for &byte in bytes {
                if byte != b'\n' {
                    self.line.push(byte);
                }
                if byte == b'\n' || self.line.len() >= LINE {
                    self.log();
                }
            }
        }
    }

    fn log(&mut self) {
        if !self.line.is_empty() && self.logged < LOGGED {
            let line = words::escape(&String::from_utf8_lossy(&self.line), &['\n']);
            let Occasion {
                service,
                target,
                what,
            } = &self.occasion;
            let (service, target_path) = (service.as_deref(), target.as_deref());
            let pid = self.pid;
            debug!(service, target_path, what, pid, line, "output");
            self.logged += 1;
            if self.logged == LOGGED {
                let lines = LOGGED;
                debug!(
                    service,
                    target_path, what, pid, lines, "further output is not logged"
                );
            }
        }
        self.line.clear();
    }

    fn text(&mut self) -> String {
        let bytes = self.tail.make_contiguous();
        // The cut may have left the end of a character whose start is gone.
        let torn = bytes
            .iter()
            .take(3)
            .take_while(|byte| **byte & 0xC0 == 0x80)
            .count();
        let text = String::from_utf8_lossy(bytes.get(torn..).unwrap_or_default());
        words::escape(&text, &['\n'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_kept_tail_is_the_end_of_all_that_was_written(
            parts in proptest::collection::vec(proptest::collection::vec(1u8.., 1..6000), 0..6)
        ) {
            let mut kept = Kept {
                occasion: Occasion::default(), pid: 1, tail: VecDeque::new(), line: Vec::new(), logged: 0, closed: false,
            };
            let mut all = Vec::new();
            for part in &parts {
                kept.take(part);
                all.extend_from_slice(part);
            }
            let end = &all[all.len().saturating_sub(KEPT)..];
            prop_assert_eq!(kept.tail.make_contiguous() as &[u8], end);
            prop_assert!(!kept.text().chars().any(|c| c.is_control() && c != '\n'));
        }
    }
}
