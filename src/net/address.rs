//! Where an upstream listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where an upstream listens: `127.0.0.1:8069`, `[::1]:8069` or `unix:/run/odoo.sock`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointAddr {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// `odoo-blue:8069`: looked up in the background, so that a recreated container is found again.
    Named {
        host: String,
        port: u16,
    },
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an address is IP:PORT, HOST:PORT or unix:/absolute/path")]
pub struct AddressError;

impl FromStr for EndpointAddr {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') && path.len() < 108 {
                Ok(Self::Unix(path.into()))
            } else {
                Err(AddressError)
            };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 {
                Err(AddressError)
            } else {
                Ok(Self::Tcp(address))
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(AddressError)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
        // A host of digits and dots alone is a mistyped IP address.
        let is_name = host.bytes().any(|b| b.is_ascii_alphabetic());
        if !host.is_empty() && host.len() <= 253 && is_name && host.bytes().all(plain) {
            Ok(Self::Named {
                host: host.to_owned(),
                port,
            })
        } else {
            Err(AddressError)
        }
    }
}

impl fmt::Display for EndpointAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Named { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
