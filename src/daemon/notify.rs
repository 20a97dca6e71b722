//! Tells the service manager (systemd, or whoever sets `NOTIFY_SOCKET`) how far we are.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;

/// Nothing happens where nobody listens; a failure is logged, for it changes nothing about our work.
pub(super) fn tell(state: &str) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(place.as_encoded_bytes(), state) {
        tracing::warn!(error = %error, "cannot notify the service manager");
    }
}

fn send(place: &[u8], state: &str) -> io::Result<()> {
    let address = match place.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::path::Path::new(
            std::str::from_utf8(place).map_err(io::Error::other)?,
        ))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_gets_the_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str().as_encoded_bytes(), "READY=1").unwrap();
        let mut got = [0; 32];
        let length = manager.recv(&mut got).unwrap();
        assert_eq!(&got[..length], b"READY=1");
    }

    #[test]
    fn nobody_listening_is_an_error_and_no_panic() {
        assert!(send(b"/nonexistent/notify", "READY=1").is_err());
    }
}
