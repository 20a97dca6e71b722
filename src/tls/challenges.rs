//! What proves to a certificate authority that a name is served from here (RFC 8555, section 8; RFC 8737).

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// The proofs that are being asked for now. Written by who orders certificates, read by the workers without a lock.
#[derive(Debug, Default)]
pub struct Challenges(ArcSwap<Proofs>);

#[derive(Debug, Default, Clone)]
struct Proofs {
    /// By token: what `/.well-known/acme-challenge/TOKEN` answers.
    answers: HashMap<String, String>,
    /// By host name, in lower case: what a handshake for the protocol `acme-tls/1` is shown.
    certificates: HashMap<String, Arc<CertifiedKey>>,
}

impl Challenges {
    /// Where a certificate authority looks for an answer.
    pub const PATH: &'static str = "/.well-known/acme-challenge/";
    /// The protocol of a handshake that wants the proof instead of the certificate.
    pub const ALPN: &'static [u8] = b"acme-tls/1";

    #[must_use]
    pub fn answer(&self, token: &str) -> Option<String> {
        self.0.load().answers.get(token).cloned()
    }

    #[must_use]
    pub fn certificate(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        self.0.load().certificates.get(host).cloned()
    }

    /// Shows `answer` under `token` until the offer is dropped.
    #[must_use]
    pub fn offer_answer(self: &Arc<Self>, token: &str, answer: &str) -> Offer {
        self.change(|proofs| {
            proofs.answers.insert(token.to_owned(), answer.to_owned());
        });
        Offer {
            challenges: self.clone(),
            key: Key::Token(token.to_owned()),
        }
    }

    /// Shows `certificate` to handshakes of the challenge protocol for `host` until the offer is dropped.
    #[must_use]
    pub fn offer_certificate(
        self: &Arc<Self>,
        host: &str,
        certificate: &Arc<CertifiedKey>,
    ) -> Offer {
        self.change(|proofs| {
            proofs
                .certificates
                .insert(host.to_owned(), certificate.clone());
        });
        Offer {
            challenges: self.clone(),
            key: Key::Host(host.to_owned()),
        }
    }

    fn change(&self, change: impl Fn(&mut Proofs)) {
        self.0.rcu(|proofs| {
            let mut changed = Proofs::clone(proofs);
            change(&mut changed);
            changed
        });
    }
}

/// A proof that is being shown; dropping it ends that.
#[derive(Debug)]
pub struct Offer {
    challenges: Arc<Challenges>,
    key: Key,
}

#[derive(Debug)]
enum Key {
    Token(String),
    Host(String),
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.challenges.change(|proofs| match &self.key {
            Key::Token(token) => drop(proofs.answers.remove(token)),
            Key::Host(host) => drop(proofs.certificates.remove(host)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_there_as_long_as_it_is_offered() {
        let challenges = Arc::<Challenges>::default();
        let first = challenges.offer_answer("a", "one");
        let second = challenges.offer_answer("b", "two");
        assert_eq!(challenges.answer("a").as_deref(), Some("one"));
        drop(first);
        assert_eq!(challenges.answer("a"), None);
        assert_eq!(challenges.answer("b").as_deref(), Some("two"));
        drop(second);
        assert_eq!(challenges.answer("b"), None);
    }
}
