//! The authority's own look at a proof: over HTTP (RFC 8555, section 8.3) or by a handshake (RFC 8737).

use super::jws::sha256;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};
use x509_parser::parse_x509_certificate;

/// id-pe-acmeIdentifier.
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

pub(super) async fn by_http(
    at: SocketAddr,
    host: &str,
    token: &str,
    expected: &str,
) -> Result<(), String> {
    let mut socket = TcpStream::connect(at).await.map_err(|e| e.to_string())?;
    let request = format!(
        "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    socket
        .write_all(request.as_bytes())
        .await
        .map_err(|e| e.to_string())?;
    let mut answer = String::new();
    socket
        .read_to_string(&mut answer)
        .await
        .map_err(|e| e.to_string())?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    if answer.starts_with("HTTP/1.1 200 ") && body.trim_end() == expected {
        return Ok(());
    }
    Err(format!("expected {expected}, got {answer}"))
}

pub(super) async fn by_handshake(at: SocketAddr, host: &str, expected: &str) -> Result<(), String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
    let socket = TcpStream::connect(at).await.map_err(|e| e.to_string())?;
    let tls = TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .map_err(|e| e.to_string())?;
    let (_, session) = tls.get_ref();
    if session.alpn_protocol() != Some(b"acme-tls/1") {
        return Err("another protocol was agreed on".to_owned());
    }
    let shown = session
        .peer_certificates()
        .and_then(<[_]>::first)
        .ok_or("no certificate")?;
    let (_, shown) = parse_x509_certificate(shown).map_err(|e| e.to_string())?;
    let extension = shown
        .extensions()
        .iter()
        .find(|extension| extension.oid.to_id_string() == ACME_IDENTIFIER)
        .ok_or("no acmeIdentifier")?;
    // An octet string of 32 bytes: tag and length before the digest.
    if extension.critical && extension.value.get(2..) == Some(&sha256(expected.as_bytes())) {
        return Ok(());
    }
    Err("another proof than was asked for".to_owned())
}

/// The authority looks at the proof in the certificate, not at who signed it.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // The library refuses certificates whose critical extensions it does not know, and this one's it does not.
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // The library refuses certificates whose critical extensions it does not know, and this one's it does not.
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
