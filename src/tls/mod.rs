//! ENCRYPTION: certificates loaded and checked, handshakes with clients, verified connections to upstreams.
//!
//! Called by `control/` (load, watch, swap), `edge/` (accept), `upstream/` (connect) and `daemon/` (check).
//! Never decides where traffic goes. Rules: what cannot be used is a problem in words before it is in force;
//! an upstream is always verified; what is in force is immutable and replaced as a whole ([`Material`]).

mod certificate;
mod challenges;
mod handshake;
mod material;
mod resolver;
mod roots;
mod server;
mod upstream;
mod web;
mod words;

pub use certificate::{Certificate, ClientCertificate};
pub use challenges::{Challenges, Offer};
pub use handshake::{Opening, Refused, Secured, opening};
pub use material::Material;
pub use server::Server;
pub use upstream::{Dialer, Upstream};
pub use web::connect_web;
pub use words::refuses_certificate;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use std::sync::Arc;
use std::sync::LazyLock;

/// The cryptography of every connection.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// SHA-256.
///
/// # Panics
/// Never: the suite that it is taken from is one of TLS 1.3.
#[must_use]
pub fn digest(bytes: &[u8]) -> Box<[u8]> {
    let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite
        .tls13()
        .expect("it is a suite of TLS 1.3")
        .common
        .hash_provider;
    hash.hash(bytes).as_ref().into()
}
