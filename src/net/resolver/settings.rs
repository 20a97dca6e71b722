//! How names are looked up.

use std::net::SocketAddr;
use std::time::Duration;

/// How names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverSettings {
    /// Asked in this order; none means those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// For one query to one server; none means as `/etc/resolv.conf` has it.
    pub timeout: Option<Duration>,
    /// An answer is kept at least this long, whatever it says.
    pub min_ttl: Duration,
    /// And at most this long: a container has another address long before Docker's ten minutes are over.
    pub max_ttl: Duration,
    /// How long a good answer is used while the name server gives no other.
    pub stale: Duration,
}

impl Default for ResolverSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: None,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(30),
            stale: Duration::from_hours(24),
        }
    }
}
