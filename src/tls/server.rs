//! TLS as one listener speaks it.

use super::PROVIDER;
use super::certificate::Certificate;
use super::challenges::Challenges;
use super::resolver::Resolver;
use super::roots::Roots;
use crate::config::CertificateFiles;
use crate::config::ClientAuth;
use crate::config::Listener;
use crate::config::Problem;
use crate::config::TlsRules;
use crate::config::TlsVersion;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::NoServerSessionStorage;
use rustls::server::ProducesTickets;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::TLS12;
use rustls::version::TLS13;
use std::path::Path;
use std::sync::Arc;

/// TLS as one listener speaks it.
#[derive(Debug)]
pub struct Server {
    pub rules: TlsRules,
    /// In the order of the settings.
    pub certificates: Vec<Arc<Certificate>>,
    pub(super) config: Arc<ServerConfig>,
    /// Whom clients' certificates are checked against, where they are asked for.
    roots: Option<Roots>,
    /// Seals what clients bring back to resume a session; its key changes every six hours.
    ///
    /// Workers share it behind a lock that a handshake holds for a look: a client may come back to any of them.
    tickets: Arc<dyn ProducesTickets>,
}

impl Server {
    /// Loads what `listener` names. What did not change since `before` stays what it is.
    pub(super) fn load(
        listener: &Listener,
        (ordered, challenges): (&[CertificateFiles], &Arc<Challenges>),
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut certificates = Vec::new();
        // One that was ordered and has not come yet is no problem.
        let here = ordered.iter().filter(|files| files.chain.exists());
        for files in listener.certificates.iter().chain(here) {
            match Certificate::load(files) {
                Ok(certificate) => certificates.push(Arc::new(certificate)),
                Err(problem) => problems.push(problem),
            }
        }
        let roots = listener.tls.client_auth.ca().map(|ca| Roots::load(ca));
        let roots = roots.transpose().map_err(|problem| problems.push(problem));
        let (true, Ok(roots)) = (problems.is_empty(), roots) else {
            return Err(problems);
        };
        if let Some(before) = before
            && before.is_as(listener, &certificates, roots.as_ref())
        {
            return Ok(Arc::clone(before));
        }
        // A session that was opened under other rules must not be resumed under these.
        let kept = before.filter(|it| it.trusts_as(&listener.tls.client_auth, roots.as_ref()));
        let tickets = match kept {
            Some(before) => Arc::clone(&before.tickets),
            None => Ticketer::new().map_err(|error| vec![unusable(listener, &error)])?,
        };
        let resolver = Resolver::new(&certificates, listener.acme.then(|| challenges.clone()));
        let mut config = config(&listener.tls, resolver, roots.as_ref(), &tickets)
            .map_err(|error| vec![unusable(listener, &error)])?;
        config.alpn_protocols = protocols(listener);
        Ok(Arc::new(Self {
            rules: listener.tls.clone(),
            certificates,
            config: Arc::new(config),
            roots,
            tickets,
        }))
    }

    fn is_as(
        &self,
        listener: &Listener,
        certificates: &[Arc<Certificate>],
        roots: Option<&Roots>,
    ) -> bool {
        let same = |(one, other): (&Arc<Certificate>, &Arc<Certificate>)| {
            one.files == other.files && one.digest == other.digest
        };
        self.rules == listener.tls
            && self.config.alpn_protocols == protocols(listener)
            && self.certificates.len() == certificates.len()
            && self.certificates.iter().zip(certificates).all(same)
            && self.trusts_as(&listener.tls.client_auth, roots)
    }

    fn trusts_as(&self, auth: &ClientAuth, roots: Option<&Roots>) -> bool {
        self.rules.client_auth == *auth
            && self.roots.as_ref().map(|it| &it.digest) == roots.map(|it| &it.digest)
    }
}

fn unusable(listener: &Listener, error: &dyn std::fmt::Display) -> Problem {
    let files = listener.certificates.first();
    let file = files.map_or(Path::new("TLS"), |files| &files.chain);
    super::certificate::problem(
        file,
        format!("{} cannot speak TLS: {error}", listener.address),
        "look at the files of its certificates and at `client_ca`",
    )
}

fn config(
    rules: &TlsRules,
    resolver: Resolver,
    roots: Option<&Roots>,
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, Box<dyn std::error::Error>> {
    let versions: &[_] = match rules.least {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_protocol_versions(versions)?;
    let verifier = match roots {
        Some(roots) => verifier(&rules.client_auth, roots)?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = builder
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(resolver));
    config.ticketer = Arc::clone(tickets);
    // Sessions are kept by clients, in their tickets.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// What may be spoken inside, the preferred one first.
fn protocols(listener: &Listener) -> Vec<Vec<u8>> {
    let http2 = listener.http2.then(|| b"h2".to_vec());
    // Only who asks for nothing else gets a proof.
    let proof = listener.acme.then(|| Challenges::ALPN.to_vec());
    let always = [b"http/1.1".to_vec()];
    http2.into_iter().chain(always).chain(proof).collect()
}

fn verifier(
    auth: &ClientAuth,
    roots: &Roots,
) -> Result<Arc<dyn ClientCertVerifier>, Box<dyn std::error::Error>> {
    let store = Arc::clone(&roots.store);
    let builder = WebPkiClientVerifier::builder_with_provider(store, Arc::clone(&PROVIDER));
    let builder = match auth {
        ClientAuth::Optional(_) => builder.allow_unauthenticated(),
        ClientAuth::Required(_) | ClientAuth::Off => builder,
    };
    Ok(builder.build()?)
}
