//! One connection, whatever it runs over.

use super::address::EndpointAddr;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::task::ready;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::Interest;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::net::UnixStream;

/// A connected socket that both directions of a task may use side by side through `&self`.
///
/// One reader and one writer at a time: each direction remembers one waker.
#[derive(Debug)]
pub struct Stream(RefCell<Socket>);

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Runs an expression on whichever socket it is.
macro_rules! each {
    ($socket:expr, $name:ident => $run:expr) => {
        match $socket {
            Socket::Tcp($name) => $run,
            Socket::Unix($name) => $run,
        }
    };
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self(RefCell::new(Socket::Tcp(socket)))
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Self {
        Self(RefCell::new(Socket::Unix(socket)))
    }
}

impl Stream {
    /// Connects to an upstream. A name is looked up now, and its addresses are tried in order.
    ///
    /// # Errors
    /// The operating system's, of the last address tried. A deadline is the caller's. Cancel safe.
    pub async fn connect(address: &EndpointAddr) -> io::Result<Self> {
        let socket = match address {
            EndpointAddr::Unix(path) => return Ok(UnixStream::connect(path).await?.into()),
            EndpointAddr::Tcp(address) => TcpStream::connect(address).await?,
            EndpointAddr::Named { host, port } => {
                TcpStream::connect((host.as_str(), *port)).await?
            }
        };
        socket.set_nodelay(true)?;
        Ok(socket.into())
    }

    /// Reads into `room`; `Ok(0)` is the end, unless `room` is empty.
    ///
    /// # Errors
    /// The operating system's.
    pub fn poll_read(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(room);
        let mut socket = self.0.borrow_mut();
        ready!(each!(&mut *socket, s => Pin::new(s).poll_read(cx, &mut room)))?;
        Poll::Ready(Ok(room.filled().len()))
    }

    /// Writes some of `bytes`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut socket = self.0.borrow_mut();
        each!(&mut *socket, s => Pin::new(s).poll_write(cx, bytes))
    }

    /// Ready when a read would not wait: bytes, the end, or an error. Needs no buffer.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.0.borrow();
        each!(&*socket, s => s.poll_read_ready(cx))
    }

    /// Nothing to read now: neither bytes nor the end. Costs no system call.
    ///
    /// Nobody is woken when that changes; whoever waits next asks again.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        // A task that has done much in one go is told to wait, which says nothing about this socket.
        let look = tokio::task::coop::unconstrained(poll_fn(|cx| self.poll_readable(cx)));
        pin!(look)
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    }

    /// The peer sends no more, whatever it sent before that is still to be read. Costs no system call.
    #[must_use]
    pub fn has_hung_up(&self) -> bool {
        let socket = self.0.borrow();
        let look = tokio::task::coop::unconstrained(async {
            each!(&*socket, s => s.ready(Interest::READABLE).await)
        });
        let ready = pin!(look).poll(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }

    /// See [`Stream::poll_readable`]. Cancel safe.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_readable(cx)).await
    }

    /// Reads once. Cancel safe.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, room)).await
    }

    /// Says that nothing more will be written (FIN); reading goes on.
    pub fn finish(&self) {
        let socket = self.0.borrow();
        // A socket that is closed already needs no goodbye.
        let _ = each!(&*socket, s => socket2::SockRef::from(s).shutdown(std::net::Shutdown::Write));
    }

    /// Makes the coming close a reset (RST): the peer must not take what it got for a whole.
    pub fn reset_on_close(&self) {
        if let Socket::Tcp(socket) = &*self.0.borrow() {
            // Where it fails the connection is gone already.
            let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut socket = self.0.borrow_mut();
        each!(&mut *socket, s => Pin::new(s).poll_read(cx, room))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Stream::poll_write(&self, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        Poll::Ready(Ok(()))
    }
}
