//! One client's connection: who is there, what it sent and we have not used yet, and what it does now.

use super::flight::Flight;
use crate::net::Buffer;
use crate::net::LARGE;
use crate::net::SMALL;
use crate::net::Stream;
use crate::tls::ClientCertificate;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

/// Both ends of a client's connection, with their texts made once: cloning it copies none.
#[derive(Debug, Clone)]
pub struct Peer {
    pub address: IpAddr,
    pub text: Rc<str>,
    /// The listener's port, as X-Forwarded-Port tells it.
    pub port: Rc<str>,
    /// Where the client's own end of the connection is.
    pub source: SocketAddr,
    /// Where it connected to, where anybody wants to know.
    pub destination: Option<SocketAddr>,
    /// The port of https that its requests are sent to, on a listener that does only that.
    pub redirects_to: Option<u16>,
    /// It came over TLS.
    pub is_secure: bool,
    /// It speaks HTTP/2; each of its streams is a client of its own here.
    pub is_http2: bool,
    /// What its verified certificate says; none where it was not asked for one, or showed none.
    pub certificate: Option<Rc<ClientCertificate>>,
    /// It could have shown one.
    pub is_asked: bool,
}

impl Peer {
    #[must_use]
    pub fn new(address: SocketAddr, listener_port: u16) -> Self {
        // An IPv4 client of a dual-stack listener is an IPv4 client.
        let source = address;
        let address = address.ip().to_canonical();
        Self {
            source,
            destination: None,
            redirects_to: None,
            address,
            text: address.to_string().into(),
            port: listener_port.to_string().into(),
            is_secure: false,
            is_http2: false,
            certificate: None,
            is_asked: false,
        }
    }

    /// As X-Forwarded-Proto tells it.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }
}

/// One client's connection.
#[derive(Debug)]
pub struct Client {
    pub stream: Stream,
    pub input: Buffer,
    pub peer: Peer,
    pub flight: Rc<Flight>,
}

impl Client {
    /// Waits for bytes without holding memory, then reads what is there. 0 is the end. Cancel safe.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn fill(&mut self) -> io::Result<usize> {
        let (stream, input) = (&self.stream, &mut self.input);
        poll_fn(|cx| poll_fill(stream, input, cx)).await
    }
}

/// Reads once into a buffer that grows with what it holds.
pub(super) fn poll_fill(
    stream: &Stream,
    input: &mut Buffer,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    ready!(stream.poll_readable(cx))?;
    let size = match input.len() {
        0..SMALL => SMALL,
        SMALL..LARGE => LARGE,
        more => more * 2,
    };
    let Poll::Ready(count) = stream.poll_read(cx, input.room(size)) else {
        // The readiness was of bytes that are read already.
        input.release();
        return Poll::Pending;
    };
    let count = count?;
    input.filled(count);
    Poll::Ready(Ok(count))
}

/// Has the client left? Keeps what it sends in the meantime, up to a small buffer: then it is not asked any more.
///
/// A client that only closes its sending side counts as gone, as it does with other proxies.
pub(super) fn poll_gone(stream: &Stream, input: &mut Buffer, cx: &mut Context<'_>) -> Poll<()> {
    while input.len() < SMALL / 2 {
        match ready!(poll_fill(stream, input, cx)) {
            Ok(0) | Err(_) => return Poll::Ready(()),
            Ok(_) => {}
        }
    }
    Poll::Pending
}

/// Writes all of `bytes` and sees them off, telling `progress` after each piece.
pub(super) async fn write_all(
    stream: &Stream,
    mut bytes: &[u8],
    progress: impl Fn(),
) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| stream.poll_write(cx, bytes)).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[count..];
        if !bytes.is_empty() {
            progress();
        }
    }
    poll_fn(|cx| stream.poll_flush(cx)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;
    use tokio_rustls::rustls::ClientConfig;
    use tokio_rustls::rustls::RootCertStore;
    use tokio_rustls::rustls::ServerConfig;

    /// More than the kernel takes, and less than TLS keeps back: it is accepted in one piece.
    const LONG: usize = 48 * 1024;
    /// As small as a kernel lets them be.
    const SMALL_BUFFER: usize = 2048;

    /// Our end of a TLS connection with hardly any room on its way, and the peer's.
    async fn narrow() -> (Stream, TlsStream<TcpStream>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(["app.test".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                key.serialize_der().try_into().unwrap(),
            )
            .unwrap();
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap());
        let (theirs, ours) = tokio::join!(theirs, listener.accept());
        let (theirs, ours) = (theirs.unwrap(), ours.unwrap().0);
        let narrow = socket2::SockRef::from(&ours);
        narrow.set_send_buffer_size(SMALL_BUFFER).unwrap();
        let narrow = socket2::SockRef::from(&theirs);
        narrow.set_recv_buffer_size(SMALL_BUFFER).unwrap();
        let accepting = TlsAcceptor::from(Arc::new(server)).accept(ours);
        let connector = TlsConnector::from(Arc::new(client));
        let connecting = connector.connect("app.test".try_into().unwrap(), theirs);
        let (ours, theirs) = tokio::join!(accepting, connecting);
        (ours.unwrap().into(), theirs.unwrap())
    }

    #[tokio::test]
    async fn what_was_written_is_on_its_way_and_not_kept_back_by_tls() {
        let (ours, mut theirs) = narrow().await;
        let body = vec![b'x'; LONG];
        let mut got = vec![0; LONG];
        let both = async {
            let (written, read) =
                tokio::join!(write_all(&ours, &body, || {}), theirs.read_exact(&mut got));
            written.unwrap();
            read.unwrap();
        };
        let both = tokio::time::timeout(Duration::from_secs(30), both).await;
        both.expect("all of it arrives, and nobody has to write once more for that");
        assert!(got == body);
    }
}
