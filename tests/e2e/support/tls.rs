//! Certificates made for one test, and clients that know whom to trust.

use super::DEADLINE;
use super::link::Link;
use super::wire::Wire;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::PKCS_RSA_SHA256;
use rcgen::RsaKeySize;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::SupportedProtocolVersion;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// A CA.
pub(crate) struct Authority {
    /// None where its key is not ours.
    issuer: Option<Issuer<'static, KeyPair>>,
    pub(crate) pem: String,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Leaf {
    fn chain_der(&self) -> Vec<CertificateDer<'static>> {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes());
        chain.map(Result::unwrap).collect()
    }

    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }

    /// What a certificate looks like to a client that gets it.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.chain_der().remove(0)
    }

    /// For an upstream that speaks TLS.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain_der(), self.key_der())
            .unwrap();
        Arc::new(config)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names.clone()).unwrap();
    let common = names.first().map_or("nobody", String::as_str);
    params.distinguished_name.push(DnType::CommonName, common);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self::with_key(name, KeyPair::generate().unwrap())
    }

    pub(crate) fn new_rsa(name: &str) -> Self {
        Self::with_key(name, rsa_key())
    }

    /// One whose key is somewhere else.
    pub(crate) fn known(pem: String) -> Self {
        Self { issuer: None, pem }
    }

    fn with_key(name: &str, key: KeyPair) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            issuer: Some(Issuer::new(params, key)),
        }
    }

    /// With an ECDSA key.
    pub(crate) fn issue(&self, names: &[&str]) -> Leaf {
        self.sign(&params(names), &KeyPair::generate().unwrap())
    }

    pub(crate) fn issue_rsa(&self, names: &[&str]) -> Leaf {
        self.sign(&params(names), &rsa_key())
    }

    /// Valid for the days from `first` to `last`, counted from now.
    pub(crate) fn issue_for_days(&self, names: &[&str], first: i64, last: i64) -> Leaf {
        let mut params = params(names);
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        let at = |days: i64| {
            let seconds = u64::try_from(now + days * 24 * 60 * 60).unwrap();
            rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(seconds)
        };
        params.not_before = at(first);
        params.not_after = at(last);
        self.sign(&params, &KeyPair::generate().unwrap())
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Leaf {
        let certificate = params
            .signed_by(key, self.issuer.as_ref().unwrap())
            .unwrap();
        Leaf {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A client that trusts this CA and no other.
    pub(crate) fn client(&self) -> TlsClient {
        TlsClient::trusting(&self.pem)
    }
}

fn rsa_key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap()
}

fn aws_lc_rs_versions() -> Vec<&'static SupportedProtocolVersion> {
    tokio_rustls::rustls::ALL_VERSIONS.to_vec()
}

/// A client in the making.
#[derive(Clone)]
pub(crate) struct TlsClient {
    roots: Vec<String>,
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: CryptoProvider,
    leaf: Option<Leaf>,
    protocols: Vec<Vec<u8>>,
}

impl TlsClient {
    /// Trusts this CA and no other.
    pub(crate) fn trusting(ca: &str) -> Self {
        Self {
            roots: vec![ca.to_owned()],
            versions: aws_lc_rs_versions(),
            provider: aws_lc_rs::default_provider(),
            leaf: None,
            protocols: Vec::new(),
        }
    }

    pub(crate) fn only(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// Shows this certificate when it is asked for one.
    pub(crate) fn with_certificate(mut self, leaf: &Leaf) -> Self {
        self.leaf = Some(leaf.clone());
        self
    }

    pub(crate) fn offering(mut self, protocols: &[&str]) -> Self {
        self.protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        self
    }

    /// Cannot check ECDSA signatures.
    pub(crate) fn rsa_only(mut self) -> Self {
        let rsa = |scheme: &tokio_rustls::rustls::SignatureScheme| {
            format!("{scheme:?}").starts_with("RSA")
        };
        let known = &mut self.provider.signature_verification_algorithms;
        let kept: Vec<_> = known
            .mapping
            .iter()
            .filter(|(scheme, _)| rsa(scheme))
            .copied()
            .collect();
        known.mapping = kept.leak();
        self
    }

    /// Sessions are kept by what is made here: one for a client, however often it connects.
    pub(crate) fn build(self) -> Connector {
        let mut roots = RootCertStore::empty();
        for pem in &self.roots {
            roots
                .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
                .unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(self.provider))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.leaf {
            Some(leaf) => builder
                .with_client_auth_cert(leaf.chain_der(), leaf.key_der())
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.protocols;
        Connector(TlsConnector::from(Arc::new(config)))
    }

    /// See [`Connector::connect`].
    pub(crate) async fn connect(self, to: SocketAddr, host: &str) -> io::Result<Wire> {
        self.build().connect(to, host).await
    }
}

#[derive(Clone)]
pub(crate) struct Connector(TlsConnector);

impl Connector {
    /// Connects and shakes hands, naming `host`.
    pub(crate) async fn connect(&self, to: SocketAddr, host: &str) -> io::Result<Wire> {
        let stream = self.stream(to, host).await?;
        Ok(Wire::across(Link::Tls(Box::new(stream.into()))))
    }

    /// The same for those who do not speak HTTP/1.
    pub(crate) async fn stream(
        &self,
        to: SocketAddr,
        host: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(to).await?;
        socket.set_nodelay(true)?;
        self.over(socket, host).await
    }

    /// Shakes hands on a connection on which something else was said before.
    pub(crate) async fn over(
        &self,
        socket: TcpStream,
        host: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        timeout(DEADLINE, self.0.connect(name, socket)).await?
    }
}
