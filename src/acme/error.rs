//! What can go wrong on the way to a certificate.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    #[error("the certificate authority refused or cannot be reached: {0}")]
    Authority(#[source] instant_acme::Error),
    #[error(
        "the certificate authority offers no {0} challenge for this name: set [acme] challenge"
    )]
    NoChallenge(&'static str),
    #[error("the certificate authority did not accept the proof: {0}")]
    NotProved(String),
    #[error("{path} cannot be read or written: {cause}", path = .path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{path} is no account of ours: {cause}; move it away, and a new account is made", path = .path.display())]
    Account {
        path: PathBuf,
        #[source]
        cause: serde_json::Error,
    },
    #[error("the proof certificate cannot be made: {0}")]
    Proof(String),
    #[error("the trust roots in [acme] ca cannot be used: {0}")]
    Roots(String),
    #[error("the certificate authority did not finish within {} s", .0.as_secs())]
    Deadline(Duration),
}

impl From<instant_acme::Error> for AcmeError {
    fn from(cause: instant_acme::Error) -> Self {
        Self::Authority(cause)
    }
}
