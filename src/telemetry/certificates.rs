//! What the metrics page says of TLS.

use super::handshakes::Handshake;
use super::handshakes::HandshakeFailure;
use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use super::samples::gauge;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// Of the certificates that listeners show.
#[derive(Debug, Clone, Default)]
pub struct CertificateFigures {
    /// The files as they are now are in force.
    pub are_valid: bool,
    pub expiries: Vec<ExpiryFigures>,
}

#[derive(Debug, Clone, Default)]
pub struct ExpiryFigures {
    /// The file of its chain.
    pub chain: String,
    /// The hosts it is for, between commas.
    pub names: String,
    pub days_left: i64,
}

/// Handshakes with clients.
#[derive(Debug, Clone, Default)]
pub struct HandshakeFigures {
    /// In the order of [`Handshake::ALL`].
    pub done: [u64; Handshake::ALL.len()],
    /// In the order of [`HandshakeFailure::ALL`].
    pub failed: [u64; HandshakeFailure::ALL.len()],
}

impl CertificateFigures {
    #[allow(clippy::cast_precision_loss, reason = "Prometheus knows floats only")]
    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if self.expiries.is_empty() {
            return Ok(());
        }
        let about = About(
            "certificates_valid",
            "1 while the files of the certificates are in force as they are",
        );
        gauge(out, &about, [Sample::new(&[], u64::from(self.are_valid))])?;
        let about = About(
            "certificate_days_left",
            "Days until a certificate expires; negative when it has",
        );
        let days = self.expiries.iter().map(|it| Sample {
            labels: vec![("chain", &it.chain), ("names", &it.names)],
            value: it.days_left as f64,
        });
        gauge(out, &about, days)
    }
}

impl HandshakeFigures {
    /// Nothing where nobody ever tried.
    pub(super) fn encode(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        if self
            .done
            .iter()
            .chain(&self.failed)
            .all(|count| *count == 0)
        {
            return Ok(());
        }
        let about = About(
            "tls_handshakes",
            "Handshakes with clients; resumed: without a certificate being shown again",
        );
        let done = Handshake::ALL.iter().zip(self.done).map(|(how, count)| {
            let resumed = if how.is_resumed() { "true" } else { "false" };
            Sample::new(&[("version", how.version()), ("resumed", resumed)], count)
        });
        counter(out, &about, done)?;
        let about = About("tls_handshake_failures", "Connections without a handshake");
        let failed = HandshakeFailure::ALL.iter().zip(self.failed);
        let failed = failed.map(|(why, count)| Sample::new(&[("reason", why.as_str())], count));
        counter(out, &about, failed)
    }
}
