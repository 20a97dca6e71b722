//! TLS to the upstreams of one service: always verified.

use super::PROVIDER;
use super::certificate::problem;
use super::roots::Roots;
use super::words;
use crate::config::Problem;
use crate::config::UpstreamTls;
use crate::net::Dial;
use crate::net::EndpointAddr;
use crate::net::Stream;
use crate::net::connect_tcp;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;

/// Sessions that each worker keeps to resume.
const SESSIONS: usize = 64;

/// Terms that were given out so far; 0 is for connections without TLS.
static TERMS: AtomicU64 = AtomicU64::new(1);

/// How the upstreams of one service are spoken to.
#[derive(Debug)]
pub struct Upstream {
    pub settings: UpstreamTls,
    /// Unlike that of every other [`Upstream`]: a connection is only lent under the terms it was made on.
    pub terms: u64,
    roots: Roots,
    /// One per worker, each with sessions of its own: a dial waits for no other worker.
    workers: Box<[Arc<ClientConfig>]>,
    /// Resumes nothing: every probe sees the certificate as it is now.
    probes: Arc<ClientConfig>,
}

/// Who connects.
#[derive(Debug, Clone, Copy)]
pub enum Dialer {
    Worker(usize),
    Probe,
}

impl Upstream {
    /// Loads whom `settings` trust. What did not change since `before` stays what it is.
    pub(super) fn load(
        settings: &UpstreamTls,
        workers: usize,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, Problem> {
        let roots = match (&settings.ca, before) {
            (Some(ca), _) => Roots::load(ca)?,
            // They are read once: a machine's CAs change with its packages.
            (None, Some(before)) if before.settings.ca.is_none() => before.roots.clone(),
            (None, _) => Roots::of_system(Path::new("upstream_tls"))?,
        };
        if let Some(before) = before
            && before.settings == *settings
            && before.roots.digest == roots.digest
        {
            return Ok(Arc::clone(before));
        }
        let config = config(&roots).map_err(|error| {
            let file = settings.ca.as_deref().unwrap_or(Path::new("upstream_tls"));
            problem(
                file,
                format!("no TLS to upstreams: {error}"),
                "look at `ca` in [service.NAME.upstream_tls]",
            )
        })?;
        let with = |resumption: Resumption| {
            let mut config = config.clone();
            config.resumption = resumption;
            Arc::new(config)
        };
        Ok(Arc::new(Self {
            settings: settings.clone(),
            terms: TERMS.fetch_add(1, Ordering::Relaxed),
            roots,
            workers: (0..workers)
                .map(|_| with(Resumption::in_memory_sessions(SESSIONS)))
                .collect(),
            probes: with(Resumption::disabled()),
        }))
    }

    /// Connects, says the introduction in plain text, and performs the handshake. A deadline is the caller's. Cancel safe.
    ///
    /// # Errors
    /// The operating system's; or, in words, what is wrong with the upstream's certificate or its TLS.
    pub async fn connect(
        &self,
        (address, dial): (&EndpointAddr, Dial),
        dialer: Dialer,
        introduction: &[u8],
    ) -> io::Result<Stream> {
        let name = self.name_of(address)?;
        let mut socket = connect_tcp(address, dial).await?;
        if !introduction.is_empty() {
            socket.write_all(introduction).await?;
        }
        let config = match dialer {
            Dialer::Worker(worker) => self.workers.get(worker).unwrap_or(&self.probes),
            Dialer::Probe => &self.probes,
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name.clone(), socket).await;
        Ok(stream
            .map_err(|error| words::in_words(error, &name))?
            .into())
    }

    /// Whom the certificate must be for.
    fn name_of(&self, address: &EndpointAddr) -> io::Result<ServerName<'static>> {
        if let Some(name) = &self.settings.server_name {
            return ServerName::try_from(name.clone()).map_err(io::Error::other);
        }
        match address {
            EndpointAddr::Tcp(address) => Ok(address.ip().into()),
            EndpointAddr::Named { host, .. } => {
                ServerName::try_from(host.clone()).map_err(io::Error::other)
            }
            // The config refuses it.
            EndpointAddr::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn config(roots: &Roots) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(&roots.store))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
