//! Which certificate a client gets.

use super::certificate::Certificate;
use super::challenges::Challenges;
use rustls::SignatureAlgorithm;
use rustls::SignatureScheme;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// The certificates of one listener, found by the host that a client names.
///
/// Exact names first, then `*.` for one label, then what stands first in the config. Among those of one
/// name the client gets the first that it can check, ECDSA before RSA: it is a tenth of the work.
#[derive(Debug)]
pub(super) struct Resolver {
    exact: HashMap<Box<str>, Candidates>,
    /// By what stands behind `*`, with its dot.
    wildcard: HashMap<Box<str>, Candidates>,
    first: Candidates,
    /// Where certificates get themselves.
    challenges: Option<Arc<Challenges>>,
}

/// Certificates of one name, the preferred ones first.
#[derive(Debug, Default, Clone)]
struct Candidates(Vec<Candidate>);

#[derive(Debug, Clone)]
struct Candidate {
    is_rsa: bool,
    keys: Arc<CertifiedKey>,
}

impl Candidates {
    fn add(&mut self, certificate: &Certificate) {
        self.0.push(Candidate {
            is_rsa: certificate.algorithm == SignatureAlgorithm::RSA,
            keys: Arc::clone(&certificate.keys),
        });
        // Stable: what stands first in the config stays first among its kind.
        self.0.sort_by_key(|candidate| candidate.is_rsa);
    }

    /// Where the client can check none of them, the first: it will say so itself.
    fn choose(&self, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = |candidate: &&Candidate| candidate.keys.key.choose_scheme(schemes).is_some();
        let chosen = self.0.iter().find(fits).or(self.0.first());
        chosen.map(|candidate| Arc::clone(&candidate.keys))
    }
}

impl Resolver {
    pub(super) fn new(
        certificates: &[Arc<Certificate>],
        challenges: Option<Arc<Challenges>>,
    ) -> Self {
        let mut resolver = Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            first: Candidates::default(),
            challenges,
        };
        let first = certificates.first();
        for certificate in certificates {
            for name in &certificate.names {
                let (table, name) = match name.strip_prefix('*') {
                    Some(suffix) => (&mut resolver.wildcard, suffix),
                    None => (&mut resolver.exact, name.as_str()),
                };
                table.entry(name.into()).or_default().add(certificate);
            }
            // Those for the same hosts as the first are as good for everybody else.
            if first.is_some_and(|first| first.names == certificate.names) {
                resolver.first.add(certificate);
            }
        }
        resolver
    }

    fn find(&self, host: Option<&str>) -> &Candidates {
        let Some(host) = host else { return &self.first };
        let host = host.to_ascii_lowercase();
        let parent = host.find('.').map(|dot| &host[dot..]);
        self.exact
            .get(host.as_str())
            .or_else(|| self.wildcard.get(parent?))
            .unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut protocols = client.alpn().into_iter().flatten();
        if protocols.any(|protocol| protocol == Challenges::ALPN) {
            let host = client.server_name()?.to_ascii_lowercase();
            return self.challenges.as_ref()?.certificate(&host);
        }
        self.find(client.server_name())
            .choose(client.signature_schemes())
    }
}
