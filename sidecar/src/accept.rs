//! How every listener takes connections: so many at a time, and none that says nothing.
//!
//! - A connection has a slot from its acceptance until it is dropped. Without a free slot the next
//!   one waits in the kernel's queue.
//! - A client that sends nothing at first, or does not read what it is sent, loses its connection.
//!   What a client may do in between is the protocol's business.
//! - Slots of all listeners together leave most of a process's usual 1024 file descriptors to the
//!   work.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{self, Instant, Sleep},
};
use tonic::transport::server::Connected;

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at a time.
    pub connections: usize,
    /// Until the first byte of the client, and of a TLS handshake as a whole.
    pub first: Duration,
    /// Between two bytes of the client later on; `None`: the protocol bounds it.
    pub silence: Option<Duration>,
    /// Until the client takes a byte that it is sent.
    pub unread: Duration,
}

impl Bounds {
    /// For HTTP/1: its server bounds the time of a request's head.
    pub const HTTP: Self =
        Self { connections: CONNECTIONS, first: FIRST, silence: None, unread: UNREAD };

    /// For HTTP/2 whose server pings each `ping`: a living client answers.
    #[must_use]
    pub const fn http2(ping: Duration) -> Self {
        Self {
            connections: CONNECTIONS,
            first: FIRST,
            silence: Some(ping.saturating_mul(3)),
            unread: UNREAD,
        }
    }
}

/// A listening socket.
pub trait Listener: Send + Sync + 'static {
    /// Its connections.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        UnixListener::accept(self).await.map(|(stream, _)| stream)
    }
}

/// Takes the connections of one listener.
pub struct Acceptor<L> {
    listener: L,
    slots: Arc<Semaphore>,
    bounds: Bounds,
    stop: watch::Receiver<bool>,
}

impl<L: Listener> Acceptor<L> {
    /// Until `stop` says so, or its sender is gone.
    pub fn new(listener: L, bounds: Bounds, stop: watch::Receiver<bool>) -> Self {
        Self { listener, slots: Arc::new(Semaphore::new(bounds.connections)), bounds, stop }
    }

    /// The next connection; `None` at the end.
    pub async fn next(&mut self) -> Option<Guarded<L::Stream>> {
        loop {
            if *self.stop.borrow() {
                return None;
            }
            let accepted = tokio::select! {
                changed = self.stop.changed() => { changed.ok()?; continue }
                accepted = accept(&self.listener, &self.slots) => accepted,
            };
            match accepted {
                Ok((stream, slot)) => return Some(Guarded::new(stream, slot, self.bounds)),
                // Out of file descriptors, most likely: waiting is all there is to do.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    time::sleep(RECOVER).await;
                }
            }
        }
    }
}

async fn accept<L: Listener>(
    listener: &L,
    slots: &Arc<Semaphore>,
) -> io::Result<(L::Stream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.accept().await?, slot))
}

/// A connection that ends when its client takes too long.
pub struct Guarded<S> {
    stream: S,
    read: Patience,
    write: Patience,
    bounds: Bounds,
    _slot: OwnedSemaphorePermit,
}

impl<S> Guarded<S> {
    fn new(stream: S, slot: OwnedSemaphorePermit, bounds: Bounds) -> Self {
        let (read, write) = (Patience::new(Some(bounds.first)), Patience::new(Some(bounds.unread)));
        Self { stream, read, write, bounds, _slot: slot }
    }

    /// Begins anew: a first byte is due, as after a TLS handshake.
    pub fn expect_first(&mut self) {
        self.read = Patience::new(Some(self.bounds.first));
    }
}

/// How long an operation may make no progress.
struct Patience {
    limit: Option<Duration>,
    /// Since the operation last had to wait.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(limit: Option<Duration>) -> Self {
        Self { limit, waiting: None }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.waiting = None;
            return progress;
        }
        let Some(limit) = self.limit else { return Poll::Pending };
        let end = || Box::pin(time::sleep_until(Instant::now() + limit));
        ready!(self.waiting.get_or_insert_with(end).as_mut().poll(context));
        self.waiting = None;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client took too long")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = self.read.watch(context, read);
        if let Poll::Ready(Ok(())) = read {
            self.read.limit = self.bounds.silence;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.write.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.write.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.write.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        self.write.watch(context, ended)
    }
}

impl<S: Connected> Connected for Guarded<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> S::ConnectInfo {
        self.stream.connect_info()
    }
}

/// Four listeners have as many each.
const CONNECTIONS: usize = 128;
/// For a first byte, and for a whole TLS handshake.
const FIRST: Duration = Duration::from_secs(5);
/// A client that reads nothing for so long is gone or means harm.
const UNREAD: Duration = Duration::from_secs(10);
const RECOVER: Duration = Duration::from_millis(100);
