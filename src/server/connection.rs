//! Connections that a handler can cut: the way in which faults lose answers.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

const WHOLE: u8 = 0;
/// To be cut when what has been written is on its way.
const ENDING: u8 = 1;
/// Nothing is read or written any more.
const CUT: u8 = 2;

/// A handler's grip on the connection that its request came on. The state only ever moves from whole towards cut, whoever
/// moves it: so a load and a store after it lose nothing.
#[derive(Clone, Debug)]
pub struct Grip(Arc<AtomicU8>);

impl Grip {
    /// Closes the connection; an answer that the handler still gives is not sent.
    pub fn cut(&self) {
        self.0.store(CUT, Ordering::SeqCst);
    }

    /// Closes the connection as soon as everything that was written before is on its way.
    pub fn cut_after_flush(&self) {
        let _ = self
            .0
            .compare_exchange(WHOLE, ENDING, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// Accepts connections until the server stops; then ends those that are open.
pub struct Door {
    pub listener: TcpListener,
    pub stopping: CancellationToken,
}

impl Listener for Door {
    type Io = Connection;
    type Addr = Grip;

    async fn accept(&mut self) -> (Connection, Grip) {
        // Axum's own listener waits and tries again where the process is out of file descriptors
        let (stream, _) = Listener::accept(&mut self.listener).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch off delays of a connection");
        }
        let state = Arc::new(AtomicU8::new(WHOLE));
        let stopping = Box::pin(self.stopping.clone().cancelled_owned());
        (
            Connection {
                stream,
                state: Arc::clone(&state),
                stopping,
            },
            Grip(state),
        )
    }

    fn local_addr(&self) -> io::Result<Grip> {
        // Nobody asks: the address is read before the door is made
        Ok(Grip(Arc::new(AtomicU8::new(WHOLE))))
    }
}

impl Connected<IncomingStream<'_, Door>> for Grip {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Grip {
        stream.remote_addr().clone()
    }
}

/// A TCP stream that breaks off when its grip or the server says so.
pub struct Connection {
    stream: TcpStream,
    state: Arc<AtomicU8>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let stopping = self.stopping.as_mut().poll(context).is_ready();
        if stopping || self.state.load(Ordering::SeqCst) == CUT {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Hyper flushes when its own buffer is empty, so everything is in the kernel's hands here
        if self.state.load(Ordering::SeqCst) == ENDING {
            self.state.store(CUT, Ordering::SeqCst);
        }
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Whether only this machine can reach a listener there.
pub fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
