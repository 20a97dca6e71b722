//! A client's connection before it is one: who speaks what, and the handshake.

use super::certificate::ClientCertificate;
use super::challenges::Challenges;
use super::server::Server;
use crate::net::Stream;
use crate::telemetry::Handshake;
use crate::telemetry::HandshakeFailure;
use rustls::AlertDescription;
use rustls::CertificateError;
use rustls::HandshakeKind;
use rustls::ProtocolVersion;
use rustls::ServerConnection;
use std::io;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// The first byte of every TLS connection: a record of the handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    Tls,
    /// As a plain HTTP request does.
    PlainHttp,
    Unknown,
    /// It ended before it began.
    Nothing,
}

/// Waits for the first byte, and leaves it where it is. Holds no memory. Cancel safe.
///
/// # Errors
/// The operating system's.
pub async fn opening(socket: &TcpStream) -> io::Result<Opening> {
    let mut first = [0];
    let count = socket.peek(&mut first).await?;
    Ok(match (count, first[0]) {
        (0, _) => Opening::Nothing,
        (_, HANDSHAKE_RECORD) => Opening::Tls,
        (_, letter) if letter.is_ascii_uppercase() => Opening::PlainHttp,
        _ => Opening::Unknown,
    })
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Secured {
    pub stream: Stream,
    /// None where the client showed no certificate.
    pub certificate: Option<ClientCertificate>,
    /// A certificate authority has seen its proof: nothing more is said on this connection.
    pub is_proof: bool,
    /// How it went, for the metrics.
    pub handshake: Handshake,
}

/// Why there is none, and in words.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub struct Refused {
    pub reason: HandshakeFailure,
    words: String,
}

impl Server {
    /// Performs the handshake. A deadline is the caller's; dropping the future closes the connection.
    ///
    /// # Errors
    /// Why it failed; the client was told as far as TLS has words for it.
    pub async fn accept(&self, socket: TcpStream) -> Result<Secured, Refused> {
        let stream = TlsAcceptor::from(self.config.clone())
            .accept(socket)
            .await
            .map_err(|error| Refused {
                reason: reason(&error),
                words: error.to_string(),
            })?;
        let session = stream.get_ref().1;
        let certificate = session.peer_certificates().and_then(ClientCertificate::of);
        let handshake = how_it_went(session);
        let is_proof = session.alpn_protocol() == Some(Challenges::ALPN);
        Ok(Secured {
            certificate,
            is_proof,
            handshake,
            stream: stream.into(),
        })
    }
}

fn how_it_went(session: &ServerConnection) -> Handshake {
    let is_13 = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
    match (is_13, resumed) {
        (false, false) => Handshake::Tls12,
        (false, true) => Handshake::Tls12Resumed,
        (true, false) => Handshake::Tls13,
        (true, true) => Handshake::Tls13Resumed,
    }
}

fn reason(error: &io::Error) -> HandshakeFailure {
    use AlertDescription as Alert;
    let inner = error.get_ref().and_then(|it| it.downcast_ref());
    match inner {
        // The operating system's: the client is gone.
        None => HandshakeFailure::Gone,
        Some(rustls::Error::PeerIncompatible(_)) => HandshakeFailure::Incompatible,
        Some(rustls::Error::NoCertificatesPresented) => HandshakeFailure::NoClientCertificate,
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            HandshakeFailure::UnknownClient
        }
        Some(rustls::Error::InvalidCertificate(_)) => HandshakeFailure::BadClientCertificate,
        Some(rustls::Error::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::UnsupportedCertificate,
        )) => HandshakeFailure::Distrusted,
        Some(rustls::Error::AlertReceived(_)) => HandshakeFailure::Alert,
        Some(_) => HandshakeFailure::Malformed,
    }
}
