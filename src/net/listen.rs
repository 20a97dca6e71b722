//! Sockets that clients connect to.

use socket2::Domain;
use socket2::Protocol;
use socket2::Socket;
use socket2::Type;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener as StdListener;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

/// How many connections the kernel keeps for us until we accept them.
const BACKLOG: i32 = 4096;

/// Listens on `address` with `workers` sockets that share it (`SO_REUSEPORT`): the kernel spreads connections.
///
/// With port 0 all of them get the same free port.
///
/// # Errors
/// The operating system's: the address is in use, is not ours, or needs more rights.
pub fn listen(address: SocketAddr, workers: usize) -> io::Result<Vec<StdListener>> {
    let first = bind(address, Sharing::Workers)?;
    let bound = first.local_addr()?;
    std::iter::once(Ok(first))
        .chain((1..workers).map(|_| bind(bound, Sharing::Workers)))
        .collect()
}

/// Listens on `address` with one socket, and with nobody else: not even another daemon of the same user.
///
/// # Errors
/// The operating system's: the address is in use, is not ours, or needs more rights.
pub fn listen_alone(address: SocketAddr) -> io::Result<StdListener> {
    bind(address, Sharing::Nobody)
}

/// Who else may listen on the same address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Workers,
    Nobody,
}

fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<StdListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Workers)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it on Linux, which saves a system call per connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Closes a listener in order: first every connection that the kernel has taken for it already, then the socket.
///
/// Whoever connects while this runs may be refused; nobody who was accepted by the kernel before is reset.
///
/// # Errors
/// The operating system's.
pub fn close(listener: TcpListener) -> io::Result<Vec<(TcpStream, SocketAddr)>> {
    let listener = listener.into_std()?;
    let mut taken = Vec::new();
    // Bounded by what the kernel queues: those who come all the time must not keep it open.
    for _ in 0..BACKLOG {
        match listener.accept() {
            Ok((socket, address)) => {
                socket.set_nonblocking(true)?;
                taken.push((TcpStream::from_std(socket)?, address));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // A client that left again while it was queued.
            Err(_) => {}
        }
    }
    Ok(taken)
}
