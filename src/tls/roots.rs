//! Who may vouch for others.

use super::certificate::problem;
use super::certificate::read_chain;
use super::digest;
use crate::config::Problem;
use rustls::RootCertStore;
use std::path::Path;
use std::sync::Arc;

/// CAs that are trusted.
#[derive(Debug, Clone)]
pub(super) struct Roots {
    pub(super) store: Arc<RootCertStore>,
    /// Two of the same content are the same.
    pub(super) digest: Box<[u8]>,
}

impl Roots {
    /// Those in a PEM file.
    pub(super) fn load(file: &Path) -> Result<Self, Problem> {
        let certificates = read_chain(file)?;
        let mut store = RootCertStore::empty();
        for (at, certificate) in certificates.iter().enumerate() {
            store.add(certificate.clone()).map_err(|error| {
                problem(
                    file,
                    format!(
                        "certificate {} in it is no CA that can be used: {error}",
                        at + 1
                    ),
                    "it must hold the certificates of CAs, and nothing else",
                )
            })?;
        }
        let all: Vec<u8> = certificates
            .iter()
            .flat_map(|it| it.iter().copied())
            .collect();
        Ok(Self {
            store: Arc::new(store),
            digest: digest(&all),
        })
    }

    /// Those that this machine trusts.
    pub(super) fn of_system(file: &Path) -> Result<Self, Problem> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        // What one odd CA of hundreds is, is not ours to judge.
        let (taken, _) = store.add_parsable_certificates(found.certs);
        if taken == 0 {
            let why = found.errors.first().map(ToString::to_string);
            return Err(problem(
                file,
                format!(
                    "this machine trusts no CA: {}",
                    why.as_deref().unwrap_or("there are none")
                ),
                "install ca-certificates, or write `ca` in [service.NAME.upstream_tls]",
            ));
        }
        Ok(Self {
            store: Arc::new(store),
            digest: digest(b"system"),
        })
    }
}
