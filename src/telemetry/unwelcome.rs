//! Connections that were ended before they were served.

use super::samples::About;
use super::samples::Sample;
use super::samples::counter;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// Why a connection was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwelcome {
    /// Its client has as many as one may have.
    Crowd,
    /// It should have begun with a PROXY header.
    NoIntroduction,
    /// It asked for nothing while others waited to come in.
    Idler,
}

impl Unwelcome {
    pub const ALL: [Self; 3] = [Self::Crowd, Self::NoIntroduction, Self::Idler];

    fn as_str(self) -> &'static str {
        match self {
            Self::Crowd => "per-client",
            Self::NoIntroduction => "proxy-header",
            Self::Idler => "idler",
        }
    }
}

/// In the order of [`Unwelcome::ALL`].
pub type UnwelcomeCounts = [u64; Unwelcome::ALL.len()];

pub(super) fn encode(counts: &UnwelcomeCounts, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let about = About(
        "connections_unwelcome",
        "Client connections that were ended unserved: too many of one client, no PROXY header, idle while others waited",
    );
    let by_reason = Unwelcome::ALL.iter().zip(counts);
    let by_reason =
        by_reason.map(|(reason, count)| Sample::new(&[("reason", reason.as_str())], *count));
    counter(out, &about, by_reason)
}
