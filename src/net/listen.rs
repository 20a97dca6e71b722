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
/// With port 0 all of them get the same free port. Another process of the same user that shares the address
/// would get a part of the connections, so that counts as in use.
///
/// # Errors
/// The operating system's: the address is in use, is not ours, or needs more rights.
pub fn listen(address: SocketAddr, workers: usize) -> io::Result<Vec<StdListener>> {
    let first = bind(address, Sharing::FirstWorker)?;
    let bound = first.local_addr()?;
    std::iter::once(Ok(first))
        .chain((1..workers).map(|_| bind(bound, Sharing::FurtherWorker)))
        .collect()
}

/// Listens on `address` with one socket, and with nobody else.
///
/// # Errors
/// The operating system's: the address is in use, is not ours, or needs more rights.
pub fn listen_alone(address: SocketAddr) -> io::Result<StdListener> {
    bind(address, Sharing::Nobody)
}

/// Who else may listen on the same address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// The workers that come after it.
    FirstWorker,
    FurtherWorker,
    Nobody,
}

fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<StdListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::FurtherWorker)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it on Linux, which saves a system call per connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    // The first one shares only once it is bound: a listener that is there already keeps it from binding.
    socket.set_reuse_port(sharing != Sharing::Nobody)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_an_address_and_another_process_never_does() {
        let any = "127.0.0.1:0".parse().unwrap();
        let sockets = listen(any, 3).unwrap();
        let bound = sockets[0].local_addr().unwrap();
        assert!(sockets.iter().all(|it| it.local_addr().unwrap() == bound));
        let refused = listen(bound, 3).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        assert_eq!(listen(bound, 3).unwrap().len(), 3);
    }
}
