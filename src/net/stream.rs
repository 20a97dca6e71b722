//! One connection, whatever it runs over.

use super::address::EndpointAddr;
use super::buffer::LARGE;
use super::dial::Dial;
use super::dial::connect_tcp;
use super::pipe::Pipe;
use super::pipe::Remote;
use super::pipe::pipe;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::Path;
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
use tokio::io::Ready;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio_rustls::TlsStream;
use tokio_rustls::client;
use tokio_rustls::server;

/// From one try to the next while a program takes no connections.
const BACKLOG_PAUSE: Duration = Duration::from_millis(10);

/// A connected socket that both directions of a task may use side by side through `&self`.
///
/// One reader and one writer at a time: each direction remembers one waker.
#[derive(Debug)]
pub struct Stream(RefCell<Socket>);

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Boxed: it is many times the size of the others.
    Tls(Box<TlsStream<TcpStream>>),
    Memory(Pipe),
}

/// Runs an expression on whichever socket it is.
macro_rules! each {
    ($socket:expr, $name:ident => $run:expr) => {
        match $socket {
            Socket::Tcp($name) => $run,
            Socket::Unix($name) => $run,
            Socket::Tls($name) => $run,
            Socket::Memory($name) => $run,
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

/// A client's connection after its handshake.
impl From<server::TlsStream<TcpStream>> for Stream {
    fn from(socket: server::TlsStream<TcpStream>) -> Self {
        Self(RefCell::new(Socket::Tls(Box::new(socket.into()))))
    }
}

/// An upstream's connection after its handshake.
impl From<client::TlsStream<TcpStream>> for Stream {
    fn from(socket: client::TlsStream<TcpStream>) -> Self {
        Self(RefCell::new(Socket::Tls(Box::new(socket.into()))))
    }
}

/// A full backlog is a busy program, not one that is gone: the kernel says so at once, where it lets a connection
/// over TCP wait.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(BACKLOG_PAUSE).await;
            }
            connected => return connected,
        }
    }
}

impl Stream {
    /// A stream without a socket, and its other end.
    #[must_use]
    pub fn memory() -> (Self, Remote) {
        let (near, remote) = pipe();
        (Self(RefCell::new(Socket::Memory(near))), remote)
    }

    /// Connects to an upstream.
    ///
    /// # Errors
    /// As [`connect_tcp`] has them. The deadline is the caller's. Cancel safe.
    pub async fn connect(address: &EndpointAddr, dial: Dial) -> io::Result<Self> {
        match address {
            EndpointAddr::Unix(path) => Ok(connect_unix(path).await?.into()),
            EndpointAddr::Tcp(_) | EndpointAddr::Named { .. } => {
                Ok(connect_tcp(address, dial).await?.into())
            }
        }
    }

    /// The other end's address; none where it has no IP address, or is gone.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        match &*self.0.borrow() {
            Socket::Tcp(socket) => socket.peer_addr().ok(),
            Socket::Tls(socket) => socket.get_ref().0.peer_addr().ok(),
            Socket::Unix(_) | Socket::Memory(_) => None,
        }
    }

    /// What is written is encrypted in records: those of a write that failed may have arrived in part.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(&*self.0.borrow(), Socket::Tls(_))
    }

    /// The number of its descriptor; none in memory.
    #[must_use]
    pub fn descriptor(&self) -> Option<u64> {
        let number = match &*self.0.borrow() {
            Socket::Tcp(socket) => socket.as_raw_fd(),
            Socket::Unix(socket) => socket.as_raw_fd(),
            Socket::Tls(socket) => socket.get_ref().0.as_raw_fd(),
            Socket::Memory(_) => return None,
        };
        u64::try_from(number).ok()
    }

    /// Reads into `room`; `Ok(0)` is the end, unless `room` is empty.
    ///
    /// # Errors
    /// The operating system's.
    pub fn poll_read(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(room);
        ready!(self.poll_read_into(cx, &mut room))?;
        Poll::Ready(Ok(room.filled().len()))
    }

    /// The same into memory that need not be initialised.
    ///
    /// # Errors
    /// The operating system's.
    pub fn poll_read_into(
        &self,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut socket = self.0.borrow_mut();
        each!(&mut *socket, s => Pin::new(s).poll_read(cx, room))
    }

    /// Writes some of `bytes`. What was written may still be here until [`Stream::poll_flush`] is ready.
    ///
    /// # Errors
    /// The operating system's.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut socket = self.0.borrow_mut();
        each!(&mut *socket, s => Pin::new(s).poll_write(cx, bytes))
    }

    /// Ready when more may be written without much waiting: how much. A socket's room is the kernel's to know.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<usize> {
        match &*self.0.borrow() {
            Socket::Memory(pipe) => pipe.poll_room(cx),
            _ => Poll::Ready(LARGE),
        }
    }

    /// Ready when everything that was written is on its way. Costs nothing where nothing is held back.
    ///
    /// # Errors
    /// The operating system's.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.borrow_mut() {
            Socket::Tcp(_) | Socket::Unix(_) | Socket::Memory(_) => Poll::Ready(Ok(())),
            Socket::Tls(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    /// Ready when a read would not wait: bytes, the end, or an error. Needs no buffer of ours.
    ///
    /// With TLS that is when there is plaintext: tickets and alerts are dealt with here, and wake nobody.
    ///
    /// # Errors
    /// The operating system's, and what is wrong with the peer's records.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.borrow_mut() {
            Socket::Tcp(socket) => socket.poll_read_ready(cx),
            Socket::Unix(socket) => socket.poll_read_ready(cx),
            // A read without room takes nothing, and waits as any other.
            Socket::Tls(socket) => Pin::new(socket).poll_read(cx, &mut ReadBuf::new(&mut [])),
            Socket::Memory(pipe) => pipe.poll_read_ready(cx),
        }
    }

    /// Nothing to read now: neither bytes nor the end. Costs no system call where nothing has arrived.
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
        if let Socket::Memory(pipe) = &*socket {
            return pipe.has_hung_up();
        }
        let look = tokio::task::coop::unconstrained(async {
            match &*socket {
                Socket::Tcp(socket) => socket.ready(Interest::READABLE).await,
                Socket::Unix(socket) => socket.ready(Interest::READABLE).await,
                Socket::Tls(socket) => socket.get_ref().0.ready(Interest::READABLE).await,
                Socket::Memory(_) => Ok(Ready::EMPTY),
            }
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

    /// Says that nothing more will be written (`close_notify`, FIN); reading goes on. Cancel safe.
    ///
    /// Ready at once, unless records are in the way that the peer does not take.
    pub async fn finish(&self) {
        poll_fn(|cx| self.poll_finish(cx)).await;
    }

    /// The same without waiting: where a `close_notify` finds no room, the peer sees the end when the stream is dropped.
    pub fn finish_now(&self) {
        let _ = self.poll_finish(&mut Context::from_waker(Waker::noop()));
    }

    /// See [`Stream::finish`].
    pub fn poll_finish(&self, cx: &mut Context<'_>) -> Poll<()> {
        // A socket that is closed already needs no goodbye.
        match &mut *self.0.borrow_mut() {
            Socket::Tcp(socket) => end_writing(&socket2::SockRef::from(&*socket)),
            Socket::Unix(socket) => end_writing(&socket2::SockRef::from(&*socket)),
            Socket::Tls(socket) => {
                let _ = ready!(Pin::new(socket).poll_shutdown(cx));
            }
            Socket::Memory(pipe) => pipe.finish(),
        }
        Poll::Ready(())
    }

    /// Closes in order what is about to be dropped: without a `close_notify` the peer would take what it got for cut.
    pub fn say_goodbye(&self) {
        if self.is_tls() {
            self.finish_now();
        }
    }

    /// Makes the coming close a reset (RST): the peer must not take what it got for a whole.
    ///
    /// A stream in memory needs none: only [`Stream::finish`] makes its end a whole one.
    pub fn reset_on_close(&self) {
        let socket = self.0.borrow();
        let socket = match &*socket {
            Socket::Tcp(socket) => socket,
            Socket::Tls(socket) => socket.get_ref().0,
            Socket::Unix(_) | Socket::Memory(_) => return,
        };
        // Where it fails the connection is gone already.
        let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }
}

fn end_writing(socket: &socket2::SockRef<'_>) {
    let _ = socket.shutdown(std::net::Shutdown::Write);
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_into(cx, room)
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

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(&self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finish(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_full_backlog_of_a_unix_socket_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        let address = socket2::SockAddr::unix(&path).unwrap();
        socket.bind(&address).unwrap();
        socket.listen(0).unwrap();
        let mut waiting = Vec::new();
        let full = loop {
            match UnixStream::connect(&path).await {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let mut late = pin!(connect_unix(&path));
        assert!(timeout(3 * BACKLOG_PAUSE, &mut late).await.is_err());
        let _served = socket.accept().unwrap();
        timeout(Duration::from_secs(30), late)
            .await
            .expect("there is room")
            .unwrap();
    }
}
