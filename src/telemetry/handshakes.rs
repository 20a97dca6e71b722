//! How handshakes with clients end.

/// How a handshake with a client went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    Tls12,
    Tls12Resumed,
    Tls13,
    Tls13Resumed,
}

impl Handshake {
    pub const ALL: [Self; 4] = [
        Self::Tls12,
        Self::Tls12Resumed,
        Self::Tls13,
        Self::Tls13Resumed,
    ];

    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::Tls12 | Self::Tls12Resumed => "1.2",
            Self::Tls13 | Self::Tls13Resumed => "1.3",
        }
    }

    #[must_use]
    pub fn is_resumed(self) -> bool {
        matches!(self, Self::Tls12Resumed | Self::Tls13Resumed)
    }
}

/// Why there was no handshake with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// It was not over in time.
    Timeout,
    /// Too many others were under way, and it was the oldest.
    Crowded,
    /// The client closed the connection.
    Gone,
    /// A plain HTTP request on a port for TLS.
    PlainHttp,
    /// What came is no TLS, or broken.
    Malformed,
    /// No version or no cipher in common.
    Incompatible,
    /// The client does not accept our certificate.
    Distrusted,
    /// Something else that the client told.
    Alert,
    /// A certificate is required, and the client has none.
    NoClientCertificate,
    /// The client's was issued by nobody we trust.
    UnknownClient,
    /// The client's has expired, or is no good otherwise.
    BadClientCertificate,
}

impl HandshakeFailure {
    pub const ALL: [Self; 11] = [
        Self::Timeout,
        Self::Crowded,
        Self::Gone,
        Self::PlainHttp,
        Self::Malformed,
        Self::Incompatible,
        Self::Distrusted,
        Self::Alert,
        Self::NoClientCertificate,
        Self::UnknownClient,
        Self::BadClientCertificate,
    ];

    /// As the metrics and the log name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Crowded => "crowded",
            Self::Gone => "gone",
            Self::PlainHttp => "plain-http",
            Self::Malformed => "malformed",
            Self::Incompatible => "incompatible",
            Self::Distrusted => "distrusted",
            Self::Alert => "alert",
            Self::NoClientCertificate => "no-client-certificate",
            Self::UnknownClient => "unknown-client",
            Self::BadClientCertificate => "bad-client-certificate",
        }
    }
}
